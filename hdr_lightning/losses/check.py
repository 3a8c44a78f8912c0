"""The instrument that tells a healthy loss from a sick one, before anything is trained on it."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hdr_lightning.losses.composite import CompositeLoss, Seen
from hdr_lightning.losses.term import LossTerm, Pictures
from hdr_lightning.losses.verdict import SHARE, LossCheck, TermCheck

GRADIENT_SHARE = 0.95
"""The same of the gradient at the prediction."""

SCALE = 1.0
"""Unweighted size up to which a term is in scale: most lie in [0, 1]."""

IDLE = 0.001
"""Share of the gradient below which a term does nothing."""

CONFLICT = -0.3
"""Cosine between the gradients of two terms below which they pull apart."""

JUMP = 0.05
"""Unweighted size that no term may have for two colours that are next to each other."""

WORST = 100.0
"""Unweighted size that no term may have on any pictures; LAB at its raw scale just passes."""


class Measured(NamedTuple):
    """The terms of a loss on some pictures.

    Attributes:
        values: weighted value of each.
        gradients: norm of the gradient of each at the prediction.
        cosines: between the gradients of each two.
    """

    values: Float[Tensor, " t"]
    gradients: Float[Tensor, " t"]
    cosines: Float[Tensor, "t t"]


def measure_terms(loss: CompositeLoss, pictures: Seen) -> Measured:
    """Measure each term of a loss by itself; leaves no trace in the loss."""
    leaf = pictures.prediction.detach().float().requires_grad_()
    with torch.enable_grad(), _evaluating(loss):
        parts = list(loss(leaf, pictures.target, pictures.source).parts.values())
        rows = torch.stack([_gradient(part, leaf) for part in parts]).flatten(1)
    norms = rows.norm(dim=1)
    unit = rows / norms.clamp(min=1e-30).unsqueeze(1)
    return Measured(torch.stack(parts).detach(), norms, unit @ unit.t())


@contextmanager
def _evaluating(loss: CompositeLoss) -> Iterator[None]:
    mode = loss.training
    loss.eval()
    try:
        yield
    finally:
        loss.train(mode)


def _gradient(part: Float[Tensor, ""], leaf: Pictures) -> Pictures:
    if not part.requires_grad:
        return torch.zeros_like(leaf)
    found = torch.autograd.grad(part, leaf, retain_graph=True, allow_unused=True, materialize_grads=True)
    return found[0]


def hard_cases(like: Pictures) -> dict[str, Seen]:
    """Pictures on which losses break: flat, equal, inverted, next to each other across red, out of range."""
    generator = torch.Generator().manual_seed(0)

    def flat(*rgb: float) -> Pictures:
        return torch.tensor(rgb).view(1, -1, 1, 1).expand(1, 3, *like.shape[-2:]).contiguous()

    noise, other = (torch.rand(1, 3, *like.shape[-2:], generator=generator) for _ in range(2))
    cases = {
        "black": (flat(0.0), flat(0.0), flat(0.0)),
        "white": (flat(1.0), flat(1.0), flat(1.0)),
        "grey": (flat(0.5), flat(0.5), flat(0.5)),
        "black, not white": (flat(0.0), flat(1.0), other),
        "equal": (noise, noise, noise),
        "inverted": (1 - noise, noise, other),
        "hue wrap": (flat(1.0, 0.001, 0.0), flat(1.0, 0.0, 0.001), flat(1.0, 0.0, 0.001)),
        "near-flat": (flat(0.5) + 1e-6 * noise, flat(0.5), flat(0.5)),
        "out of range": (4 * noise - 2, other, noise),
    }
    return {name: Seen(*(picture.to(like.device) for picture in case)) for name, case in cases.items()}


def check_loss(
    loss: CompositeLoss,
    pairs: Sequence[Seen],
    rounded: Sequence[Seen] = (),
    precision: str = "32-true",
    dtype: torch.dtype = torch.float32,
    allowed: Sequence[str] = (),
) -> LossCheck:
    """Look at each term of a loss on pairs of the run and on hard ones.

    Args:
        loss: the loss.
        pairs: what the generator made of some pairs in float32, one or more.
        rounded: the same in the precision of the run, where that is another.
        precision: the name of that precision.
        dtype: its number type, to which hard pictures are rounded.
        allowed: terms that may fail.

    Raises:
        InputError: if a name in `allowed` is that of no term.
    """
    for name in allowed:
        loss.term(name)
    whole = sum(loss.weights.values())
    rows = [TermCheck(name, weight, weight / max(whole, 1e-12)) for name, weight in loss.weights.items()]
    result = LossCheck(rows, pairs=len(pairs), precision=precision, allowed=list(allowed))
    for row in rows:
        _try(loss.term(row.name), pairs[0], row)
    if any(row.failures for row in rows):
        return result

    own = [measure_terms(loss, each) for each in pairs]
    values, gradients, cosines = (torch.stack(each).mean(dim=0) for each in zip(*own, strict=True))
    result.cosines = cosines.tolist()
    lower = torch.stack([measure_terms(loss, each).values for each in rounded]).mean(dim=0) if rounded else values
    total, steepness = float(values.sum()), float(gradients.sum())
    for index, row in enumerate(rows):
        row.value, row.gradient, row.rounded = (float(each[index]) for each in (values, gradients, lower))
        row.share, row.gradient_share = row.value / max(total, 1e-12), row.gradient / max(steepness, 1e-12)
        _judge_size(row, loss.ceilings[row.name])
        row.warnings += [
            f'pulls against "{other.name}": cosine {cosine:.2f} between their gradients; one of them may go'
            for other, cosine in zip(rows[:index], result.cosines[index], strict=False)
            if cosine < CONFLICT
        ]
    _judge_shares(rows)
    if not any(loss.term(row.name).compares for row in rows):
        rows[0].warnings.append("compares with no target, and no other term does: nothing says what to learn")
    with _evaluating(loss):
        for case, pictures in hard_cases(pairs[0].target).items():
            for step in {torch.float32, dtype}:
                hard = pictures._replace(prediction=pictures.prediction.to(step).float())
                for row in rows:
                    if loss.scales.get(row.name) != 0:
                        _judge_hard(row, loss.term(row.name), case, hard)
    return result


def _try(term: LossTerm, pictures: Seen, row: TermCheck) -> None:
    try:
        with torch.no_grad():
            term.measure(*(each.float() for each in pictures))
    except (ValueError, RuntimeError, AssertionError) as error:
        size = " x ".join(str(length) for length in pictures.target.shape[-2:])
        row.failures.append(f"cannot be computed on pictures of {size}: {error}; change data.crop, or leave it out")


def _judge_size(row: TermCheck, ceiling: float) -> None:
    """Find what is wrong with a term by itself on the run's own pairs."""
    if not all(math.isfinite(each) for each in (row.value, row.gradient, row.rounded)):
        row.failures.append("is not finite, or its gradient is not, on pairs of the run: it needs an epsilon, or goes")
    elif max(row.value, row.rounded) > ceiling:
        row.failures.append(
            f"is {max(row.value, row.rounded):.3g} on pairs of the run, above its ceiling of {ceiling:g}: "
            f"lower its weight ({row.key}.weight), or, if this size is meant, raise its ceiling"
        )


