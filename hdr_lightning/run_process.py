"""One run of several: a process of its own, that goes on where it was, and is watched through its table."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from hdr_lightning.data.files import writing
from hdr_lightning.errors import InputError, RunInterrupted
from hdr_lightning.signals import CODES, SIGNALS

LOOK_SECONDS = 1.0
"""Between two looks at the table of a run."""

PATIENCE = 120.0
"""Seconds that a run may take to save when it is asked to end."""

INTERRUPTED = (75, 130, 143)
"""Codes with which `fit` leaves when a signal ended it and everything is saved."""

Outcome = Literal["finished", "failed", "pruned", "late"]


@dataclass(frozen=True)
class Run:
    """What is trained: a point of an ablation with one seed, or a fold.

    Attributes:
        folder: in which the run has its own.
        name: of the run's folder, such as `seed_0`.
        seed: of the run.
        config: the whole configuration.
        group: the folder of what it is compared with, such as the ablation; `folder` where nothing is given.
    """

    folder: Path
    name: str
    seed: int
    config: Mapping[str, Any]
    group: Path | None = None

    @property
    def best(self) -> Path:
        """The weights that did best on the validation photos."""
        return self.folder / self.name / "checkpoints" / "best.ckpt"

    @property
    def table(self) -> Path:
        """The run's metrics."""
        return self.folder / self.name / "metrics.csv"

    @property
    def output(self) -> Path:
        """What the process prints."""
        return self.folder / f"{self.name}.log"

    def command(self) -> list[str]:
        """Write the configuration, and give the command that trains it and goes on with it."""
        path = self.folder / f"{self.name}.yaml"
        with writing(path) as temporary:
            temporary.write_text(yaml.safe_dump(dict(self.config), sort_keys=False), encoding="utf-8")
        words = [f"--config={path}", f"--run={self.name}", f"--trainer.default_root_dir={self.folder}"]
        return [sys.executable, "-m", "hdr_lightning", "fit", *words, f"--seed_everything={self.seed}"]

    def environment(self) -> dict[str, str]:
        """That of this process, and how dashboards group the run; what a user has set holds."""
        group = self.group or self.folder
        dashboards = {
            "WANDB_RUN_GROUP": group.absolute().name,
            "WANDB_JOB_TYPE": self.folder.name if self.group else "fold",
            "WANDB_TAGS": self.name,
            "MLFLOW_TRACKING_URI": f"sqlite:///{group.absolute() / 'mlflow.db'}",
        }
        return {**dashboards, **os.environ}


def train(run: Run, metric: str, look: Callable[[int, float], bool], until: float) -> Outcome:
    """Train a run to its end, in a process.

    Args:
        run: what to train.
        metric: a column of its table.
        look: called with the step and the metric of each validation; true ends the run.
        until: by `time.monotonic`, when it has to end.

    Returns:
        How it ended: `late` where the time was up, and the same command goes on.

    Raises:
        InputError: if `fit` refuses the configuration.
        RunInterrupted: if a signal ended it.
    """
    command = run.command()
    with run.output.open("a", encoding="utf-8") as output, SIGNALS.listening():
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=run.environment()
        )
        try:
            ended = _watch(process, run.table, metric, look, until)
        except BaseException as error:  # such as a signal: the run saves and ends, and the same command goes on
            SIGNALS.defer()  # a second one, such as of a cluster, does not leave the run alone while it saves
            _end(process)
            if isinstance(error, RunInterrupted):
                raise RunInterrupted(
                    f"{run.folder / run.name} is saved; the same command goes on", error.code
                ) from None
            raise
    if ended is not None:
        return ended
    code = CODES.get(-process.returncode, process.returncode)  # a signal that came while the program was starting
    if code in INTERRUPTED:
        raise RunInterrupted(f"{run.folder / run.name} is saved; the same command goes on", code)
    if process.returncode == 2:
        raise InputError(f"{run.folder.name}, {run.name}: {_last_words(run.output)} (all of it: {run.output})")
    return "finished" if process.returncode == 0 else "failed"


def _watch(
    process: "subprocess.Popen[bytes]", table: Path, metric: str, look: Callable[[int, float], bool], until: float
) -> Outcome | None:
    """Look at the table until the process ends, or has to."""
    seen = -1
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_SECONDS)
        for step, value in read_course(table, metric):
            if step > seen:
                seen = step
                if look(step, value) and process.poll() is None:
                    _end(process)
                    return "pruned"
        if process.poll() is not None:
            return None
        if time.monotonic() > until:
            _end(process)
            return "late"


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask a run to save and end."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def read_course(table: Path, metric: str) -> list[tuple[int, float]]:
    """Steps and values of a metric in the table of a run; nothing where there is no table yet, or no validation in it.

    Raises:
        InputError: if it has rows of validations and no such column.
    """
    if not table.is_file():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    measured = [name for name in rows[0] if name.startswith("val/")] if rows else []
    if rows and metric not in rows[0]:
        if measured:
            raise InputError(f"{table} has no {metric}: choose the metric among {', '.join(measured)}")
        return []  # not validated yet
    course = []
    for row in rows if measured else []:
        with suppress(ValueError, TypeError):  # a last line that is being written
            course.append((int(row["step"]), float(row[metric])))
    return course


def _last_words(path: Path) -> str:
    lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("error: ")]
    return (told or lines or ["it said nothing"])[-1].removeprefix("error: ")
