"""A cross-validation as tables of Markdown, which also read well in a terminal."""

import statistics

from hdr_lightning.crossvalidation.outcome import (
    UNSEEN,
    Crossvalidation,
    FoldFigures,
    Mean,
    Together,
    gain_text,
    interval_text,
)
from hdr_lightning.evaluation.results import MEASURES, SOURCE
from hdr_lightning.report.tables import markdown_table


def markdown(found: Crossvalidation) -> str:
    """The folds with their spread and the whole; and what they are together, in figures and in words."""
    lines = [f"# Cross-validation of {found.base}, {len(found.folds)} folds", "", _fold_table(found)]
    if found.together is not None:
        lines += ["", _test_table(found.together), "", found.together.verdict]
    return "\n".join([*lines, ""])


def _fold_table(found: Crossvalidation) -> str:
    measures = list(found.whole[UNSEEN])
    rows = [["", "train", "photos", "scenes", *(MEASURES[measure].title for measure in measures)]]
    for fold in found.folds:
        cells = [_with_gain(fold, measure) for measure in measures]
        rows.append([fold.name, str(fold.train), str(fold.photos), str(fold.scenes), *cells])
    parts = {measure: [fold.values[measure] for fold in found.folds if measure in fold.values] for measure in measures}
    spreads = [
        f"{statistics.fmean(parts[measure]):.{MEASURES[measure].digits}f} ± {each.spread:.{MEASURES[measure].digits}f}"
        if (each := found.whole[UNSEEN][measure]).spread is not None
        else ""
        for measure in measures
    ]
    rows.append(["mean of the folds ± their spread", "", "", "", *spreads])
    photos, scenes = (str(sum(getattr(fold, what) for fold in found.folds)) for what in ("photos", "scenes"))
    for name, title in ((UNSEEN, "all, out of fold"), (SOURCE, "untouched sources")):
        rows.append(
            [title, "", photos, scenes, *(_mean(found.whole[name].get(measure), measure) for measure in measures)]
        )
    return markdown_table(rows[0], rows[1:])


def _with_gain(fold: FoldFigures, measure: str) -> str:
    if measure not in fold.values:
        return ""
    digits = MEASURES[measure].digits
    return f"{fold.values[measure]:.{digits}f} ({fold.gains[measure]:+.{digits}f})"


def _mean(each: Mean | None, measure: str) -> str:
    digits = MEASURES[measure].digits
    return "" if each is None else f"{each.mean:.{digits}f}{interval_text(each, measure)}"


def _test_table(found: Together) -> str:
    measures = list(found.means[SOURCE])
    rows = [[f"{found.photos} held-out photos, {found.scenes} scenes", *(MEASURES[each].title for each in measures)]]
    for name, means in found.means.items():
        title = f"{name} (best out of fold)" if name == found.best else name
        rows.append([title, *(_mean(means.get(measure), measure) for measure in measures)])
    over = dict.fromkeys(gain.over for gain in found.gains)
    for reference in over:
        of = {gain.measure: gain_text(gain) for gain in found.gains if gain.over == reference}
        rows.append([f"ensemble over {reference}", *(of.get(measure, "") for measure in measures)])
    return markdown_table(rows[0], rows[1:])
