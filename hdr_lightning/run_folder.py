"""The folder of a run: a new one, or one that a run goes on in."""

import json
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from lightning.fabric.utilities.rank_zero import rank_zero_info, rank_zero_only

from hdr_lightning.checkpoints import newest_checkpoint, sweep
from hdr_lightning.data.files import writing
from hdr_lightning.errors import InputError
from hdr_lightning.run_config import flattened

MAY_CHANGE = (
    "data.batch_size",
    "data.cache",
    "data.check",
    "data.depth_folder",
    "data.workers",
    "model.checkpoint_blocks",
    "model.compile",
    "model.init_from",
)
"""Keys of model and data that may change while a run goes on: how it is computed, and where it started."""


class NamedRun:
    """A run that the same command starts, continues and, once it is finished, leaves alone.

    Args:
        root: folder of runs.
        name: of this one.

    Attributes:
        folder: `root/name`.

    Raises:
        InputError: if the name is none of a folder, or another process trains this run.
    """

    def __init__(self, root: Path, name: str) -> None:
        if not name or Path(name).name != name:
            raise InputError(f"--run is the name of a folder below {root}, got {name!r}: leave out / and ..")
        self.folder = root / name
        self._book = self.folder / "run.json"
        self._lock = FileLock(root / f".{name}.lock", timeout=0)
        self._claim()

    @rank_zero_only
    def _claim(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            for part in self.folder.rglob(".*.part"):  # left half written by a process that died
                sweep(part)
        except Timeout:
            raise InputError(
                f"{self.folder} is being trained by another process: wait for it, or give another --run"
            ) from None
        except OSError as error:
            raise _unwritable(self.folder, error) from None

    def release(self) -> None:
        """Let another process train it."""
        self._lock.release()

    @property
    def notes(self) -> dict[str, Any]:
        """What is known of the run beside its files."""
        return json.loads(self._book.read_text(encoding="utf-8")) if self._book.is_file() else {}

    @rank_zero_only
    def _note(self, news: dict[str, Any]) -> None:
        with writing(self._book) as temporary:
            temporary.write_text(json.dumps(self.notes | news, indent=2), encoding="utf-8")

    def left(self, epochs: int | None, steps: int, changed: Collection[str]) -> str | None:
        """Why nothing is left to train, and what to raise for more; nothing where there is.

        Args:
            epochs: to be trained in all.
            steps: likewise; -1 for no end.
            changed: keys of the configuration that are not what they were.
        """
        finished = self.notes.get("finished")
        if finished is None:
            return None
        if finished["early"] and not any(key.startswith("early_stopping.") for key in changed):
            return f"early stopping ended it after {finished['epochs']} epochs: for more, raise early_stopping.patience"
        if 0 <= steps <= finished.get("steps", 0):
            return "for more, raise trainer.max_steps"
        if epochs is not None and 0 <= epochs <= finished["epochs"]:
            return "for more, raise trainer.max_epochs"
        self._note({"finished": None})
        return None

    def finish(self, epochs: int, steps: int, early: bool) -> None:
        """Note that the training is over.

        Args:
            epochs: that were trained.
            steps: that were made.
            early: whether the early stopping ended it.
        """
        self._note({"finished": {"epochs": epochs, "steps": steps, "early": early}})

    def checkpoint(self) -> Path | None:
        """What the run goes on from; nothing where it has not saved yet.

        Raises:
            InputError: if every checkpoint is damaged.
        """
        return newest_checkpoint(self.folder / "checkpoints")

    def changes(self, config: dict[str, Any]) -> Collection[str]:
        """Keys of the configuration that are not what they were when the run last trained.

        Args:
            config: the whole configuration.

        Raises:
            InputError: if it makes another experiment of the run.
        """
        saved = self.folder / "config.yaml"
        if not saved.is_file() or not any((self.folder / "checkpoints").glob("last*.ckpt")):
            return ()
        named = {key: value for key, value in config.items() if key not in ("run", "ckpt_path", "config")}
        changed = _differences(yaml.safe_load(saved.read_text(encoding="utf-8")), named)
        _refuse_other_experiment(changed, self.folder)
        return changed

    def dashboard_id(self, logger: str) -> str | None:
        """The ID under which W&B or MLflow know the run, however often it is started; nothing of others.

        Args:
            logger: the path of its class.
        """
        if logger.endswith("WandbLogger") and "wandb" not in self.notes:
            self._note({"wandb": uuid.uuid4().hex[:8]})
        kind = {"WandbLogger": "wandb", "MLFlowLogger": "mlflow"}.get(logger.rpartition(".")[2], "")
        return self.notes.get(kind)

    def note_dashboard(self, known: str) -> None:
        """Note the ID that MLflow gave to the run."""
        self._note({"mlflow": known})


def is_finished(folder: Path) -> bool:
    """Whether the training of a named run is over."""
    book = folder / "run.json"
    return book.is_file() and json.loads(book.read_text(encoding="utf-8")).get("finished") is not None


def _differences(before: dict[str, Any], now: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Values that differ, by key.

    One that only one side has is none, as of an option of a newer version, but a class that came or went, as of a loss
    term, and a value in place of several.
    """
    flat, other = flattened(before), flattened(now)
    keys = {key for key in flat.keys() & other.keys() if flat[key] != other[key]}
    keys |= {key for key in flat.keys() ^ other.keys() if key.endswith(".class_path")}
    for values, others in ((flat, other), (other, flat)):
        keys |= {key for key in values.keys() - others.keys() if any(each.startswith(f"{key}.") for each in others)}
    return {key: (flat.get(key), other.get(key)) for key in sorted(keys)}


def _refuse_other_experiment(changed: dict[str, tuple[Any, Any]], folder: Path) -> None:
    told = {key: f"{key}: {before} -> {now}" for key, (before, now) in changed.items()}
    other = [
        text for key, text in told.items() if key.startswith(("model.", "data.")) and not key.startswith(MAY_CHANGE)
    ]
    if other:
        raise InputError(
            f"{folder} was trained with another configuration ({'; '.join(other)}): go on with that, or begin "
            "anew with another --run, from its weights if you like (--ckpt_path, --model.init_from)"
        )
    if told:
        rank_zero_info(f"changed since the run began: {'; '.join(told.values())}")


def claim_folder(root: Path, verb: str) -> Path:
    """Make the folder of a run, one that no other run has: `fit_0`, `fit_1`, ...

    Raises:
        InputError: if it cannot be made.
    """
    number = 0
    while True:
        folder = root / f"{verb}_{number}"
        try:
            folder.mkdir(parents=True)
        except (FileExistsError, NotADirectoryError):
            number += 1
            if not root.is_dir():
                raise InputError(f"{root} is a file: set trainer.default_root_dir to a folder") from None
        except OSError as error:
            raise _unwritable(folder, error) from None
        else:
            return folder


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"{folder}: cannot be made ({error.strerror}): set trainer.default_root_dir to a folder you may write"
    )
