"""The memory of a training step, added up without the hardware: shapes are computed, numbers are not."""

import gc
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from hdr_lightning.data.pairs import NOTHING, Pair
from hdr_lightning.errors import InputError
from hdr_lightning.image.tiling import run_padded
from hdr_lightning.ledger import WEIGHTS, Ledger
from hdr_lightning.metrics import measure
from hdr_lightning.task import EnhancementTask

GRADIENTS, OPTIMISER, BATCH = "gradients", "optimiser", "batch"
ACTIVATIONS, LOSS, BACKWARD, METRICS = "activations", "loss", "backward", "metrics"
"""What tensors are for. `backward` is what only lives there: gradients of features, and features computed again."""

DTYPES = {"16": torch.float16, "bf16": torch.bfloat16, "32": torch.float32, "64": torch.float64}


@dataclass(frozen=True)
class Footprint:
    """What a step occupies.

    Attributes:
        kept: bytes that the forward pass keeps for the gradient, those of the loss among them.
        moments: bytes by kind at the fullest moment of each part of the step, by what was made then.
    """

    kept: int
    moments: Mapping[str, Mapping[str, int]]

    @property
    def fullest(self) -> Mapping[str, int]:
        """Bytes by kind at the fullest moment of all."""
        return max(self.moments.values(), key=lambda moment: sum(moment.values()))

    @property
    def peak(self) -> int:
        """Bytes at the fullest moment."""
        return sum(self.fullest.values())


def blank_pair(task: EnhancementTask, batch_size: int, height: int, width: int) -> Pair:
    """A batch of the given size for a task, without content."""
    picture = torch.empty(batch_size, 3, height, width)
    depth = NOTHING if task.generator.depth is None else torch.empty(batch_size, 1, height, width)
    return Pair(picture, torch.empty_like(picture), [""] * batch_size, depth)


def parse_size(size: str) -> tuple[int, int]:
    """Width and height, in pixels, of a size such as `3296x2192`.

    Raises:
        InputError: if it is none.

    >>> parse_size("3296x2192")
    (3296, 2192)
    """
    width, _, height = size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise InputError(f"expected a size in pixels such as 3296x2192, got {size}")
    return int(width), int(height)


def split_precision(precision: str) -> tuple[torch.dtype, bool]:
    """Type of a precision by the trainer's name, and whether weights stay in float32 beside it (autocast).

    Raises:
        InputError: if it is none whose memory is known.
    """
    number, _, kind = precision.partition("-")
    if number not in DTYPES or kind not in ("", "true", "mixed"):
        names = ", ".join(("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"))
        raise InputError(f"the memory of trainer.precision={precision} is not known: take one of {names}")
    return DTYPES[number], kind == "mixed" or (not kind and number in ("16", "bf16"))


@contextmanager
def _ready(task: EnhancementTask, pair: Pair, precision: str, ledger: Ledger) -> Iterator[tuple[Pair, Any]]:
    """The batch in its type, and autocast, with weights and batch counted and what the loss makes told apart."""
    dtype, mixed = split_precision(precision)
    if not mixed and dtype is not torch.float32:
        task.to(dtype)
        pair = pair._replace(**{name: getattr(pair, name).to(dtype) for name in ("source", "target", "depth")})
    for tensor in (*task.parameters(), *task.buffers()):
        ledger.count(tensor, WEIGHTS)
    for tensor in (pair.source, pair.target, pair.depth):
        ledger.count(tensor, BATCH)
    with torch.no_grad():
        task.loss.eval()(*[torch.zeros(1, 3, 64, 64)] * 3)  # frozen networks are read at the first use of the loss,
        gc.collect()
        with ledger:
            task.loss(*[torch.zeros(1, 3, 64, 64)] * 3)  # and counted at the next
    ledger.peaks.clear()

    def now(kind: str) -> Callable[..., None]:
        return lambda *_: setattr(ledger, "kind", kind)

    handles = [
        task.loss.register_forward_pre_hook(now(LOSS)),
        task.loss.register_forward_hook(now(ACTIVATIONS)),
        *(
            p.register_post_accumulate_grad_hook(lambda p: ledger.name(p.grad, GRADIENTS))  # type: ignore[no-untyped-call]
            for p in task.parameters()
            if p.requires_grad
        ),
    ]
    try:
        with ledger, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "You are trying to `self.log")  # there is no trainer
            yield pair, torch.autocast("cpu", dtype, enabled=mixed)
    finally:
        for handle in handles:
            handle.remove()


