"""The verbs of the trainer: LightningCLI over our task and data, with a folder of its own for each run."""

import logging
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning import Callback, Trainer
from lightning.fabric.utilities.rank_zero import rank_zero_info, rank_zero_only
from lightning.pytorch.callbacks import (
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    ProgressBar,
    TQDMProgressBar,
)
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.strategies import DeepSpeedStrategy

from hdr_lightning import callbacks
from hdr_lightning.callbacks.flags import FLAGS
from hdr_lightning.checkpoints import CheckpointWriter
from hdr_lightning.configuration import SaveConfig, TrainingParser, class_error
from hdr_lightning.credentials import refuse_credentials
from hdr_lightning.dashboards import Dashboard, finish, set_up
from hdr_lightning.data.module import PairDataModule
from hdr_lightning.errors import InputError
from hdr_lightning.generators.loading import find_checkpoint, read_checkpoint
from hdr_lightning.generators.weights import load_weights
from hdr_lightning.losses.verdict import LossCheck
from hdr_lightning.plan import Settings, plan
from hdr_lightning.progress import watched_live
from hdr_lightning.run_folder import NamedRun, claim_folder
from hdr_lightning.run_log import RunLog
from hdr_lightning.sharding import ShardedStrategy, read_progress, refuse_layout, refuse_strategy
from hdr_lightning.signals import SIGNALS
from hdr_lightning.task import EnhancementTask


class FinishedBeforeError(Exception):
    """The run was finished by an earlier command, and there is nothing to do."""

    def __init__(self, folder: Path, end: str) -> None:
        super().__init__(folder)
        self.folder = folder
        self.end = end


class CheckingTrainer(Trainer):
    """Lightning's trainer with two more verbs."""

    settings: Settings | None = None  # of the device that `plan` asks about

    def check_loss(
        self,
        model: EnhancementTask,
        datamodule: PairDataModule,
        ckpt_path: str | None = None,
        weights_only: bool | None = None,
    ) -> LossCheck:
        """Look at the loss of a run as the start of `fit` does, and train nothing.

        Args:
            model: the task.
            datamodule: its pairs.
            ckpt_path: a checkpoint whose generator and loss are taken; untrained ones if nothing is given.
            weights_only: read only weights from it, and run nothing.

        Raises:
            InputError: if a term fails.
        """
        callback = next(each for each in self.callbacks if isinstance(each, callbacks.CheckLoss))  # type: ignore[attr-defined]
        if ckpt_path is not None:
            checkpoint = read_checkpoint(Path(ckpt_path))
            model.load_state_dict(checkpoint["state_dict"])
            model.on_load_checkpoint(checkpoint)
        elif model.init_from is not None:
            load_weights(model.generator, Path(model.init_from), model.init_share)
        self.precision_plugin.convert_module(model.to(self.strategy.root_device))
        return callback.check(self, model, datamodule)

    def plan(
        self, model: EnhancementTask, datamodule: PairDataModule, memory: float | None = None, photo: str = "3296x2192"
    ) -> None:
        """Say whether training fits into the memory of a device, without the device and the data.

        Args:
            model: the task.
            datamodule: its pairs.
            memory: GB (10^9 bytes) of one device; of this machine's GPU if nothing is given.
            photo: width x height, in pixels, of the largest photo that is validated, before `data.resize`.

        Raises:
            InputError: if the memory is not known, or the photo's size is none.
            RunStopped: if training or validation does not fit.
        """
        assert self.settings is not None
        plan(model, datamodule, self.settings, memory, photo)


