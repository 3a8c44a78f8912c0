"""The report of an evaluation: one HTML file that needs nothing else, and the same as Markdown and CSV."""

import base64
import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from hdr_lightning.data.files import writing
from hdr_lightning.errors import InputError
from hdr_lightning.evaluation.results import MEASURES, SOURCE, Evaluation
from hdr_lightning.evaluation.score import pareto_svg, score
from hdr_lightning.report.curves import Curve, curves_of
from hdr_lightning.report.gallery import Crop, Gallery, Shot
from hdr_lightning.report.pictures import BINS, LEVELS
from hdr_lightning.report.summary import (
    Line,
    chance,
    gains,
    interval,
    leading_measure,
    ranked,
    sound_values,
    summary,
    text,
)
from hdr_lightning.report.tables import to_csv, to_markdown

PAGE = "report.html"


class ShownCrop(NamedTuple):
    """A worst window, and whose it is."""

    photo: str
    contender: str
    crop: Crop


def write_report(evaluation: Evaluation, gallery: Gallery, folder: Path) -> Path:
    """Write `evaluation.json`, `report.html`, `report.md` and `photos.csv`.

    Args:
        evaluation: what was measured.
        gallery: pictures of its photos, in the same folder.
        folder: where to write.

    Returns:
        The page.

    Raises:
        InputError: if they cannot be written.
    """
    shots = {shot.name: shot for shot in gallery.shots}
    lines = summary(evaluation)
    gallery.save()
    contents = {
        "evaluation.json": evaluation.to_json(),
        "photos.csv": to_csv(evaluation, shots),
        "report.md": to_markdown(evaluation, lines, shots),
        PAGE: _page(evaluation, gallery, lines, shots),
    }
    for name, content in contents.items():
        with writing(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return folder / PAGE


def report(folders: list[Path]) -> list[Path]:
    """Write the reports of evaluations anew, from `evaluation.json` and the pictures.

    Args:
        folders: of evaluations or tests.

    Returns:
        The pages.

    Raises:
        InputError: if one holds no evaluation, or cannot be written.
    """
    found = [(Evaluation.from_json(folder / "evaluation.json"), Gallery.read(folder)) for folder in folders]
    pages = [write_report(evaluation, gallery, gallery.folder) for evaluation, gallery in found]
    for page in pages:
        print(f"report: {page}")
    return pages


def shown_places(evaluation: Evaluation, shown: int) -> list[int]:
    """Places of the photos on the page: those that gain least and most, half and half; those at fault first."""
    order = ranked(evaluation)
    half = shown // 2
    return order if len(order) <= shown else order[: shown - half] + order[len(order) - half :]


def _page(evaluation: Evaluation, gallery: Gallery, lines: list[Line], shots: dict[str, Shot]) -> str:
    places = [p for p in shown_places(evaluation, gallery.shown) if evaluation.photos[p].name in shots]
    shown = [shots[evaluation.photos[place].name] for place in places]
    crops = _worst_crops(evaluation, gallery)
    script = (files("hdr_lightning.report") / "page.js").read_text(encoding="utf-8")
    costs = [each for each in evaluation.contenders if each.cost is not None]
    scores = score(evaluation) if costs else {}  # without targets there is no quality to score
    networks = [each for each in evaluation.contenders if each.name != SOURCE]
    measure = leading_measure(evaluation)
    environment = Environment(
        loader=PackageLoader("hdr_lightning.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja").render(
        evaluation=evaluation,
        measures=MEASURES,
        measure=measure,
        source=SOURCE,
        lines=lines,
        scenes=len({photo.group for photo in evaluation.photos}),
        order=ranked(evaluation),
        columns={
            each.name: {name: sound_values(evaluation, each.name, name) for name in evaluation.measures}
            for each in evaluation.contenders
        },
        bars=_bars(evaluation),
        shown=list(zip(places, shown, strict=True)),
        crops=crops,
        data=_data(evaluation, places, shown, crops, gallery.folder),
        networks=networks,
        costs=costs,
        scores=scores,
        pareto=_embedded(pareto_svg([evaluation]).encode()) if scores else "",
        curves=_curves(evaluation),
        level=LEVELS,
        bins=BINS,
        text=text,
        interval=interval,
        chance=chance,
        script=script,
        script_hash=_embedded(hashlib.sha256(script.encode()).digest()),
    )


def _worst_crops(evaluation: Evaluation, gallery: Gallery) -> list[ShownCrop]:
    """Of each contender the windows with the largest errors, one a photo; the worst of all first."""
    most = max(1, gallery.shown // 2)
    found = []
    for contender in evaluation.contenders:
        own = [
            ShownCrop(s.name, contender.name, s.crops[contender.name])
            for s in gallery.shots
            if contender.name in s.crops
        ]
        found += sorted(own, key=lambda shown: -shown.crop.window.error)[:most]
    return sorted(found, key=lambda shown: -shown.crop.window.error)


def _bars(evaluation: Evaluation) -> list[tuple[str, float]]:
    """Names and gains of the photos, from the least gain to the most; nothing without sources to compare with."""
    if not any(evaluation.values.get(SOURCE, {}).values()):
        return []
    pairs = zip(evaluation.photos, gains(evaluation), strict=True)
    return sorted(((photo.name, gain) for photo, gain in pairs if gain is not None), key=lambda bar: bar[1])


def _data(
    evaluation: Evaluation, places: list[int], shown: list[Shot], crops: list[ShownCrop], folder: Path
) -> dict[str, Any]:
    """What the script of the page shows."""
    measure = leading_measure(evaluation)
    roles = [{"label": SOURCE, "kind": "source", "name": SOURCE}]
    names = [each.name for each in evaluation.contenders if each.name != SOURCE]
    roles += [{"label": name, "kind": "output", "name": name} for name in names]
    if any(shot.target for shot in shown):
        roles.append({"label": "target", "kind": "target", "name": ""})
    columns = {name: sound_values(evaluation, name, measure) for name in (SOURCE, *names)} if measure else {}
    paths = {path for shot in shown for path in (shot.source, shot.target, *shot.outputs.values())}
    paths |= {path for shot in shown for path in shot.differences.values()}
    paths |= {path for each in crops for path in (each.crop.source, each.crop.target, each.crop.output)}
    return {
        "roles": roles,
        "shots": [
            {
                "source": shot.source,
                "target": shot.target,
                "outputs": shot.outputs,
                "differences": shot.differences,
                "histograms": shot.histograms,
                "values": {name: text(column[place], measure or "") for name, column in columns.items()},
            }
            for place, shot in zip(places, shown, strict=True)
        ],
        "pictures": {path: _read(folder / path) for path in sorted(paths - {""})},
    }


def _curves(evaluation: Evaluation) -> dict[str, list[Curve]]:
    """By contender the course of its training, where it is known."""
    found = {each.name: curves_of(each.origin) for each in evaluation.contenders if each.generator}
    return {name: curves for name, curves in found.items() if curves}


def _read(path: Path) -> str:
    try:
        return _embedded(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: the picture cannot be read ({error.strerror}): evaluate again") from None


def _embedded(content: bytes) -> str:
    return base64.b64encode(content).decode()
