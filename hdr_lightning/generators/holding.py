"""Parts of a generator that keep their weights, for good or up to an epoch."""

from collections.abc import Sequence

from torch import nn

from hdr_lightning.errors import InputError
from hdr_lightning.generators.base import Generator
from hdr_lightning.generators.groups import find_frozen, frozen_modules


class Holding:
    """Freeze parts of a generator.

    What is frozen for good has no gradients at all. What is freed later has them from the start, and they are dropped
    before anyone looks: DDP and FSDP2 settle at the start whose gradients they exchange, and an optimiser that knows
    all parameters from the start is the same before and after, as checkpoints want it. It makes state for a parameter
    at its first gradient, so what is freed begins as at a first step, and the others go on.

    Args:
        generator: whose parts they are; parameters of what is frozen for good stop requiring gradients now.
        patterns: which parts.
        until: epoch, from 0, in which they are freed; never if nothing is given.

    Attributes:
        until: the same.

    Raises:
        InputError: if a pattern matches nothing, nothing is left to train, or the epoch is none.
    """

    def __init__(self, generator: Generator, patterns: Sequence[str], until: int | None) -> None:
        if until is not None and (until < 1 or not patterns):
            raise InputError(
                f"model.unfreeze_epoch is {until}: expected 1 or more, and parts to free then in model.freeze"
            )
        self._generator = generator
        self.until = until
        self._frozen = find_frozen(generator, patterns)
        self._held: list[nn.Parameter] = []
        if until is None:
            for name, parameter in generator.named_parameters():
                if name in self._frozen:
                    parameter.requires_grad_(False)

    @property
    def any(self) -> bool:
        """Whether parts are frozen at the start."""
        return bool(self._frozen)

    @property
    def ends(self) -> bool:
        """Whether parts are freed later."""
        return self.until is not None

    def begin(self, epoch: int) -> None:
        """Hold what is frozen in an epoch, from 0; its layers behave as in evaluation."""
        held = self.until is None or epoch < self.until
        for module in frozen_modules(self._generator, self._frozen):
            module.train(not held)
        named = self._generator.named_parameters()  # found anew: FSDP2 puts others in their place
        self._held = [p for name, p in named if name in self._frozen and p.requires_grad] if held else []

    def drop_gradients(self) -> None:
        """Have the optimiser, and the norm of the gradient, leave out what is held."""
        for parameter in self._held:
            parameter.grad = None
