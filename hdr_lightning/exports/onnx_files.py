"""ONNX files, run by ONNX Runtime."""

import importlib
from pathlib import Path
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor
from torch.export import ExportedProgram

from hdr_lightning.errors import InputError
from hdr_lightning.exports.facts import KEY, Facts, parse_facts
from hdr_lightning.exports.graph import INPUT, OUTPUTS
from hdr_lightning.generators import Generator

OPSET = 20
"""Of the operators; ONNX Runtime knows it since 1.17."""

LARGEST = 2**31
"""Bytes: ONNX holds no more in one file."""


def require(module: str) -> ModuleType:
    """Import what the extra `onnx` brings.

    Raises:
        InputError: if it is not there.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(f"ONNX needs {module.partition('.')[0]}: pip install 'hdr-lightning[onnx]'") from None


def write_onnx(program: ExportedProgram, facts: Facts, path: Path) -> None:
    """Translate a graph to ONNX and write it, weights and facts inside.

    Raises:
        InputError: if it has an operation that ONNX has not, or the extra `onnx` is missing.
    """
    for module in ("onnx", "onnxruntime"):
        require(module)
    optimizer = require("onnxscript.optimizer")
    try:
        translated = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            external_data=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
        )
    except torch.onnx.errors.OnnxExporterError as error:
        lacking = next((line for line in str(error).splitlines() if "No ONNX function" in line), str(error))
        raise InputError(
            f"{facts.name} has an operation that cannot be translated to ONNX: choose --formats=[torch] "
            f"({lacking.partition(': ')[2] or lacking})"
        ) from None
    assert translated is not None
    model = translated.model
    # What is computed from weights alone, however large, so that it can be quantised.
    optimizer.fold_constants(model, input_size_limit=LARGEST, output_size_limit=LARGEST)
    optimizer.remove_unused_nodes(model)
    model.producer_name = "hdr-lightning"
    model.metadata_props.clear()
    model.metadata_props[KEY] = facts.to_json()
    for node in model.graph:  # where on this machine the code lies
        node.metadata_props.clear()
        node.doc_string = None
    translated.save(path, external_data=False)


class OnnxGenerator(Generator):
    """An ONNX file as a generator, run on the CPU; padding is inside, so the stride is 1.

    Args:
        content: of the file.
        path: of the file, for messages.

    Raises:
        InputError: if ONNX Runtime is missing or refuses the file, or the file is not ours.
    """

    countable = False

    def __init__(self, content: bytes, path: Path) -> None:
        super().__init__()
        runtime = require("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.enable_mem_pattern = False  # it keeps memory for every size that came
        options.log_severity_level = 3
        state = runtime.capi.onnxruntime_pybind11_state
        refusals = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NotImplemented)
        providers = ["CPUExecutionProvider"]
        try:
            self._session = runtime.InferenceSession(content, options, providers=providers, enable_fallback=0)
            facts = self._session.get_modelmeta().custom_metadata_map
        except (*refusals, UnicodeDecodeError) as error:
            raise InputError(f"{path}: is damaged, or holds operators that are not standard ({error})") from None
        self.facts = parse_facts(facts, path)
        ends = [(each.name, each.type) for each in (*self._session.get_inputs(), *self._session.get_outputs())]
        if ends != [(name, "tensor(float)") for name in (INPUT, *OUTPUTS)]:
            raise InputError(f"{path}: has other inputs or outputs than `export` writes: export the checkpoint again")
        self._path, self._failures = path, (*refusals, state.RuntimeException)
        self.training = False

    def forward(self, image: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        pictures = image.detach().float().cpu().contiguous().numpy()
        try:
            results = [self._session.run([OUTPUTS[1]], {INPUT: one[None]})[0] for one in pictures]
        except self._failures as error:
            if "alloc" in str(error):
                raise torch.OutOfMemoryError(f"out of memory in ONNX Runtime ({error})") from None
            raise InputError(f"{self._path}: cannot edit a picture of shape {tuple(image.shape)} ({error})") from None
        result = torch.cat([torch.from_numpy(each) for each in results])
        if result.shape != image.shape:
            raise InputError(f"{self._path}: made {tuple(result.shape)} of a picture of shape {tuple(image.shape)}")
        return result.to(image)


def read_onnx(path: Path) -> OnnxGenerator:
    """Load an ONNX file that `export` wrote; operators of others and files beside it are not loaded.

    Raises:
        InputError: if it is missing, damaged, or not ours, or the extra `onnx` is missing.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    return OnnxGenerator(content, path)
