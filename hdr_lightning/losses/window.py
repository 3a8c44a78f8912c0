"""Terms that weigh regions: windows, shadows, what the edit changed."""

from typing import Any

import torch
from torch import Tensor, nn

from hdr_lightning.errors import InputError
from hdr_lightning.image.color import hue_distance, luminance, saturation
from hdr_lightning.image.regions import bright_mask, changed_mask, mean_within, percentile, zones
from hdr_lightning.image.statistics import histogram, histogram_distance
from hdr_lightning.image.types import Plane
from hdr_lightning.losses.term import LossTerm, Pictures, Scalar, not_negative, weighted_mean


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


class ZoneL1(LossTerm):
    """Mean absolute error of windows, shadows and midtones, each for itself: a small window counts as much as a wall.

    A mean of the three, by the weights given: about as large as L1, 0 at best. Zones are those of the target's
    luminance and overlap softly.

    Args:
        windows: weight of the bright zone, >= 0.
        shadows: weight of the dark zone.
        midtones: weight of what lies between.
        dark: luminance (Rec. 709, sRGB-encoded) where shadows and midtones meet.
        bright: luminance where midtones and windows meet, above `dark`.
        weight: factor in the total.
        ceiling: the weighted size above which the term is out of scale.

    Raises:
        InputError: if a number is out of range.
    """

    def __init__(
        self,
        windows: float = 1.0,
        shadows: float = 1.0,
        midtones: float = 1.0,
        dark: float = 0.25,
        bright: float = 0.75,
        weight: float = 1.0,
        ceiling: float = 10.0,
    ) -> None:
        super().__init__(weight, ceiling)
        not_negative(self, windows=windows, shadows=shadows, midtones=midtones)
        if not 0 < dark < bright < 1:
            raise InputError(f"{type(self).__name__}: expected 0 < dark < bright < 1, got {dark} and {bright}")
        self.shares = (windows, shadows, midtones)
        self.dark = dark
        self.bright = bright

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        return self._compare(prediction, target, zones(target, self.dark, self.bright))

    def _compare(self, prediction: Pictures, target: Pictures, masks: tuple[Plane, Plane, Plane]) -> Scalar:
        error = (prediction - target).abs().mean(dim=1, keepdim=True)
        return weighted_mean([mean_within(error, mask).mean() for mask in masks], self.shares)


class AdaptiveZones(ZoneL1):
    """`ZoneL1` with zones by percentiles of each target: the darkest quarter, the brightest tenth, what lies between.

    Args:
        windows: weight of the bright zone, >= 0.
        shadows: weight of the dark zone.
        midtones: weight of what lies between.
        dark: share of the pixels that are shadows, in (0, 1).
        bright: share of the pixels that are no windows, above `dark`.
        weight: factor in the total.
        ceiling: the weighted size above which the term is out of scale.

    Raises:
        InputError: if a number is out of range.
    """

    def __init__(
        self,
        windows: float = 1.0,
        shadows: float = 1.0,
        midtones: float = 1.0,
        dark: float = 0.25,
        bright: float = 0.9,
        weight: float = 1.0,
        ceiling: float = 10.0,
    ) -> None:
        super().__init__(windows, shadows, midtones, dark, bright, weight, ceiling)

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        level = luminance(target)
        return self._compare(
            prediction, target, zones(target, percentile(level, self.dark), percentile(level, self.bright))
        )


