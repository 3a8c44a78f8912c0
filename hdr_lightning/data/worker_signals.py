"""Signals that a scheduler sends to every process of a job, where the trainer alone is to answer."""

import os
import signal
import threading


def leave_signals_to_the_trainer(worker: int) -> None:
    """Keep a worker of a loader from dying of them: the trainer finishes its step first, and ends its workers itself.

    Args:
        worker: its number; not used.
    """
    if not hasattr(signal, "sigwaitinfo"):  # macOS and Windows, where no scheduler runs
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1})
    threading.Thread(target=_obey_parent, daemon=True).start()


def _obey_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
