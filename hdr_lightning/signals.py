"""Signals that ask a process to leave, noted until a moment at which nothing is lost."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from hdr_lightning.errors import RunInterrupted

AGAIN = 75
"""Exit code that asks whoever started the process to start it again (EX_TEMPFAIL of sysexits.h)."""

CODES = {int(signal.SIGINT): 130, int(signal.SIGTERM): 143}
"""Exit code by signal."""

if hasattr(signal, "SIGUSR1"):  # not on Windows
    CODES[int(signal.SIGUSR1)] = AGAIN


class Caught:
    """Signals of this process since it began to listen.

    Attributes:
        received: the largest number of a signal, or 0.
    """

    def __init__(self) -> None:
        self.received = 0
        self._deferred = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen, until the block ends. Until `defer` a signal ends the block at once: nothing is trained yet."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals reach the main thread alone
            return
        before = {number: signal.getsignal(number) for number in CODES}
        self.received, self._deferred = 0, False
        self._listen()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def defer(self) -> None:
        """Only note signals from now on, in place of handlers that came between: look at `received`."""
        self._deferred = True
        if threading.current_thread() is threading.main_thread():
            self._listen()

    def _listen(self) -> None:
        for number in CODES:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        again = number == signal.SIGINT and self.received
        if not self._deferred or again:
            raise RunInterrupted(f"{signal.Signals(number).name}: left at once", CODES[number])
        self.received = max(self.received, number)


SIGNALS = Caught()
"""Those of this process; a process has one set of handlers."""
