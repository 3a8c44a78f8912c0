"""Which parameters of a generator train, and how fast: by patterns over their names, and by depth."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import nn

from hdr_lightning.errors import InputError
from hdr_lightning.generators.base import Generator


@dataclass(frozen=True)
class Group:
    """Parameters that an optimiser treats alike.

    Attributes:
        name: in the log.
        factor: of the optimiser's learning rate.
        parameters: those of the group that train.
    """

    name: str
    factor: float
    parameters: list[nn.Parameter] = field(default_factory=list)


def find_parameters(generator: Generator, pattern: str, option: str) -> list[str]:
    """Names of the parameters that a pattern means.

    Args:
        generator: whose parameters they are.
        pattern: of whole names, where `*` stands for anything, dots included; or of parts of the generator.
        option: that gives the pattern, for the message.

    Raises:
        InputError: if there are none.
    """
    names = [name for name, _ in generator.named_parameters()]
    found = [name for name in names if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")]
    if not found:
        parts = dict.fromkeys(part for name in names for part in _leading(name))
        near = get_close_matches(re.sub(r"\.?[*?]+", "", pattern), parts, n=4, cutoff=0.5)
        raise InputError(
            f"{option}: no parameter of {type(generator).__name__} matches {pattern!r}: "
            + (f"did you mean {', '.join(near)}?" if near else f"its parts are {', '.join(_parts(names))}")
        )
    return found


def find_frozen(generator: Generator, patterns: Sequence[str]) -> set[str]:
    """Names of the parameters that are to be frozen, but for those that never train.

    Raises:
        InputError: if a pattern matches nothing, or nothing is left to train.
    """
    frozen = {name for pattern in patterns for name in find_parameters(generator, pattern, "model.freeze")}
    trained = {name for name, parameter in generator.named_parameters() if parameter.requires_grad}
    if frozen and trained <= frozen:
        raise InputError(f"model.freeze: nothing of {type(generator).__name__} is left to train: freeze less")
    return frozen & trained  # what the generator itself freezes, such as a backbone, stays as it has it


def frozen_modules(module: nn.Module, frozen: AbstractSet[str], prefix: str = "") -> Iterator[nn.Module]:
    """The outermost modules all of whose parameters are frozen: they are to behave as in evaluation."""
    own = {f"{prefix}{name}" for name, _ in module.named_parameters()}
    if own and own <= frozen:
        yield module
        return
    for name, child in module.named_children():
        yield from frozen_modules(child, frozen, f"{prefix}{name}.")


def check_rates(generator: Generator, rates: Mapping[str, float], layer_decay: float) -> None:
    """Refuse learning rates that cannot be used.

    Raises:
        InputError: if a pattern matches nothing, or a factor is out of range.
    """
    if not 0 < layer_decay <= 1:
        raise InputError(f"model.layer_decay is to be above 0 and up to 1, got {layer_decay}")
    for pattern, factor in rates.items():
        find_parameters(generator, pattern, "model.rates")
        if not (math.isfinite(factor) and factor > 0):
            raise InputError(f"model.rates: expected a factor above 0 for {pattern!r}, got {factor}: 0 is model.freeze")


def group_parameters(generator: Generator, rates: Mapping[str, float], layer_decay: float) -> list[Group]:
    """Group the parameters that train by their learning rate, in the order in which a picture passes them.

    Args:
        generator: whose parameters they are; at least one trains.
        rates: factors by pattern; of several that match a parameter, the last holds, and 1 where none does.
        layer_decay: the factor, besides, of each of the generator's `stages` against the one behind it.

    Raises:
        InputError: if a pattern matches nothing, or the stages of the generator are not all of it.
    """
    chosen = {
        name: pattern for pattern in rates for name in find_parameters(generator, pattern, "model.rates")
    }  # a later pattern takes over
    labels = _labels(rates)
    places, stages = stage_of(generator), generator.stages
    groups: dict[tuple[int, str | None], Group] = {}
    parameters = sorted(generator.named_parameters(), key=lambda each: places[each[0]])
    for name, parameter in parameters:
        if not parameter.requires_grad:
            continue
        pattern, place = chosen.get(name), places[name] if layer_decay != 1 else 0
        if (place, pattern) not in groups:
            label = labels[pattern] if pattern else "rest"
            if layer_decay != 1:
                label = f"{stages[place][0]}/{label}" if pattern else stages[place][0]
            factor = rates[pattern] if pattern else 1.0
            below = len(stages) - 1 - place if layer_decay != 1 else 0
            groups[place, pattern] = Group(label, factor * layer_decay**below)
        groups[place, pattern].parameters.append(parameter)
    return list(groups.values())


def stage_of(generator: Generator) -> dict[str, int]:
    """The stage of every parameter by its name, from 0 at the source.

    Raises:
        InputError: if the stages that a generator gives leave one out, or have one twice.
    """
    found, stages = {}, generator.stages
    for name, _ in generator.named_parameters():
        places = [
            place
            for place, parts in enumerate(stages)
            if any(name == part or name.startswith(f"{part}.") for part in parts)
        ]
        if len(places) != 1:
            raise InputError(
                f"{type(generator).__name__}.stages has {name} {len(places)} times: expected every parameter once"
            )
        found[name] = places[0]
    return found


def _labels(rates: Mapping[str, float]) -> dict[str, str]:
    """Names for the log: not every logger takes the signs of patterns."""
    labels: dict[str, str] = {}
    for pattern in rates:
        label = re.sub(r"[^\w./-]+", "_", pattern).strip("._") or "all"
        taken = set(labels.values())
        labels[pattern] = next(
            each for each in (label, *(f"{label}_{n}" for n in range(2, len(rates) + 2))) if each not in taken
        )
    return labels


def _leading(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _parts(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name.partition(".")[0] for name in names))
