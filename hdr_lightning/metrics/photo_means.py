"""Metrics of photos: measured on each photo, then averaged over photos."""

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric

from hdr_lightning.image import similarity

METRICS = ("l1", "psnr", "ssim", "ciede2000")
"""What is measured of every photo: functions of `image.similarity`."""

UNIT = 2**24

Pictures = Float[Tensor, "n 3 h w"]


def measure(prediction: Pictures, target: Pictures) -> dict[str, Float[Tensor, " n"]]:
    """Compare pictures as they would be saved, with values clipped to [0, 1].

    Returns:
        For each picture its mean absolute error `l1`, its `psnr` in dB, its `ssim` and its `ciede2000`.
    """
    prediction, target = prediction.float().clamp(0, 1), target.float()
    with torch.autocast(prediction.device.type, enabled=False):
        return {name: getattr(similarity, name)(prediction, target) for name in METRICS}


class PhotoMeans(Metric):
    """Means over photos, to the last bit the same however the photos were batched and spread over processes.

    Sums are kept as whole numbers of 2^-24, so their order does not matter (and every device has such numbers).

    Args:
        names: what is measured on each photo.
    """

    full_state_update = False
    totals: Tensor
    count: Tensor
    invalid: Tensor

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names
        for state, shape in (("totals", (len(names),)), ("invalid", (len(names),)), ("count", ())):
            self.add_state(state, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, values: dict[str, Float[Tensor, " n"]]) -> None:
        """Add photos.

        Args:
            values: one number a photo under each name, below 10,000.
        """
        rows = torch.stack([values[name] for name in self.names]).float()
        finite = rows.isfinite()
        self.totals += (rows.where(finite, 0) * UNIT).round().long().sum(dim=1)
        self.invalid += (~finite).sum(dim=1)
        self.count += rows.shape[1]

    def compute(self) -> dict[str, Float[Tensor, ""]]:
        """Average over all photos seen by all processes; NaN where a photo's value was not finite."""
        means = self.totals.cpu().double() / UNIT / self.count.cpu()
        means[self.invalid.cpu() > 0] = torch.nan
        return dict(zip(self.names, means.float().to(self.totals.device), strict=True))
