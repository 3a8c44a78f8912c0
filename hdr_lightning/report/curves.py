"""The course of a training, ready to be drawn."""

import math
from dataclasses import dataclass
from pathlib import Path

from hdr_lightning.errors import InputError
from hdr_lightning.generators.loading import find_checkpoint
from hdr_lightning.run_log import read_rows

COLUMNS = ("train/loss", "val/psnr", "val/ssim", "val/l1", "val/ciede2000")


@dataclass(frozen=True)
class Curve:
    """A metric over the steps of a training, ready to be drawn in a box of 300 x 100."""

    title: str
    low: float
    high: float
    last: float
    line: str


def curves_of(origin: str) -> list[Curve]:
    """The course of the training behind a checkpoint or the folder of its run; nothing where it is not known."""
    try:
        checkpoint = find_checkpoint(Path(origin)) if origin else None
    except InputError:  # it may have been moved since; pictures made elsewhere have none
        checkpoint = None
    return read_curves(checkpoint.parent.parent / "metrics.csv") if checkpoint else []


def read_curves(path: Path) -> list[Curve]:
    """Read the course of the training from a `metrics.csv`; nothing where there is no such file.

    Raises:
        InputError: if it cannot be read.
    """
    if not path.is_file():
        return []
    table = read_rows(path)
    curves = []
    for column in COLUMNS:
        points = [(float(row["step"]), float(row[column])) for row in table if row.get(column)]
        points = [point for point in points if math.isfinite(point[1])]
        if len(points) > 1:
            steps, values = zip(*points, strict=True)
            low, high = min(values), max(values)
            across, up = 300 / max(steps[-1] - steps[0], 1), 100 / max(high - low, 1e-12)
            line = " ".join(f"{(x - steps[0]) * across:.1f},{100 - (y - low) * up:.1f}" for x, y in points)
            curves.append(Curve(column, low, high, values[-1], line))
    return curves
