"""A SLURM of two nodes on this machine, for as long as a test lasts: real daemons in a folder of their own."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forks import PACKAGE, PATHS

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job waits until its old credentials expire.
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool_%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd_%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd_%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=3600
SchedulerParameters=sched_interval=2,bf_interval=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
GresTypes=gpu
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[1]}-{ports[2]}] CPUs=32 Gres=gpu:4
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Job:
    """A job of the cluster.

    Args:
        environment: variables with which the programs of SLURM find it.
        number: of the job, with that of the task behind it for one of an array.
        log: what it writes.
    """

    def __init__(self, environment, number, log):
        self.environment = environment
        self.number = number
        self.log = log

    @property
    def description(self):
        return _run(["scontrol", "show", "job", self.number, "--oneliner"], self.environment)

    @property
    def steps(self):
        return _run(["squeue", "--steps", "--noheader", f"--jobs={self.number}"], self.environment)

    def __getattr__(self, name):
        """A field of the description."""
        fields = dict(word.split("=", 1) for word in self.description.split() if "=" in word)
        try:
            return fields[name]
        except KeyError:
            raise AttributeError(name) from None

    def signal(self, name):
        _run(["scancel", f"--signal={name}", self.number], self.environment)

    def cancel(self):
        _run(["scancel", self.number], self.environment)

    def wait(self, condition, seconds, about):
        """Wait until it has come so far."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"{about}: not within {seconds} s; {self.description}\n{self.output}"
            time.sleep(0.2)

    def finish(self, seconds=300):
        over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")
        self.wait(lambda: over.count(self.JobState), seconds, "finished")
        return self.JobState

    @property
    def output(self):
        return self.log.read_text() if self.log.exists() else ""


class Cluster:
    """A running SLURM; jobs are submitted from a folder that holds the package's `jobs`."""

    def __init__(self, folder):
        self.folder = folder
        bin_folder = Path(sys.executable).parent
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(map(str, PATHS)),
            "MASTER_ADDR": "127.0.0.1",  # the names of the nodes are made up
            "OMP_NUM_THREADS": "1",
        }

    def submit(self, script, *options, sbatch=(), tasks=None, **environment):
        """Submit one of the package's scripts.

        Args:
            script: its name in `jobs`.
            options: of the training.
            sbatch: options that override the head of the script.
            tasks: numbers of an array.
            environment: more variables.
        """
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (work / "jobs").symlink_to(PACKAGE / "jobs")
        sbatch = ["--cpus-per-task=1", *sbatch, *([] if tasks is None else [f"--array={','.join(map(str, tasks))}"])]
        name = "%j.out" if tasks is None else "%A_%a.out"
        command = ["sbatch", "--parsable", *sbatch, f"--output={work / name}", f"jobs/{script}", *options]
        number = _run(command, self.environment | environment, work).strip()
        numbers = [number] if tasks is None else [f"{number}_{task}" for task in tasks]
        jobs = [Job(self.environment, each, work / f"{each}.out") for each in numbers]
        return jobs[0] if tasks is None else jobs


def _run(command, environment, folder=None):
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def _free_ports(number):
    """Ports in a row that nobody listens on."""
    for first in range(17100, 19000, 10):
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for port in range(first, first + number):
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return range(first, first + number)
    raise OSError("no free ports")


@contextlib.contextmanager
def running_cluster(folder):
    """Start a cluster, and stop it in the end.

    A test that needs one is skipped where SLURM is not installed, or cannot be started by this user.
    """
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed (Debian: slurm-wlm, munge)")
    if os.geteuid() != 0:
        pytest.skip("daemons of SLURM are started as root")
    munge = folder / "munge"
    munge.mkdir()
    (munge / "key").write_bytes(os.urandom(128))
    (munge / "key").chmod(0o600)
    (folder / "state").mkdir()
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(folder=folder, host=socket.gethostname().split(".")[0], ports=_free_ports(3)))
    (folder / "gres.conf").write_text(
        "".join(f"Name=gpu File=/dev/{name}\n" for name in ("null", "zero", "full", "random"))
    )
    cluster = Cluster(folder)
    names = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed", "log-file": "log"}
    with contextlib.ExitStack() as daemons:
        for command in (
            ["munged", "--force", "--foreground", *(f"--{option}={munge / name}" for option, name in names.items())],
            ["slurmctld", "-D", "-f", str(conf)],
            ["slurmd", "-D", "-N", "n1", "-f", str(conf)],
            ["slurmd", "-D", "-N", "n2", "-f", str(conf)],
        ):
            daemons.enter_context(_daemon(command, cluster.environment, folder))
            end = time.monotonic() + 20
            while command[0] == "munged" and not (munge / "socket").exists():
                assert time.monotonic() < end, (munge / "log").read_text()
                time.sleep(0.05)
        _wait_until_idle(cluster)
        yield cluster
        subprocess.run(["scancel", "--user=root"], env=cluster.environment, check=False)
        time.sleep(1)


def _wait_until_idle(cluster):
    end = time.monotonic() + 30
    while True:
        done = subprocess.run(
            ["sinfo", "--noheader", "--format=%D %T"], env=cluster.environment, capture_output=True, text=True
        )
        if done.stdout.strip() == "2 idle":
            return
        log = (cluster.folder / "slurmctld.log").read_text() if time.monotonic() > end else ""
        assert time.monotonic() < end, f"{done.stdout}{done.stderr}{log}"
        time.sleep(0.3)


@contextlib.contextmanager
def _daemon(command, environment, folder):
    with (folder / "daemons.log").open("a") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
