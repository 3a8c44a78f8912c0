"""An evaluation as CSV and Markdown."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

from hdr_lightning.evaluation.results import MEASURES, SOURCE, Evaluation
from hdr_lightning.report.gallery import Shot
from hdr_lightning.report.summary import Cell, Line, chance, interval, ranked, sound_values, text

LISTED = 10
"""Photos at each end of the order that the Markdown shows."""


def to_csv(evaluation: Evaluation, shots: dict[str, Shot]) -> str:
    """A row a photo and contender: what was measured, what is wrong, and the picture's path."""
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    measures = evaluation.measures
    table.writerow(["photo", "contender", "group", "width", "height", *measures, "fault", "picture"])
    for contender in evaluation.contenders:
        columns = [sound_values(evaluation, contender.name, measure) for measure in measures]
        faults = evaluation.faults.get(contender.name, {})
        for place in ranked(evaluation):
            photo = evaluation.photos[place]
            values = ["" if column[place] is None else f"{column[place]:.6g}" for column in columns]
            picture = picture_of(shots.get(photo.name), contender.name)
            row = [photo.name, contender.name, photo.group, photo.width, photo.height]
            table.writerow([*row, *values, faults.get(photo.name, ""), picture])
    return file.getvalue()


def picture_of(shot: Shot | None, contender: str) -> str:
    """Where the picture of a contender lies; empty for none."""
    if shot is None:
        return ""
    return shot.source if contender == SOURCE else shot.outputs.get(contender, "")


def to_markdown(evaluation: Evaluation, lines: Sequence[Line], shots: dict[str, Shot]) -> str:
    """The summary, faults, cost, and the photos that gain least and most, with their pictures."""
    names = [contender.name for contender in evaluation.contenders]
    parts = [f"# {escaped(evaluation.title)}", f"{len(evaluation.photos)} photos."]
    parts += [markdown_table(["mean [95 % interval]", *names], [_summary_row(line, names) for line in lines])]
    if any(evaluation.faults.values()):
        rows = [[name, *each] for name, found in evaluation.faults.items() for each in found.items()]
        parts += ["## Left out of the means", markdown_table(["contender", "photo", "what is wrong"], rows)]
    costs = [(each.name, each.cost) for each in evaluation.contenders if each.cost is not None]
    if costs:
        heads = ["contender", "parameters", "MACs (G)", "size", "seconds", "memory (MB)", "device"]
        cells = [
            [
                name,
                f"{cost.parameters:,}",
                f"{cost.macs / 1e9:.3g}",
                f"{cost.size[1]} x {cost.size[0]}",
                f"{cost.seconds:.3g}",
                f"{cost.peak_bytes / 1e6:.0f}",
                cost.device,
            ]
            for name, cost in costs
        ]
        parts += ["## Cost", markdown_table(heads, cells)]
    parts += _ends(evaluation, shots)
    facts = [f"- {escaped(name)}: {escaped(value)}" for name, value in evaluation.facts.items()]
    return "\n\n".join([*parts, *(["\n".join(facts)] if facts else [])]) + "\n"


def _summary_row(line: Line, names: Sequence[str]) -> list[str]:
    return [MEASURES[line.measure].title, *(_summary_cell(line.measure, line.cells[name]) for name in names)]


def _summary_cell(measure: str, cell: Cell | None) -> str:
    if cell is None:
        return ""
    mean = f"{text(cell.mean.mean, measure)} [{interval(cell.mean, measure, ', ')}]"
    gain = f", {text(cell.gain.mean, measure, signed=True)} ({chance(cell.gain.p)})" if cell.gain else ""
    return mean + gain


def _ends(evaluation: Evaluation, shots: dict[str, Shot]) -> list[str]:
    """The photos that gain least, and those that gain most."""
    order = ranked(evaluation)
    parts = []
    worst, best = order[:LISTED], [place for place in reversed(order) if place not in order[:LISTED]][:LISTED]
    for title, places in (("Photos that gain least", worst), ("Photos that gain most", best)):
        measures = evaluation.measures
        heads = ["photo", "contender", *(MEASURES[name].title for name in measures), "picture"]
        rows = []
        for place in places:
            photo = evaluation.photos[place]
            for contender in evaluation.contenders:
                values = [text(sound_values(evaluation, contender.name, name)[place], name) for name in measures]
                rows.append([photo.name, contender.name, *values, picture_of(shots.get(photo.name), contender.name)])
        if rows:
            parts += [f"## {title}", markdown_table(heads, rows, linked=True)]
    return parts


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]], linked: bool = False) -> str:
    """A table; with `linked`, the last column is a path to a picture."""
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        cells = [escaped(cell) for cell in row]
        if linked:
            cells[-1] = f"[picture]({row[-1]})" if row[-1] else ""
        lines.append(cells)
    first = [escaped(head) for head in lines[0]]
    return "\n".join("| " + " | ".join(line) + " |" for line in [first, *lines[1:]])


def escaped(words: str) -> str:
    r"""Text that Markdown shows as it is, in one line.

    >>> escaped("a|b <i>*c*")
    'a\\|b \\<i\\>\\*c\\*'
    """
    return re.sub(r"([\\`*_\[\]<>|#&!])", r"\\\1", " ".join(words.split()))
