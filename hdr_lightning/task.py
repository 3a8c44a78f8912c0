"""The task: a generator, a loss and an optimiser, and what is done with a pair."""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypedDict

import torch
from jaxtyping import Bool, Float
from lightning.fabric.utilities.rank_zero import rank_zero_info, rank_zero_warn
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from hdr_lightning.data.ahead import Opened, Unreadable
from hdr_lightning.data.pairs import Pair
from hdr_lightning.errors import InputError, RunStopped
from hdr_lightning.generators import Generator, SideGenerator, edit
from hdr_lightning.generators.groups import Group, check_rates, group_parameters
from hdr_lightning.generators.holding import Holding
from hdr_lightning.generators.weights import LoadReport, load_weights
from hdr_lightning.inference.enhancer import Edited, Enhancer
from hdr_lightning.inference.settings import Editing
from hdr_lightning.losses import CompositeLoss
from hdr_lightning.metrics import METRICS, THOROUGH, PhotoMean, PhotoMeans, faults, gather, measure, measure_thoroughly
from hdr_lightning.schedule import Schedule, WarmupCosine
from hdr_lightning.sharding import EvenPasses, ShardedStrategy, clip_gradients, gather_by_block, shard

NAMED = 10
"""How many photos that are left out a message names."""


class Evaluated(TypedDict):
    """An evaluated batch, for callbacks to show.

    Attributes:
        prediction: what the generator made, not clamped.
        metrics: of the prediction against the target, one number a photo: those of validation, or more in a test, where
            not a number says that a photo has no such thing.
        untouched: of the source against the target, in a test.
        faults: why a photo is left out of every mean, by its place in the batch; nothing for sound ones.
    """

    prediction: Float[Tensor, "n 3 h w"]
    metrics: dict[str, Float[Tensor, " n"]]
    untouched: dict[str, Float[Tensor, " n"]] | None
    faults: dict[int, str]


