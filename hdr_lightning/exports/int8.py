"""ONNX with weights and features of 8 bits, calibrated on photos."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdr_lightning.data.files import Pixels, to_tensor
from hdr_lightning.data.files.reduce import reduce
from hdr_lightning.errors import InputError
from hdr_lightning.exports.graph import INPUT
from hdr_lightning.exports.onnx_files import require
from hdr_lightning.progress import track

SIDE = 384
"""Shorter side, in pixels, that the photos for calibration are reduced to."""


class _Photos:
    """Photos one after the other, as ONNX Runtime asks for them."""

    def __init__(self, photos: Sequence[Pixels]) -> None:
        self._left = track(photos, "calibrating", len(photos))

    def get_next(self) -> dict[str, Any] | None:
        pixels = next(self._left, None)
        return None if pixels is None else {INPUT: to_tensor(reduce(pixels, SIDE))[None].numpy()}


def quantize(source: Path, target: Path, photos: Sequence[Pixels]) -> None:
    """Quantise an ONNX file: convolutions of features and the products of gates, weights by channel.

    The first and the last convolution, those of what was pooled over the picture, norms and sums stay in float32.

    Args:
        source: an ONNX file of `write_onnx`.
        target: what becomes of it.
        photos: on which the ranges of the features are found.

    Raises:
        InputError: if there are no photos, nothing can be quantised, or the extra `onnx` is missing.
    """
    if not photos:
        raise InputError("int8 needs photos to calibrate on: name some with --calibration")
    onnx, quantization = require("onnx"), require("onnxruntime.quantization")
    prepared = target.with_name(f".{target.name}")
    quantization.quant_pre_process(source, prepared, skip_optimization=True, skip_symbolic_shape=True)
    chosen = _chosen(onnx.load(prepared).graph)
    if not chosen:
        raise InputError("the network has no convolutions of features that could be quantised: choose --formats=[onnx]")
    quantization.quantize_static(
        prepared,
        target,
        _Photos(photos),
        quant_format=quantization.QuantFormat.QDQ,
        nodes_to_quantize=chosen,
        op_types_to_quantize=["Conv", "Mul", "Split"],
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    prepared.unlink()
    model = onnx.load(target)
    kept = {entry.key: entry.value for entry in onnx.load(source).metadata_props}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, kept)
    onnx.save(model, target)


def _chosen(graph: Any) -> list[str]:
    """Nodes to quantise, by name."""
    weights = {each.name for each in graph.initializer}
    maker = {name: node for node in graph.node for name in node.output}
    pooled = {
        each.name for each in graph.value_info if [d.dim_value for d in each.type.tensor_type.shape.dim][2:] == [1, 1]
    }
    convolutions = [node for node in graph.node if node.op_type == "Conv"][1:-1]
    chosen = [node for node in convolutions if node.input[1] in weights and node.input[0] not in pooled]
    gates = [
        node
        for node in graph.node
        if node.op_type == "Mul"
        and not pooled & set(node.input)
        and all(maker[name].op_type in ("Split", "Gelu") if name in maker else False for name in node.input)
    ]
    halves = {id(maker[name]): maker[name] for node in gates for name in node.input if maker[name].op_type == "Split"}
    return [node.name for node in (*chosen, *gates, *halves.values())]