def _judge_shares(rows: Sequence[TermCheck]) -> None:
    """Find terms out of scale that together leave next to nothing to the others, and terms that do nothing."""
    large = [row for row in rows if row.value > row.weight * SCALE]
    small = [row for row in rows if row not in large]
    meant = sum(row.meant for row in large)
    left, left_meant = sum(row.value for row in small), sum(row.meant for row in small)
    total = sum(row.value for row in rows)
    for what, limit, share in (
        ("total", SHARE, sum(row.share for row in large)),
        ("gradient", GRADIENT_SHARE, sum(row.gradient_share for row in large)),
    ):
        if large and small and meant < limit and share > max(limit, (1 + meant) / 2):
            beside = f", with {len(large) - 1} more {share:.0%}" if len(large) > 1 else ""
            for row in large:
                own = row.share if what == "total" else row.gradient_share
                factor = rescaling(row.value, row.meant, left, left_meant)
                row.starves = True
                row.failures.append(
                    f"makes {own:.0%}{beside} of the {what} ({row.value:.3g} of {total:.3g}), where its weight means "
                    f"{row.meant:.0%} and {limit:.0%} is the limit: the other terms starve. Lower its weight to about "
                    f"{row.weight * factor:.2g} ({row.key}.weight), or set scale_guard.policy to rescale, or "
                    "model.loss.init_args.weighting to Normalised"
                )
            return
    for row in rows:
        if len(rows) > 1 and row.share > max(SHARE, (1 + row.meant) / 2):
            row.warnings.append(f"makes {row.share:.0%} of the total, where its weight means {row.meant:.0%}")
        if row.gradient_share < IDLE and len(rows) > 1:
            row.warnings.append(f"does next to nothing: {row.gradient_share:.2%} of the gradient")


def rescaling(size: float, meant: float, others: float, others_meant: float) -> float:
    """The factor by which a term gets, beside others, the share that its weight means.

    Args:
        size: of the term, > 0.
        meant: its weight, or its share of the weights.
        others: sum of the sizes of terms that are in scale; where they are nothing, the term gets a size of 1.
        others_meant: sum of their weights, or shares.
    """
    return meant / others_meant * others / size if others > 0 and others_meant > 0 else 1 / size


def _judge_hard(row: TermCheck, term: LossTerm, case: str, pictures: Seen) -> None:
    """Find what is wrong with a term, unweighted, on a hard case."""
    leaf = pictures.prediction.clone().requires_grad_()
    with torch.enable_grad():
        measured = term.measure(leaf, pictures.target, pictures.source)
        gradient, value = float(_gradient(measured, leaf).norm()), float(measured.detach())
    if not value <= row.worst_value:  # the first, or NaN
        row.worst, row.worst_value = case, value
    failure = ""
    if not math.isfinite(value):
        failure = f"is {value} on the case {case}: it needs an epsilon in its roots and divisions, or goes"
    elif not math.isfinite(gradient):
        failure = f"has a gradient of {gradient} on the case {case}: it needs an epsilon in its roots, or goes"
    elif value > WORST:
        failure = f"is {value:.3g}, unweighted, on the case {case}: it grows without bound; bound it, or leave it out"
    elif case == "hue wrap" and term.compares and value > JUMP:
        failure = f"jumps by {value:.3g} between two reds that are next to each other: compare angles as circles"
    if failure and failure not in row.failures:
        row.failures.append(failure)
