"""A network from whatever file or folder holds one."""

from collections.abc import Sequence
from pathlib import Path

from hdr_lightning.exports.weights import WEIGHTS, read_weights
from hdr_lightning.generators import Generator
from hdr_lightning.generators.loading import find_checkpoint, load_generator

EXPORTS = (".safetensors", ".pt2", ".onnx")


def find_model(path: Path) -> Path:
    """Find the file that a path means: itself, the newest best of a folder of runs, or the weights of an export.

    Raises:
        InputError: if there is none.
    """
    if path.suffix in EXPORTS and not path.is_dir():
        return path
    weights = path / WEIGHTS
    return weights if weights.is_file() else find_checkpoint(path)


def load_model(path: Path, modules: Sequence[str] = ()) -> Generator:
    """Load a network from a checkpoint, the folder of a run, or an export, without running anything that a file holds.

    Args:
        path: what holds it: a checkpoint, a folder of runs; `.safetensors`, `.pt2` or `.onnx`; or a folder with
            `model.safetensors`, such as one of the Hugging Face hub.
        modules: Python modules to import first, for generators of your own in checkpoints and safetensors.

    Raises:
        InputError: if it is none of these, or damaged.
    """
    path = find_model(path)
    if path.suffix == ".safetensors":
        return read_weights(path, modules)
    # Once imported, these classes would be offered to those who train.
    if path.suffix == ".pt2":
        from hdr_lightning.exports.programs import read_program

        return read_program(path)
    if path.suffix == ".onnx":
        from hdr_lightning.exports.onnx_files import read_onnx

        return read_onnx(path)
    return load_generator(path, modules)
