"""Train what a file varies, seed by seed, and compare the outcomes."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from optuna.trial import TrialState

from hdr_lightning.ablation.space import Point, Range, Settings, changed, expand, flat, plain
from hdr_lightning.ablation.study import Claim, Storage, Study
from hdr_lightning.ablation.sweep import sweep_parameters, write_sweep
from hdr_lightning.errors import InputError, RunStopped
from hdr_lightning.progress import duration
from hdr_lightning.run_process import Run, read_course, train


@dataclass(frozen=True)
class Budget:
    """What every run may use, so that a comparison is fair; the base configuration's where nothing is given.

    Attributes:
        epochs: passes over the data.
        steps: of the optimiser.
        samples: crops that are seen.
        minutes: on the clock; the schedule of the rate still counts epochs.
    """

    epochs: int | None = None
    steps: int | None = None
    samples: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) > 1 or any(value <= 0 for value in given.values()):
            raise InputError(f"the budget is one of epochs, steps, samples and minutes, above 0: got {given}")

    def settings(self, config: Mapping[str, Any]) -> Settings:
        """What it changes of a configuration."""
        if self.epochs is not None:
            return {"trainer.max_epochs": self.epochs}
        if self.minutes is not None:
            seconds = round(60 * self.minutes)
            return {"trainer.max_time": {"seconds": seconds}}
        steps = self.steps
        if self.samples is not None:
            trainer, data = config.get("trainer", {}), config.get("data", {})
            devices, accumulate = trainer.get("devices", 1), trainer.get("accumulate_grad_batches", 1)
            if "batch_size" not in data or not isinstance(devices, int):
                raise InputError("a budget in samples needs data.batch_size, and a number of trainer.devices")
            steps = math.ceil(self.samples / (data["batch_size"] * accumulate * devices * trainer.get("num_nodes", 1)))
        return {} if steps is None else {"trainer.max_steps": steps, "trainer.max_epochs": -1}


def ablate(
    base: Path,
    output: Path,
    variations: dict[str, dict] | None = None,  # type: ignore[type-arg]  # of Any, classes would be made
    grid: dict[str, list] | None = None,  # type: ignore[type-arg]
    search: dict[str, Range] | None = None,
    settings: dict | None = None,  # type: ignore[type-arg]
    seeds: Sequence[int] = (0, 1, 2),
    trials: int = 20,
    budget: Budget = Budget(),
    metric: str = "val/psnr",
    maximise: bool = True,
    prune: bool = False,
    storage: Storage = "journal",
    hours: float | None = None,
    retry: bool = False,
    dry_run: bool = False,
    sweep: Path | None = None,
) -> Path:
    """Train every point of an ablation for every seed, each run a process of its own, and go on where it was.

    Args:
        base: the configuration that is varied.
        output: folder of the ablation: its study, and for every point a folder with its runs.
        variations: by name, settings by their dotted keys; null takes a key out, such as a term of a loss.
        grid: by key, values; crossed with each other and with the variations.
        search: by key, a range (low, high, log, whole) or choices; the study proposes points.
        settings: what all points have in common beside the base.
        seeds: of the runs of each point.
        trials: points of the search.
        budget: what every run may use.
        metric: what is compared, at its best of each run.
        maximise: whether more of it is better.
        prune: whether a point that does worse than half of the others at the same step is given up.
        storage: a journal, or an SQLite database.
        hours: after which no run goes on; the same command goes on later.
        retry: whether points that failed are trained once more.
        dry_run: whether to say what would be trained, and train nothing.
        sweep: a file to write the grid or the search to, as a sweep of W&B, instead of training.

    Returns:
        The folder.

    Raises:
        InputError: if there is nothing to train, or a configuration is refused.
        RunStopped: if points failed.
        RunInterrupted: if a signal ended it.
    """
    plan = Plan(_read(base), plain(settings or {}), budget, seeds, output)
    points = [] if search and not variations and not grid else expand(plain(variations or {}), plain(grid or {}))
    for point in points:
        plan.config(point)  # told now what cannot be
    for key, space in (search or {}).items():
        space.check(key)
    if not seeds:
        raise InputError("an ablation needs a seed: give --seeds")
    if sweep is not None:
        if budget.samples is not None:
            raise InputError("the runs of a sweep have one number of steps: give a budget in steps or epochs")
        parameters = sweep_parameters(variations or {}, plain(grid or {}), search or {}, plan.seeds)
        config = changed(plan.config(Point("base", {})), {"trainer.default_root_dir": str(output)})
        return write_sweep(sweep, config, parameters, trials if search else None, metric, maximise, prune)
    print(plan.text(points, search or {}, trials))
    if dry_run:
        return output
    study = Study(output, maximise, storage, prune)
    study.fill(points)
    if retry:
        print(f"{study.again()} points that failed are trained once more")
    until = time.monotonic() + (math.inf if hours is None else 3600 * hours)
    while time.monotonic() < until and (claim := study.claim(search or {}, trials)) is not None:
        try:
            _train_point(plan, study, claim, metric, until)
        finally:
            claim.leave()
    failed = study.failed()
    if failed:
        raise RunStopped(
            f"{len(failed)} points failed: {', '.join(failed)}; see the end of the .log files in {output}, and train "
            "them once more with --retry=true"
        )
    return output


class Plan:
    """What a point becomes: a configuration and a folder.

    Args:
        base: the configuration that is varied.
        common: settings of all points.
        budget: of every run.
        seeds: of the runs of a point.
        folder: of the ablation.
    """

    def __init__(
        self, base: Mapping[str, Any], common: Settings, budget: Budget, seeds: Sequence[int], folder: Path
    ) -> None:
        self.base = changed(base, common)
        self.budget = budget
        self.seeds = list(dict.fromkeys(seeds))
        self.folder = folder

    def config(self, point: Point) -> dict[str, Any]:
        """The configuration of a point.

        Raises:
            InputError: if its settings cannot be made.
        """
        try:
            config = changed(self.base, point.settings)
            return changed(config, self.budget.settings(config))
        except InputError as error:
            raise InputError(f"{point.name}: {error}") from None

    def runs(self, point: Point) -> list[Run]:
        """The runs of a point."""
        config = self.config(point)
        return [Run(self.folder / point.name, f"seed_{seed}", seed, config, self.folder) for seed in self.seeds]

    def text(self, points: Sequence[Point], search: Mapping[str, Range], trials: int) -> str:
        """What will be trained, in words."""
        lines = [f"  {point.name}: {', '.join(flat(point.settings)) or 'as it is'}" for point in points]
        if search:
            lines.append(f"  {trials} points of {', '.join(search)}")
        count = (len(points) + (trials if search else 0)) * len(self.seeds)
        return "\n".join([f"{count} runs in {self.folder}, for each point {len(self.seeds)} seeds:", *lines])


def _train_point(plan: Plan, study: Study, claim: Claim, metric: str, until: float) -> None:
    best: list[float] = []
    for index, run in enumerate(plan.runs(claim.point)):
        start = time.monotonic()

        def look(step: int, value: float, first: bool = index == 0) -> bool:
            return first and study.hopeless(claim, step, value)

        outcome = train(run, metric, look, until)
        course = [value for _, value in read_course(run.table, metric)]
        found = (max if study.maximise else min)(course, default=math.nan)
        took = duration(time.monotonic() - start)
        print(f"{claim.point.name}, {run.name}: {outcome} after {took}, {metric} {found:.5g}", flush=True)
        if outcome == "late":
            return
        if outcome != "finished" or not math.isfinite(found):
            study.tell(claim, None, TrialState.PRUNED if outcome == "pruned" else TrialState.FAIL)
            return
        best.append(found)
    study.tell(claim, sum(best) / len(best))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a configuration of `fit` ({error})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a configuration of `fit`, keys and values")
    return content
