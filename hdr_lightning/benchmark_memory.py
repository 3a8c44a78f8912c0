"""The memory of training steps of generators at their published size, computed without the hardware."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from hdr_lightning.errors import InputError
from hdr_lightning.generators.published import PUBLISHED, published
from hdr_lightning.ledger import emptied, without_memory
from hdr_lightning.losses import L1, CompositeLoss, Saturation, WindowL1
from hdr_lightning.memory import Footprint, blank_pair, measure_step, parse_size
from hdr_lightning.progress import track
from hdr_lightning.task import EnhancementTask

HEADER = "| generator | size | precision | kept | kept, checkpointed | peak | peak, checkpointed |"


def benchmark_memory(
    names: Sequence[str] = tuple(PUBLISHED),
    sizes: Sequence[str] = ("384x384", "512x512", "896x896", "3296x2192"),
    precisions: Sequence[str] = ("32-true", "bf16-mixed"),
    batch: int = 1,
    output: Path | None = None,
) -> str:
    """Compute what training steps occupy on a GPU, without one.

    *Kept* is what the forward pass keeps for the gradient; *peak* is all that tensors occupy at the fullest moment of a
    step with L1, window and saturation as loss, AdamW and clipped gradients. In GB of 10^9 bytes.

    Args:
        names: generators at a published size: Restormer, NAFNet-32, NAFNet-64, DarkIR-m, DarkIR-l, RetinexFormer.
        sizes: width x height of the pictures, in pixels.
        precisions: by the trainer's names.
        batch: pictures at once.
        output: a Markdown file to write the table to, row by row.

    Returns:
        The table, in Markdown.

    Raises:
        InputError: if there is no such generator or precision, or a size is none.
    """
    unknown = set(names) - set(PUBLISHED)
    if unknown:
        raise InputError(f"there is no generator {', '.join(sorted(unknown))}: there are {', '.join(PUBLISHED)}")
    cases = [(name, size, precision) for name in names for size in sizes for precision in precisions]
    pixels = {size: parse_size(size) for size in sizes}
    lines = [HEADER, "|" + "---|" * (HEADER.count("|") - 1)]
    for name, size, precision in track(cases, "computing", len(cases), "row"):
        whole, checkpointed = (_step(name, pixels[size], precision, batch, on) for on in (False, True))
        columns = (whole.kept, checkpointed.kept, whole.peak, checkpointed.peak)
        lines.append(f"| {name} | {size} | {precision} | " + " | ".join(f"{x / 1e9:.2f}" for x in columns) + " |")
        if output is not None:
            output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    table = "\n".join(lines)
    print(table)
    return table


def _step(name: str, size: tuple[int, int], precision: str, batch: int, checkpointed: bool) -> Footprint:
    width, height = size
    terms = {"l1": L1(), "window": WindowL1(weight=0.5), "saturation": Saturation(weight=0.3)}
    with torch.device("meta"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Attribute")  # the task is not built by the command line
        generator = published(name)
        task = EnhancementTask(generator, CompositeLoss(terms))
    generator.checkpoint_blocks(checkpointed)
    stride = generator.stride
    with without_memory():
        emptied(task)
        pair = blank_pair(task, batch, height, width)
        if height % stride or width % stride:
            raise InputError(f"{name} takes multiples of {stride} pixels, got {width}x{height}")
        return measure_step(task, pair, precision, gpu=True)
