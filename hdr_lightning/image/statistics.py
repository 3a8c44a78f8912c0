"""What a picture holds, wherever in it: histograms, variances, products of features."""

import torch
from jaxtyping import Float
from torch import Tensor


def histogram(
    values: Float[Tensor, "n p"], bins: int, weights: Float[Tensor, "n p"] | None = None
) -> Float[Tensor, "n bins"]:
    """Shares of values in [0, 1] by bin; each value counts in the two bins whose centres it lies between.

    Values outside count in the outermost bins. Memory is a few times that of the values, whatever the number of bins.

    Args:
        values: a row for each histogram.
        bins: how many, 2 or more; centres from 0 to 1.
        weights: how much each value counts, 1 if nothing is given.

    Returns:
        A row for each histogram; its sum is 1, or 0 where all weights are 0.
    """
    place = values.clamp(0, 1) * (bins - 1)
    lower = place.detach().floor().clamp(max=bins - 2)
    above = place - lower
    counts = torch.ones_like(values) if weights is None else weights
    at = lower.long()
    sums = values.new_zeros(len(values), bins)
    sums = sums.scatter_add(1, at, (1 - above) * counts).scatter_add(1, at + 1, above * counts)
    return sums / counts.sum(dim=1, keepdim=True).clamp(min=1e-6)


def histogram_distance(first: Float[Tensor, "n bins"], second: Float[Tensor, "n bins"]) -> Float[Tensor, " n"]:
    """How far the mass of one histogram is to be moved to make the other (earth mover's distance), in [0, 1]."""
    return (first - second).cumsum(dim=1)[:, :-1].abs().mean(dim=1)


def gram_matrix(features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c c"]:
    """Mean product of each two channels (Gatys, Ecker, Bethge, 2016)."""
    rows = features.flatten(2)
    return rows @ rows.transpose(1, 2) / rows.shape[2]
