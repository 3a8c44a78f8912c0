"""A run read back from its folder: curves, flags, shares of terms, pictures, tests."""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from hdr_lightning.data.of_run import read_config
from hdr_lightning.errors import InputError
from hdr_lightning.reading import names
from hdr_lightning.reading.measured import Measured, read_measured
from hdr_lightning.reading.table import Table
from hdr_lightning.reading.terms import Cosines, Shares
from hdr_lightning.run_log import read_rows

TABLE, CONFIG, FLAGS, TESTED = "metrics.csv", "config.yaml", "flags.jsonl", "evaluation.json"

OTHER_VERBS = re.compile(r"(test|validate|predict|check_loss)_\d+")
"""Folders beside those of trainings, which have tables, too."""


@dataclass(frozen=True)
class Curve:
    """A logged value over a training.

    Attributes:
        name: under which it was logged.
        steps: of the optimiser, ascending.
        values: one a step; perhaps not finite.
    """

    name: str
    steps: list[int]
    values: list[float]

    def best(self, maximise: bool) -> tuple[int, float]:
        """The step at which it was best, and the value there.

        Raises:
            InputError: if no value is finite.
        """
        finite = [(value, step) for step, value in zip(self.steps, self.values, strict=True) if math.isfinite(value)]
        if not finite:
            raise InputError(f"{self.name} has no finite value: expected a run that was validated")
        value, step = (max if maximise else min)(finite, key=lambda each: each[0])
        return step, value


@dataclass(frozen=True)
class RaisedFlag:
    """A red flag that went up.

    Attributes:
        step: of the optimiser.
        epoch: from 0.
        name: of the flag.
        seen: what was measured.
        cause: what it usually comes from.
        remedy: what to try.
    """

    step: int
    epoch: int
    name: str
    seen: str
    cause: str
    remedy: str


@dataclass(frozen=True)
class RunReading:
    """A run as its folder tells of it.

    Attributes:
        folder: of the run.
        config: the whole configuration that trained it.
        curves: what was logged, by name.
        epochs: the last step of each epoch of which anything was logged.
        flags: that went up, in their order.
    """

    folder: Path
    config: dict[str, Any]
    curves: dict[str, Curve]
    epochs: dict[int, int]
    flags: list[RaisedFlag]

    @property
    def monitored(self) -> str:
        """By which value its best epoch was chosen."""
        return str(_below(self.config, "checkpoint").get("monitor") or names.MONITORED)

    @property
    def validated(self) -> bool:
        """Whether there is a best: the monitored value was finite at least once."""
        curve = self.curves.get(self.monitored)
        return curve is not None and any(map(math.isfinite, curve.values))

    @property
    def best(self) -> tuple[int, float]:
        """The step of the best validation, and the monitored value there.

        Raises:
            InputError: if it was not validated.
        """
        curve = self.curves.get(self.monitored)
        if curve is None:
            raise InputError(f"{self.folder} has no {self.monitored} yet: read it after its first validation")
        return curve.best(_below(self.config, "checkpoint").get("mode", "max") == "max")

    @cached_property
    def shares(self) -> Shares | None:
        """Of the terms in the loss; nothing where they were not logged."""
        return self._shares(names.SHARE)

    @cached_property
    def gradient_shares(self) -> Shares | None:
        """Of the terms in the gradient; nothing where they were not logged."""
        return self._shares(names.GRADIENT_SHARE)

    @cached_property
    def cosines(self) -> Cosines | None:
        """Between the gradients of terms; nothing where they were not logged."""
        found = self._after(names.COSINE)
        terms = [] if self.shares is None else self.shares.terms
        pairs = {(one, other): found.get(f"{one}{names.BETWEEN}{other}") for one in terms for other in terms}
        known = {pair: curve.values for pair, curve in pairs.items() if curve is not None}
        return Cosines(terms, known) if known else None

    @cached_property
    def pictures(self) -> list[Path]:
        """Of source, output and target, one an epoch that was validated."""
        return sorted((self.folder / "pictures").glob("epoch_????.jpg"))

    @cached_property
    def tests(self) -> list[Measured]:
        """Tests of this run, beside its folder, oldest first."""
        found = [read_measured(path.parent) for path in self.folder.parent.glob(f"test_*/{TESTED}")]
        inside = self.folder.resolve()
        ours = [each for each in found if any(inside in Path(c.origin).resolve().parents for c in each.contenders)]
        return sorted(ours, key=lambda each: (each.folder / TESTED).stat().st_mtime)

    @property
    def samples_per_second(self) -> float | None:
        """The median over its epochs; nothing where it was not logged."""
        curve = self.curves.get(names.SPEED)
        return None if curve is None else median(curve.values)

    @property
    def peak_memory_gb(self) -> float | None:
        """The most memory used, in 10^9 bytes; nothing where it was not logged."""
        curve = self.curves.get(names.MEMORY)
        return None if curve is None else max(curve.values)

    def summary(self) -> Table:
        """The run in few lines."""
        best = "{1:.4g} at step {0}".format(*self.best) if self.validated else "not validated yet"
        generator = str(_below(_below(self.config, "model"), "generator").get("class_path", "?")).rpartition(".")[2]
        rows = [
            ("generator", generator),
            ("steps", str(max(self.epochs.values(), default=-1) + 1)),
            (f"best {self.monitored}", best),
            ("red flags", ", ".join(dict.fromkeys(flag.name for flag in self.flags)) or "none"),
        ]
        if self.samples_per_second is not None:
            rows.append(("samples a second", f"{self.samples_per_second:.3g}"))
        if self.peak_memory_gb is not None:
            rows.append(("peak memory (GB)", f"{self.peak_memory_gb:.3g}"))
        return Table(("this run", str(self.folder.name)), rows)

    def flag_table(self) -> Table:
        """Red flags with their cause and remedy, in their order."""
        rows = [(str(f.step), f.name, f.seen, f.cause, f.remedy) for f in self.flags]
        return Table(("step", "flag", "seen", "usually means", "try"), rows or [("", "none", "", "", "")])

    def _after(self, prefix: str) -> dict[str, Curve]:
        return {name.removeprefix(prefix): each for name, each in self.curves.items() if name.startswith(prefix)}

    def _shares(self, prefix: str) -> Shares | None:
        found = self._after(prefix)
        if not found:
            return None
        steps = sorted({step for curve in found.values() for step in curve.steps})
        known = [dict(zip(curve.steps, curve.values, strict=True)) for curve in found.values()]
        return Shares(list(found), steps, [[each.get(step, 0.0) for step in steps] for each in known])


