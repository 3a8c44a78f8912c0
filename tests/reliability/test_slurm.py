"""The scripts of `jobs/`, on a SLURM of two nodes that the tests start."""

import re

import pytest
import torch
import yaml
from conftest import TINY
from reliability.test_resume import assert_equal
from slurm_cluster import running_cluster

from hdr_lightning.ablation.outcome import read_outcome
from hdr_lightning.cli import main
from hdr_lightning.run_config import changed

pytestmark = pytest.mark.slow

TWO = ["--data.workers=1", "--data.test=2", "--data.validation=0.3", "--data.batch_size=1"]
"""Enough photos for two processes."""

SLOWLY = '--trainer.callbacks+={"class_path": "diary.Diary"}'


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with running_cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def options(demo, tmp_path):
    def give(*more, root="runs", epochs=6):
        return [
            *TINY,
            f"--data.pairs={demo}",
            f"--trainer.default_root_dir={tmp_path / root}",
            f"--trainer.max_epochs={epochs}",
            "--loss_check.pairs=0",
            *more,
        ]

    return give


@pytest.fixture
def submit(cluster, tmp_path):
    """A function that submits a script whose training makes pauses between its steps, so that one can interfere."""

    def give(script, *options, pause=0.5, **more):
        return cluster.submit(script, *options, SLOWLY, DIARY=str(tmp_path / "diary"), PAUSE=str(pause), **more)

    return give


def steps(run):
    """How many lines the log of a run has."""
    table = run / "metrics.csv"
    return len(table.read_text().splitlines()) if table.exists() else 0


def folders(root):
    return sorted(path.name for path in root.iterdir() if path.is_dir())


def test_two_processes_are_warned_and_go_on_in_the_queue(cluster, submit, options, tmp_path):
    """One run, and the weights, the optimiser and the log of the undisturbed one."""
    two = ["--ntasks-per-node=2"]
    job = submit("fit.sbatch", *options(*TWO), sbatch=two)
    run = tmp_path / "runs" / f"job_{job.number}"
    job.wait(lambda: steps(run) > 4, 200, "training")
    job.signal("USR1")
    assert job.finish() == "COMPLETED", job.output
    assert job.Restarts == "1"
    assert "interrupted: SIGUSR1: saved at step" in job.output
    assert f"job {job.number} goes on in the queue" in job.output
    assert "auto-requeueing" not in job.output
    assert folders(tmp_path / "runs") == [run.name]
    again = cluster.submit("fit.sbatch", *options(*TWO, root="again"), sbatch=two)
    assert again.finish() == "COMPLETED", again.output
    assert_equal(tmp_path / "again" / f"job_{again.number}", run)


def test_the_time_limit_warns_and_the_job_goes_on(submit, options, tmp_path):
    """On two nodes; the limit is shorter than the training."""
    limit = ["--nodes=2", "--time=2", "--signal=USR1@60"]
    words = options(*TWO, epochs=16)
    job = submit("fit.sbatch", *words, sbatch=limit, pause=1.2)
    assert job.finish(590) == "COMPLETED", job.output
    assert int(job.Restarts) >= 1
    run = tmp_path / "runs" / f"job_{job.number}"
    made = [int(line) for line in (tmp_path / "diary").read_text().splitlines()]
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    assert sorted(made) == sorted([*range(1, last + 1)] * 2)  # each step once, by each process


def test_a_warning_while_the_program_starts(submit, options):
    job = submit("fit.sbatch", *options(epochs=1), pause=0)
    job.wait(lambda: job.JobState == "RUNNING", 60, "started")
    job.wait(lambda: ".0" in job.steps, 60, "has a step")
    job.signal("USR1")
    assert job.finish() == "COMPLETED", job.output
    assert job.Restarts == "1"


