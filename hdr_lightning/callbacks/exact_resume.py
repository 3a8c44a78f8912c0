"""What Lightning leaves out of its checkpoints: random numbers, and the exact place between two steps."""

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_info
from lightning.pytorch.callbacks import ModelCheckpoint

from hdr_lightning.data.module import PairDataModule
from hdr_lightning.errors import InputError
from hdr_lightning.metrics import gather
from hdr_lightning.run_log import STEPPED, VALIDATED

TRAINED = "epoch_loop.batch_progress"
"""Where the loop of an epoch keeps its counters."""


class ExactResume(Callback):
    """Keep in every checkpoint what the next step depends on, and go on from there, bit for bit.

    On another number of devices, or with another batch size, the epoch goes on after the samples that were drawn.
    """

    def __init__(self) -> None:
        self._random: dict[str, Any] | None = None
        self._validating = False

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validating = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validating = False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["random"] = gather([_random_state(pl_module.device)])
        loops = checkpoint["loops"]["fit_loop"]
        counts = loops[TRAINED]
        if self._validating:
            _validate_anew(loops)
        elif counts["current"]["completed"] < counts["current"]["processed"]:  # within `on_train_batch_end`
            for kind in ("total", "current"):
                counts[kind]["completed"] = counts[kind]["processed"]
            epoch_loop = trainer.fit_loop.epoch_loop
            assert trainer.fit_loop._data_fetcher is not None
            if epoch_loop._should_check_val_fx(trainer.fit_loop._data_fetcher):
                _validate_anew(loops)
            elif not epoch_loop._should_accumulate():
                loops[STEPPED[0]][STEPPED[1]] += 1

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        step = checkpoint["global_step"]
        if trainer.strategy.broadcast(step) != step:
            raise InputError(f"this process resumes from step {step}, the first one from another: resume from one file")
        states = checkpoint.get("random")
        if states is not None:
            self._random = states[trainer.global_rank % len(states)]
        loops = checkpoint["loops"]["fit_loop"]
        for place in loops["state_dict"].get("combined_loader", ()):
            if place["epoch"] == loops["epoch_progress"]["current"]["processed"]:  # else the epoch was over
                _count_anew(trainer, loops[TRAINED], place)
        for stopper in trainer.early_stopping_callbacks:
            if stopper.state_key in checkpoint["callbacks"]:  # the patience is the user's, and may be another now
                checkpoint["callbacks"][stopper.state_key]["patience"] = stopper.patience
        folder = trainer.log_dir  # asked on every rank, as it is sent to all
        if folder is not None and trainer.ckpt_path and Path(folder) in Path(trainer.ckpt_path).parents:
            for keeper in trainer.checkpoint_callbacks:
                if isinstance(keeper, ModelCheckpoint) and keeper.state_key in checkpoint["callbacks"]:
                    _move(checkpoint["callbacks"][keeper.state_key], str(keeper.dirpath))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._random is not None:
            _restore(self._random, pl_module.device)
            self._random = None
        for stopper in trainer.early_stopping_callbacks:
            if stopper.wait_count >= stopper.patience:
                trainer.should_stop = True  # so it was decided when the checkpoint was written


def _move(state: dict[str, Any], folder: str) -> None:
    """Let a run whose folder was renamed, or is named by another path, know its best checkpoints.

    Worse ones would replace them.
    """
    before = Path(state["dirpath"])

    def moved(path: str) -> str:
        return str(Path(folder) / Path(path).relative_to(before)) if before in Path(path).parents else path

    if not all(Path(moved(path)).is_file() for path in state["best_k_models"]):
        return  # they were left behind
    state["dirpath"] = folder
    for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
        state[key] = moved(state[key])
    state["best_k_models"] = {moved(path): score for path, score in state["best_k_models"].items()}


def _validate_anew(loops: dict[str, Any]) -> None:
    """Have a resumed run begin with the validation that was due, in the way in which Lightning notes a begun one."""
    for kind in ("total", "current"):
        loops[VALIDATED][kind].update(ready=1, started=1, processed=0, completed=0)


def _count_anew(trainer: Trainer, counts: dict[str, Any], place: dict[str, int]) -> None:
    """Translate the batches of an epoch where a batch of all ranks has another size now."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, PairDataModule)
    batch_size, ranks = data.stages.at(place["epoch"])[0].batch_size, trainer.world_size
    share = batch_size * ranks
    if share == place["share"]:
        return
    unit = share * trainer.accumulate_grad_batches
    done = place["samples"] // unit * unit
    batches = done // share
    if counts["is_last_batch"]:
        batches = math.ceil(place["count"] // ranks / batch_size)
    before = counts["current"]["completed"]
    for name in ("ready", "started", "processed", "completed"):
        counts["current"][name] = batches
        counts["total"][name] += batches - before
    rank_zero_info(
        f"the epoch goes on after {done} of {place['count']} samples, {share} instead of {place['share']} a batch"
    )
    place["samples"] = done


def _random_state(device: torch.device) -> dict[str, Any]:
    _, key, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": [torch.from_numpy(np.asarray(key).astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def _restore(state: dict[str, Any], device: torch.device) -> None:
    random.setstate(state["python"])
    key, *rest = state["numpy"]
    np.random.set_state(("MT19937", key.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
