"""Train what a file varies, seed by seed, and compare the outcomes."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hdr_lightning.ablation.runs import add_seconds, best_value, check_unchanged, steps_of
from hdr_lightning.ablation.space import TRIAL, Point, Range, expand, flat
from hdr_lightning.ablation.study import Claim, Storage, Study
from hdr_lightning.ablation.summarise import Trained, compare_points, write_outcome
from hdr_lightning.ablation.sweep import sweep_parameters, write_sweep
from hdr_lightning.ablation.tables import to_text
from hdr_lightning.errors import InputError, RunStopped
from hdr_lightning.progress import duration
from hdr_lightning.run_config import Budget, changed, plain, read_base
from hdr_lightning.run_process import Run, train
from hdr_lightning.signals import SIGNALS


def ablate(
    base: Path,
    output: Path,
    variations: dict | None = None,  # type: ignore[type-arg]  # of Any, classes would be made
    grid: dict[str, list] | None = None,  # type: ignore[type-arg]
    search: dict[str, Range] | None = None,
    settings: dict | None = None,  # type: ignore[type-arg]
    seeds: Sequence[int] = (0, 1, 2),
    trials: int = 20,
    budget: Budget = Budget(),  # noqa: B008 - immutable
    metric: str = "val/psnr",
    maximise: bool = True,
    prune: bool = False,
    storage: Storage = "journal",
    hours: float | None = None,
    retry: bool = False,
    reference: str | None = None,
    summarise: bool = False,
    dry_run: bool = False,
    sweep: Path | None = None,
) -> Path:
    """Train every point of an ablation for every seed, each run a process of its own, and go on where it was.

    In the end the best networks of all runs are measured on their validation photos and compared: `outcome.md` and
    `report/`. Where several workers train, the last one does it.

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
        reference: name of the point that the others are compared with; the first, of a search the best, if nothing is
            given.
        summarise: whether to train nothing, and only say what the runs that are finished say.
        dry_run: whether to say what would be trained, and train nothing.
        sweep: a file to write the grid or the search to, as a sweep of W&B, instead of training.

    Returns:
        The folder.

    Raises:
        InputError: if there is nothing to train, a configuration is refused, or there is nothing to summarise.
        RunStopped: if points failed.
        RunInterrupted: if a signal ended it.
    """
    points = [] if search and not variations and not grid else expand(plain(variations or {}), plain(grid or {}))
    common = changed(read_base(base), plain(settings or {}))
    plan = Plan(common, budget, seeds, output, points, search or {}, trials if search else 0)
    _check(plan, reference)
    if sweep is not None:
        if budget.samples is not None:
            raise InputError("the runs of a sweep have one number of steps: give a budget in steps or epochs")
        parameters = sweep_parameters(variations or {}, plain(grid or {}), search or {}, plan.seeds)
        config = changed(plan.config(Point("base", {})), {"trainer.default_root_dir": str(output)})
        return write_sweep(sweep, config, parameters, trials if search else None, metric, maximise, prune)
    print(plan.text())
    if dry_run:
        return output
    if summarise and not Study.exists(output, storage):
        raise InputError(f"{output} holds no ablation yet: train it first, without --summarise")
    study = Study(output, metric, maximise, storage, prune)
    with SIGNALS.listening():
        if not summarise:
            _check_finished(plan, study)
            study.fill(points)
            _again(plan, study, retry)
            until = time.monotonic() + (math.inf if hours is None else 3600 * hours)
            _train(plan, study, metric, until)
        _conclude(plan, study, metric, reference, wait=not summarise)
    failed = [name for name, point in study.failed().items() if plan.asks(point)]
    if failed and not summarise:
        raise RunStopped(
            f"{len(failed)} points failed: {', '.join(failed)}; see the end of the .log files in {output}, and train "
            "them once more with --retry"
        )
    return output


def _check(plan: "Plan", reference: str | None) -> None:
    """Tell now what cannot be, before anything is trained."""
    for point in plan.points:
        plan.config(point)
    for key, space in plan.search.items():
        space.check(key)
    if plan.search and plan.trials < 1:
        raise InputError(f"--trials: expected 1 or more points of the search, got {plan.trials}")
    if not plan.seeds:
        raise InputError("an ablation needs a seed: give --seeds")
    if reference is not None and not plan.asks(Point(reference, {})):
        names = [*plan.names, *([f"{TRIAL}0000, ..."] if plan.search else [])]
        raise InputError(f"--reference {reference}: the points are {', '.join(names)}")


def _check_finished(plan: "Plan", study: Study) -> None:
    for point, _ in study.points():
        if plan.asks(point):
            for run in plan.runs(point):
                check_unchanged(run)


class Plan:
    """What a point becomes: a configuration and a folder.

    Args:
        base: the configuration that is varied.
        budget: of every run.
        seeds: of the runs of a point.
        folder: of the ablation.
        points: that were named.
        search: what is searched for more, by key.
        trials: points of the search.
    """

    def __init__(
        self,
        base: Mapping[str, Any],
        budget: Budget,
        seeds: Sequence[int],
        folder: Path,
        points: Sequence[Point],
        search: Mapping[str, Range],
        trials: int,
    ) -> None:
        self.base = base
        self.budget = budget
        self.seeds = list(dict.fromkeys(seeds))
        self.folder = folder
        self.points = list(points)
        self.names = [point.name for point in points]
        self.search = search
        self.trials = trials

    def asks(self, point: Point) -> bool:
        """Whether a point, such as one of the study, is asked for; others left the file since."""
        return point.name in self.names or (bool(self.search) and point.name.startswith(TRIAL))

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

    def text(self) -> str:
        """What will be trained, in words."""
        lines = [f"  {point.name}: {', '.join(flat(point.settings)) or 'as it is'}" for point in self.points]
        if self.search:
            lines.append(f"  {self.trials} points of {', '.join(self.search)}")
        count = (len(self.points) + self.trials) * len(self.seeds)
        return "\n".join([f"{count} runs in {self.folder}, for each point {len(self.seeds)} seeds:", *lines])


def _again(plan: Plan, study: Study, retry: bool) -> None:
    """Let points wait that were trained for fewer seeds than there are now, and those that failed, where asked to."""
    fewer = [
        point
        for point, state in study.points()
        if state == "complete" and plan.asks(point) and any(steps_of(run) is None for run in plan.runs(point))
    ]
    if fewer and (count := study.again(fewer)):
        print(f"{count} points are trained for more seeds")
    if retry:
        failed = [point for point in study.failed().values() if plan.asks(point)]
        print(f"{study.again(failed)} points that failed are trained once more")


def _train(plan: Plan, study: Study, metric: str, until: float) -> None:
    while time.monotonic() < until and (claim := study.claim(plan.search, plan.trials, plan.asks)) is not None:
        try:
            _train_point(plan, study, claim, metric, until)
        except InputError as error:
            if claim.point.name in plan.names:
                raise
            study.tell(claim, None)  # of what a search proposes, some cannot be built
            if all(state != "complete" for _, state in study.points()):
                raise
            print(f"failed: {error}", flush=True)
        finally:
            claim.leave()


def _train_point(plan: Plan, study: Study, claim: Claim, metric: str, until: float) -> None:
    best: list[float] = []
    for index, run in enumerate(plan.runs(claim.point)):
        start = time.monotonic()

        def look(step: int, value: float, first: bool = index == 0) -> bool:
            return first and study.hopeless(claim, step, value)

        known = steps_of(run)
        try:
            outcome = train(run, metric, look, until) if known is None else "finished"
        finally:
            if known is None:
                add_seconds(run, time.monotonic() - start)
        found = best_value(run, metric, study.maximise)
        took = duration(time.monotonic() - start)
        print(f"{claim.point.name}, {run.name}: {outcome} after {took}, {metric} {found:.5g}", flush=True)
        if outcome == "late":
            return
        if outcome != "finished" or not math.isfinite(found):
            study.tell(claim, None, pruned=outcome == "pruned")
            return
        best.append(found)
    study.tell(claim, sum(best) / len(best))


def _conclude(plan: Plan, study: Study, metric: str, reference: str | None, wait: bool) -> None:
    """Say what the runs say; `wait` leaves that to a worker that still trains."""
    if wait and study.busy():
        print("other workers still train: the last of them writes the outcome (at any time: --summarise)")
        return
    order = {name: place for place, name in enumerate(plan.names)}
    known = sorted(study.points(), key=lambda each: order.get(each[0].name, len(order)))
    trained = [Trained(point, plan.runs(point), state) for point, state in known if plan.asks(point)]
    if wait and not any(steps_of(run) is not None for each in trained for run in each.runs):
        print("no run is finished yet: the same command goes on")
        return
    try:
        with FileLock(plan.folder / ".outcome.lock", timeout=0):
            found = compare_points(
                trained, metric, study.maximise, reference, not plan.names, study.importances(plan.search)
            )
            write_outcome(found, trained, plan.folder)
    except Timeout:
        print("another worker writes the outcome")
        return
    print(to_text(found))
    page = "" if found.evaluation is None else f", its photos: {plan.folder / 'report' / 'report.html'}"
    print(f"outcome: {plan.folder / 'outcome.md'}{page}")
