"""The task: a generator, a loss and an optimiser, and what is done with a pair."""

import math
from collections.abc import Callable, Iterable
from typing import TypedDict

import torch
from jaxtyping import Float
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from hdr_lightning.data.pairs import Pair
from hdr_lightning.errors import InputError
from hdr_lightning.generators import Generator
from hdr_lightning.image.tiling import run_padded
from hdr_lightning.losses import CompositeLoss
from hdr_lightning.metrics import PhotoMeans, measure
from hdr_lightning.schedule import Schedule, WarmupCosine

METRICS = ("l1", "psnr", "ssim")


class Evaluated(TypedDict):
    """An evaluated batch, for callbacks to show.

    Attributes:
        prediction: what the generator made, not clamped.
        metrics: of the prediction against the target, one number a photo.
        untouched: of the source against the target, in a test.
    """

    prediction: Float[Tensor, "n 3 h w"]
    metrics: dict[str, Float[Tensor, " n"]]
    untouched: dict[str, Float[Tensor, " n"]] | None


class EnhancementTask(LightningModule):
    """Learn to turn a source photo into its edited target.

    Args:
        generator: the network.
        loss: what it is trained on.
        optimizer: takes the parameters of generator and loss.
        schedule: learning rate over the epochs.

    Raises:
        InputError: if the optimiser refuses its settings, or its learning rate is not finite.
    """

    def __init__(
        self,
        generator: Generator,
        loss: CompositeLoss,
        optimizer: Callable[[Iterable[Tensor]], Optimizer] = lambda parameters: torch.optim.AdamW(
            parameters, lr=2e-4, weight_decay=0.02
        ),
        schedule: Schedule = WarmupCosine(),  # noqa: B008 - immutable
    ) -> None:
        super().__init__()
        _try(optimizer)
        # Under the command line this stores class paths, from which `load_generator` rebuilds the generator.
        self.save_hyperparameters(logger=False)
        self.generator = generator
        self.loss = loss
        self.optimizer = optimizer
        self.schedule = schedule
        self.means = PhotoMeans((*METRICS, "loss"))
        self.untouched_means = PhotoMeans(METRICS)

    def forward(self, source: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
        """Enhance pictures of any size."""
        return run_padded(self.generator, source, self.generator.stride)

    def training_step(self, pair: Pair, batch_idx: int) -> Tensor:
        loss = self.loss(self(pair.source), pair.target, pair.source)
        self.log_dict({f"train/{name}": part for name, part in loss.parts.items()})
        self.log("train/loss", loss.total, prog_bar=True)
        return loss.total

    def validation_step(self, pair: Pair, batch_idx: int) -> Evaluated:
        return self._evaluate(pair)

    def test_step(self, pair: Pair, batch_idx: int) -> Evaluated:
        evaluated = self._evaluate(pair)
        untouched = measure(pair.source, pair.target)
        self.untouched_means.update(untouched)
        return {**evaluated, "untouched": untouched}

    def predict_step(self, pair: Pair, batch_idx: int) -> Tensor:
        return self(pair.source)

    def _evaluate(self, pair: Pair) -> Evaluated:
        prediction = self(pair.source).float()
        metrics = measure(prediction, pair.target)
        loss = self.loss(prediction, pair.target, pair.source).total.expand(len(prediction))  # one photo a batch
        self.means.update({**metrics, "loss": loss})
        return {"prediction": prediction, "metrics": metrics, "untouched": None}

    def on_validation_epoch_end(self) -> None:
        self._log_means("val", self.means)

    def on_test_epoch_end(self) -> None:
        self._log_means("test", self.means)
        self._log_means("test/untouched", self.untouched_means)

    def _log_means(self, prefix: str, means: PhotoMeans) -> None:
        # `compute` has gathered all ranks already: `sync_dist` averages equal numbers, and says so to Lightning.
        values = {f"{prefix}/{name}": value for name, value in means.compute().items()}
        self.log_dict(values, sync_dist=True)
        means.reset()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self.optimizer(
            p for part in (self.generator, self.loss) for p in part.parameters() if p.requires_grad
        )
        epochs = self.trainer.max_epochs
        scheduler = LambdaLR(optimizer, lambda epoch: self.schedule.share(epoch, -1 if epochs is None else epochs))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "name": "learning_rate"}}


def _try(optimizer: Callable[[Iterable[Tensor]], Optimizer]) -> None:
    """Find out about settings that cannot be used before anything is opened or written."""
    try:
        groups = optimizer([torch.nn.Parameter(torch.zeros(1, 1))]).param_groups
    except (ValueError, TypeError) as error:
        raise InputError(f"model.optimizer cannot be built: {error}") from None
    for group in groups:
        if not math.isfinite(float(group.get("lr", 0))):
            raise InputError(f"model.optimizer: expected a finite learning rate, got {group['lr']}")
