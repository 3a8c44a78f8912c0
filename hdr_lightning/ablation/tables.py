"""The outcome of an ablation as tables: Markdown, CSV, and text for the terminal."""

import csv
import io
import math

from hdr_lightning.ablation.outcome import Outcome, PointOutcome
from hdr_lightning.ablation.space import flat
from hdr_lightning.evaluation.repeats import RunsDifference
from hdr_lightning.evaluation.results import MEASURES
from hdr_lightning.evaluation.score import macs_per_megapixel
from hdr_lightning.progress import duration
from hdr_lightning.report.tables import escaped, markdown_table

Table = tuple[list[str], list[list[str]]]
"""Heads, and rows."""


def to_markdown(outcome: Outcome) -> str:
    """The comparison, cost beside quality, all measures, and what a reader has to know."""
    parts = ["# Outcome", "![points with their seeds](outcome.svg)", markdown_table(*compared(outcome)), HOW]
    parts += [f"- **{escaped(note)}**" for note in outcome.notes]
    if outcome.searched:
        rows = [[key, f"{share:.2f}"] for key, share in outcome.importances.items()]
        parts += ["## The search", "![its course](search.svg)", BEST]
        parts += [markdown_table(["key", "importance (PED-ANOVA)"], rows)] if rows else []
    parts += ["## Points", "\n".join(f"- {escaped(point.name)}: {_settings(point)}" for point in outcome.points)]
    parts += ["## Cost", markdown_table(*costs(outcome))]
    if any(point.differences for point in outcome.points):
        title = f"## All measures, against {escaped(outcome.reference)}"
        parts += [title, MANY]
        parts += [markdown_table(*measured(outcome))]
    parts += ["\n".join(f"- {escaped(name)}: {escaped(value)}" for name, value in outcome.facts.items())]
    return "\n\n".join(filter(None, parts)) + "\n"


def _settings(point: PointOutcome) -> str:
    return escaped(", ".join(flat(point.settings)) or "as the base is")


HOW = (
    "The metric of a run is its best of all validations; its interval is of seeds. The difference is of the same "
    "photos and seeds, its interval is of other photos and other seeds. `p, photos` asks whether these very networks "
    "differ (signs of scenes flipped), `p, seeds too` whether networks of other seeds would (Student's t); both are "
    "corrected for the number of points (Holm), and both have to be below 0.05."
)

MANY = (
    "Differences of means over photos and seeds; an asterisk marks those that are significant, corrected for the "
    "number of points, not of measures: of many, some are by chance."
)

BEST = (
    "The best point was chosen by these very numbers, so it looks better than it is; that another is not significantly "
    "worse holds. Train the best few with other seeds before you believe in one."
)


def to_text(outcome: Outcome) -> str:
    """The comparison and the cost, for the terminal."""
    blocks = [_aligned(*compared(outcome)), _aligned(*costs(outcome))]
    blocks += ["\n".join(f"{key}: {share:.0%} of the importance" for key, share in outcome.importances.items())]
    blocks += ["\n".join(f"note: {note}" for note in outcome.notes)]
    return "\n\n".join(filter(None, blocks))


def to_csv(outcome: Outcome) -> str:
    """A row for each point and measure, and one for the metric of the runs."""
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    heads = ["point", "measure", "seeds", "mean", "low", "high", "difference", "difference_low", "difference_high"]
    table.writerow([*heads, "p_photos", "p", "by_seed", "verdict"])
    for point in outcome.points:
        values = " ".join(f"{value:.6g}" for value in point.values.values())
        own = [_plain(each) for each in (point.mean, point.low, point.high, outcome.gain(point))]
        table.writerow([point.name, outcome.metric, len(point.values), *own, "", "", "", "", values, ""])
        measures = outcome.evaluation.measures if outcome.evaluation and point.generator else []
        table.writerows(_csv_row(outcome, point, measure) for measure in measures)
    return file.getvalue()


def _csv_row(outcome: Outcome, point: PointOutcome, measure: str) -> list[str]:
    found = point.differences.get(measure)
    cells = [point.name, measure, str(len(point.values)), _plain(_mean(outcome, point.name, measure)), "", ""]
    if found is None:
        return [*cells, *[""] * 6, outcome.verdict(point, measure)]
    numbers = [_plain(each) for each in (found.mean, found.low, found.high, found.p_photos, found.p)]
    by_seed = " ".join(f"{value:.6g}" for value in found.by_seed)
    return [*cells, *numbers, by_seed, outcome.verdict(point, measure)]


