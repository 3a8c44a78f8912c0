"""The configuration of a run: how it is read, what is said of a wrong one, and where it is kept."""

import re
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import Namespace
from lightning import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger

from hdr_lightning.cli import refuse
from hdr_lightning.data.files import writing


class TrainingParser(LightningArgumentParser):
    """Lightning's parser, whose errors are one line instead of a page of usage.

    Attributes:
        verb: whose options it reads.
        file: that a message is about, where several are read one after the other.
    """

    verb = ""
    file = ""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        about = f"{self.file}: " if self.file else ""
        refuse(about + class_error(message).strip(), f"hdr-lightning {self.verb.replace('_', '-')}")

    def format_help(self, *arguments: Any) -> str:
        """Verbs are methods of the trainer, whose names have no hyphens."""
        return super().format_help(*arguments).replace("check_loss", "check-loss")


class SaveConfig(SaveConfigCallback):
    """Save the whole configuration as `config.yaml` of the run, and with every logger that shows it."""

    def __init__(self, parser: LightningArgumentParser, config: Namespace) -> None:
        super().__init__(parser, config, save_to_log_dir=False)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        folder = trainer.log_dir  # asked on every rank, as it is sent to all
        if trainer.is_global_zero and folder is not None:
            config = self.config.clone()
            config.pop("run")  # trains again, and does not go on with this run; a name given before it holds
            if config.get("ckpt_path") and Path(folder) in Path(config.ckpt_path).parents:
                config.ckpt_path = None
            path, text = Path(folder) / self.config_filename, self.parser.dump(config, skip_none=False)
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                with writing(path) as temporary:
                    temporary.write_text(text, encoding="utf-8")
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        config = self.config.as_dict()
        for logger in trainer.loggers:
            if not isinstance(logger, CSVLogger):
                logger.log_hyperparams(config)


def class_error(message: str) -> str:
    r"""Keep what a class has to say, of a page on each type that an option may have; other messages stay as they are.

    >>> class_error("key:\n Does not validate against any of the Union subtypes\n Errors:\n - no x\n - no list")
    'key: no x'
    """
    found = re.fullmatch(
        r"(.*?)\s*Does not validate against any of the Union.*?Errors:\s*- (.*?)\n\s*- .*", message, re.DOTALL
    )
    if found is None or found[2].startswith("Expected a "):
        return message
    reason = re.sub(r"\s+", " ", found[2])
    if "is abstract" in reason:
        reason = f"expected the name of a class that is known, or of a file: {reason}"
    return f"{found[1]} {reason}".strip()