class _Reversed(torch.autograd.Function):
    """The identity, whose gradient points the other way (Ganin, Lempitsky, 2015)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient


class LuminanceAttention(LossTerm):
    """L1, weighted by a map that learns, from the luminance of source and target, where errors are large.

    The weights lie in [1, `gain`] and are divided by their mean over the picture, so the term stays between L1 / `gain`
    and `gain` times L1; 0 at best. Their small network is trained upwards (its gradient is reversed): trained downwards
    it would turn to where nothing is to be learned. Its parameters belong to the loss, train with the generator and are
    saved with it.

    Args:
        gain: weight of the hardest pixel over that of the easiest, >= 1.
        width: channels of the network.
        weight: factor in the total.
        ceiling: the weighted size above which the term is out of scale.

    Raises:
        InputError: if a number is out of range.
    """

    def __init__(self, gain: float = 3.0, width: int = 8, weight: float = 1.0, ceiling: float = 10.0) -> None:
        super().__init__(weight, ceiling)
        if not (gain >= 1 and width >= 1):
            raise InputError(f"LuminanceAttention: expected gain >= 1 and width >= 1, got {gain} and {width}")
        self.gain = gain
        self.network = nn.Sequential(
            nn.Conv2d(2, width, 5, padding=2, padding_mode="replicate"),
            nn.GELU(),
            nn.Conv2d(width, 1, 5, padding=2, padding_mode="replicate"),
        )

    def weights(self, target: Pictures, source: Pictures) -> Plane:
        """The learned map; its mean over each picture is 1."""
        attention = self.network(torch.cat((luminance(target), luminance(source)), dim=1) - 0.5).sigmoid()
        raised = 1 + (self.gain - 1) * attention
        return raised / raised.mean(dim=(2, 3), keepdim=True)

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        error = (prediction - target).abs().mean(dim=1, keepdim=True)
        return (_Reversed.apply(self.weights(target, source)) * error).mean()


class DeltaAware(LossTerm):
    """L1 with one weight where the edit changed the source and another where it kept it.

    Between `preserve` and `fix` times L1; 0 at best.

    Args:
        fix: weight where source and target differ, >= 0.
        preserve: weight where they agree, >= 0.
        threshold: difference of source and target at which a pixel counts as half changed, in (0, 1).
        weight: factor in the total.
        ceiling: the weighted size above which the term is out of scale.

    Raises:
        InputError: if a number is out of range.
    """

    def __init__(
        self,
        fix: float = 2.0,
        preserve: float = 1.0,
        threshold: float = 0.1,
        weight: float = 1.0,
        ceiling: float = 10.0,
    ) -> None:
        super().__init__(weight, ceiling)
        not_negative(self, fix=fix, preserve=preserve)
        if not 0 < threshold < 1:
            raise InputError(f"DeltaAware: expected threshold in (0, 1), got {threshold}")
        self.fix = fix
        self.preserve = preserve
        self.threshold = threshold

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        changed = changed_mask(source, target, self.threshold)
        weight = self.preserve + (self.fix - self.preserve) * changed
        return (weight * (prediction - target).abs()).mean()


class BrightColor(LossTerm):
    """Colour inside bright regions of the target: hue, saturation, RGB and histogram, each a distance in [0, 1].

    A mean of the four, by the weights given: 0.02 to 0.1 on photos, 0 at best and where nothing is bright.

    Args:
        hue: weight of the circular difference in hue, >= 0.
        chroma: weight of the difference in saturation.
        rgb: weight of the absolute error.
        histogram: weight of the distance between the histograms of each channel.
        threshold: luminance (Rec. 709, sRGB-encoded) of the target at which a pixel counts half, in (0, 1).
        weight: factor in the total.
        ceiling: the weighted size above which the term is out of scale.

    Raises:
        InputError: if a number is out of range.
    """

    def __init__(
        self,
        hue: float = 1.0,
        chroma: float = 1.0,
        rgb: float = 1.0,
        histogram: float = 1.0,
        threshold: float = 0.75,
        weight: float = 1.0,
        ceiling: float = 10.0,
    ) -> None:
        super().__init__(weight, ceiling)
        not_negative(self, hue=hue, chroma=chroma, rgb=rgb, histogram=histogram)
        if not 0 < threshold < 1:
            raise InputError(f"BrightColor: expected threshold in (0, 1), got {threshold}")
        self.shares = (hue, chroma, rgb, histogram)
        self.threshold = threshold

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        mask = bright_mask(target, self.threshold)
        hue = hue_distance(prediction, target)
        chroma = (saturation(prediction) - saturation(target)).abs()
        rgb = (prediction - target).abs().mean(dim=1, keepdim=True)
        weights = mask.expand_as(target).flatten(0, 1).flatten(1)
        both = [histogram(x.flatten(0, 1).flatten(1), 64, weights) for x in (prediction, target)]
        parts = [*(mean_within(each, mask).mean() for each in (hue, chroma, rgb)), histogram_distance(*both).mean()]
        return weighted_mean(parts, self.shares)
