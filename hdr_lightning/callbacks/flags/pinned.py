"""Outputs that lie at the ends of the range."""

import torch
from jaxtyping import Float
from torch import Tensor

from hdr_lightning.callbacks.flags.flag import Action, Sign, at_least
from hdr_lightning.callbacks.flags.output_flag import OutputFlag
from hdr_lightning.data.pairs import Pair
from hdr_lightning.task import Evaluated

END = 0.5 / 255
"""What becomes 0 or 255 in a file of 8 bits."""


class Pinned(OutputFlag):
    """Far more values of the outputs than of the targets are at or beyond 0 or 1, over the validation set.

    Args:
        excess: share of all values by which they are more.
        patience: validations in a row.
        after: optimiser steps before the first of them: an untrained network may make anything.
        action: `warn` goes on, `stop` ends the run, `off` says nothing.

    Raises:
        InputError: if a setting is below its least.
    """

    def __init__(self, excess: float = 0.2, patience: int = 2, after: int = 200, action: Action = "warn") -> None:
        super().__init__(patience, after, action)
        at_least(self, 0, excess=excess)
        self.excess = excess

    def facts(self, outputs: Evaluated, batch: Pair) -> Float[Tensor, "photos 4"]:
        """Shares of values at the low end and at the high end, of the output and of the target each."""
        made, meant = outputs["prediction"], batch.target
        ends = (made <= END, meant <= END, made >= 1 - END, meant >= 1 - END)
        return torch.stack([end.float().mean(dim=(1, 2, 3)) for end in ends], dim=1)

    def is_sick(self, means: list[float]) -> bool:
        low, meant_low, high, meant_high = means
        return low + high > meant_low + meant_high + self.excess

    def sign(self, means: list[float]) -> Sign:
        low, meant_low, high, meant_high = means
        return Sign(
            f"{low:.0%} of the output's values are 0 or below and {high:.0%} are 1 or above, of the targets' "
            f"{meant_low:.0%} and {meant_high:.0%}",
            "that the last layer has drifted out of range, where clipping hides what it does",
            "a term that sees values out of range (L1), a lower learning rate, or an earlier checkpoint",
        )
