"""Outputs that have a tint."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from hdr_lightning.callbacks.flags.flag import Action, Sign, at_least
from hdr_lightning.callbacks.flags.output_flag import OutputFlag, sound_photos
from hdr_lightning.data.pairs import Pair
from hdr_lightning.image.color import lab
from hdr_lightning.task import Evaluated

SIDE = 256
"""Pixels a side that are looked at, at least: a mean of colours needs no more."""


class ColorCast(OutputFlag):
    """The mean colour of the outputs differs from that of the targets over the validation set, in a and b of CIELAB.

    Only where it differs more than that of the sources does, by 1 or more: most networks begin with their source.

    Args:
        limit: distance in the plane of a and b; 2.3 is just noticed side by side.
        patience: validations in a row.
        after: optimiser steps before the first of them: an untrained network may make anything.
        action: `warn` goes on, `stop` ends the run, `off` says nothing.

    Raises:
        InputError: if a setting is below its least.
    """

    def __init__(self, limit: float = 5.0, patience: int = 3, after: int = 200, action: Action = "warn") -> None:
        super().__init__(patience, after, action)
        at_least(self, 0, limit=limit)
        self.limit = limit

    def facts(self, outputs: Evaluated, batch: Pair) -> Float[Tensor, "photos 4"]:
        """Distance of the outputs' mean a and b from those of the targets, and that of the sources."""
        sound = sound_photos(outputs)
        step = max(1, min(batch.target.shape[-2:]) // SIDE)
        pictures = (outputs["prediction"][sound].clamp(0, 1), batch.target[sound].float(), batch.source[sound].float())
        made, meant, given = (lab(picture[..., ::step, ::step])[:, 1:].mean(dim=(2, 3)) for picture in pictures)
        return torch.cat((made - meant, given - meant), dim=1)

    def is_sick(self, means: list[float]) -> bool:
        a, b, own_a, own_b = means
        return math.hypot(a, b) > max(self.limit, math.hypot(own_a, own_b) + 1)

    def sign(self, means: list[float]) -> Sign:
        a, b = means[:2]
        tint = " and ".join(
            name for name, strong in (("green", -a), ("red", a), ("blue", -b), ("yellow", b)) if strong > 1
        )
        return Sign(
            f"the outputs are too {tint} by {abs(a):.1f} in a and {abs(b):.1f} in b of CIELAB, in {self.row} "
            "validations",
            "a loss that does not see colour (luminance alone, or colour with too little weight)",
            "a term such as Lab or Saturation, or more of its weight; and whether the targets are of one look",
        )
