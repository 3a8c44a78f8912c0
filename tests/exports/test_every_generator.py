"""Every generator in every format: it works, or it is refused by name."""

import pytest
import torch
from conftest import smooth

from hdr_lightning import generators
from hdr_lightning.data.files import to_pixels
from hdr_lightning.errors import InputError
from hdr_lightning.exports.check import compare
from hdr_lightning.exports.facts import Facts
from hdr_lightning.exports.graph import record
from hdr_lightning.exports.int8 import quantize
from hdr_lightning.exports.onnx_files import write_onnx
from hdr_lightning.exports.programs import write_program
from hdr_lightning.exports.reading import load_model
from hdr_lightning.exports.samples import Sample
from hdr_lightning.exports.weights import write_weights
from hdr_lightning.generators import FeatureGuided, NAFNet

NAF = {"width": 8, "encoder_blocks": [1, 1], "middle_blocks": 1, "decoder_blocks": [1, 1]}


def spec(name, **arguments):
    return {"class_path": f"hdr_lightning.generators.{name}", "init_args": arguments}


SPECS = {
    "NAFNet": spec("NAFNet", **NAF),
    "Restormer": spec("Restormer", dim=8, num_blocks=[1, 1, 1, 1], num_refinement_blocks=1),
    "DarkIR": spec(
        "DarkIR", width=8, encoder_blocks=[1], middle_encoder_blocks=1, middle_decoder_blocks=1, decoder_blocks=[1]
    ),
    "RetinexFormer": spec("RetinexFormer", n_feat=8, num_blocks=[1, 1, 1]),
    "GainConstrained": spec("GainConstrained", generator=spec("NAFNet", **NAF)),
    "ColorRefiner": spec("ColorRefiner", backbone=spec("NAFNet", **NAF), refiner=spec("NAFNet", in_channels=6, **NAF)),
    "FeatureGuided": spec("FeatureGuided", generator=spec("NAFNet", in_channels=6, **NAF)),
    "ZeroConvCopy": spec("ZeroConvCopy", generator=spec("NAFNet", **NAF), joins=["middle_blks.0"]),
}


def built(name):
    from pathlib import Path

    from hdr_lightning.generators.loading import build_generator

    torch.manual_seed(0)
    generator = build_generator(SPECS[name], Path(name)).eval()
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return generator, Facts(SPECS[name], generator.stride, generator.in_channels)


def pixels(seed, size):
    return to_pixels(smooth(seed, size)[0])


def test_every_generator_is_here():
    names = {name for name in generators.__all__ if name[0].isupper() and not name.endswith("Generator")}
    assert names == set(SPECS)


@pytest.mark.parametrize("name", SPECS)
def test_safetensors(name, tmp_path):
    generator, facts = built(name)
    write_weights(generator, facts, tmp_path / "model.safetensors")
    image = smooth(1)
    with torch.inference_mode():
        assert torch.equal(load_model(tmp_path)(image[..., :48]), generator(image[..., :48]))


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECS)
def test_graphs(name, tmp_path):
    generator, facts = built(name)
    samples = [Sample(pixels(seed, (84, 124)), None) for seed in range(2)]
    program = record(generator)
    write_program(program, facts, tmp_path / "model.pt2")
    checked = compare("torch", tmp_path / "model.pt2", generator, load_model(tmp_path / "model.pt2"), samples)
    assert checked.exceeds(None) is None
    if name == "DarkIR":
        with pytest.raises(InputError, match="DarkIR has an operation that cannot be translated to ONNX"):
            write_onnx(program, facts, tmp_path / "model.onnx")
        return
    write_onnx(program, facts, tmp_path / "model.onnx")
    checked = compare("onnx", tmp_path / "model.onnx", generator, load_model(tmp_path / "model.onnx"), samples)
    assert checked.exceeds(None) is None
    quantize(tmp_path / "model.onnx", tmp_path / "int8.onnx", [sample.source for sample in samples])
    checked = compare("int8", tmp_path / "int8.onnx", generator, load_model(tmp_path / "int8.onnx"), samples)
    assert checked.exceeds(0.05) is None
    assert checked.largest > 0


def test_a_depth_model_is_refused(depth_model):
    generator = FeatureGuided(NAFNet(in_channels=4, **NAF), ["depth"], depth_model=str(depth_model))
    with pytest.raises(InputError, match="FeatureGuided takes 4 planes: a graph takes a picture alone"):
        record(generator)
