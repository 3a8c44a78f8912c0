"""An evaluation on a dashboard of Weights & Biases."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from hdr_lightning.evaluation.results import MEASURES, SOURCE, Evaluation
from hdr_lightning.report.gallery import Gallery, Shot
from hdr_lightning.report.page import PAGE, shown_places
from hdr_lightning.report.summary import sound_values, summary
from hdr_lightning.report.tables import picture_of

if TYPE_CHECKING:
    import wandb


def log_to_wandb(evaluation: Evaluation, gallery: Gallery, run: "wandb.Run") -> None:
    """Send a summary, a table of every photo with pictures of those on the page, and the page to a run of W&B.

    Args:
        evaluation: what was measured.
        gallery: its pictures, in the folder of the page that `write_report` wrote.
        run: where to; what `wandb.init` gives, or the `experiment` of a WandbLogger.
    """
    import wandb

    lines = summary(evaluation)
    means = wandb.Table(columns=["measure", "contender", "photos", "mean", "low", "high", "gain", "p"])
    for line in lines:
        for name, cell in line.cells.items():
            if cell:
                gain = (cell.gain.mean, cell.gain.p) if cell.gain else (None, None)
                means.add_data(
                    MEASURES[line.measure].title,
                    name,
                    cell.photos,
                    cell.mean.mean,
                    cell.mean.low,
                    cell.mean.high,
                    *gain,
                )
                run.summary[f"evaluation/{name}/{line.measure}"] = cell.mean.mean
    run.log(
        {
            "evaluation/summary": means,
            "evaluation/photos": _photos(evaluation, gallery),
            "evaluation/report": wandb.Html(
                str(gallery.folder / PAGE), inject=False
            ),  # which would add what is fetched
        }
    )


def log_photos(name: str, rows: list[dict[str, Any]], run: "wandb.Run") -> None:
    """Send a table of photos to a run of W&B.

    Args:
        name: of the table.
        rows: of it, with the same keys; pictures of Pillow among the values.
        run: where to.
    """
    import wandb

    table = wandb.Table(columns=list(rows[0]) if rows else [])
    for row in rows:
        table.add_data(*(wandb.Image(value) if isinstance(value, Image.Image) else value for value in row.values()))
    run.log({name: table})


def log_evaluation(evaluation: Evaluation, gallery: Gallery, project: str, folder: Path) -> None:
    """Send an evaluation to a run of its own.

    Args:
        evaluation: what was measured.
        gallery: its pictures, in the folder of the page that `write_report` wrote.
        project: of the run; offline where `WANDB_MODE=offline` is set.
        folder: of the evaluation, after which the run is named and in which it is kept until it is sent.
    """
    import wandb

    config = {each.name: each.origin for each in evaluation.contenders if each.name != SOURCE}
    with wandb.init(project=project, name=folder.name, dir=folder.parent, job_type="evaluate", config=config) as run:
        log_to_wandb(evaluation, gallery, run)


def _photos(evaluation: Evaluation, gallery: Gallery) -> "wandb.Table":
    import wandb

    measures = evaluation.measures
    shots = {shot.name: shot for shot in gallery.shots}
    pictured = set(shown_places(evaluation, gallery.shown))
    titles = (MEASURES[name].title for name in measures)
    heads: list[str | int] = ["photo", "contender", *titles, "fault", SOURCE, "output", "target"]
    table = wandb.Table(columns=heads)

    def picture(path: str) -> Any:
        return wandb.Image(str(gallery.folder / path)) if path else None

    for contender in evaluation.contenders:
        columns = [sound_values(evaluation, contender.name, name) for name in measures]
        faults = evaluation.faults.get(contender.name, {})
        for place, photo in enumerate(evaluation.photos):
            shot: Shot | None = shots.get(photo.name) if place in pictured and contender.name != SOURCE else None
            shown = [shot.source, picture_of(shot, contender.name), shot.target] if shot else ["", "", ""]
            values = [column[place] for column in columns]
            table.add_data(photo.name, contender.name, *values, faults.get(photo.name), *map(picture, shown))
    return table
