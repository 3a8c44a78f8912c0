"""What an ablation varies: the points that are trained, each a name and the settings that it changes."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hdr_lightning.errors import InputError
from hdr_lightning.run_config import Settings

if TYPE_CHECKING:
    from optuna import Trial

TRIAL = "trial_"
"""What the names of points of a search begin with; then comes their number."""


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
        if self.choices is None and not (self.low < self.high and (self.low > 0 or not self.log)):
            raise InputError(f"{key}: expected low < high, above 0 where log is true, got {self.low} and {self.high}")
        if self.choices is not None and not self.choices:
            raise InputError(f"{key}: expected choices, got none")

    def suggest(self, trial: "Trial", key: str) -> bool | int | float | str | None:
        """Let a study choose a value."""
        if self.choices is not None:
            return trial.suggest_categorical(key, list(self.choices))
        if self.whole:
            return trial.suggest_int(key, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(key, self.low, self.high, log=self.log)


def expand(variations: Mapping[str, Settings], grid: Mapping[str, Sequence[Any]]) -> list[Point]:
    """Cross named variations with a grid of values.

    >>> [point.name for point in expand({"a": {}, "b": {"x": 1}}, {"model.width": [8, 16]})]
    ['a, width=8', 'a, width=16', 'b, width=8', 'b, width=16']
    >>> expand({}, {})
    [Point(name='base', settings={})]

    Raises:
        InputError: if a name is none of a folder, or a key is varied by both.
    """
    named = variations or ({} if grid else {"base": {}})
    for name in named:
        if not name or name.startswith(".") or set(name) & set('/\\:*?"<>|'):
            raise InputError(f"a variation is called {name!r}: its name becomes a folder, so leave out such characters")
    points = []
    for name, settings in named.items() or [("", {})]:
        twice = sorted(set(settings) & set(grid))
        if twice:
            raise InputError(f"{twice[0]} is set by the variation {name!r} and by the grid: leave it out of one")
        for values in itertools.product(*grid.values()):
            chosen = dict(zip(grid, values, strict=True))
            parts = [name, *(f"{_short(key, grid)}={_called(value)}" for key, value in chosen.items())]
            points.append(Point(", ".join(filter(None, parts)).replace("/", "_"), {**settings, **chosen}))
    names = [point.name for point in points]
    if len(set(names)) < len(names):
        same = next(name for name in names if names.count(name) > 1)
        raise InputError(f"two points are called {same!r}: name them by variations instead of the grid")
    return points


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
