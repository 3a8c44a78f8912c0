"""Terms that compare pixel with pixel."""

import torch
from torch.nn import functional as F

from hdr_lightning.errors import InputError
from hdr_lightning.losses.term import LossTerm, Pictures, Scalar


class L1(LossTerm):
    """Mean absolute error: in [0, 1] for predictions in range; 0.05 to 0.2 on photos, 0 at best."""

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        return (prediction - target).abs().mean()


class MSE(LossTerm):
    """Mean squared error: in [0, 1] for predictions in range; 0.005 to 0.05 on photos, 0 at best."""

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        return (prediction - target).square().mean()


class Charbonnier(LossTerm):
    """L1 with a round bottom, mean of sqrt(d^2 + eps^2) - eps (Charbonnier et al., 1994): as large as L1, 0 at best.

    Args:
        eps: difference below which it is nearly quadratic, > 0. The offset is taken off, so that equal pictures are 0.
        weight: factor in the total.
        ceiling: the weighted size above which the term is out of scale.

    Raises:
        InputError: if a number is out of range.
    """

    def __init__(self, eps: float = 1e-3, weight: float = 1.0, ceiling: float = 10.0) -> None:
        super().__init__(weight, ceiling)
        if not eps > 0:
            raise InputError(f"Charbonnier: expected eps > 0, got {eps}")
        self.eps = eps

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        squared = (prediction - target).square()
        # The same as sqrt(d^2 + eps^2) - eps, without the rounding of a difference of nearly equal numbers.
        return (squared / (torch.sqrt(squared + self.eps**2) + self.eps)).mean()


class Huber(LossTerm):
    """Quadratic below `delta`, linear above (Huber, 1964), over `delta`: as large as L1, or smaller; 0 at best.

    Args:
        delta: difference where both meet, > 0.
        weight: factor in the total.
        ceiling: the weighted size above which the term is out of scale.

    Raises:
        InputError: if a number is out of range.
    """

    def __init__(self, delta: float = 0.05, weight: float = 1.0, ceiling: float = 10.0) -> None:
        super().__init__(weight, ceiling)
        if not delta > 0:
            raise InputError(f"Huber: expected delta > 0, got {delta}")
        self.delta = delta

    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        return F.smooth_l1_loss(prediction, target, beta=self.delta)
