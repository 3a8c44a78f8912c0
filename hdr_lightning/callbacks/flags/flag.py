"""What every red flag does: it says what was seen, what that usually means, and what to try."""

import json
import re
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_warn
from lightning.pytorch.trainer.states import TrainerFn

from hdr_lightning.dashboards import Dashboard
from hdr_lightning.errors import InputError, RunStopped

Action = Literal["warn", "stop", "off"]


class Sign(NamedTuple):
    """A sickness of a training.

    Attributes:
        seen: what was measured.
        means: what it usually comes from.
        remedy: what to try.
    """

    seen: str
    means: str
    remedy: str


class Flag(Callback):
    """A red flag: told when it goes up, and again only after it went down in between.

    It goes to the terminal, into the log as `health/flags/NAME` (1 while it is up, else 0), into `flags.jsonl` of the
    run folder and, with W&B, into an alert and the summary of the run; with MLflow into a tag, with TensorBoard into a
    text.

    Attributes:
        name: in the log and in the configuration: that of the class, in small letters.
        keeps: names of the attributes that a checkpoint holds.

    Args:
        action: `warn` goes on, `stop` ends the run, `off` says nothing.
    """

    name: ClassVar[str]
    keeps: ClassVar[tuple[str, ...]] = ()

    def __init__(self, action: Action = "warn") -> None:
        self.action = action
        self.raised = False

    def __init_subclass__(cls) -> None:
        cls.name = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("raised", *self.keeps)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name in ("raised", *self.keeps):
            setattr(self, name, state_dict[name])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log(f"health/flags/{self.name}", float(self.raised), rank_zero_only=True)

    def tell(self, trainer: Trainer, sign: Sign | None) -> None:
        """Raise the flag, or take it down where nothing is seen; to be called on all ranks alike.

        Raises:
            RunStopped: if it goes up and is to end the run.
        """
        up = sign is not None and self.action != "off"
        changed, self.raised = up != self.raised, up
        if changed:
            folder = trainer.log_dir  # asks all ranks
            if trainer.is_global_zero:
                self._record(trainer, None if folder is None else Path(folder), sign)
        if sign is None or not up:
            return
        text = f"{sign.seen}. That usually means {sign.means}. Try {sign.remedy}"
        if self.action == "stop":
            raise RunStopped(f'red flag "{self.name}" at step {trainer.global_step}: {text}')
        if changed:
            rank_zero_warn(f'red flag "{self.name}" at step {trainer.global_step}: {text}')

    def _record(self, trainer: Trainer, folder: Path | None, sign: Sign | None) -> None:
        place = {"step": trainer.global_step, "epoch": trainer.current_epoch}
        for logger in trainer.loggers:
            logger.log_metrics({f"health/flags/{self.name}": float(self.raised)}, step=trainer.global_step)
            if isinstance(logger, Dashboard) and sign is not None:
                logger.alert(f"health/flags/{self.name}", f"{sign.seen}. Try {sign.remedy}", trainer.global_step)
        if folder is not None and sign is not None:
            folder.mkdir(parents=True, exist_ok=True)
            line = {**place, "name": self.name, "seen": sign.seen, "means": sign.means, "try": sign.remedy}
            with (folder / "flags.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def training(trainer: Trainer) -> bool:
    """Whether a validation is one of a training, after its first step."""
    return trainer.state.fn is TrainerFn.FITTING and not trainer.sanity_checking


def due(trainer: Trainer, every_n_steps: int) -> bool:
    """Whether a batch is one to look at, counted over epochs."""
    return (trainer.fit_loop.total_batch_idx + 1) % every_n_steps == 0


def at_least(flag: Flag, least: float, **settings: float) -> None:
    """Check settings of a flag.

    Raises:
        InputError: if one is below.
    """
    for name, value in settings.items():
        if not value >= least:
            raise InputError(f"flags.{flag.name}.{name} is to be {least:g} or more, got {value}")
