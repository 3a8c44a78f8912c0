"""What is measured of photos in a test, and not in validation: at several scales, in windows and elsewhere."""

import torch
from jaxtyping import Float
from torch import Tensor

from hdr_lightning.image import similarity
from hdr_lightning.image.regions import bright_mask
from hdr_lightning.metrics.photo_means import METRICS, Pictures

REGIONAL = ("l1", "psnr", "ciede2000")
"""What is measured in windows and elsewhere: fields of `image.similarity.WeightedErrors`."""

THOROUGH = (
    *METRICS,
    "ms_ssim",
    *(f"{name}_inside" for name in REGIONAL),
    *(f"{name}_outside" for name in REGIONAL),
)
"""What `measure_thoroughly` measures."""

LEAST = 0.005
"""Share of a photo that its windows, and what is no window, must cover for an error in them."""


def measure_thoroughly(prediction: Pictures, target: Pictures) -> dict[str, Float[Tensor, " n"]]:
    """Compare pictures as they would be saved, with values clipped to [0, 1].

    Windows are `image.regions.bright_mask` of the target: a pixel belongs to them by the share
    sigmoid((Y - 0.75) / 0.05) of its Rec. 709 luma Y. Errors inside are means over pixels with this weight, errors
    outside with one less it.

    Returns:
        For each picture what `measure` gives, its `ms_ssim`, and its `l1`, `psnr` and `ciede2000` `_inside` windows and
        `_outside`; not a number where the mean of the weights is below `LEAST`: there are no windows, or nothing else.
    """
    prediction, target = prediction.float().clamp(0, 1), target.float()
    with torch.autocast(prediction.device.type, enabled=False):
        inside = bright_mask(target)
        masks = torch.cat((torch.ones_like(inside), inside, 1 - inside), dim=1)
        errors = similarity.weighted_errors(prediction, target, masks)
        there = masks.mean(dim=(2, 3)) >= LEAST
        found = {name: getattr(similarity, name)(prediction, target) for name in ("l1", "psnr", "ssim")}
        found |= {"ciede2000": errors.ciede2000[:, 0], "ms_ssim": similarity.ms_ssim(prediction, target)}
    for place, where in ((1, "inside"), (2, "outside")):
        for name in REGIONAL:
            found[f"{name}_{where}"] = getattr(errors, name)[:, place].where(there[:, place], torch.nan)
    return found
