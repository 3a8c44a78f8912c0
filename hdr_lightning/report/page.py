"""The report of an evaluation: one HTML file that needs nothing else, and the same as Markdown and CSV."""

from pathlib import Path

from hdr_lightning.evaluation.results import Evaluation
from hdr_lightning.report.gallery import Gallery


def write_report(evaluation: Evaluation, gallery: Gallery, folder: Path) -> Path:
    """Write `evaluation.json`, `report.html`, `report.md` and `photos.csv`.

    Returns:
        The page.

    Raises:
        InputError: if they cannot be written.
    """
    raise NotImplementedError
