"""Processes of the command line that begin at once: forks of one that has imported everything.

A process of its own pays six seconds of imports; a test that kills fifty of them would take minutes for that alone.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
PATHS = (PACKAGE, PACKAGE / "tests", PACKAGE / "tests" / "reliability")


class Process:
    """A command under way.

    Attributes:
        log: what it prints.
    """

    def __init__(self, forks, pid, log):
        self.forks = forks
        self.pid = pid
        self.log = log

    def send(self, number):
        os.kill(self.pid, number)

    def kill(self):
        """Kill it, as a power cut does, and its workers with it."""
        os.killpg(self.pid, signal.SIGKILL)
        return self.wait()

    def wait(self):
        """Wait for its end and give the exit code, or the number of the signal that killed it, negative."""
        return self.forks.ask({"wait": self.pid})

    def running(self):
        state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"

    @property
    def output(self):
        return self.log.read_text() if self.log.exists() else ""

    def until(self, condition, seconds=60):
        """Wait for something to happen while it runs; tell whether it did."""
        end = time.monotonic() + seconds
        while not condition():
            if not self.running():
                return condition()
            assert time.monotonic() < end, f"not within {seconds} s:\n{self.output}"
            time.sleep(0.002)
        return True


class Forks:
    """The process that all others are forked from."""

    def __init__(self, **environment):
        self.server = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join(map(str, PATHS)),
                "OMP_NUM_THREADS": "1",
                "CUDA_VISIBLE_DEVICES": "",
            }
            | environment,
        )

    def ask(self, request):
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        answer = self.server.stdout.readline()
        assert answer, "the process of the forks has ended"
        return json.loads(answer)

    def start(self, words, folder, log, **environment):
        """Start `hdr-lightning WORDS` in a folder; its output is added to a log."""
        request = {"words": [str(word) for word in words], "folder": str(folder), "log": str(log)}
        return Process(self, self.ask(request | {"environment": environment}), Path(log))

    def run(self, words, folder, log, **environment):
        """Run it to its end and give its exit code."""
        return self.start(words, folder, log, **environment).wait()

    def close(self):
        self.server.stdin.close()
        self.server.wait(30)
        self.server.stdout.close()


def serve():
    """Fork for each line of standard input; in a fork, give the words to run."""
    import hdr_lightning.training  # noqa: F401 - everything heavy

    threads = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}
    assert len(threads - {"jemalloc_bg_thd"}) == 1, f"a process with threads cannot be forked: {threads}"
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                return enter(request)
            os.setpgid(answer, answer)  # here, so that it is done when its number is told
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return None


def enter(request):
    """Become the process that was asked for."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    return request["words"]


if __name__ == "__main__":
    words = serve()
    if words is not None:
        from hdr_lightning.cli import main

        main(words)
