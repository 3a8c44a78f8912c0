"""What a run shows in each logger, read back from what it wrote."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from offline_wandb import config_of, logged, wandb_log
from PIL import Image

from hdr_lightning.callbacks.validation_table import _is_best
from hdr_lightning.cli import main
from hdr_lightning.dashboards import Dashboard
from hdr_lightning.errors import InputError
from hdr_lightning.run_process import Run

ROOT = Path(__file__).parents[2]

HARMLESS = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::ResourceWarning")

SICK_ALONE = {"health/skipped_steps", "health/rollbacks", "health/rate_factor", "terms/side", "pictures/broken"}
"""What a healthy training of one generator without a side output does not show."""


WANDB = ["--trainer.logger=WandbLogger", "--trainer.logger.offline=true", "--trainer.logger.project=rooms"]


def short(demo):
    words = [*TINY, f"--data.pairs={demo}", "--data.validation=0.3", "--trainer.max_epochs=2"]
    words += ["--trainer.default_root_dir=runs/tiny", "--loss_check.pairs=0", "--loss_shares.every_n_steps=2"]
    return [*words, "--previews.every_n_steps=2", "--flags.starved_device.every_n_steps=1"]


@pytest.fixture
def words(demo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return ["fit", *short(demo)]


@pytest.fixture(scope="module")
def watched(demo, tmp_path_factory):
    """The folders of a training and a test that W&B watched, in the group `window`."""
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    folder = tmp_path_factory.mktemp("watched")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for key in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
            patch.setenv(key, str(folder))
        patch.setenv("WANDB_RUN_GROUP", "window")
        run = main(["fit", *short(demo), "--run=one", *WANDB])
        test = main(["test", *short(demo), "--run=one", *WANDB])
        wandb.teardown()
        yield folder / run, folder / test


def documented():
    """The names of the table in the docs, as patterns."""
    text = (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    names = [name for line in lines for name in re.findall(r"`([^`]+)`", line.split("|")[1])]
    return {name: re.compile(re.sub("NAME|OTHER", r"[\\w.]+", name)) for name in names}


def numbers(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name for row in rows for name, value in row.items() if value}


@HARMLESS
def test_names_are_those_of_the_docs(watched):
    names = set()
    for folder in watched:
        shown = logged(wandb_log(folder))
        media = {name.removesuffix("/_type") for name in shown if name.endswith("/_type")}
        names |= media | {name for name in shown if not any(name.startswith(f"{each}/") for each in media)}
        names |= numbers(folder)
    names = {name for name in names if not name.startswith(("_", "trainer/"))}
    patterns = documented()
    assert {name for name in names if not any(each.fullmatch(name) for each in patterns.values())} == set()
    missing = {name for name, each in patterns.items() if not any(each.fullmatch(found) for found in names)}
    assert missing == SICK_ALONE | {"learning_rate/NAME"}  # of several groups of parameters


@HARMLESS
def test_wandb_groups_runs_and_knows_what_is_best(watched):
    for folder, job in zip(watched, ("fit", "test"), strict=True):
        (run,) = [record.run for record in wandb_log(folder) if record.HasField("run")]
        assert (run.project, run.run_group, run.job_type) == ("rooms", "window", job)
        assert run.display_name == f"tiny/{folder.name}"
    records = wandb_log(watched[0])
    config = config_of(records)
    assert config["model.generator.init_args.width"] == 4
    assert config["model.loss.init_args.terms.window.init_args.weight"] == 0.5
    metrics = {record.metric.name: record.metric for record in records if record.HasField("metric")}
    assert metrics["val/psnr"].summary.max
    assert metrics["val/l1"].summary.min
    assert metrics["val/psnr"].step_metric == "trainer/global_step"


@HARMLESS
def test_wandb_shows_the_pictures_of_every_second_step_and_a_table_of_photos(watched):
    folder, _ = watched
    shown = [logged([record]) for record in wandb_log(folder) if record.HasField("history")]
    steps = [row["trainer/global_step"] for row in shown if any(name.startswith("pictures/steps") for name in row)]
    assert steps == [2, 4, 6]
    made = sorted(path.name for path in (folder / "pictures").glob("step_*.jpg"))
    assert made == [f"step_{step:07d}.jpg" for step in steps]
    *_, path = sorted(folder.glob("wandb/offline*/files/media/table/evaluation/validation_*.json"))
    found = json.loads(path.read_text())
    with (folder / "validation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row[0] for row in found["data"]] == [row["photo"] for row in rows]
    assert all(row[found["columns"].index("psnr")] > 0 for row in found["data"])
    assert all(row[-1] == "Image" for row in found["data"])


def test_one_command_finds_all_offline_runs(watched):
    folder = watched[0].parents[1]
    text = (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^wandb sync --yes .*$", text, re.MULTILINE)
    command = command.replace("--yes", "--dry-run").replace("wandb", f"{sys.executable} -m wandb", 1)
    done = subprocess.run(["bash", "-c", command], cwd=folder.parent, capture_output=True, text=True, check=True)
    assert "Would sync 2 run(s)" in done.stdout + done.stderr


@HARMLESS
def test_the_saved_configuration_begins_a_run_of_its_own(watched):
    """And does not go on in the dashboard of the first."""
    given = (watched[0] / "config.yaml").read_text()
    assert json.loads((watched[0] / "run.json").read_text())["wandb"] not in given
    assert "tiny/one" not in given


def test_the_table_of_photos_is_of_the_best_weights(words):
    folder = main([*words, "--model.optimizer.init_args.lr=0.02", "--trainer.max_epochs=4"])
    with (folder / "metrics.csv").open(newline="") as file:
        best = max(float(row["val/psnr"]) for row in csv.DictReader(file) if row["val/psnr"])
    with (folder / "validation.csv").open(newline="") as file:
        values = [float(row["psnr"]) for row in csv.DictReader(file)]
    assert np.mean(values) == pytest.approx(best, rel=1e-5)


def test_pictures_of_steps_change_nothing(words):
    states = []
    for every in (0, 1):
        folder = main([*words, f"--previews.every_n_steps={every}"])
        states.append(torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True))
    for name, value in states[0]["state_dict"].items():
        assert torch.equal(value, states[1]["state_dict"][name])
    for first, second in zip(states[0]["random"], states[1]["random"], strict=True):
        assert all(torch.equal(first[key], second[key]) for key in first if isinstance(first[key], torch.Tensor))
    with Image.open(folder / "pictures" / "step_0000001.jpg") as picture:
        assert picture.size[0] == 4 * 48 + 3 * 6


@HARMLESS
def test_tensorboard_has_the_same_names_and_pictures(words):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = main([*words, "--trainer.logger=TensorBoardLogger", "--trainer.logger.save_dir=."])
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    tags = events.Tags()
    assert set(tags["scalars"]) == numbers(folder) - {"step"}
    photos = len(list(csv.DictReader((folder / "validation.csv").open())))
    assert {tag for tag in tags["images"] if "steps" in tag} == {f"pictures/steps/{n}" for n in range(1, photos + 1)}
    assert len(events.Images("pictures/validation/1")) == 2


@HARMLESS
def test_mlflow_has_the_same_names_and_pictures(words, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    words = [*words, "--run=one", "--trainer.logger=MLFlowLogger"]
    folder = main(words)
    assert main([*words, "--trainer.max_epochs=3"]) == folder
    client = mlflow.MlflowClient(f"sqlite:///{folder.parent.absolute() / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'lightning_logs'")
    (run,) = client.search_runs([experiment.experiment_id])  # which went on
    assert set(run.data.metrics) == numbers(folder) - {"step"}
    assert run.data.tags["group"] == "tiny"
    assert run.data.params["model.generator.init_args.width"] == "4"
    assert len(client.get_metric_history(run.info.run_id, "val/psnr")) == 3
    kept = {each.path for each in client.list_artifacts(run.info.run_id, "pictures/steps")}
    assert "pictures/steps/step_0000002_1.png" in kept
    assert client.list_artifacts(run.info.run_id, "evaluation/validation")


class Failing(CSVLogger):
    """A logger whose disk is full, or whose server is away."""

    calls = 0

    def log_metrics(self, metrics, step=None):
        self.calls += 1
        raise OSError(28, "No space left on device")


def test_a_logger_that_fails_is_told_and_left_alone_for_a_while(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("hdr_lightning.dashboards.dashboard.time.monotonic", lambda: clock[0])
    logger = Failing(tmp_path)
    dashboard = Dashboard(logger)
    for now in (0.0, 1.0, 700.0, 1400.0, 2100.0):
        clock[0] = now
        if now in (0.0, 700.0, 1400.0):
            with pytest.warns(UserWarning, match="Failing failed .*No space left.*the training goes on"):
                dashboard.log_metrics({"train/loss": 1.0}, 1)
        else:
            dashboard.log_metrics({"train/loss": 1.0}, 1)
    assert logger.calls == 3


class Away(CSVLogger):
    """A logger that cannot be reached at first."""

    def __init__(self, folder):
        super().__init__(folder)
        self.seen, self.reached = {}, False

    def log_hyperparams(self, params):
        if not self.reached:
            raise OSError(110, "Connection timed out")
        self.seen |= params


def test_a_configuration_that_could_not_be_sent_is_sent_later_with_what_followed(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("hdr_lightning.dashboards.dashboard.time.monotonic", lambda: clock[0])
    logger = Away(tmp_path)
    dashboard = Dashboard(logger)
    with pytest.warns(UserWarning, match="Away failed"):
        dashboard.log_hyperparams({"model": {"width": 4}})
    dashboard.log_hyperparams({"init": {"share": 1.0}})
    logger.reached, clock[0] = True, 700.0
    dashboard.log_metrics({"train/loss": 1.0}, 1)
    assert logger.seen == {"model.width": 4, "init.share": 1.0}


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_table_is_of_the_best_where_several_are_kept(mode):
    keeper = ModelCheckpoint(monitor="val/psnr", mode=mode, save_top_k=3)
    sign = 1 if mode == "max" else -1
    found = []
    for value in (1.0, 3.0, 2.0, float("nan"), 3.0, 4.0):
        found.append(_is_best(keeper, torch.tensor(sign * value)))
        if found[-1]:
            keeper.best_model_score = torch.tensor(sign * value)
    assert found == [True, True, False, False, False, True]
    assert not _is_best(keeper, None)


def test_a_full_disk_under_tensorboard_ends_no_training(words, monkeypatch):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")

    def full(*given, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torch.utils.tensorboard.writer.SummaryWriter.add_scalar", full)
    with pytest.warns(UserWarning, match="TensorBoardLogger failed"):
        folder = main([*words, "--trainer.logger=TensorBoardLogger", "--trainer.logger.save_dir=."])
    assert (folder / "checkpoints" / "best.ckpt").is_file()


@pytest.mark.parametrize(("logger", "extra"), [("TensorBoardLogger", "tensorboard"), ("MLFlowLogger", "mlflow")])
def test_a_library_that_is_missing_is_named_with_its_extra(words, monkeypatch, capsys, logger, extra):
    monkeypatch.setattr("hdr_lightning.dashboards.setup.find_spec", lambda name: None)
    more = ["--trainer.logger.save_dir=."] if extra == "tensorboard" else []
    with pytest.raises(SystemExit) as leave:
        main([*words, f"--trainer.logger={logger}", *more])
    assert leave.value.code == 2
    assert f"pip install 'hdr-lightning[{extra}]'" in capsys.readouterr().err


def test_runs_of_an_ablation_are_grouped_by_it_and_their_point(tmp_path, monkeypatch):
    for name in ("WANDB_RUN_GROUP", "WANDB_JOB_TYPE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    run = Run(tmp_path / "window" / "no window", "seed_1", 1, {}, tmp_path / "window").environment()
    assert (run["WANDB_RUN_GROUP"], run["WANDB_JOB_TYPE"], run["WANDB_TAGS"]) == ("window", "no window", "seed_1")
    fold = Run(tmp_path / "folds", "fold_0", 0, {}).environment()
    assert (fold["WANDB_RUN_GROUP"], fold["WANDB_JOB_TYPE"]) == ("folds", "fold")
    monkeypatch.setenv("WANDB_RUN_GROUP", "mine")
    assert Run(tmp_path, "a", 0, {}).environment()["WANDB_RUN_GROUP"] == "mine"


def test_a_negative_number_of_steps_is_refused():
    from hdr_lightning.callbacks import Previews

    with pytest.raises(InputError, match=r"previews\.every_n_steps is to be 0 or more"):
        Previews(every_n_steps=-1)


def test_names_have_the_groups_of_the_docs():
    groups = {name.split("/")[0] for name in documented() if "/" in name}
    assert groups == {
        *("train", "val", "test", "terms", "gradients", "health", "system", "pictures", "evaluation", "learning_rate")
    }
