"""A generator from a checkpoint file alone, without running anything that the file contains."""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from hdr_lightning.errors import InputError
from hdr_lightning.generators.base import Generator
from hdr_lightning.tensors import read_safely

PREFIX = "generator."


def find_checkpoint(path: Path) -> Path:
    """Find the checkpoint that a path means.

    Args:
        path: a checkpoint, which may be a folder of DeepSpeed; or the folder of a run, which means its best; or a
            folder of runs, which means the newest best.

    Raises:
        InputError: if there is none.
    """
    if path.is_file() or (path / "checkpoint").is_dir():
        return path
    if not path.exists():
        raise InputError(f"{path}: there is no such checkpoint")
    found = best_checkpoints(path)
    if not found:
        last = next(path.glob("**/checkpoints/last.ckpt"), None)
        hint = f"there is {last}, which you can give" if last else "train one with `fit`"
        raise InputError(f"{path}: no run below this folder has a checkpoints/best.ckpt: {hint}")
    return found[-1]


def best_checkpoints(folder: Path) -> list[Path]:
    """The best checkpoints of all runs below a folder, from the oldest to the newest."""
    return sorted(folder.glob("**/checkpoints/best.ckpt"), key=lambda file: file.stat().st_mtime)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint that `fit` wrote: tensors, numbers and text, and nothing that could run.

    Raises:
        InputError: if the file is missing, damaged, none of ours, or holds code.
    """
    if path.is_dir():
        raise InputError(
            f"{path} is a folder of DeepSpeed, which alone goes on from it: make one file of it first (see the head of "
            "configs/restormer_deepspeed_2.yaml)"
        )
    checkpoint = read_safely(path, "no checkpoint", "a checkpoint that `hdr-lightning fit` wrote")
    if not isinstance(checkpoint, dict) or not {"state_dict", "hyper_parameters"} <= checkpoint.keys():
        raise InputError(f"{path}: expected a checkpoint that `hdr-lightning fit` wrote, this file has another layout")
    return checkpoint


def with_averages(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of a checkpoint by which its run was validated: moving averages where it holds them (`ema`)."""
    averages = checkpoint.get("ema", {})
    return {**checkpoint["state_dict"], **{f"{PREFIX}{name}": value for name, value in averages.items()}}


def load_generator(path: Path, modules: Sequence[str] = ()) -> Generator:
    """Rebuild the generator of a checkpoint, with the moving average of its weights where there is one.

    The checkpoint names the generator's class and arguments. Only classes that are generators and already imported are
    taken, so a file cannot have anything else built or imported.

    Args:
        path: a checkpoint that `fit` wrote.
        modules: modules of your own to import first, for generators that are not part of this package.

    Returns:
        The generator in evaluation mode, on the CPU.

    Raises:
        InputError: if the file is no such checkpoint, its generator is not known or does not fit its weights, or the
            depth model that it takes is not there.
    """
    checkpoint = read_checkpoint(path)
    generator = build_generator(generator_spec(checkpoint, path), path, modules)
    weights = with_averages(checkpoint)
    weights = {name.removeprefix(PREFIX): value for name, value in weights.items() if name.startswith(PREFIX)}
    return fill_generator(generator, weights, path)


def generator_spec(checkpoint: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Class path and arguments of the generator of a checkpoint.

    Raises:
        InputError: if it does not say.
    """
    hyper_parameters = checkpoint["hyper_parameters"]
    spec = hyper_parameters.get("generator") if isinstance(hyper_parameters, Mapping) else None
    if spec is None or not _is_spec(spec):
        raise InputError(
            f"{path}: the checkpoint does not say which generator it holds: train it with `hdr-lightning fit`"
        )
    return dict(spec)


def build_generator(spec: Mapping[str, Any], path: Path, modules: Sequence[str] = ()) -> Generator:
    """Build a generator, with random weights, from the class path and arguments that a file names.

    Only classes that are generators and already imported are taken.

    Args:
        spec: class path and arguments.
        path: the file, for messages.
        modules: modules of your own to import first.

    Raises:
        InputError: if the class is not known or refuses the arguments.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise InputError(f"--modules {module}: cannot be imported ({error})") from None
    return _build(spec, path)


def fill_generator(generator: Generator, weights: Mapping[str, Tensor], path: Path) -> Generator:
    """Give a generator its weights, and make it ready for use.

    Raises:
        InputError: if they do not fit, or the depth model that it takes is not there.
    """
    try:
        generator.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"{path}: the weights do not fit the generator that it names: {error}") from None
    if generator.depth is not None:
        generator.depth.load()  # told now if it is not there, not at the first photo
    return generator.eval()


def _is_spec(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("class_path"), str)


def _build(spec: Mapping[str, Any], path: Path) -> Generator:
    known = {f"{cls.__module__}.{cls.__qualname__}": cls for cls in _descendants(Generator)}
    # A class may be named by the package that exports it.
    known |= {f"{cls.__module__.rpartition('.')[0]}.{cls.__qualname__}": cls for cls in known.values()}
    cls = known.get(spec["class_path"])
    if cls is None:
        raise InputError(
            f"{path}: its generator {spec['class_path']} is not part of this package: "
            "name the module that defines it with --modules, if you trust it"
        )
    given = spec.get("init_args") or {}
    if not isinstance(given, Mapping):
        raise InputError(f"{path}: {cls.__name__} cannot be built: expected its arguments by name, got {given!r:.60}")
    arguments = {name: _build(value, path) if _is_spec(value) else value for name, value in given.items()}
    try:
        return cls(**arguments)
    except InputError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: sizes below 0, or beyond all memory
        raise InputError(f"{path}: {cls.__name__} cannot be built from the checkpoint's arguments: {error}") from None


def _descendants(cls: type) -> Iterable[type]:
    children: list[type] = cls.__subclasses__()
    for child in children:
        yield child
        yield from _descendants(child)
