"""The folds of a cross-validation: a run each, and which photos it trains on and which it has never seen."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdr_lightning.data.of_run import data_of, read_config
from hdr_lightning.data.split_file import count_folds
from hdr_lightning.data.splits import Split, hash_names
from hdr_lightning.errors import InputError
from hdr_lightning.generators.loading import read_checkpoint
from hdr_lightning.run_config import changed
from hdr_lightning.run_process import Run


@dataclass(frozen=True)
class Fold:
    """One fold.

    Attributes:
        run: that trains it.
        split: what it trains on, and what validates it.
    """

    run: Run
    split: Split

    @property
    def name(self) -> str:
        """Such as `fold_0`."""
        return self.run.name

    @property
    def config(self) -> Path:
        """The configuration that its run was trained with."""
        return self.run.folder / self.name / "config.yaml"

    def text(self) -> str:
        """It in words."""
        scenes = len({pair.group for pair in self.split.validation})
        return f"{self.name}: {len(self.split.train)} train, {len(self.split.validation)} of {scenes} scenes validate"


def plan_folds(config: Mapping[str, Any], count: int, folder: Path, seed: int) -> list[Fold]:
    """Divide the data of a configuration.

    Args:
        config: that every fold is trained with.
        count: how many folds there are.
        folder: of the cross-validation.
        seed: of the runs.

    Raises:
        InputError: if the data cannot be divided so.
    """
    if count < 2:
        raise InputError(f"--folds: expected 2 or more, got {count}")
    data = config.get("data") or {}
    if data.get("stream") is not None:
        raise InputError("data.stream holds pairs that were split when they were written: leave it out, or null")
    of_file = data.get("split")
    if of_file is not None and count_folds(Path(of_file)) != count:
        raise InputError(
            f"{of_file} holds {count_folds(Path(of_file))} folds: give that --folds, or leave out data.split"
        )
    folds = []
    for number in range(count):
        own = changed(config, {"data.fold": number} | ({} if of_file is not None else {"data.folds": count}))
        run = Run(folder, f"fold_{number}", seed, own)
        folds.append(Fold(run, data_of(own, folder / run.name).split))
    check_folds(folds)
    return folds


def read_folds(runs: Sequence[Run]) -> list[Fold]:
    """What trained runs say of themselves, believed only where their checkpoints agree.

    Raises:
        InputError: if a network may have seen a photo that it is to be measured on.
    """
    folds = []
    for run in runs:
        config = run.folder / run.name / "config.yaml"
        folds.append(Fold(run, data_of(read_config(config), config).split))
    check_folds(folds)
    for fold in folds:
        check_checkpoint(fold.run.best, fold.split)
    return folds


def check_folds(folds: Sequence[Fold]) -> None:
    """Refuse folds that are not those of one data set.

    Raises:
        InputError: if a photo validates in no fold or in several, if a photo or a photo of its scene is trained on
            where it validates, or if the folds hold out different test sets, or train on photos of it.
    """
    counted = Counter(pair.name for fold in folds for pair in fold.split.validation)
    used = {pair.name for fold in folds for pair in (*fold.split.train, *fold.split.validation)}
    for name in sorted(used):
        if counted[name] != 1:
            raise InputError(
                f"{name} validates in {counted[name]} of the folds, and is to do so in one: they were not trained as "
                "folds of one data set; train them anew, in another --output"
            )
    tests = [{pair.source for pair in fold.split.test} for fold in folds]
    for fold, test in zip(folds, tests, strict=True):
        if test != tests[0]:
            raise InputError(f"{fold.name} holds out another test set than {folds[0].name}: train it anew")
        if test & {pair.source for pair in (*fold.split.train, *fold.split.validation)}:
            raise InputError(f"{fold.name} trains or validates on photos of the test set")
        seen, scenes = {pair.name for pair in fold.split.train}, {pair.group for pair in fold.split.train}
        for pair in fold.split.validation:
            if pair.name in seen or pair.group in scenes:
                raise InputError(f"{fold.name} trains on {pair.name} or on its scene, and would be measured on it")


def check_checkpoint(path: Path, split: Split) -> None:
    """Refuse a network that was not trained as its run's configuration divides the pairs today.

    Raises:
        InputError: if its checkpoint says so, or does not say.
    """
    kept = read_checkpoint(path).get("PairDataModule", {})
    if kept.get("validated") != hash_names(split.validation) or kept.get("held_out") != hash_names(split.test):
        raise InputError(
            f"{path} does not say that it was trained with those photos held out that its configuration names today, "
            "so it may have seen what it would be measured on: restore the manifest, or train in another --output"
        )
