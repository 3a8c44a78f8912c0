"""Points are each trained once, however many workers there are and however they end."""

import optuna
import pytest
from optuna.trial import TrialState

from hdr_lightning.ablation.space import Point, Range
from hdr_lightning.ablation.study import Study
from hdr_lightning.errors import InputError

POINTS = [Point("a", {}), Point("b", {"model.loss.init_args.terms.window": None})]


@pytest.fixture(params=["journal", "sqlite"])
def study(request, tmp_path):
    def opened(prune=False):
        return Study(tmp_path / "ablation", "val/psnr", maximise=True, storage=request.param, prune=prune)

    return opened


def names(study, trials=0, search=None):
    found = []
    while (claim := study.claim(search or {}, trials)) is not None:
        found.append(claim.point)
        study.tell(claim, 1.0)
    return found


def test_every_point_comes_once_and_stays_done(study):
    first = study()
    first.fill(POINTS)
    assert names(first) == POINTS
    again = study()
    again.fill(POINTS)
    assert names(again) == []


def test_two_workers_share_the_points(study):
    one, other = study(), study()
    one.fill(POINTS)
    other.fill(POINTS)
    claims = [each.claim({}, 0) for each in (one, other, one)]
    assert claims[2] is None
    assert [claim.point for claim in claims[:2]] == POINTS


def test_what_a_worker_left_is_taken_up_by_the_next(study):
    one, other = study(), study()
    one.fill(POINTS)
    left = one.claim({}, 0)
    left.leave()  # as a killed process leaves its lock
    taken = other.claim({}, 0)
    assert (taken.trial.number, taken.point) == (left.trial.number, POINTS[0])
    other.tell(taken, 2.0)
    assert one.study.trials[0].value == 2.0


def test_points_that_failed_wait_again_once(study):
    one = study()
    one.fill(POINTS)
    one.tell(one.claim({}, 0), None)
    one.tell(one.claim({}, 0), 1.0)
    assert list(one.failed()) == ["a"]
    assert one.again(list(one.failed().values())) == 1
    assert names(one) == POINTS[:1]
    assert one.again(list(one.failed().values())) == 0


def test_a_search_stays_in_its_ranges_and_ends(study):
    search = {"x": Range(1e-4, 1e-2, log=True), "n": Range(2, 5, whole=True), "c": Range(choices=["p", "q"])}
    found = names(study(), 6, search)
    assert len(found) == 6
    assert len({point.name for point in found}) == 6
    for point in found:
        assert 1e-4 <= point.settings["x"] <= 1e-2
        assert point.settings["n"] in (2, 3, 4, 5)
        assert point.settings["c"] in ("p", "q")
    assert names(study(), 6, search) == []


def test_optuna_itself_reads_the_journal(tmp_path):
    study = Study(tmp_path / "ablation", "val/psnr", maximise=True, storage="journal", prune=False)
    study.fill(POINTS)
    names(study)
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "ablation" / "study.journal"))
    loaded = optuna.load_study(study_name="ablation", storage=optuna.storages.JournalStorage(backend))
    assert [trial.state for trial in loaded.trials] == [TrialState.COMPLETE] * 2


def test_what_does_worse_than_the_others_is_given_up(study):
    one = study(prune=True)
    one.fill([Point(f"p{n}", {}) for n in range(6)])
    verdicts = []
    for n in range(6):
        claim = one.claim({}, 0)
        verdicts.append(one.hopeless(claim, 100, -1.0 if n == 5 else float(n)))
        one.tell(claim, float(n))
    assert verdicts == [False] * 5 + [True]


def test_a_name_with_other_settings_is_refused(study):
    one = study()
    one.fill(POINTS)
    with pytest.raises(InputError, match="holds 'a' with other settings"):
        one.fill([Point("a", {"x": 1})])
