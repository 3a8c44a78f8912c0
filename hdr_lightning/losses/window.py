"""Terms that look at windows and other bright regions."""

from hdr_lightning.errors import InputError
from hdr_lightning.image.regions import bright_mask
from hdr_lightning.losses.term import LossTerm, Pictures, Scalar


class WindowL1(LossTerm):
    """L1 with bright regions weighted up; between L1 and `gain` times L1.

    The weight of a pixel rises smoothly from 1 to `gain` where the target's luminance passes `threshold`.

    Args:
        threshold: luminance (Rec. 709, sRGB-encoded) at half weight, in (0, 1).
        gain: weight of a fully bright pixel, >= 1.
        softness: the luminance above `threshold` where 0.73 of the rise is done, > 0.
        weight: factor in the total.
        ceiling: the weighted size above which the term is out of scale.

    Raises:
        InputError: if a number is out of range.
    """

    def __init__(
        self,
        threshold: float = 0.75,
        gain: float = 3.0,
        softness: float = 0.05,
        weight: float = 1.0,
        ceiling: float = 10.0,
    ) -> None:
        super().__init__(weight, ceiling)
        if not (0 < threshold < 1 and gain >= 1 and softness > 0):
            raise InputError(
                "WindowL1: expected threshold in (0, 1), gain >= 1 and softness > 0, "
                f"got threshold={threshold}, gain={gain}, softness={softness}"
            )
        self.threshold = threshold
        self.gain = gain
        self.softness = softness

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        weight = 1 + (self.gain - 1) * bright_mask(target, self.threshold, self.softness)
        return (weight * (prediction - target).abs()).mean()
