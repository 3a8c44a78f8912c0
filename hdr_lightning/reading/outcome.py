"""What the figures need to know of an ablation: `ablation.outcome.read_outcome` gives it."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from hdr_lightning.evaluation.results import Cost


@runtime_checkable
class Gain(Protocol):
    """By how much a point differs from the reference, over photos and seeds."""

    @property
    def mean(self) -> float:
        """Over photos and seeds."""

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval; not a number where nothing is known of it."""

    @property
    def high(self) -> float:
        """Upper end of it."""

    @property
    def verdict(self) -> str:
        """Whether the evidence bears a difference: `significant`, or `not significant` with the reason."""


@runtime_checkable
class Point(Protocol):
    """One of the things that were trained."""

    @property
    def name(self) -> str:
        """Its own."""

    @property
    def values(self) -> Mapping[int, float]:
        """The metric at its best, by seed."""

    @property
    def mean(self) -> float:
        """Over the seeds."""

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval over seeds; not a number of one seed."""

    @property
    def high(self) -> float:
        """Upper end of it."""

    @property
    def seconds(self) -> float | None:
        """That a training took: the median over seeds."""

    @property
    def steps(self) -> int | None:
        """Of the optimiser, of each run."""

    @property
    def cost(self) -> Cost | None:
        """Of the network, where it was measured."""

    @property
    def differences(self) -> Mapping[str, Gain]:
        """From the reference, by measure."""


@runtime_checkable
class Ablation(Protocol):
    """What became of an ablation."""

    @property
    def metric(self) -> str:
        """What was compared."""

    @property
    def reference(self) -> str:
        """Name of the point that the others are compared with."""

    @property
    def points(self) -> Sequence[Point]:
        """What was trained."""
