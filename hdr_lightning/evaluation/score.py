"""One number for quality and cost together."""

from typing import NamedTuple

from hdr_lightning.evaluation.results import Evaluation


class Score(NamedTuple):
    """The score of a network, its parts, each in [0, 1], more is better."""

    total: float
    quality: float
    cost: float


def score(evaluation: Evaluation) -> dict[str, Score]:
    """Score every contender whose quality was measured against a target and whose cost is known.

    The score is 0.7 quality + 0.3 cost; both are defined in `docs/evaluation.md`.
    """
    raise NotImplementedError


def pareto_svg(evaluations: list[Evaluation]) -> str:
    """Draw quality over cost of all networks, with the front of those that none beats in both, as SVG."""
    raise NotImplementedError
