"""Photos side by side: the worst of an evaluation, and rows of before and after."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from PIL import Image

from hdr_lightning.data.files import read_photo, to_pixels, to_tensor
from hdr_lightning.drawing import Drawing, panels, styled
from hdr_lightning.errors import InputError
from hdr_lightning.evaluation.results import MEASURES, SOURCE
from hdr_lightning.reading.measured import Measured
from hdr_lightning.report.gallery import Shot
from hdr_lightning.report.pictures import thumbnail
from hdr_lightning.report.summary import leading_measure, text

HEIGHT = 360
"""Of pictures, at most, in pixels."""

Picture = Path | str | Image.Image


@styled
def draw_worst(measured: Measured, number: int = 3, contender: str | None = None) -> Drawing:
    """Draw the photos that gain least: source, output, target, and where the output is darker or brighter than it.

    Args:
        measured: an evaluation, or a test of a run.
        number: of photos, 1 or more.
        contender: whose output is shown; the first if nothing is given. The order is that of the first.

    Raises:
        InputError: if it holds no pictures, or no such contender.
    """
    known = [each.name for each in measured.contenders]
    name = contender or next(iter(known), "")
    shots = measured.worst(number)
    if name not in known or not shots:
        raise InputError(f"{measured.folder}: expected pictures of {name or 'a contender'}, there are {known}")
    titles = ("source", name, "target", "blue: too dark, red: too bright")
    columns: dict[str, list[Picture]] = {title: [] for title in titles}
    for shot in shots:
        paths = (shot.source, shot.outputs[name], shot.target, shot.differences.get(name, ""))
        for column, path in zip(columns.values(), paths, strict=True):
            column.append(measured.folder / path if path else Image.new("RGB", (3, 2), "white"))
    return _grid(columns, [_caption(measured, shot, name) for shot in shots])


@styled
def draw_rows(columns: Mapping[str, Sequence[Picture]], captions: Sequence[str] = ()) -> Drawing:
    """Draw pictures side by side, a row a photo.

    Args:
        columns: by title, the pictures of each row: paths, or Pillow images.
        captions: of the rows.

    Raises:
        InputError: if there is none, columns differ in length, or a picture cannot be read.
    """
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1 or lengths == {0}:
        told = {title: len(column) for title, column in columns.items()}
        raise InputError(f"expected columns of as many pictures each, one or more, got {told}")
    return _grid(columns, captions)


def _grid(columns: Mapping[str, Sequence[Picture]], captions: Sequence[str]) -> Drawing:
    shown = {title: [_opened(each) for each in column] for title, column in columns.items()}
    rows = [list(row) for row in zip(*shown.values(), strict=True)]
    width = min(3.8 * len(columns), 11.0)
    gap = 0.3 if captions else 0.1
    shapes = [max(picture.height / picture.width for picture in row) for row in rows]
    side = width / len(columns)
    figure = Drawing(width, 0.35 + sum(side * shape + gap for shape in shapes), photographic=True)
    axes = panels(figure, len(rows), len(columns))
    for number, row in enumerate(rows):
        for place, (title, picture) in enumerate(zip(columns, row, strict=True)):
            _show(axes[number * len(columns) + place], picture, title if number == 0 else "")
        if number < len(captions):
            axes[number * len(columns)].set_xlabel(captions[number], loc="left", fontsize=9)
    return figure


def _show(axes: Axes, picture: Image.Image, title: str) -> None:
    axes.imshow(np.asarray(picture), interpolation="antialiased")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=10)
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)


def _opened(picture: Picture) -> Image.Image:
    if isinstance(picture, Image.Image):
        whole = picture.convert("RGB")
        whole.thumbnail((whole.width, HEIGHT))
        return whole
    return thumbnail(to_pixels(to_tensor(read_photo(Path(picture)).pixels)), HEIGHT)


def _caption(measured: Measured, shot: Shot, contender: str) -> str:
    """The photo's name and what became of it, or what is wrong with it."""
    evaluation = measured.evaluation
    fault = evaluation.faults.get(contender, {}).get(shot.name)
    measure = leading_measure(evaluation)
    if fault or measure is None:
        return f"{shot.name}: {fault}" if fault else shot.name
    place = [photo.name for photo in evaluation.photos].index(shot.name)
    columns = (evaluation.values.get(each, {}).get(measure) for each in (SOURCE, contender))
    before, after = (text(column[place], measure) if column else "" for column in columns)
    return f"{shot.name}: {MEASURES[measure].title} {before} → {after}"
