"""Gradients that vanish or explode."""

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from hdr_lightning.callbacks.flags.flag import Action, Flag, Sign, at_least
from hdr_lightning.callbacks.flags.running import summed
from hdr_lightning.generators import Generator
from hdr_lightning.sharding import local


class GradientSize(Flag):
    """The norm of the gradient, before clipping, is tiny or huge, or a part of the network gets none at all.

    Says where: the norms of the parts of the generator (of the network inside, where one is wrapped in another).

    Args:
        low: norm below which it vanishes.
        high: norm above which it explodes.
        every_n_steps: optimiser steps between looks; each look waits for the device once.
        looks: in a row that show it.
        action: `warn` goes on, `stop` ends the run, `off` says nothing.

    Raises:
        InputError: if a setting is below its least.
    """

    keeps = ("vanishing", "exploding", "silent")

    def __init__(
        self, low: float = 0.01, high: float = 100.0, every_n_steps: int = 50, looks: int = 3, action: Action = "warn"
    ) -> None:
        super().__init__(action)
        at_least(self, 0, low=low)
        at_least(self, low, high=high)
        at_least(self, 1, every_n_steps=every_n_steps, looks=looks)
        self.low, self.high = low, high
        self.every_n_steps = every_n_steps
        self.looks = looks
        self.vanishing = self.exploding = 0
        self.silent: dict[str, int] = {}

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if (trainer.global_step + 1) % self.every_n_steps:
            return
        assert isinstance(pl_module.generator, Generator)
        norms = _norms(trainer, pl_module.generator)
        whole = sum(norm**2 for norm in norms.values()) ** 0.5
        if not norms or not whole < torch.inf:
            return  # the step is skipped, or the gradient is not here
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            whole, norms = whole / scaler.get_scale(), {part: n / scaler.get_scale() for part, n in norms.items()}
        self.vanishing = self.vanishing + 1 if whole < self.low else 0
        self.exploding = self.exploding + 1 if whole > self.high else 0
        self.silent = {part: self.silent.get(part, 0) + 1 for part, norm in norms.items() if norm == 0}
        self.tell(trainer, self._sign(whole, norms))

    def _sign(self, whole: float, norms: dict[str, float]) -> Sign | None:
        parts = ", ".join(f"{part} {norm:.2g}" for part, norm in sorted(norms.items(), key=lambda item: item[1]))
        if self.vanishing >= self.looks:
            return Sign(
                f"the gradient has a norm of {whole:.2g} in {self.vanishing} looks, below {self.low:g} ({parts})",
                "dead or saturated activations, outputs clipped inside the network, or a loss with tiny weights",
                "larger weights of the loss, another initialisation, or a start from an earlier checkpoint",
            )
        if self.exploding >= self.looks:
            return Sign(
                f"the gradient has a norm of {whole:.3g} in {self.exploding} looks, above {self.high:g} ({parts})",
                "a learning rate too high, a loss term out of scale, or no normalisation where it is largest",
                "a lower --model.optimizer.init_args.lr, a longer warm-up, and `check-loss`",
            )
        silent = [part for part, row in self.silent.items() if row >= self.looks]
        if silent:
            return Sign(
                f"no gradient reaches {', '.join(silent)} in {self.looks} looks ({parts})",
                "a part that is behind dead activations, scaled by 0, or not used by the output",
                "another initialisation of it, or freezing it on purpose",
            )
        return None


def _norms(trainer: Trainer, generator: Generator) -> dict[str, float]:
    """Norms of the gradients by part, in one transfer; nothing where there are none."""
    inner = {id(p): name for name, p in generator.base.named_parameters()}
    parts: dict[str, list[Tensor]] = {}
    for name, parameter in generator.named_parameters():
        if parameter.grad is not None:
            part = inner.get(id(parameter), name).split(".")[0]
            parts.setdefault(part, []).append(local(parameter.grad))
    if not parts:
        return {}
    squares = torch.stack([get_total_norm(grads).float().square() for grads in parts.values()])
    sharded = not isinstance(trainer.strategy, (SingleDeviceStrategy, DDPStrategy))  # with these all ranks see the same
    sizes = summed(trainer, squares) if sharded else squares.tolist()
    return {part: size**0.5 for part, size in zip(parts, sizes, strict=True)}
