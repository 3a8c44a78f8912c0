"""From the runs of an ablation to its outcome: measured on the validation photos, averaged over seeds, compared."""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hdr_lightning.ablation.drawing import draw_points, draw_search
from hdr_lightning.ablation.outcome import FILE, Outcome, PointOutcome, middle
from hdr_lightning.ablation.runs import Costs, best_value, load_run, measure_run, seconds_of, steps_of
from hdr_lightning.ablation.space import Point
from hdr_lightning.ablation.tables import to_csv, to_markdown
from hdr_lightning.data.files import writing, writing_folder
from hdr_lightning.errors import InputError
from hdr_lightning.evaluate import circumstances
from hdr_lightning.evaluation.contenders import Candidate, Network
from hdr_lightning.evaluation.photos import Photos, validation_photos
from hdr_lightning.evaluation.repeats import LEVEL, RunsDifference, compare_runs, corrected
from hdr_lightning.evaluation.results import SOURCE, Contender, Evaluation
from hdr_lightning.evaluation.statistics import t_interval
from hdr_lightning.progress import track
from hdr_lightning.report.gallery import Gallery
from hdr_lightning.report.page import shown_places, write_report
from hdr_lightning.run_process import Run

SHOWN = 12
"""Points in the report, the reference first: more are too many to look at side by side."""

UNEQUAL = 0.01
"""Share by which the steps of runs may differ before a comparison is called unequal."""


class Trained(NamedTuple):
    """A point of an ablation, its runs, and its state in the study."""

    point: Point
    runs: list[Run]
    state: str


Measured = dict[str, dict[int, Evaluation]]
"""By point and seed."""


def compare_points(
    trained: Sequence[Trained],
    metric: str,
    maximise: bool,
    reference: str | None,
    best_first: bool,
    importances: Mapping[str, float],
) -> Outcome:
    """Measure what is not measured yet, and compare.

    Args:
        trained: the points.
        metric: a column of the runs' tables.
        maximise: whether more of it is better.
        reference: name of the point that the others are compared with; the first if nothing is given.
        best_first: whether points are put in order by the metric, as those of a search.
        importances: of the keys of a search.

    Raises:
        InputError: if no run is finished, there is no such reference, or a checkpoint cannot be used.
    """
    points = [_point(each, metric, maximise) for each in trained]
    if not any(point.values for point in points):
        raise InputError("none of the runs is finished: there is nothing to summarise yet")
    if best_first:
        points.sort(key=lambda point: (math.isnan(point.mean), -point.mean if maximise else point.mean))
    names = [point.name for point in points]
    if reference is not None and reference not in names:
        raise InputError(f"--reference {reference}: there is no such point; there are {', '.join(names)}")
    outcome = Outcome(metric, maximise, reference or names[0], points, importances=dict(importances))
    outcome.facts = circumstances()
    finished = {(point.name, seed) for point in points for seed in point.values}  # others may finish meanwhile
    costs: Costs = {}
    measured: Measured = {}
    for point, runs, _ in trained:
        for run in runs:
            if (point.name, run.seed) in finished and run.best.is_file():
                measured.setdefault(point.name, {})[run.seed] = measure_run(run, costs)
    _enter(outcome, measured)
    outcome.notes += _notes(outcome, trained, measured)
    return outcome


def _point(trained: Trained, metric: str, maximise: bool) -> PointOutcome:
    point, runs, state = trained
    finished = [run for run in runs if steps_of(run) is not None]
    values = {run.seed: best_value(run, metric, maximise) for run in finished}
    values = {seed: value for seed, value in values.items() if math.isfinite(value)}
    mean = sum(values.values()) / len(values) if values else math.nan
    low, high = t_interval(list(values.values()))
    steps = middle([steps_of(run) for run in finished])
    return PointOutcome(
        name=point.name,
        settings=dict(point.settings),
        state=state,
        values=values,
        missing=[run.seed for run in runs if run.seed not in values],
        mean=mean,
        low=low,
        high=high,
        seconds=middle([seconds_of(run) for run in finished]),
        steps=None if steps is None else round(steps),
    )


