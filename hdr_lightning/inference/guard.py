"""What cannot be an edit of a photo, told by name: broken values, values far out of range, pictures of something else.

Calibrated on sources and targets of real brackets, on a trained network, and on damaged ones: docs/enhancing.md.
"""

from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from hdr_lightning.errors import InputError
from hdr_lightning.image.color import luminance

Picture = Float[Tensor, "1 3 _ _"]

SIDE = 256
"""Pixels of the longer side at which pictures are compared: noise and sharpness do not count."""

WINDOW = 8
"""Side of the windows in which structure is compared, in pixels of the reduced pictures."""

WINDOWS = (8, 32, 128)
"""Sides of the windows in which something is looked for where the source has nothing."""

RANGE = (-0.25, 1.25)
"""Values beyond it are far out of range."""

TEXTURED, FLAT = 4 / 255, 2 / 255
"""Standard deviations in a window above which a source has structure to compare, and below which it is flat."""

ENOUGH = 0.05
"""Share of textured windows from which on structure is compared."""

MOST_OUTSIDE = 0.3
LEAST_LIKENESS = 0.6
MOST_INVENTED = 0.22


class Signs(NamedTuple):
    """What speaks against a result.

    Attributes:
        broken: values that are not finite; where there are some, nothing else is looked at.
        outside: share of values far out of range.
        likeness: mean correlation of its luminance with the source's, in windows where that has structure; 1 where it
            has nowhere.
        invented: standard deviation of the result in windows where the source is flat, root mean square over these.
    """

    broken: int
    outside: float = 0.0
    likeness: float = 1.0
    invented: float = 0.0


def refuse_absurd(result: Picture, source: Picture) -> None:
    """Refuse what cannot be an edit of a photo.

    Args:
        result: what a network made, not clamped.
        source: the photo.

    Raises:
        InputError: if it cannot; the message says what was seen.
    """
    signs, wrong = look(result, source), []
    if signs.broken:
        wrong.append(f"{signs.broken} of its values are not finite")
    if signs.outside > MOST_OUTSIDE:
        wrong.append(f"{signs.outside:.0%} of its values are beyond {RANGE} ({MOST_OUTSIDE:.0%} may be)")
    if signs.likeness < LEAST_LIKENESS:
        wrong.append(f"its structure agrees with the photo's to {signs.likeness:.2f} (expected {LEAST_LIKENESS})")
    if signs.invented > MOST_INVENTED:
        wrong.append(f"where the photo is flat it varies by {signs.invented:.2f} (expected up to {MOST_INVENTED})")
    if wrong:
        raise InputError(
            f"the result cannot be an edit of the photo: {'; '.join(wrong)}. Do not trust these weights; "
            "--guard=false writes it all the same"
        )


def look(result: Picture, source: Picture) -> Signs:
    """Measure what speaks against a result."""
    broken = int((~result.isfinite()).sum())
    if broken:
        return Signs(broken)
    outside = float(((result < RANGE[0]) | (result > RANGE[1])).float().mean())
    result, source = _reduced(result), _reduced(source)
    invented = max(_invented(result, source, window) for window in WINDOWS)
    return Signs(0, outside, _likeness(luminance(result), luminance(source)), invented)


def _reduced(image: Picture) -> Picture:
    longest = max(image.shape[-2:])
    if longest <= SIDE:
        return image
    return F.interpolate(
        image, size=tuple(max(1, length * SIDE // longest) for length in image.shape[-2:]), mode="area"
    )


def _likeness(result: Float[Tensor, "1 1 h w"], source: Float[Tensor, "1 1 h w"]) -> float:
    variance = _variance(source, source, WINDOW)
    noise = (1 / 255) ** 2
    scale = ((variance + noise) * (_variance(result, result, WINDOW) + noise)).sqrt()
    textured: Bool[Tensor, "1 1 _ _"] = variance > TEXTURED**2
    if textured.float().mean() < ENOUGH:
        return 1.0
    return float((_variance(result, source, WINDOW) / scale)[textured].mean())


def _invented(result: Picture, source: Picture, window: int) -> float:
    flat = _variance(source, source, window).mean(dim=1) < FLAT**2
    if flat.float().mean() < ENOUGH:
        return 0.0
    return float(_variance(result, result, window).mean(dim=1)[flat].mean().sqrt())


def _variance(x: Float[Tensor, "1 c h w"], y: Float[Tensor, "1 c h w"], window: int) -> Float[Tensor, "1 c _ _"]:
    """Covariance of two pictures in windows that overlap by half; about the mean of all, which float32 needs."""
    same = x is y
    x, y = x - x.mean(dim=(2, 3), keepdim=True), y - y.mean(dim=(2, 3), keepdim=True)
    side = min(window, *x.shape[-2:])
    mean_x, mean_y, mean_xy = (F.avg_pool2d(each, side, stride=max(1, side // 2)) for each in (x, y, x * y))
    covariance: Tensor = mean_xy - mean_x * mean_y
    return covariance.clamp(min=0) if same else covariance
