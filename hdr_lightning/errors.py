"""The errors that a user can act on: the command line prints them in one line, without a traceback."""

from collections.abc import Sequence


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


class PhotosFailed(RuntimeError):  # noqa: N818 - the others are done
    """Some photos could not be enhanced.

    Args:
        photos: how many were tried.
        failures: what went wrong, a line a photo.
    """

    def __init__(self, photos: int, failures: Sequence[str]) -> None:
        lines = "\n  ".join(failures)
        super().__init__(f"{len(failures)} of {photos} photos were not enhanced; the others are done:\n  {lines}")
