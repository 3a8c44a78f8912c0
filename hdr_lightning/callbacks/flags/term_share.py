"""A term of the loss that drowns the others."""

from typing import Any

import torch
from lightning import LightningModule, Trainer

from hdr_lightning.callbacks.flags.flag import Action, Flag, Sign, at_least, due
from hdr_lightning.callbacks.flags.running import summed, weights_of
from hdr_lightning.losses import CompositeLoss
from hdr_lightning.losses.verdict import SHARE


class TermShare(Flag):
    """One of several terms makes nearly all of the loss, more than its weight means it to.

    The check before the first step refuses a loss that is so from the start; this sees one that becomes so. A term
    above its ceiling is the matter of `scale_guard`.

    Args:
        share: of the total, 0 to 1.
        every_n_steps: steps between looks.
        looks: in a row that show it.
        action: `warn` goes on, `stop` ends the run, `off` says nothing.

    Raises:
        InputError: if a setting is below its least.
    """

    keeps = ("row", "term")

    def __init__(self, share: float = SHARE, every_n_steps: int = 50, looks: int = 3, action: Action = "warn") -> None:
        super().__init__(action)
        at_least(self, 0, share=share)
        at_least(self, 1, every_n_steps=every_n_steps, looks=looks)
        self.share = share
        self.every_n_steps = every_n_steps
        self.looks = looks
        self.row = 0
        self.term = ""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = pl_module.loss
        assert isinstance(loss, CompositeLoss)
        weights = dict(zip(loss.terms, weights_of(pl_module), strict=True))
        names = [name for name, weight in weights.items() if weight > 0]
        if len(names) < 2 or not due(trainer, self.every_n_steps):
            return
        parts = torch.stack([trainer.callback_metrics[f"terms/{name}"].abs() for name in names])
        sizes = dict(zip(names, summed(trainer, parts.to(pl_module.device)), strict=True))
        total = sum(sizes.values())
        name = max(sizes, key=lambda term: sizes[term])
        meant = weights[name] / sum(weights.values())
        drowns = sizes[name] > max(self.share, (1 + meant) / 2) * total  # not so where it is not a number
        self.row = (self.row + 1 if name == self.term else 1) if drowns else 0
        self.term = name
        sign = None
        if self.row >= self.looks:
            others = ", ".join(f"{term} {size / total:.2%}" for term, size in sizes.items() if term != name)
            sign = Sign(
                f'the loss term "{name}" makes {sizes[name] / total:.0%} of the loss in {self.row} looks ({others})',
                "that its unit is another than that of the other terms, or that it diverges; the others starve",
                f"a lower --model.loss.init_args.terms.{name}.init_args.weight, or --scale_guard.policy=rescale",
            )
        self.tell(trainer, sign)
