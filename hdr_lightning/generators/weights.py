"""Published weights into a generator, whole or in part, with a report of what went where."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hdr_lightning.errors import InputError
from hdr_lightning.generators.base import Generator
from hdr_lightning.generators.loading import find_checkpoint, with_averages
from hdr_lightning.tensors import read_safely

WRAPPINGS = ("params_ema", "params", "state_dict", "model_state_dict", "model", "net_g", "generator")
"""Keys under which published files keep their weights; the first that is there is taken."""

PREFIXES = ("module.", "_orig_mod.", "generator.", "model.", "net_g.")
"""What training adds in front of names: DDP, torch.compile, tasks."""


@dataclass(frozen=True)
class LoadReport:
    """What became of the tensors of a file and of a generator.

    Attributes:
        path: the file.
        matched: names that were loaded, and their number of values.
        adapted: of these, the ones that got planes of zeros for inputs that the file does not know.
        missing: names of the generator that the file lacks, and their number of values.
        unexpected: names of the file that the generator lacks.
        mismatched: names with different shapes: what the generator expected and what the file has.
    """

    path: Path
    matched: dict[str, int] = field(default_factory=dict)
    adapted: list[str] = field(default_factory=list)
    missing: dict[str, int] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    mismatched: dict[str, tuple[torch.Size, torch.Size]] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Share of the generator's values that were loaded."""
        wanted = sum(self.missing.values()) + sum(shape.numel() for shape, _ in self.mismatched.values())
        loaded = sum(self.matched.values())
        return loaded / max(1, loaded + wanted)

    @property
    def tensors(self) -> int:
        """How many the generator has."""
        return len(self.matched) + len(self.missing) + len(self.mismatched)

    def facts(self) -> dict[str, Any]:
        """Everything, every tensor by its name, in what JSON can hold."""
        shapes = {name: {"expected": [*a], "got": [*b]} for name, (a, b) in self.mismatched.items()}
        return {"path": str(self.path), "share": self.share, "matched": self.matched, "adapted": self.adapted} | {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "mismatched": shapes,
        }

    def __str__(self) -> str:
        lines = [
            f"{self.path}: {len(self.matched)} of {self.tensors} tensors loaded, {self.share:.2%} of the values",
            *_listed("with planes of zeros for new inputs", self.adapted),
            *_listed("missing from the file", self.missing),
            *_listed("unexpected in the file", self.unexpected),
            *_listed(
                "of another shape",
                [f"{name} (expected {tuple(a)}, got {tuple(b)})" for name, (a, b) in self.mismatched.items()],
            ),
        ]
        return "\n".join(lines)


def _listed(what: str, names: Any, most: int = 5) -> list[str]:
    names = list(names)
    if not names:
        return []
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return [f"  {len(names)} {what}: {', '.join(names[:most])}{more}"]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of a `.safetensors`, `.pth`, `.pt` or `.ckpt` file, without running anything that it contains.

    Returns:
        Tensors by name, without the wrappings of trainers.

    Raises:
        InputError: if the file is missing, damaged, holds code, or no weights.
    """
    content = read_safely(path, "holds no weights", "a state_dict, or .safetensors")
    if isinstance(content, Mapping) and {"state_dict", "ema"} <= content.keys():
        content = with_averages(content)  # one of our own
    for _ in WRAPPINGS:
        wrapping = next((key for key in WRAPPINGS if isinstance(content, Mapping) and key in content), None)
        if wrapping is None:
            break
        content = content[wrapping]
    weights = (
        {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not weights:
        raise InputError(
            f"{path}: holds no weights by name: expected a state_dict, bare or under {', '.join(WRAPPINGS)}"
        )
    return weights


def load_weights(generator: Generator, path: Path, least: float = 1.0) -> LoadReport:
    """Load weights into a generator, those that fit it.

    Where a generator takes more planes than the weights know, the new planes start at zero, so that at first it does
    what the published network does.

    Args:
        generator: where the weights go; in a generator around another one, into the innermost, or where the file has
            every one of its own, into itself.
        path: a file of weights; or the folder of a run, which means its best, or of runs, the newest best.
        least: share of the generator's values that must be found in the file, above 0 and up to 1; below it nothing is
            loaded.

    Returns:
        What was loaded and what was not.

    Raises:
        InputError: if the file is none, too little of it fits, or its values are no finite real numbers.
    """
    if not 0 < least <= 1:
        raise InputError(f"the share of values to be found in {path} is to be above 0 and up to 1, got {least}")
    if path.is_dir():
        path = find_checkpoint(path)
    read = read_weights(path)
    around, base = [], generator
    while base.base is not base and not base.state_dict().keys() <= _unwrapped(read, base.state_dict()).keys():
        around.append(base)
        base = base.base
    own = base.state_dict()
    weights = _unwrapped(read, own)
    report = LoadReport(path, unexpected=[name for name in weights if name not in own])
    fitting: dict[str, Tensor] = {}
    for name, value in own.items():
        given = weights.get(name)
        if given is None:
            report.missing[name] = value.numel()
            continue
        if _lacks_planes(given, value, base.in_channels):
            report.adapted.append(name)
            given = torch.cat((given, given.new_zeros(value.shape[0], value.shape[1] - 3, *value.shape[2:])), dim=1)
        if given.shape != value.shape:
            report.mismatched[name] = (value.shape, given.shape)
            continue
        fitting[name] = _sound(given, f"{path}: {name}")
        report.matched[name] = value.numel()
    if report.share < least:
        raise InputError(
            f"these are not the weights of this {type(base).__name__}, {least:.0%} of whose values were to be "
            f"found; check its arguments, or lower the share\n{report}"
        )
    base.load_state_dict(fitting, strict=False)
    for outer in reversed(around):
        outer.base_loaded()
    return report


def _sound(values: Tensor, name: str) -> Tensor:
    if values.is_meta or values.layout is not torch.strided or not values.is_floating_point():
        raise InputError(f"{name}: expected real numbers, got {values.dtype} ({values.layout}, {values.device})")
    if not values.isfinite().all():
        raise InputError(f"{name}: expected finite values, got NaN or infinity: take weights from before it diverged")
    return values


def _unwrapped(weights: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take off what all names begin with; of a task's checkpoint, keep the generator."""
    while not weights.keys() & own.keys():
        prefix = next((p for p in PREFIXES if any(name.startswith(p) for name in weights)), None)
        if prefix is None:
            return weights
        weights = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    return weights


def _lacks_planes(given: Tensor, wanted: Tensor, in_channels: int) -> bool:
    return (
        given.ndim == 4
        and in_channels > 3
        and given.shape[1] == 3
        and wanted.shape == (given.shape[0], in_channels, *given.shape[2:])
    )
