"""The errors that a user can act on: the command line prints them in one line, without a traceback."""


class InputError(ValueError):
    """What was given cannot be used; the message says what was expected, what came and what to do."""


class RunStopped(RuntimeError):  # noqa: N818 - a verdict on a run, not a defect of the program
    """A run ended itself because going on would waste it; the message names the cause and the remedy."""


class RunInterrupted(RuntimeError):  # noqa: N818 - neither is this
    """A signal ended a run between two steps, and everything is saved.

    Attributes:
        code: what the process leaves with: 75 (try again) for SIGUSR1, else 128 and the number of the signal.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
