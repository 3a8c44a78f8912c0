"""The Optuna study of an ablation: which points there are, which one to train next, and what became of each.

Several workers, on several machines, may take points from one study; one that was killed leaves its point to the next.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from hdr_lightning.ablation.space import TRIAL, Point, Range
from hdr_lightning.data.files import make_folder
from hdr_lightning.errors import InputError

try:
    import optuna
    from optuna.distributions import check_distribution_compatibility
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.pruners import MedianPruner, NopPruner
    from optuna.samplers import TPESampler
    from optuna.storages import BaseStorage, JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.study import StudyDirection
    from optuna.trial import Trial, TrialState
except ImportError as error:
    raise InputError(f"Optuna is not there ({error}): pip install 'hdr-lightning[ablation]'") from None

Storage = Literal["journal", "sqlite"]

FILES: dict[Storage, str] = {"journal": "study.journal", "sqlite": "study.db"}

FEW = 10
"""Points of a search below which nobody can tell which key matters."""

POINT = "point"
"""The attribute of a trial that holds its point."""

METRIC = "metric"
"""The attribute of a study that holds what is compared."""


class Claim:
    """A point that this process trains, until it is told what became of it or left.

    Attributes:
        trial: of the study.
        point: what to train.
    """

    def __init__(self, trial: Trial, point: Point, lock: FileLock) -> None:
        self.trial = trial
        self.point = point
        self._lock = lock

    def leave(self) -> None:
        """Let another worker go on with it."""
        self._lock.release()


class Study:
    """Points of an ablation, and who trains them.

    Args:
        folder: of the ablation.
        metric: what is compared.
        maximise: whether more of it is better.
        storage: a journal, which file systems of clusters bear, or an SQLite database.
        prune: whether a point that does worse than half of the others at the same step is given up.

    Raises:
        InputError: if the folder cannot be made, or holds a study of another storage, metric or direction.
    """

    def __init__(self, folder: Path, metric: str, maximise: bool, storage: Storage, prune: bool) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.folder = folder
        self.maximise = maximise
        make_folder(folder)
        for other in FILES:
            if other != storage and self.exists(folder, other):
                raise InputError(f"{folder} holds a study already: take --storage={other}, or another --output")
        self._lock = FileLock(folder / ".study.lock")
        with self._lock:
            kept = _storage(folder, storage)
            names = [each.study_name for each in kept.get_all_studies()]  # another name where the folder was moved
            self.study = optuna.create_study(
                study_name=names[0] if names else folder.resolve().name,
                storage=kept,
                direction=StudyDirection.MAXIMIZE if maximise else StudyDirection.MINIMIZE,
                pruner=MedianPruner(n_startup_trials=4) if prune else NopPruner(),
                load_if_exists=True,
            )
            if METRIC not in self.study.user_attrs:
                self.study.set_user_attr(METRIC, metric)
            known = self.study.user_attrs[METRIC]
        if known != metric:
            raise InputError(f"{folder} holds a study of {known}: take --metric={known}, or another --output")
        if (self.study.direction == StudyDirection.MAXIMIZE) != maximise:
            raise InputError(
                f"{folder} holds a study with --maximise={str(not maximise).lower()}: take that, or another --output"
            )

    def fill(self, points: Sequence[Point]) -> None:
        """Add points that are not in the study.

        Raises:
            InputError: if one of that name has other settings.
        """
        with self._lock:
            known = {point.name: point for point in map(_point_of, self.study.trials) if point is not None}
            for point in points:
                before = known.get(point.name)
                if before is not None and before.settings != _plain(point).settings:
                    raise InputError(
                        f"{self.folder} holds {point.name!r} with other settings: give one another "
                        "name, or take another --output"
                    )
                if before is None:
                    self.study.enqueue_trial({}, user_attrs={POINT: _text(point)})

    def claim(
        self, search: Mapping[str, Range], trials: int, asked: Callable[[Point], bool] = lambda point: True
    ) -> Claim | None:
        """Take a point that nobody trains: one that was left, then one that waits, then a new one of the search.

        Args:
            search: what to search, by key.
            trials: how many points of the search there are to be in all.
            asked: whether a point is still to be trained; the others stay as they are, as if a worker had left them.

        Returns:
            The point, or nothing where none is left.

        Raises:
            InputError: if a key was searched otherwise before.
        """
        with self._lock:
            for frozen in self.study.get_trials(states=(TrialState.RUNNING,)):
                point = _point_of(frozen)
                if point is not None and asked(point) and (lock := self._locked(frozen.number)) is not None:
                    return Claim(Trial(self.study, frozen._trial_id), point, lock)
            for _ in self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                trial = self.study.ask()
                if asked(point := Point(*json.loads(trial.user_attrs[POINT]))):
                    return self._claim(trial, point)
            if not search or sum(bool(each.params) for each in self.study.get_trials(deepcopy=False)) >= trials:
                return None
            self._check(search)
            self.study.sampler = TPESampler(
                seed=len(self.study.trials)
            )  # one seed: each start would try the same again
            trial = self.study.ask({key: space.distribution() for key, space in search.items()})
            point = Point(f"{TRIAL}{trial.number:04d}", trial.params)
            trial.set_user_attr(POINT, _text(point))
            return self._claim(trial, point)

    def _claim(self, trial: Trial, point: Point) -> Claim:
        lock = self._locked(trial.number)
        assert lock is not None
        return Claim(trial, point, lock)

    def _check(self, search: Mapping[str, Range]) -> None:
        """Refuse what Optuna cannot add to what was searched before."""
        for known in self.study.get_trials(deepcopy=False):
            for key in search.keys() & known.distributions.keys():
                try:
                    check_distribution_compatibility(known.distributions[key], search[key].distribution())
                except ValueError as error:
                    raise InputError(f"{key} was searched otherwise before ({error}): take another --output") from None

    def _locked(self, number: int) -> FileLock | None:
        lock = FileLock(self.folder / f".trial_{number}.lock", timeout=0)
        with suppress(Timeout):
            lock.acquire()
            return lock
        return None

    def hopeless(self, claim: Claim, step: int, value: float) -> bool:
        """Note a value on the way, and tell whether the point is to be given up."""
        with self._lock:
            if step not in self.study.trials[claim.trial.number].intermediate_values:  # of a run that went on
                claim.trial.report(value, step)
            return bool(claim.trial.should_prune())

    def tell(self, claim: Claim, value: float | None, pruned: bool = False) -> None:
        """Note what became of a point: its value, or nothing where it was given up, or failed."""
        state = TrialState.PRUNED if pruned else TrialState.FAIL if value is None else TrialState.COMPLETE
        with self._lock:
            self.study.tell(claim.trial, value, state=state)
        claim.leave()

    def failed(self) -> dict[str, Point]:
        """Points that failed, and were not trained since, by name."""
        return {point.name: point for point, state in self.points() if state == "fail"}

    def points(self) -> list[tuple[Point, str]]:
        """Every point, in the order in which it was first there, and its last state, as Optuna calls it."""
        states: dict[str, tuple[Point, str]] = {}
        for trial in self.study.get_trials(deepcopy=False):
            point = _point_of(trial)
            if point is not None:
                states[point.name] = (point, trial.state.name.lower())
        return list(states.values())

    def busy(self) -> bool:
        """Whether another worker trains a point."""
        with self._lock:
            running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            for each in running:
                lock = self._locked(each.number)
                if lock is None:
                    return True
                lock.release()
        return False

    def importances(self, search: Mapping[str, Range]) -> dict[str, float]:
        """How much of the difference between all points and the best tenth each key makes (PED-ANOVA).

        Args:
            search: what was searched, by key.

        Returns:
            Shares by key, the largest first; nothing where there are fewer than two keys or ten points.
        """
        found = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len(search) < 2 or sum(set(search) <= set(each.params) for each in found) < FEW:
            return {}
        return get_param_importances(self.study, evaluator=PedAnovaImportanceEvaluator(), params=list(search))

    @staticmethod
    def exists(folder: Path, storage: Storage) -> bool:
        """Whether there is a study in a folder."""
        return (folder / FILES[storage]).is_file()

    def again(self, points: Sequence[Point]) -> int:
        """Let points that failed, or were trained for fewer seeds, wait once more.

        Returns:
            How many do, and did not yet.
        """
        names = [point.name for point in points]
        with self._lock:
            ended = [point for point, state in self.points() if state in ("fail", "complete") and point.name in names]
            for point in ended:
                self.study.enqueue_trial({}, user_attrs={POINT: _text(point)})
        return len(ended)


def _storage(folder: Path, kind: Storage) -> BaseStorage:
    path = folder / FILES[kind]
    return RDBStorage(f"sqlite:///{path}") if kind == "sqlite" else JournalStorage(JournalFileBackend(str(path)))


def _text(point: Point) -> str:
    return json.dumps([point.name, point.settings])


def _plain(point: Point) -> Point:
    """The point as it comes back from the study."""
    name, settings = json.loads(_text(point))
    return Point(name, settings)


def _point_of(trial: optuna.trial.FrozenTrial) -> Point | None:
    text = trial.user_attrs.get(POINT)
    return None if text is None else Point(*json.loads(text))