def _enter(outcome: Outcome, measured: Measured) -> None:
    """Enter what was measured, and the differences where all runs were measured on the same photos."""
    for point in outcome.points:
        for each in measured.get(point.name, {}).values():
            point.generator, point.cost = each.contenders[1].generator, each.contenders[1].cost
            break
    runs = [each for seeds in measured.values() for each in seeds.values()]
    if not runs or any(each.photos != runs[0].photos for each in runs):
        return
    outcome.evaluation = _together(outcome, measured)
    for measure in outcome.evaluation.measures if outcome.reference in measured else ():
        found = {
            point.name: difference
            for point in outcome.points
            if point.name != outcome.reference and point.name in measured
            if (difference := _compare(measured[outcome.reference], measured[point.name], measure)) is not None
        }
        for name, difference in corrected(found).items():
            next(each for each in outcome.points if each.name == name).differences[measure] = difference


def _together(outcome: Outcome, measured: Measured) -> Evaluation:
    """The sources, and the points by their means over seeds, the reference first; a fault of one seed counts."""
    first = next(iter(next(iter(measured.values())).values()))
    points = sorted(
        (each for each in outcome.points if each.name in measured), key=lambda each: each.name != outcome.reference
    )
    contenders, values, faults = [Contender(SOURCE)], {SOURCE: first.values[SOURCE]}, dict[str, dict[str, str]]()
    if SOURCE in first.faults:
        faults[SOURCE] = first.faults[SOURCE]
    for point in points:
        runs = list(measured[point.name].values())
        origin = runs[0].contenders[1].origin
        contenders.append(Contender(point.name, origin, point.generator, point.cost))
        columns = {measure: [_own(each)[measure] for each in runs] for measure in first.values[SOURCE]}
        values[point.name] = {measure: _means(each) for measure, each in columns.items()}
        wrong = {photo: fault for each in runs for photo, fault in each.faults.get(each.title, {}).items()}
        if wrong:
            faults[point.name] = wrong
    facts = {"photos": f"{len(first.photos)}, of the validation", "seeds": "values are means over them"}
    return Evaluation("Ablation", contenders, first.photos, values, faults, "", {**facts, **outcome.facts})


def _own(evaluation: Evaluation) -> dict[str, list[float | None]]:
    """What was measured of the network of a run."""
    return evaluation.values[evaluation.title]


def _means(columns: Sequence[Sequence[float | None]]) -> list[float | None]:
    rows = [[value for value in row if value is not None] for row in zip(*columns, strict=True)]
    return [sum(row) / len(row) if len(row) == len(columns) else None for row in rows]


def _compare(first: Mapping[int, Evaluation], second: Mapping[int, Evaluation], measure: str) -> RunsDifference | None:
    """Compare two points by the seeds and photos that both have; nothing where there are none."""
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return None
    columns = [[_own(side[seed])[measure] for seed in seeds] for side in (first, second)]
    photos = first[seeds[0]].photos
    sound = [
        place for place in range(len(photos)) if all(column[place] is not None for side in columns for column in side)
    ]
    if not sound:
        return None
    one, other = ([[column[place] or 0.0 for place in sound] for column in side] for side in columns)
    return compare_runs(one, other, [photos[place].group for place in sound])


