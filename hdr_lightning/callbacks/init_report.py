"""Keep what became of the weights that a run started from."""

import json
from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger

from hdr_lightning.data.files import writing
from hdr_lightning.task import EnhancementTask


class InitReport(Callback):
    """Write what `model.init_from` loaded, every tensor by name, to `init.json`, and its share to the dashboards."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, EnhancementTask)
        report, folder = pl_module.loaded, trainer.log_dir  # asked on every rank, as it is sent to all
        if report is None or folder is None or not trainer.is_global_zero:
            return
        with writing(Path(folder) / "init.json") as temporary:
            temporary.write_text(json.dumps(report.facts(), indent=2), encoding="utf-8")
        told = {
            "path": str(report.path),
            "share": report.share,
            "matched": len(report.matched),
            "tensors": report.tensors,
        }
        for logger in trainer.loggers:
            if not isinstance(logger, CSVLogger):
                logger.log_hyperparams({"init": told})
