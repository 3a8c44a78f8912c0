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
    # float32 cannot count beyond 2^24.
    exact = torch.float64 if values.shape[1] > 2**20 and values.device.type != "mps" else values.dtype
    sums = torch.zeros(len(values), bins, dtype=exact, device=values.device)
    for index, part in ((at, (1 - above) * counts), (at + 1, above * counts)):
        sums = sums.scatter_add(1, index, part.to(exact))
    return (sums / counts.sum(dim=1, keepdim=True, dtype=exact).clamp(min=1e-6)).to(values.dtype)


def histogram_distance(first: Float[Tensor, "n bins"], second: Float[Tensor, "n bins"]) -> Float[Tensor, " n"]:
    """How far the mass of one histogram is to be moved to make the other (earth mover's distance), in [0, 1]."""
    return (first - second).cumsum(dim=1)[:, :-1].abs().mean(dim=1)


def gram_matrix(features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c c"]:
    """Mean product of each two channels (Gatys, Ecker, Bethge, 2016)."""
    rows = features.flatten(2)
    return rows @ rows.transpose(1, 2) / rows.shape[2]
