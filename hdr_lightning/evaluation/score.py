"""One number for quality and cost together, of fixed scales: it does not depend on what else is compared.

Both are defined, with the reasons, in `docs/evaluation.md`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from hdr_lightning.errors import InputError
from hdr_lightning.evaluation.drawing import Mark, draw
from hdr_lightning.evaluation.results import MEASURES, SOURCE, Contender, Cost, Evaluation

QUALITY_SHARE = 0.7

QUALITY: dict[str, tuple[float, float]] = {"psnr": (10.0, 40.0), "ssim": (0.4, 1.0), "lpips": (0.6, 0.0)}
"""Of a photo: what is worth 0 and 1; linear between."""

COST: dict[str, tuple[float, float]] = {"parameters": (1e8, 1e5), "macs": (1e13, 1e10), "memory": (1e10, 1e8)}
"""What is worth 0 and 1, in numbers, multiplications and bytes, the last two a megapixel; logarithmic between."""


class Score(NamedTuple):
    """The score of a network, its parts, each in [0, 1], more is better."""

    total: float
    quality: float
    cost: float


def score(evaluation: Evaluation) -> dict[str, Score]:
    """Score every contender whose quality was measured against a target and whose cost is known.

    The score is 0.7 quality + 0.3 cost; both are defined in `docs/evaluation.md`.
    """
    scores = {}
    for contender in evaluation.contenders:
        quality = quality_of(evaluation, contender.name)
        if quality is not None and contender.cost is not None:
            cost = cost_of(contender.cost)
            total = QUALITY_SHARE * quality + (1 - QUALITY_SHARE) * cost
            scores[contender.name] = Score(total, quality, cost)
    return scores


def quality_of(evaluation: Evaluation, name: str) -> float | None:
    """The quality of a contender in [0, 1]: the mean over the parts of `QUALITY` that were measured.

    A photo without a value, because the result was broken, counts as 0, which nothing is below; one that is broken
    itself, so that the untouched source has no value, does not count. Nothing where PSNR or SSIM was not measured.
    """
    values, untouched = (evaluation.values.get(each, {}) for each in (name, SOURCE))
    parts = {measure: _part(measure, values.get(measure, []), untouched.get(measure, [])) for measure in QUALITY}
    found = [part for part in parts.values() if part is not None]
    return None if parts["psnr"] is None or parts["ssim"] is None else sum(found) / len(found)


def _part(measure: str, values: Sequence[float | None], untouched: Sequence[float | None]) -> float | None:
    if all(value is None for value in values):
        return None
    worst, best = QUALITY[measure]
    pairs = zip(values, untouched or [0.0] * len(values), strict=True)
    counted = [value for value, known in pairs if value is not None or known is not None]
    return _mean([0.0 if value is None else _clip((value - worst) / (best - worst)) for value in counted])


def cost_of(cost: Cost) -> float:
    """The cost of a network in [0, 1], more is cheaper: the mean over the parts of `COST`."""
    found = {"parameters": cost.parameters, "macs": macs_per_megapixel(cost), "memory": memory_per_megapixel(cost)}
    return _mean([_cheapness(found[name], *COST[name]) for name in COST])


def _cheapness(value: float, dear: float, cheap: float) -> float:
    return 1.0 if value <= cheap else _clip(math.log(value / dear) / math.log(cheap / dear))


def macs_per_megapixel(cost: Cost) -> float:
    """Multiplications with addition for a million pixels."""
    return cost.macs / _megapixels(cost)


def memory_per_megapixel(cost: Cost) -> float:
    """Bytes that a million pixels occupy, beside the weights (counted by `parameters`) as float32."""
    return max(0, cost.peak_bytes - 4 * cost.parameters) / _megapixels(cost)


def _megapixels(cost: Cost) -> float:
    return cost.size[0] * cost.size[1] / 1e6


def _clip(value: float) -> float:
    return min(1.0, max(0.0, value))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def score_table(evaluations: Sequence[Evaluation]) -> str:
    """The scores with what they are made of, best first, as Markdown."""
    head = ("network", "score", "quality", "cost", *(MEASURES[name].title for name in QUALITY))
    head += ("parameters (M)", "GMAC / MP", "GB / MP", "s / MP", "on")
    rows = []
    for contender, scored, means in _scored(evaluations):
        cost = contender.cost
        assert cost is not None
        numbers = [f"{each:.3f}" for each in scored]
        numbers += [
            "" if value is None else f"{value:.{MEASURES[name].digits}f}"
            for name, value in zip(QUALITY, means, strict=True)
        ]
        numbers += [f"{cost.parameters / 1e6:.2f}", f"{macs_per_megapixel(cost) / 1e9:.1f}"]
        numbers += [f"{memory_per_megapixel(cost) / 1e9:.2f}", f"{cost.seconds / _megapixels(cost):.2f}", cost.device]
        rows.append((scored.total, f"| {contender.name} | " + " | ".join(numbers) + " |"))
    rows.sort(key=lambda row: -row[0])
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(row for _, row in rows)])


def _scored(evaluations: Sequence[Evaluation]) -> list[tuple[Contender, Score, list[float | None]]]:
    """Contenders with their scores and means; what was evaluated several times counts once, as it was last."""
    _check_photos(evaluations)
    found = {}
    for evaluation in evaluations:
        scores = score(evaluation)
        for contender in evaluation.contenders:
            if contender.name in scores:
                columns = [evaluation.values[contender.name].get(measure, []) for measure in QUALITY]
                measured = [[value for value in column if value is not None] for column in columns]
                means = [_mean(column) if column else None for column in measured]
                found[contender.name, contender.origin] = (contender, scores[contender.name], means)
    if not found:
        raise InputError("nothing has a score: run `evaluate` with targets, and with --cost=true")
    return list(found.values())


def _check_photos(evaluations: Sequence[Evaluation]) -> None:
    first, *others = evaluations
    expected = {(photo.name, photo.width, photo.height) for photo in first.photos}
    for other in others:
        if {(photo.name, photo.width, photo.height) for photo in other.photos} != expected:
            raise InputError(
                f"the evaluations {first.title!r} and {other.title!r} are of different photos, "
                "so that their qualities cannot be compared: evaluate on the same ones"
            )


def pareto_svg(evaluations: list[Evaluation]) -> str:
    """Draw quality over cost of all networks, with the front of those that none beats in both, as SVG.

    It takes the colour of text from the page around it; where it stands alone it follows the light or dark scheme.

    Raises:
        InputError: if nothing has a score, or the evaluations are of different photos.
    """
    return draw(*_marks(evaluations), "svg").decode()


def pareto_png(evaluations: list[Evaluation]) -> bytes:
    """The picture of `pareto_svg` as PNG, on white.

    Raises:
        InputError: if nothing has a score, or the evaluations are of different photos.
    """
    return draw(*_marks(evaluations), "png")


def _marks(evaluations: Sequence[Evaluation]) -> tuple[list[Mark], float | None]:
    """What is drawn: every network, and the quality of the untouched sources."""
    scored = _scored(evaluations)
    names = [contender.name for contender, _, _ in scored]
    marks = [
        Mark(
            contender.name if names.count(contender.name) == 1 else f"{contender.name} ({contender.origin})",
            macs_per_megapixel(contender.cost) / 1e9,
            result.quality,
            result.total,
        )
        for contender, result, _ in scored
        if contender.cost is not None
    ]
    return marks, quality_of(evaluations[0], SOURCE)
