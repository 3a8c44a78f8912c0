"""Training on larger and larger crops (progressive learning, as Restormer is trained)."""

from collections.abc import Sequence
from dataclasses import dataclass

from hdr_lightning.errors import InputError


@dataclass(frozen=True)
class Stage:
    """Epochs that train on crops of one size.

    Args:
        epoch: the first of them, counted from 0; they go on until the next stage begins.
        crop: side of the random square, in pixels.
        batch_size: crops a training step and device.
    """

    epoch: int
    crop: int
    batch_size: int


class Stages:
    """Stages in their order; the last goes on to the end.

    Args:
        crop: side of the square until the first stage begins.
        batch_size: crops a step until then.
        stages: what follows.

    Raises:
        InputError: if a number is out of range, or the stages are not in order.
    """

    def __init__(self, crop: int, batch_size: int, stages: Sequence[Stage]) -> None:
        starts = [stage.epoch for stage in stages]
        if any(start < 0 for start in starts) or sorted(set(starts)) != starts:
            raise InputError(f"data.stages begin at the epochs {starts}: expected 0 or more, each later than the last")
        for stage in stages:
            if stage.crop < 1 or stage.batch_size < 1:
                raise InputError(f"data.stages: expected a crop and a batch_size of 1 or more, got {stage}")
        first = [] if 0 in starts else [Stage(0, crop, batch_size)]
        self.stages = [*first, *stages]

    def __len__(self) -> int:
        return len(self.stages)

    @property
    def largest_crop(self) -> int:
        """Side of the largest square, in pixels."""
        return max(stage.crop for stage in self.stages)

    def at(self, epoch: int) -> tuple[Stage, int]:
        """The stage of an epoch, and the number of epochs until the next one; 0 where there is none."""
        started = sum(stage.epoch <= epoch for stage in self.stages)
        left = self.stages[started].epoch - epoch if started < len(self) else 0
        return self.stages[started - 1], left
