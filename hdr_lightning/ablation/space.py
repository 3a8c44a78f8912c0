"""What an ablation varies: the points that are trained, each a name and the settings that it changes."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hdr_lightning.errors import InputError
from hdr_lightning.run_config import Settings

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

TRIAL = "trial_"
"""What the names of points of a search begin with; then comes their number."""


NEEDED = ("report", "outcome.", "search.svg", "study.", TRIAL)
"""What names of variations may not begin with: the folder of an ablation has them, and points of a search."""

LONGEST = 150
"""Characters of a name."""


@dataclass(frozen=True)
class Point:
    """One thing to train.

    Attributes:
        name: of its folder and its row in the table.
        settings: what it changes of the base configuration.
    """

    name: str
    settings: Settings


@dataclass(frozen=True)
class Range:
    """Values to search.

    Attributes:
        low: the least.
        high: the most.
        log: whether they are searched by ratios instead of differences.
        whole: whether they are whole numbers.
        choices: the values themselves, instead of a range.
    """

    low: float = 0.0
    high: float = 1.0
    log: bool = False
    whole: bool = False
    choices: Sequence[bool | int | float | str] | None = None

    def check(self, key: str) -> None:
        """Refuse a range that holds nothing.

        Raises:
            InputError: if it does.
        """
        if self.choices is None and not (
            -math.inf < self.low < self.high < math.inf and (self.low > 0 or not self.log)
        ):
            raise InputError(f"{key}: expected low < high, above 0 where log is true, got {self.low} and {self.high}")
        if self.choices is None and self.whole and (self.low % 1 or self.high % 1):
            raise InputError(f"{key}: expected whole numbers where whole is true, got {self.low} and {self.high}")
        if self.choices is not None and not self.choices:
            raise InputError(f"{key}: expected choices, got none")

    def distribution(self) -> "BaseDistribution":
        """What a study chooses values from."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # of an extra

        if self.choices is not None:
            return CategoricalDistribution(list(self.choices))
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)


def expand(variations: Mapping[Any, Any], grid: Mapping[str, Sequence[Any]]) -> list[Point]:
    """Cross named variations with a grid of values.

    >>> [point.name for point in expand({"a": {}, "b": {"x": 1}}, {"model.width": [8, 16]})]
    ['a, width=8', 'a, width=16', 'b, width=8', 'b, width=16']
    >>> expand({}, {})
    [Point(name='base', settings={})]

    Raises:
        InputError: if a name is none of a folder, or a key is varied by both.
    """
    named = variations or ({} if grid else {"base": {}})
    for name, settings in named.items():
        _check_name(name)
        if not isinstance(settings, Mapping):
            raise InputError(f"{name}: expected settings by their keys, {{}} for none, got {settings!r}")
    for key, choices in grid.items():
        if not choices:
            raise InputError(f"{key}: expected values, got none")
    points = []
    for name, settings in named.items() or [("", {})]:
        twice = sorted(set(settings) & set(grid))
        if twice:
            raise InputError(f"{twice[0]} is set by the variation {name!r} and by the grid: leave it out of one")
        for values in itertools.product(*grid.values()):
            chosen = dict(zip(grid, values, strict=True))
            parts = [name, *(f"{_short(key, grid)}={_called(value)}" for key, value in chosen.items())]
            points.append(Point(", ".join(filter(None, parts)).replace("/", "_"), {**dict(settings), **chosen}))
    names = [point.name for point in points]
    if (longest := max(names, key=len)) and not _is_plain(longest):
        raise InputError(f"a point is called {longest!r}: its name becomes a folder, so name it by variations")
    if len(set(names)) < len(names):
        same = next(name for name in names if names.count(name) > 1)
        raise InputError(f"two points are called {same!r}: name them by variations instead of the grid")
    return points


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise InputError(f"a variation is called {name!r}, as YAML reads it: put its name in quotes")
    if not name or name.startswith(".") or set(name) & set('/\\:*?"<>|') or not _is_plain(name):
        raise InputError(f"a variation is called {name!r}: its name becomes a folder, so leave out such characters")
    if name.lower().startswith(NEEDED):
        raise InputError(f"a variation is called {name!r}: its name becomes a folder beside others: take another")


def _is_plain(name: str) -> bool:
    return name.isprintable() and name == name.strip() and len(name) <= LONGEST


def _called(value: Any) -> str:
    """A value in the name of a folder; a class by its name alone."""
    return (
        str(value["class_path"]).rpartition(".")[2]
        if isinstance(value, Mapping) and "class_path" in value
        else str(value)
    )


def _short(key: str, keys: Mapping[str, Any]) -> str:
    """The end of a key, long enough to tell it from the others."""
    parts = key.split(".")
    for length in range(1, len(parts)):
        short = ".".join(parts[-length:])
        if sum(other.endswith(f".{short}") or other == short for other in keys) == 1:
            return short
    return key


def flat(settings: Settings) -> Iterator[str]:
    """Settings as people read them."""
    for key, value in settings.items():
        yield f"without {key}" if value is None else f"{key}={value}"
