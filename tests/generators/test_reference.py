"""Generators against tensors that the published code computed, and layouts that the published weights have."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn import functional as F

from hdr_lightning.generators import DarkIR, NAFNet, Restormer, RetinexFormer
from hdr_lightning.generators.layers import local_mean

CASES = {
    "nafnet": NAFNet,
    "restormer_withbias": Restormer,
    "restormer_biasfree": Restormer,
    "restormer_gray": Restormer,
    "darkir": DarkIR,
    "retinexformer": RetinexFormer,
    "retinexformer_3stages": RetinexFormer,
}
ARGUMENTS = {
    "enc_blk_nums": "encoder_blocks",
    "middle_blk_num": "middle_blocks",
    "middle_blk_num_enc": "middle_encoder_blocks",
    "middle_blk_num_dec": "middle_decoder_blocks",
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
    "darkir_m": (DarkIR, {}),
    "darkir_l": (DarkIR, {"width": 64}),
    "retinexformer": (RetinexFormer, {}),
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
    gradients = {k: p.grad for k, p in generator.named_parameters() if p.requires_grad}
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


@pytest.mark.parametrize(
    ("generator", "arguments", "parameters"),
    [
        (Restormer, {"slim": True}, 25_437_220),
        (Restormer, {"slim": True, "ffn_expansion_factor": 2}, 21_879_412),
    ],
)
def test_number_of_parameters(generator, arguments, parameters):
    with torch.device("meta"):
        assert sum(p.numel() for p in generator(**arguments).parameters()) == parameters


def test_dual_pixel_layout_is_that_of_the_published_code():
    """Compared with spandrel where it is installed: two views in, no picture added to the output."""
    arch = pytest.importorskip("spandrel_extra_arches.architectures.Restormer.__arch.restormer_arch")
    small = {"dim": 8, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1}
    theirs = arch.Restormer(**small, inp_channels=6, dual_pixel_task=True, LayerNorm_type="BiasFree").eval()
    ours = Restormer(**small, in_channels=6, dual_pixel=True, norm="BiasFree").eval()
    ours.load_state_dict(theirs.state_dict())
    image = torch.rand(1, 6, 32, 40)
    assert relative_error(ours(image), theirs(image)) < 1e-5


class TestLocalStatistics:
    """TLC of NAFNet."""

    @pytest.mark.parametrize("window", [1, 5, 6, 20, 40])
    def test_means_are_those_of_pooling(self, window):
        image = torch.rand(2, 4, 23, 31)
        rows, columns = min(window, 23), min(window, 31)
        pooled = F.avg_pool2d(image, (rows, columns), 1)
        lacking = (31 - pooled.shape[-1], 23 - pooled.shape[-2])
        sides = [side for each in lacking for side in (each // 2, (each + 1) // 2)]
        assert torch.allclose(local_mean(image, window), F.pad(pooled, sides, mode="replicate"), atol=1e-5)

    def test_a_window_as_large_as_the_picture_is_the_whole_picture(self):
        torch.manual_seed(0)
        whole, local, small = (
            NAFNet(width=8, encoder_blocks=(1, 1), middle_blocks=1, decoder_blocks=(1, 1), local_window=window).eval()
            for window in (None, 64, 16)
        )
        with torch.no_grad():
            for parameter in whole.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        local.load_state_dict(whole.state_dict())
        small.load_state_dict(whole.state_dict())
        image = torch.rand(1, 3, 64, 64)
        assert relative_error(local(image), whole(image)) < 1e-5
        assert relative_error(small(image), whole(image)) > 1e-3
        assert relative_error(small.train()(image), whole.train()(image)) < 1e-5
