"""The contract of every loss term."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hdr_lightning.errors import InputError

Pictures = Float[Tensor, "n 3 h w"]
Scalar = Float[Tensor, ""]


class LossTerm(nn.Module, ABC):
    """One number that says how far a prediction is from its target, 0 where they are equal.

    Attributes:
        compares: whether it does that; otherwise it looks at the prediction alone, as a total variation does.

    Args:
        weight: factor in the total, > 0.
        ceiling: the size of `weight * measure(...)` above which the term is out of scale, > 0.

    Raises:
        InputError: if `weight` or `ceiling` is not positive.
    """

    compares: bool = True

    def __init__(self, weight: float = 1.0, ceiling: float = 10.0) -> None:
        super().__init__()
        for name, value in (("weight", weight), ("ceiling", ceiling)):
            if not value > 0:
                raise InputError(
                    f"{type(self).__name__}: {name} is to be above 0, got {value}; leave out an unused term"
                )
        self.weight = weight
        self.ceiling = ceiling

    @abstractmethod
    def measure(self, prediction: Pictures, target: Pictures, source: Pictures) -> Scalar:
        """Compare; in float32, unweighted.

        Args:
            prediction: what the generator made, not clamped to [0, 1].
            target: the edited photos, in [0, 1].
            source: the unedited photos, in [0, 1].
        """


def weighted_mean(parts: Sequence[Scalar], weights: Sequence[float]) -> Scalar:
    """Mean of a term's own parts."""
    return torch.stack([weight * part for weight, part in zip(weights, parts, strict=True)]).sum() / sum(weights)


def not_negative(term: LossTerm, **numbers: float) -> None:
    """Check the weights of a term's own parts.

    Raises:
        InputError: if one is negative, or all are 0 where there are several.
    """
    if min(numbers.values()) < 0 or (len(numbers) > 1 and not sum(numbers.values())):
        given = ", ".join(f"{name}={value}" for name, value in numbers.items())
        raise InputError(f"{type(term).__name__}: expected 0 or more for each, not 0 for all, got {given}")
