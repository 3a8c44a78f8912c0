"""A test or an evaluation read back from its folder: what was measured, and the pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hdr_lightning.evaluation.results import SOURCE, Contender, Evaluation
from hdr_lightning.report.gallery import Gallery, Shot
from hdr_lightning.report.page import PAGE
from hdr_lightning.report.summary import ranked


@dataclass(frozen=True)
class Measured:
    """What a folder of `test` or `evaluate` holds.

    Attributes:
        folder: where it lies; pictures are named from here.
        evaluation: what was measured of every photo.
        shots: pictures of every photo.
    """

    folder: Path
    evaluation: Evaluation
    shots: list[Shot]

    @property
    def report(self) -> Path:
        """The page to open in a browser."""
        return self.folder / PAGE

    @property
    def contenders(self) -> Sequence[Contender]:
        """What takes part beside the untouched sources."""
        return [each for each in self.evaluation.contenders if each.name != SOURCE]

    def worst(self, number: int) -> list[Shot]:
        """Photos at fault, then those that the first contender improves least."""
        shots = {shot.name: shot for shot in self.shots}
        names = [self.evaluation.photos[place].name for place in ranked(self.evaluation)]
        return [shots[name] for name in names if name in shots][:number]


def read_measured(folder: Path | str) -> Measured:
    """Read what `test` or `evaluate` wrote.

    Args:
        folder: where they wrote it.

    Raises:
        InputError: if there is nothing of theirs.
    """
    folder = Path(folder)
    return Measured(folder, Evaluation.from_json(folder / "evaluation.json"), Gallery.read(folder).shots)
