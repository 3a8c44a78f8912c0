"""Average the weights over the steps, and evaluate with the average."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_info, rank_zero_warn
from lightning.pytorch.strategies import DeepSpeedStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.optim import Optimizer

from hdr_lightning.callbacks.gradient_guard import GradientGuard
from hdr_lightning.errors import InputError
from hdr_lightning.generators import Generator
from hdr_lightning.generators.loading import PREFIX
from hdr_lightning.sharding import local, share_of, whole

Values = dict[nn.Parameter, Tensor]
"""One value for each parameter of the generator that trains; of its shard, under FSDP2."""


class EMA(Callback):
    """Average the generator's weights over the steps, and validate with the average.

    It moves by 1 - d towards the weights after each step that changed them, d = min(decay, (1 + t) / (10 + t)) at the
    t-th time, so that the random weights of the start are soon forgotten: the warm-up of TensorFlow's
    `ExponentialMovingAverage` and of diffusers' `EMAModel`. It is kept in float32 or more, for weights that train;
    frozen ones and buffers are those of the generator. Checkpoints hold it as `ema` beside the trained weights, and
    `test`, `predict`, `validate` and `enhance` take it where it is there, whatever the decay.

    Args:
        decay: share of the average that a step keeps, in [0, 1), such as 0.999; 0 keeps no average.
        start_step: steps of the optimiser after which it starts, with the weights of then.

    Raises:
        InputError: if a number is out of range, or under DeepSpeed.
    """

    def __init__(self, decay: float = 0.0, start_step: int = 0) -> None:
        if not 0 <= decay < 1:
            raise InputError(f"ema.decay is to be in [0, 1), got {decay}")
        if start_step < 0:
            raise InputError(f"ema.start_step is to be 0 or more, got {start_step}")
        self.decay = decay
        self.start_step = start_step
        self.updates = 0
        self._averages: Values = {}
        self._trained: Values = {}  # while the generator holds the averages
        self._loaded: Mapping[str, Tensor] = {}
        self._due = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.decay and stage == "fit" and isinstance(trainer.strategy, DeepSpeedStrategy):
            raise InputError(
                "DeepSpeed keeps the weights that train to itself, and there is no average of them: set ema.decay to "
                "0, or trainer.strategy to fsdp2"
            )

    def state_dict(self) -> dict[str, int]:
        return {"updates": self.updates}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.updates = state_dict["updates"]

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        self._due = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        due, self._due = self._due, False
        guards = (each for each in trainer.callbacks if isinstance(each, GradientGuard))  # type: ignore[attr-defined]
        if self.decay and due and trainer.global_step >= self.start_step and all(each.stepped for each in guards):
            self.update(_generator(pl_module))

    @torch.no_grad()
    def update(self, generator: Generator) -> None:
        """Move the average towards the weights; the first time it is made of them."""
        self._take_loaded(generator)
        if not self._averages:
            self.updates = 0
            self._averages = {p: _copy(p, p) for p in generator.parameters() if p.requires_grad}
        else:
            decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
            averages = [local(value) for value in self._averages.values()]
            weights = [local(p).to(a.dtype) for p, a in zip(self._averages, averages, strict=True)]
            torch._foreach_lerp_(averages, weights, 1 - decay)
        self.updates += 1

    def _take_loaded(self, generator: Generator) -> None:
        """Make the averages of a checkpoint ours, now that the parameters are where they stay."""
        if self._loaded:
            named = {name: p for name, p in generator.named_parameters() if p.requires_grad}
            self._averages = {p: _copy(p, self._loaded.get(name, p)) for name, p in named.items()}
            self._loaded = {}

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not (self._averages or self._loaded):
            return
        with torch.inference_mode(False), torch.no_grad():
            generator = _generator(pl_module)
            self._take_loaded(generator)
            self._trained = {p: p.detach().clone() for p in self._averages}
            _put(self._averages)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._trained:
            return
        with torch.inference_mode(False), torch.no_grad():
            _generator(pl_module)
            _put(self._trained)
            self._trained = {}

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.on_validation_end(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.decay and not self.updates:
            rank_zero_warn(
                f"the average of the weights never started: the training ended at step {trainer.global_step}, "
                f"ema.start_step is {self.start_step}. The trained weights are used"
            )

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if not (self._averages or self._loaded):
            return
        with torch.inference_mode(False), torch.no_grad():
            generator = _generator(pl_module)
            self._take_loaded(generator)
            checkpoint["ema"] = _named(generator, self._averages, trainer)
            trained = _named(generator, self._trained, trainer)
            checkpoint["state_dict"].update({f"{PREFIX}{name}": value for name, value in trained.items()})

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        averages: dict[str, Tensor] = checkpoint.get("ema", {})
        if trainer.state.fn is not TrainerFn.FITTING:
            parameters = _generator(pl_module).named_parameters()
            with torch.no_grad():
                _put({p: _copy(p, averages[name]) for name, p in parameters if name in averages})
        elif self.decay:
            self._averages, self._loaded = {}, averages
        elif averages:
            rank_zero_info("the moving average that the checkpoint holds is left behind: ema.decay is 0")


def _generator(pl_module: LightningModule) -> Generator:
    """The generator, with parameters that hold what trains: FSDP2 may have left the gathered ones in their place."""
    generator = pl_module.generator
    assert isinstance(generator, Generator)
    for module in generator.modules():
        if isinstance(module, FSDPModule):
            module.reshard()
    return generator


def _copy(parameter: nn.Parameter, value: Tensor) -> Tensor:
    """A copy of a whole value, or of a parameter, in float32 or more, spread over ranks as the parameter is."""
    value = value.detach().to(parameter.device, torch.promote_types(parameter.dtype, torch.float32), copy=True)
    copy: Tensor = share_of(value, parameter)
    return copy


def _put(values: Values) -> None:
    """Write values into their parameters."""
    if values:
        torch._foreach_copy_([local(p) for p in values], [local(value) for value in values.values()])


def _named(generator: Generator, values: Values, trainer: Trainer) -> dict[str, Tensor]:
    """Whole values by their names; shards are put together on the first rank alone."""
    found = {}
    for name, parameter in generator.named_parameters(remove_duplicate=False):
        if parameter in values:
            held = values[parameter]
            value = whole(held)
            if trainer.is_global_zero or value is held:
                found[name] = value if value is held else value.cpu()
    return found
