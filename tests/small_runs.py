"""Trainings of a few values and milliseconds, of which the loss can be made sick at chosen steps."""

import os
import warnings
from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, Dataset

from hdr_lightning.callbacks import EMA, GradientGuard, RollBack
from hdr_lightning.data.pairs import Pair
from hdr_lightning.generators import Generator
from hdr_lightning.losses import CompositeLoss, LossTerm
from hdr_lightning.schedule import Constant
from hdr_lightning.task import EnhancementTask

HARMLESS = (
    ".*does not have many workers",
    ".*you defined a `validation_step`",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    "The `srun` command is available",
    "The number of training batches .* is smaller than the logging interval",
    "step [0-9]+ skipped",
    "Found .* module\\(s\\) in eval mode",
)


class Small(Generator):
    """Two convolutions, of which one may be frozen, and a buffer that counts."""

    def __init__(self, frozen: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1)
        self.first.requires_grad_(not frozen)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, image):
        if self.training:
            self.seen += 1
        return image + self.second(self.first(image))


class Sick(LossTerm):
    """L1 times what is given for the number of the call in training, from 0."""

    def __init__(self, factors) -> None:
        super().__init__(ceiling=1e30)
        self.factors, self.calls = factors, 0

    def measure(self, prediction, target, source):
        value = (prediction - target).abs().mean()
        if self.training and torch.is_grad_enabled():
            value = value * self.factors.get(self.calls, 1.0)
            self.calls += 1
        return value


class Pairs(Dataset):
    """Noise; of every `step` pairs one, from the `first`."""

    def __init__(self, number: int, first: int = 0, step: int = 1) -> None:
        self.number, self.first, self.step = number, first, step

    def __len__(self):
        return self.number

    def __getitem__(self, index):
        source, target = torch.rand(
            2, 3, 16, 16, generator=torch.Generator().manual_seed(self.first + self.step * index)
        )
        return Pair(source, target, str(index))


class Saves(Callback):
    """Save at chosen steps, as `SavePoints` does: only sound weights."""

    def __init__(self, folder: Path, steps) -> None:
        self.folder, self.steps, self.path = folder, steps, None

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        (guard,) = (each for each in trainer.callbacks if isinstance(each, GradientGuard))
        if trainer.global_step in self.steps and guard.sound:
            self.path = self.folder / f"step_{trainer.global_step}.ckpt"
            trainer.save_checkpoint(self.path)

    def newest(self):
        return self.path


class Weights(Callback):
    """The weights after each batch."""

    def __init__(self) -> None:
        self.after = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.after.append(weights_of(pl_module))


def weights_of(task: LightningModule):
    return {name: value.detach().clone() for name, value in task.generator.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def train(
    folder,
    steps,
    factors=None,
    *,
    epochs=1,
    guard=None,
    roll_back=None,
    ema=None,
    saves=(),
    resume=None,
    optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=1e-2),
    more=(),
    generator=None,
    kind=EnhancementTask,
    term=None,
    schedule=Constant(),  # noqa: B008 - immutable
    batch_size=2,
    validation=None,
    **options,
):
    """Train for `steps` batches an epoch; gives the trainer, the task and its callbacks."""
    torch.manual_seed(0)
    sick = term or Sick(factors or {})
    sick.calls = 0 if resume is None else torch.load(resume, weights_only=True)["global_step"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # modules are no hyper-parameters
        task = kind(generator or Small(), CompositeLoss({"sick": sick}), optimizer, schedule)
    task.hparams.clear()
    guard = guard or GradientGuard(patience=3, warmup_steps=5)
    given = [guard, roll_back or RollBack(), ema or EMA(), *more, Weights(), Saves(folder, saves)]
    defaults = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    defaults["use_distributed_sampler"] = False
    with warnings.catch_warnings():
        for message in HARMLESS:
            warnings.filterwarnings("ignore", message)
        trainer = Trainer(
            default_root_dir=folder,
            max_epochs=epochs,
            callbacks=given,
            enable_model_summary=False,
            **{**defaults, **options},
        )
        pairs = Pairs(batch_size * steps, int(os.environ.get("LOCAL_RANK", "0")), trainer.world_size)
        trainer.fit(task, DataLoader(pairs, batch_size), validation, ckpt_path=resume, weights_only=True)
    return trainer, task, guard, given[-2].after