def read_run(path: Path | str) -> RunReading:
    """Read what a run left in its folder, also while it trains.

    Args:
        path: the folder of a run, its best checkpoint, or a folder of runs, of which the newest is taken.

    Raises:
        InputError: if there is no run, or its files are damaged.
    """
    folder = _folder(Path(path))
    rows = read_rows(folder / TABLE)
    epochs: dict[int, int] = {}
    for row in rows:
        if (row.get("epoch") or "").isdecimal():
            epochs[int(row["epoch"])] = int(row["step"])
    return RunReading(folder, read_config(folder / CONFIG), _curves(rows), epochs, _flags(folder / FLAGS))


def _folder(path: Path) -> Path:
    if path.suffix == ".ckpt":
        path = path.parent.parent
    if (path / TABLE).is_file():
        return path
    found = [file.parent for file in path.glob(f"**/{TABLE}") if not OTHER_VERBS.fullmatch(file.parent.name)]
    if not found:
        raise InputError(f"{path}: expected the folder of a run, with {TABLE} and {CONFIG}; train one with `fit`")
    return max(found, key=lambda each: (each / TABLE).stat().st_mtime)


def _curves(rows: Iterable[dict[str, str]]) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    for row in rows:
        for name, text in row.items():
            value = _number(text)
            if name not in ("step", "epoch") and value is not None:
                called = names.named(name)
                curve = curves.setdefault(called, Curve(called, [], []))
                curve.steps.append(int(row["step"]))
                curve.values.append(value)
    return dict(sorted(curves.items()))


def _number(text: Any) -> float | None:
    """A cell's value; nothing where it is empty."""
    try:
        return float(text) if text else None
    except (TypeError, ValueError):
        return None


def _flags(path: Path) -> list[RaisedFlag]:
    if not path.is_file():
        return []
    try:
        whole = path.read_text(encoding="utf-8").rpartition("\n")[0]  # a killed process may have left half a line
        lines = [json.loads(line) for line in whole.splitlines() if line.strip()]
        return [RaisedFlag(x["step"], x["epoch"], x["name"], x["seen"], x["means"], x["try"]) for x in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: expected the red flags of a run, an object a line ({error!r})") from None


def _below(config: dict[str, Any], key: str) -> dict[str, Any]:
    part = config.get(key)
    return part if isinstance(part, dict) else {}
