"""Metrics of photos: measured on each photo, then averaged over photos."""

from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, distributed
from torchmetrics import Metric

from hdr_lightning.image import similarity

METRICS = ("l1", "psnr", "ssim", "ciede2000")
"""What is measured of every photo: functions of `image.similarity`."""

UNIT = 2**24

LARGEST = 1e6
"""Of what is measured of a photo; beyond it, a sum in whole numbers may overflow."""

Pictures = Float[Tensor, "n 3 h w"]

Row = TypeVar("Row")


class PhotoMean(NamedTuple):
    """Means over photos.

    Attributes:
        means: by name; none of what no sound photo has.
        sound: photos that count.
        seen: all photos.
    """

    means: dict[str, Float[Tensor, ""]]
    sound: int
    seen: int


def measure(prediction: Pictures, target: Pictures) -> dict[str, Float[Tensor, " n"]]:
    """Compare pictures as they would be saved, with values clipped to [0, 1].

    Returns:
        For each picture its mean absolute error `l1`, its `psnr` in dB, its `ssim` and its `ciede2000`.
    """
    prediction, target = prediction.float().clamp(0, 1), target.float()
    with torch.autocast(prediction.device.type, enabled=False):
        return {name: getattr(similarity, name)(prediction, target) for name in METRICS}


def faults(prediction: Pictures, values: dict[str, Float[Tensor, " n"]]) -> dict[int, str]:
    """Find photos of which nothing can be said; waits for the device.

    Args:
        prediction: what was made of them, not clamped.
        values: what was measured, one number a photo under each name.

    Returns:
        What is wrong with a photo, by its place in the batch: values of the output that are not finite, or, where the
        output is fine, names of what is not finite or larger than `LARGEST`.
    """
    broken = (~prediction.isfinite()).sum(dim=(1, 2, 3)).tolist()
    rows = torch.stack(list(values.values()), dim=1).tolist()
    found = {}
    for index, (pixels, row) in enumerate(zip(broken, rows, strict=True)):
        wrong = [f"{name} is {value:g}" for name, value in zip(values, row, strict=True) if not abs(value) <= LARGEST]
        if pixels:
            found[index] = f"{pixels} of {prediction[index].numel()} values of the output are not finite"
        elif wrong:
            found[index] = ", ".join(wrong)
    return found


class PhotoMeans(Metric):
    """Means over sound photos, to the last bit the same however the photos were batched and spread over processes.

    Sums are kept as whole numbers of 2^-24, so their order does not matter (and every device has such numbers).

    Args:
        names: what is measured on each photo.
    """

    full_state_update = False
    totals: Tensor
    counts: Tensor
    sound: Tensor
    seen: Tensor

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names
        for state, shape in (("totals", [len(names)]), ("counts", [len(names)]), ("sound", []), ("seen", [])):
            self.add_state(state, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, values: dict[str, Float[Tensor, " n"]], sound: Bool[Tensor, " n"]) -> None:
        """Add photos.

        Args:
            values: one number a photo under each name, within `LARGEST` where the photo is sound; not a number where
                a sound photo has no such thing, such as an error in windows.
            sound: which photos count; the others are left out of every mean alike.
        """
        rows = torch.stack([values[name] for name in self.names]).float()
        present = sound & ~rows.isnan()
        self.totals += (rows.where(present, 0) * UNIT).round().long().sum(dim=1)
        self.counts += present.sum(dim=1)
        self.sound += sound.sum()
        self.seen += len(sound)

    def compute(self) -> PhotoMean:
        """Average over the sound photos of all processes."""
        counts = self.counts.cpu()
        means = (self.totals.cpu().double() / UNIT / counts).float().to(self.totals.device)
        found = zip(self.names, means, counts.tolist(), strict=True)
        return PhotoMean({name: mean for name, mean, count in found if count}, int(self.sound), int(self.seen))


def gather(rows: list[Row]) -> list[Row]:
    """The rows of all processes, by rank; to be called on each."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return rows
    everywhere: list[list[Row]] = [[] for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(everywhere, rows)
    return [row for some in everywhere for row in some]
