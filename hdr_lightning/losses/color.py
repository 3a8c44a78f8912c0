"""Terms that compare colour apart from brightness."""

from hdr_lightning.image.color import saturation
from hdr_lightning.losses.term import LossTerm, Pictures, Scalar


class Saturation(LossTerm):
    """Mean absolute difference of HSV saturation: in [0, 1], 0.05 to 0.3 on photos, 0 at best.

    Saturation is damped below one 8-bit step of brightness (see `image.color.saturation`), which bounds the gradient.
    """

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        return (saturation(prediction) - saturation(target)).abs().mean()
