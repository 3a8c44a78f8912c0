"""The table of a run's metrics, which goes on where the run goes on."""

import csv
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.fabric.utilities.rank_zero import rank_zero_warn
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from hdr_lightning.data.files import writing
from hdr_lightning.errors import InputError

Row = dict[str, str]

STEPPED = ("epoch_loop.state_dict", "_batches_that_stepped")
"""Where Lightning keeps the number of steps by which it numbers rows."""

VALIDATED = "epoch_loop.val_loop.batch_progress"
"""Where it keeps the counters of a validation."""


class RunLog(CSVLogger):
    """`metrics.csv` of a run. What a killed process logged after its last checkpoint is logged anew, and not twice.

    Args:
        root: folder of runs.
        name: the run's.
        loops: the trainer's loops in the checkpoint from which this run goes on in its own folder.
    """

    def __init__(self, root: Path, name: str, loops: dict[str, Any] | None = None) -> None:
        super().__init__(root, name="", version=name, flush_logs_every_n_steps=10)
        self._loops = loops

    @property
    @rank_zero_experiment
    def experiment(self) -> "Table":
        if self._experiment is None:
            self._experiment = Table(self.log_dir, self._loops)
        assert isinstance(self._experiment, Table)
        return self._experiment


class Table(ExperimentWriter):
    """Rows that are appended, and a file that is never half rewritten when columns are added.

    Args:
        folder: where it lies.
        loops: see `RunLog`.
    """

    def __init__(self, folder: str, loops: dict[str, Any] | None) -> None:
        self._loops = loops
        self._latest: tuple[int | None, dict[str, float]] | None = None
        super().__init__(folder)

    def _check_log_dir_exists(self) -> None:
        """Where Lightning deletes the file, keep the rows from before the checkpoint."""
        path = Path(self.metrics_file_path)
        if path.is_file():
            columns, rows = _read(path)
            self._write(columns, [] if self._loops is None else _before(rows, self._loops))
            self.metrics_keys = columns

    def log_metrics(self, metrics_dict: dict[str, float], step: int | None = None) -> None:
        """Add a row, once where it comes twice: `callbacks.SavePoints` has it written before a checkpoint."""
        if (step, metrics_dict) != self._latest:
            self._latest = (step, dict(metrics_dict))
            super().log_metrics(metrics_dict, step)

    def save(self) -> None:
        """Append what was logged. Rows that a full or vanished disk refuses wait for the next time."""
        path, columns, size = Path(self.metrics_file_path), list(self.metrics_keys), None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if self._record_new_keys() and path.is_file():
                self._rewrite_with_new_header(self.metrics_keys)
            size = path.stat().st_size if path.is_file() else 0
            with path.open("a", newline="") as file:
                writer = csv.DictWriter(file, self.metrics_keys)
                if not size:
                    writer.writeheader()
                writer.writerows(self.metrics)
            self.metrics = []
        except (OSError, InputError) as error:
            self.metrics_keys = columns
            if size is not None:
                with suppress(OSError):
                    os.truncate(path, size)  # no half rows
            rank_zero_warn(f"{path} cannot be written ({error}): the training goes on, and its rows are written later")

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        self._write(fieldnames, _read(Path(self.metrics_file_path))[1])

    def _write(self, columns: list[str], rows: list[Row]) -> None:
        with writing(Path(self.metrics_file_path)) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)


def read_rows(path: Path) -> list[Row]:
    """Read the table of a run in the order of its steps, also while it is written.

    A last line without an end is left out: a killed process may have left half a number.

    Args:
        path: of `metrics.csv`.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            whole = (line for line in file if line.endswith("\n"))
            rows = [row for row in csv.DictReader(whole) if (row.get("step") or "").isdecimal()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected the table of a run ({error})") from None
    return sorted(rows, key=lambda row: int(row["step"]))


def _read(path: Path) -> tuple[list[str], list[Row]]:
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        return list(reader.fieldnames or ()), rows


def _before(rows: list[Row], loops: dict[str, Any]) -> list[Row]:
    """The rows that the checkpoint knows of. A killed process may have left its last one half written."""
    loop = loops["fit_loop"]
    steps = loop[STEPPED[0]][STEPPED[1]]
    validated = loop[VALIDATED]["total"]
    due = validated["processed"] < validated["started"]  # the validation of the last step is done anew
    return [
        row
        for row in rows
        if (row.get("step") or "").isdecimal()
        and (int(row["step"]) < steps or (due and int(row["step"]) == steps and not _of_validation(row)))
    ]


def _of_validation(row: Row) -> bool:
    return any(value and name.startswith("val/") for name, value in row.items())