class EnhancementCLI(LightningCLI):
    """A verb of the trainer, with what every run has: a folder, a log, checkpoints, early stopping, guards."""

    def __init__(self, args: Sequence[str]) -> None:
        self.verb = args[0]
        self.folder: Path | None = None
        self.settings: Settings | None = None  # of the device that `plan` asks about
        self.named: NamedRun | None = None
        self.loops: dict[str, Any] | None = None  # of the checkpoint from which a run goes on in its own folder
        try:
            super().__init__(
                EnhancementTask,
                PairDataModule,
                trainer_class=CheckingTrainer,
                save_config_callback=SaveConfig,
                seed_everything_default=0,
                parser_class=TrainingParser,
                parser_kwargs={"prog": "hdr-lightning", "description": "learned photo enhancement"},
                args=list(args),
                auto_configure_optimizers=False,
            )
            self._leave_run(finished=True)
            self._drop_empty_folder()  # of a `fast_dev_run`
        except BaseException:
            self._leave_run(finished=False)
            self._drop_empty_folder()
            raise

    def _leave_run(self, finished: bool) -> None:
        if self.named is not None:
            if finished:
                reasons = [each.stopping_reason for each in self.trainer.early_stopping_callbacks]
                early = any(reason is not EarlyStoppingReason.NOT_STOPPED for reason in reasons)
                self.named.finish(self.trainer.current_epoch, self.trainer.global_step, early)
            self.named.release()

    def _drop_empty_folder(self) -> None:
        """A run that failed before it began has nothing to keep."""
        if self.folder is not None:
            with suppress(OSError):
                self.folder.rmdir()
                self.folder = None

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        parser = super().init_parser(**kwargs, allow_abbrev=False)  # a misspelt key is refused, not guessed
        assert isinstance(parser, TrainingParser)
        parser.verb = self.verb
        return parser

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Only the verb in use: each takes time to build."""
        known = {**LightningCLI.subcommands(), "check_loss": {"model", "datamodule"}, "plan": {"model", "datamodule"}}
        return {self.verb: known[self.verb]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(callbacks.SavePoints, "save_points")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.add_argument(
            "--run",
            type=str | None,
            default=None,
            help="name of a run of `fit`, a folder below trainer.default_root_dir: the same command goes on with it; "
            "`test` and others that need a checkpoint take its best",
        )
        parser.add_lightning_class_args(callbacks.ScaleGuard, "scale_guard")
        parser.add_lightning_class_args(callbacks.GradientGuard, "gradient_guard")
        parser.add_lightning_class_args(callbacks.RollBack, "roll_back")
        parser.add_lightning_class_args(callbacks.EMA, "ema")
        parser.add_lightning_class_args(callbacks.EffectiveBatch, "effective_batch")
        parser.add_lightning_class_args(callbacks.CheckLoss, "loss_check")
        parser.add_lightning_class_args(callbacks.LossShares, "loss_shares")
        parser.add_argument("--allow", type=str, default="", help="loss terms that may fail the check, by commas")
        parser.link_arguments("allow", "loss_check.allow")
        parser.add_lightning_class_args(callbacks.Previews, "previews")
        parser.add_lightning_class_args(callbacks.Report, "report")
        if self.verb == "predict":
            parser.add_lightning_class_args(callbacks.PhotoWriter, "enhance")
        for flag in FLAGS:
            parser.add_lightning_class_args(flag, f"flags.{flag.name}")
        parser.set_defaults(
            {
                "checkpoint.monitor": "val/psnr",
                "checkpoint.mode": "max",
                "checkpoint.filename": "best",
                "checkpoint.enable_version_counter": False,
                "early_stopping.monitor": "val/psnr",
                "early_stopping.mode": "max",
                "early_stopping.patience": 15,
                "trainer.max_epochs": 100,
                "trainer.log_every_n_steps": 10,
                "trainer.gradient_clip_val": 1.0,
                "trainer.use_distributed_sampler": False,  # ours neither repeats a photo nor leaves one out
            }
        )

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        assert isinstance(parser, TrainingParser)
        parser.verb = self.verb
        if subcommand != "plan":
            parser.set_defaults({"weights_only": True})  # a checkpoint never runs code
        if subcommand == "predict":
            parser.set_defaults({"return_predictions": False})  # they are written, and would fill the memory
        if subcommand == "test":
            parser.set_defaults({"verbose": False})  # the report prints its own table
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        try:
            self.config = parser.parse_args(args)
        except UnicodeDecodeError as error:
            raise InputError(f"--config: expected YAML, which is text in UTF-8 ({error})") from None
        config = self.config[self.verb]
        if self.verb == "plan":
            self.settings = Settings.taken(config)
            return
        refuse_credentials(config.trainer.logger, "trainer.logger")
        if config.trainer.default_root_dir is None:
            name = Path(str(config.config[-1])).stem if config.config else "default"
            config.trainer.default_root_dir = str(Path("runs") / name)
        needed = self.verb not in ("fit", "check_loss") and config.ckpt_path is None
        if needed and config.run is not None:
            config.ckpt_path = str(Path(config.trainer.default_root_dir) / config.run)
        elif needed:
            raise InputError(f"{self.verb} needs --ckpt_path (a checkpoint, or the folder of a run) or --run")
        if config.run is not None and self.verb == "fit" and not config.trainer.fast_dev_run:
            self._go_on()
        if config.ckpt_path is not None:
            path = find_checkpoint(Path(config.ckpt_path))
            if self.verb != "check_loss":
                refuse_layout(path, config.trainer.strategy)
            checkpoint = read_progress(path) if path.is_dir() else read_checkpoint(path)
            if self.folder is not None and self.folder in path.parents:
                self.loops = checkpoint["loops"]
            config.ckpt_path = str(path)
            rank_zero_info(f"checkpoint: {path}; its generator and loss are used, whatever the configuration says")

    def _go_on(self) -> None:
        """Take the folder of a named run, and its newest checkpoint where it has one."""
        config = self.config[self.verb]
        self.named = NamedRun(Path(config.trainer.default_root_dir), config.run)
        self.folder = self.named.folder
        whole = yaml.safe_load(self.parser.dump(self.config, skip_none=False))[self.verb]
        changed = self.named.changes(whole)
        end = self.named.left(config.trainer.max_epochs, config.trainer.max_steps, changed)
        if end is not None:
            raise FinishedBeforeError(self.folder, end)
        newest = self.named.checkpoint()
        if newest is not None:
            config.ckpt_path = str(newest)

    def before_instantiate_classes(self) -> None:
        if self.verb == "plan":  # writes nothing
            return
        self.given = self.config.clone()
        config = self.config[self.verb].trainer
        refuse_strategy(config.strategy, config.precision, config.accelerator)
        if self.folder is None:  # the other ranks learn of it from the first one
            self.folder = rank_zero_only(claim_folder)(Path(config.default_root_dir), self.verb)
        for logger in config.logger if isinstance(config.logger, list) else [config.logger]:
            if not isinstance(logger, Namespace):
                continue
            known = self.named.dashboard_id(logger.class_path) if self.named is not None else None
            set_up(logger, self.folder or Path(config.default_root_dir), self.verb, known)

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except ValueError as error:  # what a class refuses comes wrapped where the class is one of several types
            if isinstance(error, InputError) or "Union subtypes" not in str(error):
                raise
            raise InputError(class_error(str(error))) from error
        self.datamodule.depth = self.model.generator.depth  # what the generator takes beside RGB

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        if self.verb == "plan":
            trainer = super().instantiate_trainer(**kwargs)
            assert isinstance(trainer, CheckingTrainer)
            trainer.settings = self.settings
            return trainer
        self.config = self.given  # is saved, without the name and the folders of this run: another has its own
        config = self.config_init[self.verb].trainer
        name = self.folder.name if self.folder else self.verb
        log = RunLog(Path(config.default_root_dir), name, self.loops)
        given = config.logger if isinstance(config.logger, list) else [config.logger]
        note = self.named.note_dashboard if self.named is not None else None
        loggers = [log, *(Dashboard(logger, note) for logger in given if isinstance(logger, Logger))]
        own: list[Callback] = []
        if self.verb == "fit":
            own += [callbacks.ExactResume(), LearningRateMonitor(logging_interval="epoch")]
            own += [callbacks.Speed(), callbacks.LastValidation(), callbacks.InitReport()]
            own += [callbacks.MonitoredMetrics(), callbacks.ValidationTable()]
        if self.verb == "test":
            own += [callbacks.CountOpenings()]
        others = config.callbacks or []
        if config.enable_progress_bar is not False and not any(isinstance(each, ProgressBar) for each in others):
            # Lightning takes Rich's where that happens to be installed, which writes into itself in a notebook.
            own += [TQDMProgressBar() if watched_live() else callbacks.LineProgress()]
        config.callbacks = [*others, *own]
        config.plugins = [*(config.plugins or []), CheckpointWriter()]
        trainer = super().instantiate_trainer(logger=loggers, **kwargs)
        if self.verb == "predict" and isinstance(trainer.strategy, ShardedStrategy | DeepSpeedStrategy):
            raise InputError(
                "predict enhances on every device by itself, with all weights: set trainer.strategy to ddp or auto"
            )
        environment = trainer._accelerator_connector.cluster_environment
        if isinstance(environment, SLURMEnvironment):
            environment.auto_requeue = False  # which saves in the middle of a step; the scripts of jobs/ do it
        # How many batches make a step is to be known to those that count them.
        trainer.callbacks.sort(key=lambda each: not isinstance(each, callbacks.EffectiveBatch))  # type: ignore[attr-defined]
        return trainer


def run(words: Sequence[str]) -> Path | None:
    """Run a verb of the trainer.

    Args:
        words: the verb and its options.

    Returns:
        The folder of the run, on the first rank.
    """
    hush()
    _know_node()
    try:
        with SIGNALS.listening():
            folder = EnhancementCLI([words[0].replace("-", "_"), *words[1:]]).folder
    except FinishedBeforeError as finished:
        folder = finished.folder
        rank_zero_info(f"{folder} is finished: {finished.end}; for another run, give another --run")
    finally:
        finish()
    if folder is not None:
        _tell(folder)
    return folder


@rank_zero_only
def _tell(folder: Path) -> None:
    best = folder / "checkpoints" / "best.ckpt"
    print(f"best checkpoint: {best}" if best.exists() else f"run: {folder}")


def _know_node() -> None:
    """Tell a second machine that it is none of the first: Lightning learns it late where nothing else sets ranks."""
    if "RANK" not in os.environ and int(os.environ.get("NODE_RANK", "0")) > 0:
        rank_zero_only.rank = max(rank_zero_only.rank, 1)  # type: ignore[attr-defined]


def hush() -> None:
    """Silence messages of the libraries that a user can do nothing about."""
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # of names that Lightning uses
    log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    log.addFilter(lambda record: not any(word in record.getMessage() for word in ("litlogger", "TPU available")))
    for message in (
        r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # between lightning and torch
        "The dirpath has changed",  # a test has a folder of its own
        "Experiment logs directory .* exists and is not empty",  # the logger shares the folder of the run
        "Found .* module\\(s\\) in eval mode",  # the frozen part of a generator
        ".*does not have many workers",  # data.workers is the user's choice
        "The `srun` command is available",  # whoever has SLURM may well train without it
        "Checkpoint directory .* exists and is not empty",  # of a run that goes on
        "It is recommended to use .*sync_dist=True",  # what is logged so is the same on all ranks, or of the first
        "Total length of `.*` across ranks is zero",  # of photos that `predict` has still to enhance
        "The number of training batches .* is smaller than the logging interval",  # epochs are logged, too
    ):
        warnings.filterwarnings("ignore", message)
