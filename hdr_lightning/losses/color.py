"""Terms that compare colour apart from brightness, or as people see it."""

import torch

from hdr_lightning.errors import InputError
from hdr_lightning.image.color import ciede2000, direction, hue_distance, lab, saturation
from hdr_lightning.image.filters import pyramid
from hdr_lightning.image.statistics import histogram, histogram_distance
from hdr_lightning.losses.term import LossTerm, Pictures, Scalar, not_negative, weighted_mean


class Saturation(LossTerm):
    """Mean absolute difference of HSV saturation: in [0, 1], 0.05 to 0.3 on photos, 0 at best.

    Saturation is damped below one 8-bit step of brightness (see `image.color.saturation`), which bounds the gradient.
    """

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        return (saturation(prediction) - saturation(target)).abs().mean()


class Lab(LossTerm):
    """Mean absolute difference in CIELAB over `scale`: 0.03 to 0.1 on photos with the default, 0 at best.

    Args:
        scale: by how much the difference is divided. At 1, the raw scale of CIELAB, it is 100 times as large as L1
            and starves every term beside it: the self-check refuses that.
        weight: factor in the total.
        ceiling: the weighted size above which the term is out of scale.

    Raises:
        InputError: if a number is out of range.
    """

    def __init__(self, scale: float = 100.0, weight: float = 1.0, ceiling: float = 10.0) -> None:
        super().__init__(weight, ceiling)
        if not scale > 0:
            raise InputError(f"{type(self).__name__}: expected scale > 0, got {scale}")
        self.scale = scale

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        return (lab(prediction) - lab(target)).abs().mean() / self.scale


class ABChannels(Lab):
    """`Lab` of the two colour channels alone, without lightness: 0.02 to 0.1 on photos, 0 at best.

    Args:
        scale: by how much the difference is divided.
        weight: factor in the total.
        ceiling: the weighted size above which the term is out of scale.
    """

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        return (lab(prediction)[:, 1:] - lab(target)[:, 1:]).abs().mean() / self.scale


class CIEDE2000(Lab):
    """Mean difference of colours as people see it (Sharma et al., 2005) over `scale`: 0.05 to 0.2 on photos, 0 at best.

    Args:
        scale: by how much the difference is divided; 100 is black against white.
        weight: factor in the total.
        ceiling: the weighted size above which the term is out of scale.
    """

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        return ciede2000(lab(prediction), lab(target)).mean() / self.scale


class HSV(LossTerm):
    """Mean difference of hue, saturation and value, by the weights given: in [0, 1], 0.05 to 0.2 on photos, 0 at best.

    Hue is circular, (1 - cos of the difference) / 2, and fades out where there is no colour (see
    `image.color.hue_direction`): red at 359 degrees is next to red at 1 degree.

    Args:
        hue: weight of hue, >= 0.
        saturation: weight of saturation.
        value: weight of the brightest channel.
        weight: factor in the total.
        ceiling: the weighted size above which the term is out of scale.

    Raises:
        InputError: if a number is out of range.
    """

    def __init__(
        self,
        hue: float = 1.0,
        saturation: float = 1.0,
        value: float = 1.0,
        weight: float = 1.0,
        ceiling: float = 10.0,
    ) -> None:
        super().__init__(weight, ceiling)
        not_negative(self, hue=hue, saturation=saturation, value=value)
        self.shares = (hue, saturation, value)

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        hue = hue_distance(prediction, target).mean()
        full = (saturation(prediction) - saturation(target)).abs().mean()
        value = (prediction.amax(dim=1) - target.amax(dim=1)).abs().mean()
        return weighted_mean((hue, full, value), self.shares)


class ColorDirection(LossTerm):
    """Mean of 1 - cos of the angle between the colours in RGB (after Wang et al., CVPR 2019): in [0, 2], 0 at best.

    Usually 0.002 to 0.02 on photos. Blind to brightness; it fades out towards black (see `image.color.direction`).
    """

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        return (direction(prediction) - direction(target)).square().sum(dim=1).mean() / 2


class MultiScaleColor(LossTerm):
    """Mean absolute error at full resolution, half, a quarter, ...: between 0 and L1, 0 at best.

    Coarse levels see casts and large areas, whatever the texture does.

    Args:
        levels: how many resolutions, 1 or more; a small picture has fewer.
        weight: factor in the total.
        ceiling: the weighted size above which the term is out of scale.

    Raises:
        InputError: if a number is out of range.
    """

    def __init__(self, levels: int = 4, weight: float = 1.0, ceiling: float = 10.0) -> None:
        super().__init__(weight, ceiling)
        if levels < 1:
            raise InputError(f"MultiScaleColor: expected levels of 1 or more, got {levels}")
        self.levels = levels

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        errors = [level.abs().mean() for level in pyramid(prediction - target, self.levels)]
        return torch.stack(errors).mean()


class ColorConsistency(LossTerm):
    """Difference of the colour casts: of red - green, green - blue, blue - red of each picture's mean colour.

    The colour constancy of Guo et al. (CVPR 2020), towards the target's cast instead of grey, as absolute differences:
    in [0, 2], 0.005 to 0.05 on photos, 0 at best.
    """

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        difference = (prediction - target).mean(dim=(2, 3))
        return (difference - difference.roll(1, dims=1)).abs().mean()


class Histogram(LossTerm):
    """Distance between the histograms of each channel, wherever in the picture: in [0, 1], 0.03 to 0.2, 0 at best.

    The earth mover's distance, whose gradient leads from any brightness to any other. Its memory does not depend on
    the number of bins: for 16 pictures of 512 x 512 it keeps 0.35 GB for the gradient, and takes 0.7 GB at the peak.

    Args:
        bins: how many, 2 or more.
        weight: factor in the total.
        ceiling: the weighted size above which the term is out of scale.

    Raises:
        InputError: if a number is out of range.
    """

    def __init__(self, bins: int = 64, weight: float = 1.0, ceiling: float = 10.0) -> None:
        super().__init__(weight, ceiling)
        if bins < 2:
            raise InputError(f"Histogram: expected 2 bins or more, got {bins}")
        self.bins = bins

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        both = [histogram(picture.flatten(0, 1).flatten(1), self.bins) for picture in (prediction, target)]
        return histogram_distance(*both).mean()


class Diversity(LossTerm):
    """1 / (variance + 1) of the colour channels of CIELAB: in (0, 1], about 0.01 on photos, 1 for grey.

    It rewards any colour, whatever the target. The form -log(variance) grows without bound as pictures turn grey; this
    one is bounded, and so is its gradient.
    """

    compares = False

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        return (1 / (lab(prediction)[:, 1:].var(dim=(2, 3), correction=0) + 1)).mean()
