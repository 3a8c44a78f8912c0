"""The scripts of `jobs/`, on a SLURM of two nodes that the tests start."""

import pytest
from conftest import TINY
from reliability.test_resume import assert_equal
from slurm_cluster import running_cluster

from hdr_lightning.cli import main

pytestmark = pytest.mark.slow

TWO = ["--data.workers=1", "--data.test=2", "--data.validation=0.3", "--data.batch_size=1"]
"""Enough photos for two processes."""

PAUSES = '--trainer.callbacks+={"class_path": "diary.Diary"}'


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with running_cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def options(demo):
    def give(root, *more):
        return [
            *TINY,
            f"--data.pairs={demo}",
            f"--trainer.default_root_dir={root}",
            "--trainer.max_epochs=6",
            "--loss_check.pairs=0",
            *more,
        ]

    return give


def steps(run):
    """How many steps the log of a run has."""
    table = run / "metrics.csv"
    return len(table.read_text().splitlines()) if table.exists() else 0


def undisturbed(words, root, name="undisturbed"):
    return main(["fit", *words, f"--trainer.default_root_dir={root}", f"--run={name}"])


def test_a_job_goes_on_in_the_queue_until_its_training_is_done(cluster, options, tmp_path):
    """Warned while it trains, in two processes; one run, and the weights of the undisturbed one."""
    words = options(tmp_path / "runs", *TWO)
    two = ["--ntasks-per-node=2"]
    job = cluster.submit("fit.sbatch", *words, PAUSES, sbatch=two, DIARY=str(tmp_path / "diary"), PAUSE="0.5")
    run = tmp_path / "runs" / f"job_{job.number}"
    job.wait(lambda: steps(run) > 4, 120, "training")
    job.signal("USR1")
    job.wait(lambda: job.Restarts == "1" and job.JobState == "RUNNING", 120, "requeued")
    assert job.finish() == "COMPLETED", job.output
    assert "interrupted: SIGUSR1: saved at step" in job.output
    assert f"job {job.number} goes on in the queue" in job.output
    assert [path.name for path in (tmp_path / "runs").iterdir() if path.is_dir()] == [run.name]
    again = cluster.submit("fit.sbatch", *options(tmp_path / "again"), *TWO, sbatch=two)
    assert again.finish() == "COMPLETED", again.output
    assert_equal(tmp_path / "again" / f"job_{again.number}", run)
