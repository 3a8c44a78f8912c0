"""Generators against tensors that the published code computed, and layouts that the published weights have."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from hdr_lightning.generators import NAFNet, Restormer

CASES = {
    "nafnet": NAFNet,
    "restormer_withbias": Restormer,
    "restormer_biasfree": Restormer,
    "restormer_gray": Restormer,
}
ARGUMENTS = {
    "enc_blk_nums": "encoder_blocks",
    "middle_blk_num": "middle_blocks",
    "dec_blk_nums": "decoder_blocks",
    "LayerNorm_type": "norm",
    "inp_channels": "in_channels",
}
"""Published names of arguments and ours."""

GOPRO = {"encoder_blocks": (1, 1, 1, 28), "middle_blocks": 1, "decoder_blocks": (1, 1, 1, 1)}
LAYOUTS = {
    "restormer_withbias": (Restormer, {}),
    "restormer_biasfree": (Restormer, {"norm": "BiasFree"}),
    "nafnet_sidd_width32": (NAFNet, {}),
    "nafnet_sidd_width64": (NAFNet, {"width": 64}),
    "nafnet_gopro_width32": (NAFNet, GOPRO),
    "nafnet_gopro_width64": (NAFNet, {"width": 64, **GOPRO}),
}


def relative_error(got, expected):
    return ((got - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=["nchw", "nhwc"])
@pytest.mark.parametrize("name", CASES)
def test_output_and_every_gradient(name, memory_format, shared):
    path = shared / "reference" / f"{name}.safetensors"
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
    generator = CASES[name](**{ARGUMENTS.get(key, key): value for key, value in config.items()})
    generator.load_state_dict({k.removeprefix("state."): v for k, v in tensors.items() if k.startswith("state.")})

    image = tensors["input"].clone(memory_format=memory_format).requires_grad_()
    output = generator(image)
    (output - tensors["target"]).abs().mean().backward()

    assert relative_error(output, tensors["output"]) < 1e-5
    assert relative_error(image.grad, tensors["grad_input"]) < 1e-4
    gradients = {k: p.grad for k, p in generator.named_parameters()}
    assert {f"grad.{k}" for k in gradients} == {k for k in tensors if k.startswith("grad.")}
    for key, gradient in gradients.items():
        assert relative_error(gradient, tensors[f"grad.{key}"]) < 1e-4, key


@pytest.mark.parametrize("name", LAYOUTS)
def test_published_layout(name, shared):
    """Every name and shape of the published weights, nothing missing and nothing left over."""
    layout = json.loads((shared / "reference" / "published_layouts.json").read_text())[name]
    cls, arguments = LAYOUTS[name]
    with torch.device("meta"):
        generator = cls(**arguments)
    assert {key: list(value.shape) for key, value in generator.state_dict().items()} == layout["keys"]
    assert sum(p.numel() for p in generator.parameters()) == layout["params"]
