"""Callbacks for processes that are killed: given by `--trainer.callbacks`, so they import nothing of the tests."""

import os
import time

from lightning import Callback


class Diary(Callback):
    """Write down each optimiser step, in the file $DIARY; make disks slower by $SLOW_DISK seconds, if it is set."""

    def setup(self, trainer, pl_module, stage):
        delay = float(os.environ.get("SLOW_DISK", "0"))
        if delay:
            fsync = os.fsync

            def slow(file):
                time.sleep(delay)
                fsync(file)

            os.fsync = slow

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        with open(os.environ["DIARY"], "a") as file:  # noqa: PTH123
            file.write(f"{trainer.global_step}\n")
        time.sleep(float(os.environ.get("PAUSE", "0")))