def measure_step(
    task: EnhancementTask,
    pair: Pair,
    precision: str = "32-true",
    accumulate: int = 1,
    clip: bool = True,
    gpu: bool = False,
) -> Footprint:
    """Add up the memory of a training step, as every step after the first is made.

    Forward, then backward, then the optimiser; as in Lightning, the gradients of the step before lie there until the
    backward pass begins, and where they are accumulated, all the time. Counted is what tensors occupy, not what an
    operator borrows for itself.

    Args:
        task: what is trained; its weights, state and all are those of a real step unless `without_memory` is around it.
        pair: a batch.
        precision: by the trainer's name.
        accumulate: batches whose gradients make a step.
        clip: whether gradients are clipped by their norm.
        gpu: whether the optimiser works on all weights at once, as it does on a GPU.

    Raises:
        InputError: if the precision is not known.
    """
    ledger = Ledger()
    with _ready(task, pair, precision, ledger) as (batch, autocast):
        task.train()
        parameters = [p for p in task.parameters() if p.requires_grad]
        optimizer = task.optimizer(parameters)
        _make_state(optimizer, parameters, ledger, gpu)
        ledger.peaks.clear()
        ledger.kind = ACTIVATIONS
        with autocast:
            loss = task.training_step(batch, 0)
        kept = ledger.live[ACTIVATIONS] + ledger.live[LOSS]
        if accumulate == 1:
            optimizer.zero_grad()
        ledger.kind = BACKWARD
        _backward(loss)
        del loss
        ledger.kind = OPTIMISER
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = get_total_norm(gradients)
        if clip:
            clip_grads_with_norm_(parameters, 1.0, norm)
        optimizer.step()
        optimizer.zero_grad()
    return Footprint(kept, ledger.peaks)


def _backward(loss: Tensor) -> None:
    """As `loss.backward()`, which PyTorch (2.15) runs outside of `AsOnGPU`: what is computed again is to be inside."""
    engine = torch.autograd.Variable._execution_engine
    engine.run_backward(
        (loss,), (torch.ones_like(loss),), False, False, (), allow_unreachable=True, accumulate_grad=True
    )


def _make_state(optimizer: Optimizer, parameters: Sequence[Tensor], ledger: Ledger, gpu: bool) -> None:
    """Make the first step, which makes the state of an optimiser, with gradients of zero that stay."""
    for group in optimizer.param_groups:
        if gpu and "foreach" in group and group["foreach"] is None and not group.get("fused"):
            group["foreach"] = True
    ledger.kind = GRADIENTS
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    ledger.kind = OPTIMISER
    optimizer.step()


def measure_evaluation(task: EnhancementTask, pair: Pair, precision: str = "32-true") -> Footprint:
    """Add up the memory of the validation of a batch of whole photos: generator, metrics and loss.

    Args:
        task: what is validated.
        pair: photos.
        precision: by the trainer's name.

    Raises:
        InputError: if the precision is not known.
    """
    ledger = Ledger()
    with _ready(task, pair, precision, ledger) as (batch, autocast), torch.no_grad(), autocast:
        task.eval()
        ledger.kind = ACTIVATIONS
        prediction = run_padded(task.generator, batch.input, task.generator.stride).float()
        ledger.kind = METRICS
        values = measure(prediction, batch.target)
        ledger.kind = LOSS
        values["loss"] = task.loss(prediction, batch.target, batch.source).total
    return Footprint(0, ledger.peaks)
