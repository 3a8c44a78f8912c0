"""What each logger shows of a run, and that none ends it."""

import sys
import time
from argparse import Namespace as Plain
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_only, rank_zero_warn
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from PIL import Image

from hdr_lightning.evaluation.results import MEASURES, Evaluation
from hdr_lightning.metrics import METRICS
from hdr_lightning.report.dashboard import log_photos, log_to_wandb
from hdr_lightning.report.gallery import Gallery
from hdr_lightning.report.page import PAGE
from hdr_lightning.run_config import flattened

RETRY_SECONDS = 600.0
"""After a logger failed, until it is tried again: a server that does not answer may take minutes to say so."""

MOST_FAILURES = 3
"""In a row, after which a logger is left alone."""


class Dashboard(Logger):
    """A logger that ends no training: where it fails, that is told, and it is left out and tried again later.

    `metrics.csv` and the pictures in the run folder have everything whatever happens here.

    Args:
        logger: of W&B, TensorBoard or MLflow, which get pictures and tables, or another one of Lightning.
        note: called with the ID of the run of MLflow, which the server gives.
    """

    def __init__(self, logger: Logger, note: Callable[[str], None] | None = None) -> None:
        super().__init__()
        self.logger = logger
        self._note = note
        self._errors = _errors(logger)
        self._config: dict[str, Any] | None = None  # that is still to be sent
        self._begun = False
        self._failures = 0
        self._again = -float("inf")

    @property
    def name(self) -> str | None:
        return self.logger.name

    @property
    def version(self) -> int | str | None:
        return self.logger.version

    @property
    def save_dir(self) -> str | None:
        return self.logger.save_dir

    @property
    def takes_pictures(self) -> bool:
        """Whether tables show pictures."""
        return isinstance(self.logger, WandbLogger)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._attempt(lambda: self.logger.log_metrics(dict(metrics), step))

    def log_hyperparams(self, params: dict[str, Any] | Plain, *args: Any, **kwargs: Any) -> None:  # as Lightning has it
        given = flattened(vars(params) if isinstance(params, Plain) else params)
        self._config = {**(self._config or {}), **given}  # what could not be sent yet is not lost
        self._attempt(lambda: None)

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        self._attempt(lambda: self.logger.after_save_checkpoint(checkpoint_callback))

    def save(self) -> None:
        if self._begun:
            self._attempt(self.logger.save)

    def finalize(self, status: str) -> None:
        if self._begun:
            self._attempt(lambda: self.logger.finalize(status))

    def log_pictures(self, name: str, pictures: Mapping[str, Image.Image], step: int) -> None:
        """Show pictures.

        Args:
            name: under which they stand, such as `pictures/validation`.
            pictures: by their captions.
            step: of the training.
        """
        self._attempt(lambda: self._send_pictures(name, pictures, step))

    def log_evaluation(self, evaluation: Evaluation, gallery: Gallery) -> None:
        """Show the report of a test: W&B gets its tables and the page, MLflow its files, TensorBoard the Markdown.

        Args:
            evaluation: what was measured.
            gallery: its pictures, in the folder of the report.
        """
        self._attempt(lambda: self._send_evaluation(evaluation, gallery))

    def log_photos(self, name: str, table: Path, rows: list[dict[str, Any]]) -> None:
        """Show what was measured of each photo: a table of W&B, a file of MLflow.

        Args:
            name: of the table.
            table: the file.
            rows: of it, where a picture may stand, too; with the same keys.
        """

        def send() -> None:
            if isinstance(self.logger, WandbLogger):
                log_photos(name, rows, self.logger.experiment)
            elif isinstance(self.logger, MLFlowLogger):
                self.logger.experiment.log_artifact(self.logger.run_id, str(table), name)

        self._attempt(send)

    def alert(self, name: str, text: str, step: int) -> None:
        """Tell of a red flag: W&B sends an alert and keeps it in the summary, MLflow as a tag, TensorBoard as a text.

        Args:
            name: of the flag in the log, such as `health/flags/gap`.
            text: what was seen, and what to try.
            step: of the training.
        """

        def send() -> None:
            if isinstance(self.logger, WandbLogger):
                self.logger.experiment.alert(f"red flag: {name.rpartition('/')[2]}", text, level="WARN")
                self.logger.experiment.summary[f"{name}/seen"] = f"step {step}: {text}"
            elif isinstance(self.logger, MLFlowLogger):
                self.logger.experiment.set_tag(self.logger.run_id, name, f"step {step}: {text}")
            elif isinstance(self.logger, TensorBoardLogger):
                self.logger.experiment.add_text(f"{name}/seen", text, step)

        self._attempt(send)

    @rank_zero_only
    def _attempt(self, action: Callable[[], None]) -> None:
        if self._failures >= MOST_FAILURES or time.monotonic() < self._again:
            return
        try:
            self._begin()
            action()
            self._failures = 0
        except self._errors as error:
            self._failures += 1
            self._again = time.monotonic() + RETRY_SECONDS
            left = self._failures < MOST_FAILURES
            then = f"it is tried again in {RETRY_SECONDS / 60:.0f} minutes" if left else "it is left alone from now on"
            rank_zero_warn(
                f"{type(self.logger).__name__} failed ({str(error).splitlines()[0] if str(error) else type(error)}): "
                f"the training goes on, {then}; metrics.csv of the run misses nothing"
            )

    def _begin(self) -> None:
        """What a run on a dashboard begins with, once the first thing can be sent."""
        if self._begun:
            self._introduce()
            return
        if isinstance(self.logger, WandbLogger):
            for name, better in {**{each: MEASURES[each].better for each in METRICS}, "loss": "lower"}.items():
                extreme = "max" if better == "higher" else "min"
                self.logger.experiment.define_metric(
                    f"val/{name}", step_metric="trainer/global_step", summary=f"{extreme},last"
                )
        if isinstance(self.logger, MLFlowLogger) and self._note is not None:
            self._note(str(self.logger.run_id))
        self._begun = True
        self._introduce()

    def _introduce(self) -> None:
        if self._config is None:
            return
        known: Mapping[str, str] = {}
        if isinstance(self.logger, MLFlowLogger):  # which refuses to change what a run began with
            known = self.logger.experiment.get_run(self.logger.run_id).data.params
        self.logger.log_hyperparams({key: value for key, value in self._config.items() if key not in known})
        self._config = None

    def _send_pictures(self, name: str, pictures: Mapping[str, Image.Image], step: int) -> None:
        logger = self.logger
        if isinstance(logger, WandbLogger):
            logger.log_image(name, list(pictures.values()), step=step, caption=list(pictures))
        for number, picture in enumerate(pictures.values(), 1):
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(f"{name}/{number}", np.asarray(picture), step, dataformats="HWC")
            elif isinstance(logger, MLFlowLogger):
                logger.experiment.log_image(logger.run_id, picture, f"{name}/step_{step:07d}_{number}.png")

    def _send_evaluation(self, evaluation: Evaluation, gallery: Gallery) -> None:
        logger = self.logger
        if isinstance(logger, WandbLogger):
            log_to_wandb(evaluation, gallery, logger.experiment)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text("evaluation/report", (gallery.folder / "report.md").read_text(encoding="utf-8"))
        elif isinstance(logger, MLFlowLogger):
            for name in (PAGE, "report.md", "photos.csv"):
                logger.experiment.log_artifact(logger.run_id, str(gallery.folder / name), "evaluation")


def dashboards(trainer: Trainer) -> list[Dashboard]:
    """Those of a run."""
    return [logger for logger in trainer.loggers if isinstance(logger, Dashboard)]


def finish() -> None:
    """End the run of W&B: else the next one of this process would go on in its dashboard."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        try:
            wandb.finish()
        except (OSError, wandb.Error) as error:
            rank_zero_warn(f"W&B failed at its end ({error}): `wandb sync` sends what it has written")


def _errors(logger: Logger) -> tuple[type[Exception], ...]:
    """What a library raises where its disk or its server fails."""
    if isinstance(logger, WandbLogger):
        from wandb.errors import Error

        return OSError, Error
    if isinstance(logger, MLFlowLogger):
        from mlflow.exceptions import MlflowException

        return OSError, MlflowException
    if isinstance(logger, TensorBoardLogger):
        return OSError, ValueError  # Lightning makes one of whatever a writer raises
    return (OSError,)
