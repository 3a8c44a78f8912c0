"""How often a test set was looked at: the more often, the less its figures say."""

import csv
from datetime import datetime, timezone
from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_info


class CountOpenings(Callback):
    """Write each opening of the test set into `test_openings.csv` beside the runs, and their number into the log."""

    def __init__(self) -> None:
        self._number = 0

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        run = Path(trainer.log_dir or "").name  # asks all ranks
        if not trainer.is_global_zero:
            return
        self._number = record_opening(Path(trainer.default_root_dir), run, str(trainer.ckpt_path or ""))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            pl_module.log("test/openings", float(self._number), rank_zero_only=True)


def record_opening(root: Path, run: str, checkpoint: str) -> int:
    """Write down that the test set is opened.

    Args:
        root: folder of the runs.
        run: by which.
        checkpoint: what is measured.

    Returns:
        How often that was, now included.
    """
    book = root / "test_openings.csv"
    new = not book.is_file()
    with book.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["when", "run", "checkpoint"])
        writer.writerow([datetime.now(timezone.utc).isoformat(timespec="seconds"), run, checkpoint])
    with book.open(newline="", encoding="utf-8") as file:
        number = sum(1 for _ in csv.reader(file)) - 1
    rank_zero_info(f"the test set is opened for the {_ordinal(number)} time here: {book}")
    return number


def _ordinal(number: int) -> str:
    """Write a place in an order.

    >>> [_ordinal(number) for number in (1, 2, 3, 11, 22, 113)]
    ['1st', '2nd', '3rd', '11th', '22nd', '113th']
    """
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"
