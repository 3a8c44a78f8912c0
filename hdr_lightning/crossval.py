"""Train the folds of a data set, measure every photo by the network that did not see it, and the folds together."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from hdr_lightning.crossvalidation.folds import Fold, plan_folds, read_folds
from hdr_lightning.crossvalidation.measuring import TrainedFolds
from hdr_lightning.crossvalidation.outcome import Crossvalidation, compare_together, fold_figures, means_of
from hdr_lightning.crossvalidation.tables import markdown
from hdr_lightning.data.files import make_folder, writing
from hdr_lightning.errors import InputError, RunStopped
from hdr_lightning.evaluation.measuring import choose_measures
from hdr_lightning.inference import Editing
from hdr_lightning.inference.enhancer import Device, choose_device
from hdr_lightning.progress import duration
from hdr_lightning.run_config import Budget, changed, plain, read_base
from hdr_lightning.run_folder import is_finished
from hdr_lightning.run_process import Outcome, train
from hdr_lightning.signals import SIGNALS


def crossval(
    base: Path,
    output: Path,
    folds: int = 3,
    settings: dict | None = None,  # type: ignore[type-arg]  # of Any, classes would be made
    seed: int = 0,
    budget: Budget = Budget(),  # noqa: B008 - immutable
    measures: Sequence[str] = (),
    tta: bool = False,
    test: bool = True,
    cost: bool = True,
    device: Device = "auto",
    modules: Sequence[str] = (),
    hours: float | None = None,
    dry_run: bool = False,
) -> Path:
    """Train a network for each fold, and measure them where they have not been: each alone, and all together.

    The pairs that no test holds out are divided into folds, whole scenes to each. The network of a fold is trained on
    the others, in a process and a folder of its own (`fold_0`, `fold_1`, ...), and measured on its own. Interrupted,
    the same command goes on. Several workers, started by the same command, share the folds; the last one evaluates.

    Args:
        base: the configuration that every fold is trained with.
        output: folder of the folds and of what is found.
        folds: how many.
        settings: what differs from the base, by dotted keys, such as --settings.data.crop=64.
        seed: of every run; `data.split_seed` divides the pairs.
        budget: what every run may use; the base configuration's if nothing is given.
        measures: what is measured, such as [psnr, ssim]; all that is possible if nothing is given.
        tta: whether the results of the eight flips and quarter turns are averaged where networks are measured.
        test: whether the networks and their average are measured on the held-out photos; that is counted as `test` is.
        cost: whether operations, time and memory are measured, too.
        device: where to measure; auto takes a GPU if there is one.
        modules: Python modules to import first, for generators of your own.
        hours: after which no run goes on; the same command goes on later.
        dry_run: whether to say what would be trained, and train nothing.

    Returns:
        The folder, with crossval.json, crossval.md, and the reports `out_of_fold` and `test`.

    Raises:
        InputError: if the data cannot be divided, a configuration is refused, or a network may have seen a photo that
            it is to be measured on.
        RunStopped: if a fold failed.
        RunInterrupted: if a signal ended it.
    """
    given = plain(settings or {})
    config = changed(read_base(base), given)
    planned = plan_folds(changed(config, budget.settings(config)), folds, output, seed)
    print("\n".join([f"{folds} folds in {output}:", *(f"  {fold.text()}" for fold in planned)]))
    if test and not planned[0].split.test:
        raise InputError("no pairs are held out for the test: set data.test, or leave it closed with --test=false")
    if dry_run:
        return output
    choose_measures(measures, True, torch.device("cpu"), "alex", None, None)  # told now what cannot be measured
    make_folder(output)
    until = time.monotonic() + (math.inf if hours is None else 3600 * hours)
    with SIGNALS.listening():
        if not _train(planned, until):
            return output
        with _alone(output / ".evaluation.lock") as mine:
            if not mine:
                print("all folds are trained, and another worker measures them")
                return output
            chosen = choose_measures(measures, True, choose_device(device), "alex", None, None)
            trained = read_folds([fold.run for fold in planned])
            networks = TrainedFolds(trained, output, Editing(tta=tta), device, modules, chosen, cost)
            unseen = networks.out_of_fold()
            figures = fold_figures(trained, unseen)
            together = compare_together(networks.test(), figures) if test else None
            _write(output, Crossvalidation(str(base), given, seed, figures, means_of(unseen, figures), together))
    return output


def _train(folds: Sequence[Fold], until: float) -> bool:
    """Train what no other worker trains; `fit` itself knows what is finished, and refuses other configurations.

    Returns:
        Whether all folds are trained.
    """
    left, failed = list(folds), []
    while time.monotonic() < until and (done := _train_one(left, until)) is not None:
        fold, outcome = done
        left.remove(fold)
        if outcome == "failed":
            failed.append(str(fold.run.output))
    if failed:
        raise RunStopped(f"{len(failed)} folds failed: see the end of {', '.join(failed)}; the same command goes on")
    waiting = [fold.name for fold in folds if not is_finished(fold.config.parent)]
    if waiting:
        print(f"not trained yet: {', '.join(waiting)}; the same command, or the worker that trains them, goes on")
    return not waiting


def _timed_out(fold: Fold) -> bool:
    """Whether it used up its `trainer.max_time`, of which `fit` would give it a little more."""
    return is_finished(fold.config.parent) and (fold.run.config.get("trainer") or {}).get("max_time") is not None


def _train_one(folds: Sequence[Fold], until: float) -> tuple[Fold, Outcome] | None:
    """Train the first fold that nobody trains; what a killed worker left is free again."""
    for fold in folds:
        with _alone(fold.run.folder / f".{fold.name}.worker.lock") as mine:
            if mine:
                start = time.monotonic()
                timed_out = _timed_out(fold)  # by now: another worker may have trained it meanwhile
                outcome = "finished" if timed_out else train(fold.run, "val/psnr", lambda step, value: False, until)
                print(f"{fold.name}: {outcome} after {duration(time.monotonic() - start)}", flush=True)
                return fold, outcome
    return None


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether no other worker has this lock, which is kept until the block ends."""
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _write(output: Path, found: Crossvalidation) -> None:
    text = markdown(found)
    for name, content in (("crossval.json", found.to_json()), ("crossval.md", text)):
        with writing(output / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    print(text)
    print(f"reports: {', '.join(str(path) for path in sorted(output.glob('*/report.html')))}")
