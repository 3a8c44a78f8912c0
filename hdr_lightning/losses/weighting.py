"""How much each term of a loss counts, and how that changes while it trains."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hdr_lightning.errors import InputError

Values = Float[Tensor, " t"]


class Weighting(nn.Module, ABC):
    """Factors for the weighted terms of a loss. What it learns is saved and resumed with the loss."""

    def bind(self, terms: int) -> None:
        """Learn how many terms there are, once, before anything else."""

    @abstractmethod
    def forward(self, values: Values, active: Values) -> tuple[Values, Float[Tensor, ""]]:
        """Weigh the terms.

        Args:
            values: of the terms, unweighted.
            active: 1 for a term that counts now, 0 for one whose weight is 0.

        Returns:
            A factor for each, and something to add to the total.
        """


class Fixed(Weighting):
    """Weights as they were given."""

    def forward(self, values: Values, active: Values) -> tuple[Values, Float[Tensor, ""]]:
        return torch.ones_like(values), values.new_zeros(())


class Normalised(Weighting):
    """Each term over its own running mean: weights are shares of the total, whatever the terms' scales.

    The total then stays near the sum of the weights; read the progress from the metrics. Under several processes the
    running means of the first one hold for all.

    Args:
        momentum: how much of the running mean a step keeps, in [0, 1).

    Raises:
        InputError: if it is out of range.
    """

    sums: Tensor
    mass: Tensor

    def __init__(self, momentum: float = 0.99) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise InputError(f"Normalised: expected momentum in [0, 1), got {momentum}")
        self.momentum = momentum

    def bind(self, terms: int) -> None:
        self.register_buffer("sums", torch.zeros(terms))
        self.register_buffer("mass", torch.zeros(terms))

    def forward(self, values: Values, active: Values) -> tuple[Values, Float[Tensor, ""]]:
        now = values.detach().abs()
        sound = now.isfinite()
        if self.training:
            keep = torch.where(sound, self.momentum, 1.0)  # a broken value must not stay in the mean
            self.sums.mul_(keep).add_((1 - keep) * now.nan_to_num(0, 0, 0))
            self.mass.mul_(keep).add_(1 - keep)
        running = torch.where(self.mass > 0, self.sums / self.mass.clamp(min=1e-12), now.where(sound, 1.0))
        return 1 / running.clamp(min=1e-6), values.new_zeros(())


class Uncertainty(Weighting):
    """Weights that train with the generator (Kendall, Gal, Cipolla, CVPR 2018): exp(-s) for each term, and s added.

    A term whose value stays large gets a smaller weight. The total can become negative: s is the logarithm of a
    variance. It settles where exp(-s) times the weighted value is 1.
    """

    log_variances: nn.Parameter

    def bind(self, terms: int) -> None:
        self.log_variances = nn.Parameter(torch.zeros(terms))

    def forward(self, values: Values, active: Values) -> tuple[Values, Float[Tensor, ""]]:
        return torch.exp(-self.log_variances), (self.log_variances * active).sum()


@dataclass(frozen=True)
class Ramp:
    """A curriculum for one term: the share of its weight that counts, by epoch.

    Attributes:
        start: epoch, from 0, up to which the share is `first`.
        end: epoch from which it is `last`; between them it is a straight line.
        first: share at the start, >= 0.
        last: share at the end, >= 0.
    """

    start: int
    end: int
    first: float = 0.0
    last: float = 1.0

    @property
    def sound(self) -> bool:
        """Whether the numbers are in range."""
        return 0 <= self.start <= self.end and self.first >= 0 and self.last >= 0

    def share(self, epoch: int | None) -> float:
        """The share of the weight in an epoch, from 0; the largest of all if none is given."""
        if epoch is None:
            return max(self.first, self.last)
        if epoch >= self.end:
            return self.last
        done = max(0, epoch - self.start) / max(1, self.end - self.start)
        return self.first + (self.last - self.first) * done