def test_folds_are_an_array_of_workers_and_one_of_them_goes_on_alone(cluster, options, tmp_path):
    """The last one to end measures them all, and no fold is another than trained by itself."""
    words = options("--data.folds=2", "--data.workers=1", root="alone")
    alone = [main(["fit", *words, f"--data.fold={fold}", f"--run=fold_{fold}"]) for fold in range(2)]
    config = yaml.safe_load((alone[0] / "config.yaml").read_text())
    kept = {name: config[name] for name in ("trainer", "model", "data", "loss_check")}
    wandb = {"class_path": "WandbLogger", "init_args": {"offline": True}}
    diary = {"class_path": "diary.Diary"}
    base = {**kept, "trainer": {**kept["trainer"], "logger": wandb, "callbacks": [diary]}}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base, sort_keys=False))  # sums depend on the order of terms
    given = [f"--base={tmp_path / 'base.yaml'}", f"--output={tmp_path / 'runs'}", "--folds=2", "--measures=[psnr]"]
    pauses = {"DIARY": str(tmp_path / "diary"), "PAUSE": "0.5"}
    jobs = cluster.submit("folds.sbatch", *given, "--cost=false", tasks=(0, 1), **pauses)
    runs = [tmp_path / "runs" / f"fold_{fold}" for fold in range(2)]
    jobs[1].wait(lambda: min(map(steps, runs)) > 4, 200, "training")
    jobs[1].signal("USR1")
    assert [job.finish() for job in jobs] == ["COMPLETED"] * 2, jobs[1].output
    assert [job.Restarts for job in jobs] == ["0", "1"]
    for expected, run in zip(alone, runs, strict=True):
        assert_equal(expected, run)
    assert (tmp_path / "runs" / "crossval.json").is_file(), jobs[0].output + jobs[1].output
    assert len((tmp_path / "runs" / "test_openings.csv").read_text().splitlines()) == 2
    dashboards = [re.findall(r"offline-run-\S+-(\w+)", " ".join(folders(run / "wandb"))) for run in runs]
    assert sorted(len(names) for names in dashboards) == [1, 2]
    assert [len(set(names)) for names in dashboards] == [1, 1]
    assert len({*dashboards[0], *dashboards[1]}) == 2


def test_workers_of_an_array_share_an_ablation_and_one_goes_on(cluster, demo, tmp_path):
    """Every point is trained once for every seed, and the last worker says what came of it."""
    tiny = {word.partition("=")[0].removeprefix("--"): yaml.safe_load(word.partition("=")[2]) for word in TINY}
    tiny["model.generator.class_path"] = tiny.pop("model.generator")
    own = {"data.pairs": str(demo), "loss_check.pairs": 0, "trainer.callbacks": [{"class_path": "diary.Diary"}]}
    base = tmp_path / "base.yaml"
    base.write_text(yaml.safe_dump(changed({}, {**tiny, **own})))
    folder = tmp_path / "out"
    file = tmp_path / "ablation.yaml"
    content = {"base": str(base), "output": str(folder), "seeds": [0, 1], "budget": {"epochs": 5}}
    file.write_text(yaml.safe_dump({**content, "grid": {"data.flip": [0.0, 1.0]}}))
    options = {"DIARY": str(tmp_path / "diary"), "PAUSE": "0.5"}
    first, second = cluster.submit("ablation.sbatch", f"--config={file}", tasks=(0, 1), **options)
    runs = [folder / name / "seed_0" for name in ("flip=0.0", "flip=1.0")]
    second.wait(lambda: min(map(steps, runs)) > 2, 200, "both training")
    second.signal("USR1")
    assert [first.finish(), second.finish()] == ["COMPLETED"] * 2, second.output
    assert [first.Restarts, second.Restarts] == ["0", "1"]
    assert "is saved; the same command goes on" in second.output
    assert f"job {second.number} goes on in the queue" in second.output
    outcome = read_outcome(folder)
    assert {point.name: set(point.values) for point in outcome.points} == {"flip=0.0": {0, 1}, "flip=1.0": {0, 1}}
    assert len({point.steps for point in outcome.points}) == 1
    made = sorted(int(line) for line in (tmp_path / "diary").read_text().splitlines())
    assert made == sorted([*range(1, outcome.points[0].steps + 1)] * 4)
    assert (folder / "report" / "report.html").is_file()


def test_a_cancelled_job_saves_and_does_not_come_back(submit, options, tmp_path):
    job = submit("fit.sbatch", *options("--data.workers=2"))
    run = tmp_path / "runs" / f"job_{job.number}"
    job.wait(lambda: steps(run) > 2, 200, "training")
    job.cancel()
    assert job.finish() == "CANCELLED"
    job.wait(lambda: "interrupted: SIGTERM: saved at step" in job.output, 30, "saved")
    assert job.Restarts == "0"
    made = len((tmp_path / "diary").read_text().splitlines())
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == made