class EnhancementTask(EvenPasses):
    """Learn to turn a source photo into its edited target.

    Args:
        generator: the network.
        loss: what it is trained on.
        optimizer: takes the parameters of generator and loss.
        schedule: learning rate over the epochs.
        init_from: a file of weights, published or our own, or the folder of a run (its best), that the generator
            starts from.
        init_share: share of the generator's values that must be found in it, 0 to 1.
        freeze: parts of the generator that keep the weights that they start with, by the names of parts or parameters,
            where `*` stands for anything, such as `encoders` or `*.norm1.*`.
        unfreeze_epoch: epoch, from 0, in which they begin to train, too; never if nothing is given.
        rates: factors of the learning rate of parts of the generator, by names as in `freeze`; of several that match,
            the last holds.
        layer_decay: factor of the learning rate of each stage of the generator, besides, against the one behind it,
            such as 0.8: the nearer to the source, the slower; 1 for one rate.
        side_weight: weight of the L1 distance between the side output of a generator that has one (DarkIR) and the
            target at its resolution; 0 trains without.
        checkpoint_blocks: keep only the input of every block for the gradient, and compute the rest again: less memory,
            more time.
        compile: compile the blocks for training, which takes a while at its start; evaluation runs as it is.

    Raises:
        InputError: if the optimiser refuses its settings, its learning rate is not finite, the generator has no side
            output to weigh, or no such parts.
    """

    def __init__(
        self,
        generator: Generator,
        loss: CompositeLoss,
        optimizer: Callable[[Iterable[Any]], Optimizer] = lambda parameters: torch.optim.AdamW(
            parameters, lr=2e-4, weight_decay=0.02
        ),
        schedule: Schedule = WarmupCosine(),  # noqa: B008 - immutable
        init_from: str | None = None,
        init_share: float = 1.0,
        freeze: Sequence[str] = (),
        unfreeze_epoch: int | None = None,
        rates: dict[str, float] | None = None,
        layer_decay: float = 1.0,
        side_weight: float = 0.0,
        checkpoint_blocks: bool = False,
        compile: bool = False,  # noqa: A002 - the name that users know
    ) -> None:
        super().__init__()
        _try(optimizer)
        if side_weight:
            if not isinstance(generator, SideGenerator) or side_weight < 0:
                raise InputError(
                    f"model.side_weight is {side_weight}: expected 0 for {type(generator).__name__}, or more for a "
                    "generator with a side output, such as DarkIR"
                )
            generator.train_side()
        check_rates(generator, rates or {}, layer_decay)
        self.holding = Holding(generator, freeze, unfreeze_epoch)
        # Under the command line this stores class paths, from which `load_generator` rebuilds the generator.
        # How it is computed is no part of it: another machine may choose otherwise.
        self.save_hyperparameters(logger=False, ignore=["checkpoint_blocks", "compile"])
        self.generator = generator
        self.loss = loss
        self.optimizer = optimizer
        self.schedule = schedule
        self.init_from = init_from
        self.init_share = init_share
        self.loaded: LoadReport | None = None  # what became of `init_from`
        self.factors = dict(rates or {})
        self.layer_decay = layer_decay
        self.side_weight = side_weight
        self.checkpoint_blocks = checkpoint_blocks
        self.compile_blocks = compile
        self.editing = Editing()  # of `predict`; set by `callbacks.PhotoWriter`
        self._configured = False
        self.means = PhotoMeans((*METRICS, "loss"))
        self.tested_means = PhotoMeans(THOROUGH)
        self.untouched_means = PhotoMeans(THOROUGH)
        self._left_out: list[tuple[str, str]] = []
        self.gradient_norm: Tensor | None = None  # set by `callbacks.GradientGuard`, so that it is computed once
        self.rate_factor = 1.0  # of the whole schedule; lowered by `callbacks.RollBack`

    def forward(self, source: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
        """Enhance pictures of any size."""
        with _uncompiled(self.compile_blocks and not torch.is_grad_enabled()):
            return edit(self.generator, source)

    def setup(self, stage: str) -> None:
        if stage == "fit" and self.holding.ends and isinstance(self.trainer.strategy, FSDPStrategy | DeepSpeedStrategy):
            raise InputError(
                "model.unfreeze_epoch: this strategy keeps gradients to itself: set trainer.strategy to ddp or fsdp2"
            )
        until, epochs = self.holding.until, self.trainer.max_epochs
        if stage == "fit" and until is not None and epochs is not None and 0 <= epochs <= until:
            rank_zero_info(f"model.unfreeze_epoch={until} is not reached in {epochs} epochs: what is frozen stays so")
        if stage != "fit" or self.trainer.ckpt_path:
            return
        if self.init_from is not None:
            self.loaded = load_weights(self.generator, Path(self.init_from), self.init_share)
            rank_zero_info(str(self.loaded))
        elif self.holding.any:
            rank_zero_warn(
                "model.freeze keeps random weights, unless the generator loads its own: give model.init_from"
            )

    def configure_model(self) -> None:
        """Make the generator ready for its devices, once; called again for another verb."""
        self.generator.checkpoint_blocks(self.checkpoint_blocks)
        if self._configured:
            return
        self._configured = True
        if self.compile_blocks:
            self.generator.compile_blocks()
        if isinstance(self.trainer.strategy, ShardedStrategy):
            assert self.device_mesh is not None
            shard(self.generator, self.loss, self.device_mesh["data_parallel"])
        elif isinstance(self.trainer.strategy, DeepSpeedStrategy) and self.trainer.strategy.zero_stage_3:
            gather_by_block(self.generator)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["loss"] = self.loss.progress

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.loss.resume(checkpoint.get("loss", self.loss.progress))

    def on_train_start(self) -> None:
        self.holding.begin(self.current_epoch)  # also of a run that goes on in the middle of an epoch

    def on_train_epoch_start(self) -> None:
        self.loss.epoch = self.current_epoch
        self.holding.begin(self.current_epoch)

    def on_after_backward(self) -> None:
        self.holding.drop_gradients()

    def training_step(self, pair: Pair, batch_idx: int) -> Tensor:
        prediction, side = self._with_side(pair.input) if self.side_weight else (self(pair.input), None)
        loss = self.loss(prediction, pair.target, pair.source)
        total = loss.total
        if side is not None:
            small = F.interpolate(pair.target, size=side.shape[-2:], mode="area")
            part = self.side_weight * F.l1_loss(side.float(), small)
            self.log("terms/side", part)
            total = total + part
        self.log_dict({f"terms/{name}": part for name, part in loss.parts.items()})
        self.log("train/loss", total, prog_bar=True)
        return total

    def _with_side(self, source: Float[Tensor, "n c h w"]) -> tuple[Tensor, Tensor]:
        assert isinstance(self.generator, SideGenerator)
        if any(length % self.generator.stride for length in source.shape[-2:]):
            raise InputError(
                f"the side output needs a multiple of {self.generator.stride} pixels, got {tuple(source.shape[-2:])}: "
                "change data.crop"
            )
        prediction, side = self.generator.forward_with_side(source)
        return prediction, side

    def validation_step(self, pair: Pair, batch_idx: int) -> Evaluated:
        return self._evaluate(pair)

    def test_step(self, pair: Pair, batch_idx: int) -> Evaluated:
        evaluated = self._evaluate(pair, measure_thoroughly)
        untouched = measure_thoroughly(pair.source, pair.target)
        self.tested_means.update(evaluated["metrics"], self._sound(evaluated))
        self.untouched_means.update(untouched, self._sound(evaluated))
        return {**evaluated, "untouched": untouched}

    def predict_step(self, opened: Opened | Unreadable, batch_idx: int) -> Edited | InputError:
        if isinstance(opened, Unreadable):
            return opened.error
        try:
            with _uncompiled(self.compile_blocks):
                return Enhancer([self.generator], self.device, self.editing).edit(opened.image)
        except InputError as error:
            return error

    def _evaluate(self, pair: Pair, gauge: Callable[[Tensor, Tensor], dict[str, Tensor]] = measure) -> Evaluated:
        prediction = self(pair.input).float()
        finite = prediction.where(prediction.isfinite(), 0)  # a loss may index by values, and end a GPU's process
        metrics = gauge(finite, pair.target)
        photos = zip(finite, pair.target, pair.source, strict=True)
        losses = [self.loss(*(picture[None] for picture in photo)) for photo in photos]
        values = {**{name: metrics[name] for name in METRICS}, "loss": torch.stack([loss.total for loss in losses])}
        parts = {name: torch.stack([loss.parts[name] for loss in losses]) for name in self.loss.terms}
        found = faults(prediction, {**values, **{f'the loss term "{name}"': part for name, part in parts.items()}})
        evaluated: Evaluated = {"prediction": prediction, "metrics": metrics, "untouched": None, "faults": found}
        self._left_out += [(pair.name[index], fault) for index, fault in found.items()]
        self.means.update(values, self._sound(evaluated))
        return evaluated

    @staticmethod
    def _sound(evaluated: Evaluated) -> Bool[Tensor, " n"]:
        prediction, found = evaluated["prediction"], evaluated["faults"]
        return torch.tensor([index not in found for index in range(len(prediction))], device=prediction.device)

    def on_validation_epoch_end(self) -> None:
        self._log_means("val", self.means.compute())
        self.means.reset()

    def on_test_epoch_end(self) -> None:
        found, tested = self.means.compute(), self.tested_means.compute()
        self._log_means("test", found._replace(means=tested.means | found.means))
        self._log_all("test/untouched", self.untouched_means.compute().means)
        for means in (self.means, self.tested_means, self.untouched_means):
            means.reset()

    def _log_means(self, prefix: str, found: PhotoMean) -> None:
        left_out, self._left_out = sorted(gather(self._left_out)), []
        self._log_all(prefix, {**found.means, "valid_photos": torch.tensor(float(found.sound))})
        if left_out and not self.trainer.sanity_checking:  # which sees two photos, and again in the first epoch
            names = "; ".join(f"{name}: {fault}" for name, fault in left_out[:NAMED])
            more = f"; and {len(left_out) - NAMED} more" if len(left_out) > NAMED else ""
            if not found.sound:
                raise RunStopped(
                    f"none of {found.seen} photos could be evaluated: {names}{more}. These weights are not saved as a "
                    "checkpoint: take an earlier one and a lower learning rate, or look at the loss with `check-loss`"
                )
            rank_zero_warn(f"{prefix}: {found.sound}/{found.seen} photos, left out of every mean: {names}{more}")

    def _log_all(self, prefix: str, values: dict[str, Tensor]) -> None:
        # All ranks have been gathered: `sync_dist` averages equal numbers, and says so to Lightning.
        self.log_dict({f"{prefix}/{name}": value.to(self.device) for name, value in values.items()}, sync_dist=True)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        norm, self.gradient_norm = self.gradient_norm, None
        scaled = getattr(optimizer, "_step_supports_amp_scaling", False)  # gradients, until its step
        if norm is not None and not scaled and gradient_clip_val and gradient_clip_algorithm in (None, "norm"):
            clip_gradients(self.parameters(), gradient_clip_val, norm)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer, epochs = self._grouped() if self.factors or self.layer_decay != 1 else self._whole(), self._epochs()

        def share(epoch: int) -> float:
            return self.rate_factor * self.schedule.share(epoch, epochs)

        self.rates = LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.rates, "name": "learning_rate"}}

    def _whole(self) -> Optimizer:
        return self.optimizer(p for part in (self.generator, self.loss) for p in part.parameters() if p.requires_grad)

    def _grouped(self) -> Optimizer:
        groups = group_parameters(self.generator, self.factors, self.layer_decay)
        learned = [p for p in self.loss.parameters() if p.requires_grad]
        groups += [Group("loss", 1.0, learned)] if learned else []
        optimizer = self.optimizer([{"params": each.parameters, "name": each.name} for each in groups])
        for options, group in zip(optimizer.param_groups, groups, strict=True):
            options["lr"] *= group.factor
        return optimizer

    def _epochs(self) -> int:
        """Of the whole training, the last one begun where it is given in steps; -1 where it has no end."""
        trainer = self.trainer
        if trainer.max_epochs is not None and trainer.max_epochs >= 0:
            return trainer.max_epochs
        if trainer.max_steps < 0:
            return -1
        steps = trainer.estimated_stepping_batches  # reads the loader; its number of batches is not known before
        return math.ceil(steps * trainer.accumulate_grad_batches / trainer.num_training_batches)

    def apply_rate(self) -> None:
        """Give the optimiser the rate of this epoch, after a change of `rate_factor`."""
        for group, rate, share in zip(
            self.rates.optimizer.param_groups, self.rates.base_lrs, self.rates.lr_lambdas, strict=True
        ):
            group["lr"] = rate * share(self.rates.last_epoch)


def _uncompiled(on: bool) -> AbstractContextManager[object]:
    """Run compiled blocks as they are: photos have all sizes, and are worked on in tiles."""
    return torch.compiler.set_stance("force_eager") if on else nullcontext()


def _try(optimizer: Callable[[Iterable[Tensor]], Optimizer]) -> None:
    """Find out about settings that cannot be used before anything is opened or written."""
    try:
        groups = optimizer([torch.nn.Parameter(torch.zeros(1, 1))]).param_groups
    except (ValueError, TypeError) as error:
        raise InputError(f"model.optimizer cannot be built: {error}") from None
    for group in groups:
        if not math.isfinite(float(group.get("lr", 0))):
            raise InputError(f"model.optimizer: expected a finite learning rate, got {group['lr']}")
