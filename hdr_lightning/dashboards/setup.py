"""What a logger is given of what its user left open: where it writes, how a run is called, what it belongs to."""

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from jsonargparse import Namespace

from hdr_lightning.errors import InputError


class Place(NamedTuple):
    """A run, as a logger is to know it.

    Attributes:
        folder: of the run.
        verb: what the run does.
        known: the ID under which the logger knows it, of a run that goes on.
    """

    folder: Path
    verb: str
    known: str | None

    @property
    def title(self) -> str:
        """The name of the run, after the folders that it lies in."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def group(self) -> str:
        """What it is compared with: the ablation, or the folder of runs."""
        return os.environ.get("WANDB_RUN_GROUP") or self.folder.parent.name


def set_up(logger: Namespace, folder: Path, verb: str, known: str | None) -> None:
    """Give a logger what its user left open.

    What the environment gives (`WANDB_NAME`, `WANDB_RUN_GROUP`, `WANDB_JOB_TYPE`, `MLFLOW_TRACKING_URI`) is left to it.

    Args:
        logger: its configuration, which is changed.
        folder: of the run.
        verb: what the run does.
        known: the ID under which it knows the run, of one that goes on.

    Raises:
        InputError: if its library is not installed.
    """
    kind = logger.class_path.rpartition(".")[2]
    place = Place(folder.absolute(), verb, known)  # W&B writes from a process of its own
    if logger.init_args.get("save_dir", "") in (".", None):
        logger.init_args.save_dir = str(place.folder)
    if kind in LIBRARIES:
        module, called, fill = LIBRARIES[kind]
        if find_spec(module) is None:
            raise InputError(f"{called} is not installed: pip install 'hdr-lightning[{module}]'")
        fill(logger.init_args, place)


def _wandb(given: Namespace, place: Place) -> None:
    if given.id is None and given.version is None:
        given.id = place.known
    if given.name is None and "WANDB_NAME" not in os.environ:
        given.name = place.title
    if given.group is None:
        given.group = place.group
    if given.job_type is None and "WANDB_JOB_TYPE" not in os.environ:
        given.job_type = place.verb


def _tensorboard(given: Namespace, place: Place) -> None:
    given.default_hp_metric = False  # a number that is none
    if given.version is None:
        given.name, given.version = "", "tensorboard"


def _mlflow(given: Namespace, place: Place) -> None:
    given.tags = {"group": place.group, "job_type": place.verb, **(given.tags or {})}
    if given.run_name is None:
        given.run_name = place.title
    if given.run_id is None:
        given.run_id = place.known
    if not given.tracking_uri:
        given.tracking_uri = mlflow_store(place.folder.parent)
    if given.artifact_location is None and given.tracking_uri.startswith(SQLITE):
        given.artifact_location = (Path(given.tracking_uri.removeprefix(SQLITE)).absolute().parent / "mlflow").as_uri()


LIBRARIES: dict[str, tuple[str, str, Callable[[Namespace, Place], None]]] = {
    "WandbLogger": ("wandb", "W&B", _wandb),
    "TensorBoardLogger": ("tensorboard", "TensorBoard", _tensorboard),
    "MLFlowLogger": ("mlflow", "MLflow", _mlflow),
}
"""What a logger needs: a module, which is also the name of the extra, how it is called, and what it is given."""

SQLITE = "sqlite:///"


def mlflow_store(folder: Path) -> str:
    """The address of the database of MLflow in a folder of runs."""
    return f"{SQLITE}{folder.absolute() / 'mlflow.db'}"