def compared(outcome: Outcome) -> Table:
    """Point by point: the metric, what it gains, and whether that is significant."""
    title = MEASURES[outcome.measure].title
    heads = ["point", "seeds", f"{outcome.metric} [95 %]", "gain", f"difference in {title} [95 %]"]
    heads += ["by seed", "p, photos", "p, seeds too", f"against {outcome.reference}"]
    return heads, [_compared_row(outcome, point) for point in outcome.points]


def _compared_row(outcome: Outcome, point: PointOutcome) -> list[str]:
    runs = f"{len(point.values)}" + (f" (missing: {', '.join(map(str, point.missing))})" if point.missing else "")
    name = outcome.metric.removeprefix("val/")
    form = f".{MEASURES[name].digits + 1}f" if name in MEASURES else ".5g"
    mean = f"{point.mean:{form}}" if point.values else point.state
    if len(point.values) > 1:
        mean += f" [{point.low:{form}}, {point.high:{form}}]"
    gain = outcome.gain(point)
    other = point.name != outcome.reference and not math.isnan(gain)
    cells = [point.name, runs, mean, f"{gain:+{form}}" if other else ""]
    cells += _difference_cells(point.differences.get(outcome.measure), outcome.measure)
    return [*cells, outcome.verdict(point, outcome.measure)]


def _difference_cells(found: RunsDifference | None, measure: str) -> list[str]:
    if found is None:
        return [""] * 4
    digits = MEASURES[measure].digits + 1
    text = f"{found.mean:+.{digits}f}"
    if not math.isnan(found.low):
        text += f" [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"
    by_seed = ", ".join(f"{value:+.{digits}f}" for value in found.by_seed)
    return [text, by_seed, _chance(found.p_photos), _chance(found.p)]


def _chance(p: float) -> str:
    return "" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def costs(outcome: Outcome) -> Table:
    """Point by point: steps and time of the training, size, operations, time and memory of the network."""
    heads = ["point", "steps", "training", "network", "parameters", "GMAC/MP", "s/MP", "memory (MB)"]
    rows = []
    for point in outcome.points:
        steps = "" if point.steps is None else f"{point.steps:,}"
        spent = "" if point.seconds is None else duration(point.seconds)
        cells = [""] * 4
        if (cost := point.cost) is not None:
            size = cost.size[0] * cost.size[1] / 1e6
            cells = [f"{cost.parameters:,}", f"{macs_per_megapixel(cost) / 1e9:.3g}", f"{cost.seconds / size:.3g}"]
            cells += [f"{cost.peak_bytes / 1e6:.0f}"]
        rows.append([point.name, steps, spent, point.generator, *cells])
    return heads, rows


def measured(outcome: Outcome) -> Table:
    """Point by point, the difference of every measure from the reference, inside and outside windows, too."""
    names = outcome.evaluation.measures if outcome.evaluation else []
    heads = ["point", *(MEASURES[name].title for name in names)]
    rows = [
        [point.name, *(_measured_cell(outcome, point, name) for name in names)]
        for point in outcome.points
        if point.differences or point.name == outcome.reference
    ]
    return heads, rows


def _measured_cell(outcome: Outcome, point: PointOutcome, measure: str) -> str:
    digits = MEASURES[measure].digits
    if point.name == outcome.reference:
        mean = _mean(outcome, point.name, measure)
        return "" if math.isnan(mean) else f"{mean:.{digits}f}"
    found = point.differences.get(measure)
    if found is None:
        return ""
    return f"{found.mean:+.{digits}f}" + " *" * (found.verdict == "significant")


def _mean(outcome: Outcome, point: str, measure: str) -> float:
    assert outcome.evaluation is not None
    values = [each for each in outcome.evaluation.values.get(point, {}).get(measure, []) if each is not None]
    return sum(values) / len(values) if values else math.nan


def _aligned(heads: list[str], rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in (heads, *rows)]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def _plain(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
