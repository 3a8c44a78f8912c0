"""What the guards of a loss cost, beside the training step that they guard."""

import statistics
import time
from collections.abc import Callable

import torch
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from hdr_lightning import generators
from hdr_lightning.callbacks import EMA, LossShares, ScaleGuard
from hdr_lightning.callbacks.gradient_guard import WINDOW
from hdr_lightning.generators import Generator
from hdr_lightning.losses import L1, CompositeLoss, Saturation, WindowL1
from hdr_lightning.losses.check import check_loss, measure_terms
from hdr_lightning.losses.composite import Seen


def benchmark_guards(generator: str = "NAFNet", size: int = 128, batch: int = 1, repeats: int = 20) -> float:
    """Measure what watching L1 + 0.5 window + 0.3 saturation adds to a training step, at the defaults of the guards.

    A step is forward, loss, backward, clipping by norm and AdamW. Each piece of the instrument is timed by itself, as
    some of it happens every 50 or 200 steps; the norm of the gradient is the clipping's and costs nothing more.

    Args:
        generator: of this package, at its published size.
        size: height and width of the pictures, in pixels.
        batch: pictures a step.
        repeats: timed calls of each piece, after one to warm up.

    Returns:
        The share of a step that all of it takes.
    """
    torch.manual_seed(0)
    network: Generator = getattr(generators, generator)()
    loss = CompositeLoss({"l1": L1(), "window": WindowL1(weight=0.5), "saturation": Saturation(weight=0.3)})
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5)
    source, target = torch.rand(2, batch, 3, size, size)
    pictures = Seen(network(source).detach(), target, source)
    values = measure_terms(loss, pictures).values
    norm, norms = torch.tensor(1.0), torch.rand(WINDOW).tolist()

    def step() -> None:
        optimizer.zero_grad()
        loss(network(source), target, source).total.backward()
        total = get_total_norm([p.grad for p in network.parameters() if p.grad is not None])
        clip_grads_with_norm_(network.parameters(), 1.0, total)
        optimizer.step()

    def look() -> None:
        loss.remember(values, pictures)
        peaks = loss.take_peaks()
        assert peaks is not None
        peaks.nan_to_num(nan=torch.inf).tolist()

    loss.eval()  # without its memory
    whole = _median(step, repeats)
    pieces: dict[str, tuple[Callable[[], object], int]] = {
        "peaks of the terms": (lambda: loss.remember(values, pictures), 1),
        "is the gradient sound": (lambda: float(norm) > 20 * statistics.median(norms), 1),
        "look at the peaks": (look, ScaleGuard().every_n_steps),
        "shares and cosines": (lambda: measure_terms(loss, pictures), LossShares().every_n_steps),
    }
    print(f"| piece | every | ms | of a step of {generator}, {batch} x {size} px, {1000 * whole:.0f} ms |")
    print("|---|---|---|---|")
    added = 0.0
    for name, (call, every) in pieces.items():
        seconds = _median(call, 10 * repeats)
        added += seconds / every
        print(f"| {name} | {every} | {1000 * seconds:.3f} | {seconds / every / whole:.3%} |")
    print(f"| **all** | | {1000 * added:.3f} | **{added / whole:.3%}** |")
    ema = EMA(decay=0.999)
    seconds = _median(lambda: ema.update(network), repeats)
    print(f"| moving average of the weights, where it is on | 1 | {1000 * seconds:.3f} | {seconds / whole:.3%} |")
    seconds = _median(lambda: check_loss(loss, [pictures] * 4), 3)
    print(f"| the check at the start, without its predictions | once | {1000 * seconds:.0f} | |")
    return added / whole


def _median(call: Callable[[], object], repeats: int) -> float:
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
