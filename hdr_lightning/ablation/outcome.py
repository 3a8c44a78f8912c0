"""What an ablation says: of each point its quality with the uncertainty of seeds, its gain over another, its cost."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from hdr_lightning.ablation.space import TRIAL
from hdr_lightning.errors import InputError
from hdr_lightning.evaluation.repeats import RunsDifference
from hdr_lightning.evaluation.results import MEASURES, Cost, Evaluation, read_cost

FILE = "outcome.json"


@dataclass
class PointOutcome:
    """What became of a point.

    Attributes:
        name: of the point.
        settings: what it changes of the base configuration.
        state: `complete`, or why it is not: `waiting`, `running`, `pruned`, `fail`.
        values: the metric at its best, by seed of the runs that are finished.
        missing: seeds without a finished run.
        mean: of the values; not a number without any.
        low: of the 95 % interval of the mean over seeds (Student's t); not a number with fewer than two.
        high: likewise.
        seconds: median of a run's training, where the clock was looked at.
        steps: median of those of the runs.
        generator: name of the network's class; empty where it was not measured.
        cost: of the network, where it was measured.
        differences: by measure, from the reference, photo by photo; the chances are corrected for all points.
    """

    name: str
    settings: dict[str, Any]
    state: str
    values: dict[int, float]
    missing: list[int]
    mean: float
    low: float
    high: float
    seconds: float | None = None
    steps: int | None = None
    generator: str = ""
    cost: Cost | None = None
    differences: dict[str, RunsDifference] = field(default_factory=dict)


@dataclass
class Outcome:
    """What an ablation says.

    Attributes:
        metric: what was chosen by, a column of the runs' tables.
        maximise: whether more of it is better.
        reference: name of the point that the others are compared with.
        points: in the order of the file; those of a search by the metric, the best first.
        evaluation: of the validation photos: the untouched sources, and the points that were measured, each value the
            mean over seeds; nothing where no run was, or their photos are not the same.
        notes: what a reader has to know, a line each.
        importances: of the keys of a search, by Optuna.
        facts: versions, machine, date, command: a line each.
    """

    metric: str
    maximise: bool
    reference: str
    points: list[PointOutcome]
    evaluation: Evaluation | None = None
    notes: list[str] = field(default_factory=list)
    importances: dict[str, float] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def measure(self) -> str:
        """What photos are compared by: the metric, where it is measured of every photo, else PSNR."""
        name = self.metric.removeprefix("val/")
        return name if name in MEASURES else "psnr"

    @property
    def searched(self) -> list[tuple[int, float]]:
        """Number and mean of each point of the search that has one, in their order."""
        found = [point for point in self.points if point.name.startswith(TRIAL) and point.values]
        return sorted((int(point.name.removeprefix(TRIAL)), point.mean) for point in found)

    def verdict(self, point: PointOutcome, measure: str) -> str:
        """What the evidence bears, in words.

        >>> Outcome("val/psnr", True, "a", []).verdict(PointOutcome("a", {}, "complete", {}, [], 1.0, 1.0, 1.0), "psnr")
        'reference'
        """
        if point.name == self.reference:
            return "reference"
        found = point.differences.get(measure)
        if found is None:
            return "not compared"
        if found.verdict != "significant":
            return found.verdict
        return "better" if (found.mean > 0) == (MEASURES[measure].better == "higher") else "worse"

    def gain(self, point: PointOutcome) -> float:
        """How much more of the metric a point has than the reference; not a number where either has none."""
        return point.mean - next((each.mean for each in self.points if each.name == self.reference), math.nan)

    def markdown(self) -> str:
        """The tables, as Markdown."""
        from hdr_lightning.ablation.tables import to_markdown  # it reads what is defined here

        return to_markdown(self)

    def to_json(self) -> str:
        """As text, for `read_outcome`; what is not a number becomes null."""
        return json.dumps(_without_nan(asdict(self)), indent=1, allow_nan=False)


def read_outcome(folder: Path) -> Outcome:
    """Read what `ablate` wrote at its end.

    Args:
        folder: of the ablation.

    Raises:
        InputError: if it holds none.
    """
    path = folder / FILE
    try:
        content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        evaluation = None if content["evaluation"] is None else Evaluation.of(content["evaluation"])
        points = [_point(each) for each in content["points"]]
        return Outcome(**{**content, "points": points, "evaluation": evaluation})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: expected what `ablate` writes at its end, or with --summarise ({error})") from None


def middle(values: Sequence[float | None]) -> float | None:
    """The median of those that are known; nothing where none is."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def _point(content: Mapping[str, Any]) -> PointOutcome:
    numbers = {name: _number(content[name]) for name in ("mean", "low", "high")}
    values = {int(seed): value for seed, value in content["values"].items()}
    found = {name: _difference(each) for name, each in content["differences"].items()}
    cost = read_cost(content["cost"])
    return PointOutcome(**{**content, **numbers, "values": values, "differences": found, "cost": cost})


def _difference(content: Sequence[Any]) -> RunsDifference:
    *numbers, by_seed, scenes = content
    return RunsDifference._make([*map(_number, numbers), tuple(by_seed), scenes])


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    return [_without_nan(each) for each in value] if isinstance(value, list | tuple) else value