def _notes(outcome: Outcome, trained: Sequence[Trained], measured: Measured) -> list[str]:
    """What a reader has to know."""
    notes = []
    if measured and outcome.evaluation is None:
        notes.append(
            "the runs were validated on different photos, or at other sizes (as where data.fold or data.resize vary): "
            "neither their metrics nor their photos can be compared; compare them on photos that none of "
            "them saw (`evaluate --pairs`)"
        )
    if measured and outcome.reference not in measured:
        notes.append(f"nothing is compared: {outcome.reference} has no finished run; choose another --reference")
    for name, faults in (outcome.evaluation.faults if outcome.evaluation else {}).items():
        notes.append(
            f"{len(faults)} photos of {name} cannot be measured and are left out of its comparisons: see the report"
        )
    if outcome.measure != outcome.metric.removeprefix("val/"):
        notes.append(f"{outcome.metric} is not measured photo by photo: the photos are compared by PSNR")
    compared = [point.differences[outcome.measure] for point in outcome.points if outcome.measure in point.differences]
    if compared and (least := len(compared) * 2.0 ** (1 - compared[0].scenes)) >= LEVEL:
        notes.append(
            f"with {compared[0].scenes} scenes and {len(compared)} comparisons no p of photos below "
            f"{min(least, 1.0):.2g} is possible, so nothing is significant: validate on more scenes, or fewer points"
        )
    steps = [made for each in trained for run in each.runs if (made := steps_of(run)) is not None]
    if steps and max(steps) - min(steps) > UNEQUAL * max(steps):
        notes.append(f"the runs made different numbers of steps, {min(steps):,} to {max(steps):,}: no equal budgets")
    unmeasured = sum(len(point.values) - len(measured.get(point.name, {})) for point in outcome.points)
    if unmeasured > 0:
        notes.append(f"{unmeasured} finished runs have no checkpoints/best.ckpt: their photos are not compared")
    missing = sum(len(point.missing) for point in outcome.points)
    if missing:
        notes.append(f"{missing} of the runs are missing: given up, failed, or not finished yet")
    return notes


def write_outcome(outcome: Outcome, trained: Sequence[Trained], folder: Path) -> None:
    """Write `outcome.json`, `outcome.md`, `outcome.csv`, `outcome.svg` and the report of the photos, `report/`.

    Args:
        outcome: what to write.
        trained: the points, whose networks make the pictures of the report: those of the first finished seed.
        folder: of the ablation.

    Raises:
        InputError: if they cannot be written.
    """
    contents = {
        FILE: outcome.to_json().encode(),
        "outcome.md": to_markdown(outcome).encode(),
        "outcome.csv": to_csv(outcome).encode(),
        "outcome.svg": draw_points(outcome).svg(),
    }
    if outcome.searched:
        contents["search.svg"] = draw_search(outcome).svg()
    for name, content in contents.items():
        with writing(folder / name) as temporary:
            temporary.write_bytes(content)
    if outcome.evaluation is not None:
        _write_report(outcome.evaluation, trained, folder / "report")


def _write_report(evaluation: Evaluation, trained: Sequence[Trained], folder: Path) -> None:
    shown = evaluation.contenders[: SHOWN + 1]
    names = [each.name for each in shown]
    some = replace(
        evaluation,
        contenders=shown,
        values={name: evaluation.values[name] for name in names},
        faults={name: found for name, found in evaluation.faults.items() if name in names},
    )
    page = folder / "evaluation.json"
    if page.is_file():
        before = Evaluation.from_json(page)
        if (before.contenders, before.values) == (some.contenders, some.values):
            return
    runs = {run.folder.name: run for each in trained for run in each.runs if _is_shown(run, shown)}
    photos = validation_photos(next(iter(runs.values())).best.parent.parent / "config.yaml")
    candidates: dict[str, Candidate] = {
        name: Network(load_run(runs[name]), str(runs[name].best)) for name in names if name in runs
    }
    with writing_folder(folder) as part:
        part.mkdir()
        gallery = Gallery(part)
        _take_pictures(some, photos, candidates, gallery)
        write_report(some, gallery, part)
        shutil.rmtree(folder, ignore_errors=True)  # of an ablation that was less far


def _is_shown(run: Run, shown: Sequence[Contender]) -> bool:
    return str(run.best) in [each.origin for each in shown]


def _take_pictures(
    evaluation: Evaluation, photos: Photos, candidates: Mapping[str, Candidate], gallery: Gallery
) -> None:
    """Of the photos that the page shows, but for those that are at fault."""
    wrong = {name for faults in evaluation.faults.values() for name in faults}
    places = [each for each in shown_places(evaluation, gallery.shown) if photos.names[each] not in wrong]
    for place in track(places, "pictures", len(places)):
        name, photo = photos.names[place], photos.read(place)
        outputs = {key: each.picture(name, photo.source) for key, each in candidates.items()}
        gallery.add(name, photo.source, photo.target, outputs)
