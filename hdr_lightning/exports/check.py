"""Whether an export does what the original does, and how fast."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from hdr_lightning.data.files import Pixels, to_tensor
from hdr_lightning.data.files.reduce import reduce
from hdr_lightning.exports.samples import Sample
from hdr_lightning.generators import Generator, edit
from hdr_lightning.image.similarity import psnr

Picture = Float[Tensor, "1 3 _ _"]

Format = Literal["safetensors", "torch", "onnx", "int8", "hub"]

TOLERANCES: dict[Format, float] = {"safetensors": 0.0, "hub": 0.0, "torch": 1e-4, "onnx": 1e-4, "int8": 0.01}
"""The most that an export may differ, in [0, 1]: of int8 the mean over a photo, of the others any value."""

SIDES = (512, 301)
"""Shorter sides, in pixels, that the photos are compared at; at the second, both sides are odd."""

SMALL = ((1, 1), (1, 37), (9, 70))
"""Heights and widths of corners of the first photo that are compared beside, as graphs are recorded at another size."""

REPEATS = 3
"""Timed calls of each photo, of which the fastest counts."""


@dataclass(frozen=True)
class Checked:
    """An export beside the original.

    Attributes:
        format: of the export.
        file: its name.
        megabytes: its size, in 10^6 bytes.
        largest: the largest difference of any value, in [0, 1].
        mean: the largest mean difference over a photo.
        psnr: of the export to the original, the worst of the photos, in dB; 100 where they are equal.
        seconds: for a megapixel.
        original_seconds: of the original, for the same.
        target_psnr: of the export to the targets, the mean over photos with one.
        original_target_psnr: of the original, likewise.
    """

    format: Format
    file: str
    megabytes: float
    largest: float
    mean: float
    psnr: float
    seconds: float
    original_seconds: float
    target_psnr: float | None
    original_target_psnr: float | None

    def exceeds(self, tolerance: float | None) -> str | None:
        """Why the export is refused; nothing where it is close enough.

        Args:
            tolerance: instead of that of the format.
        """
        allowed = TOLERANCES[self.format] if tolerance is None else tolerance
        what, found = ("mean difference", self.mean) if self.format == "int8" else ("largest difference", self.largest)
        if found <= allowed:  # false for NaN
            return None
        return f"{self.file}: the {what} to the original is {found:.3g}, its tolerance {allowed:.3g}"


def compare(kind: Format, path: Path, original: Generator, exported: Generator, samples: Sequence[Sample]) -> Checked:
    """Measure an export against the original on photos, at each of `SIDES`.

    Args:
        kind: the format.
        path: of the export, a file or a folder.
        original: the generator that was exported.
        exported: what was loaded from the export.
        samples: one photo or more.
    """
    apart = [_differences(original, exported, corner) for corner in _corners(samples[0].source)]
    clock: list[tuple[float, float]] = []
    to_target: list[tuple[float, float]] = []
    pixels = 0
    for sample in samples:
        pictures = [_picture(sample.source, side) for side in SIDES]
        apart += [_differences(original, exported, picture) for picture in pictures]  # warms up, too
        source = pictures[0]
        pixels += source.shape[-2] * source.shape[-1]
        clock.append(_seconds(original, exported, source))
        if sample.target is not None:
            target = _picture(sample.target, SIDES[0])
            to_target.append((_quality(original, source, target), _quality(exported, source, target)))
    largest, mean, ratio = (torch.tensor(values) for values in zip(*apart, strict=True))
    of_original, of_export = (sum(seconds) / pixels * 1e6 for seconds in zip(*clock, strict=True))
    qualities = [sum(values) / len(values) for values in zip(*to_target, strict=True)] or [None, None]
    files = [path] if path.is_file() else list(path.iterdir())
    return Checked(
        kind,
        path.name,
        sum(file.stat().st_size for file in files) / 1e6,
        largest.max().item(),  # NaN where there is one
        mean[len(SMALL) :].max().item(),
        ratio[len(SMALL) :].min().item(),
        of_export,
        of_original,
        qualities[1],
        qualities[0],
    )


def _corners(pixels: Pixels) -> list[Picture]:
    return [to_tensor(pixels[:height, :width])[None] for height, width in SMALL]


def _differences(original: Generator, exported: Generator, source: Picture) -> tuple[float, float, float]:
    """Largest and mean absolute difference, and PSNR of what both make of a picture."""
    with torch.inference_mode():
        expected, result = edit(original, source), edit(exported, source)
    difference = (expected - result).abs()
    return (
        difference.max().item(),
        difference.mean().item(),
        psnr(result.clamp(0, 1), expected.clamp(0, 1)).item(),
    )


def _quality(generator: Generator, source: Picture, target: Picture) -> float:
    with torch.inference_mode():
        return psnr(edit(generator, source).clamp(0, 1), target).item()


def _picture(pixels: Pixels, side: int) -> Picture:
    """A photo with a shorter side of so many pixels; with odd sides where that is odd."""
    reduced = reduce(pixels, side)
    if side % 2:
        height, width = (length - 1 + length % 2 for length in reduced.shape[:2])
        reduced = reduced[: max(height, 1), : max(width, 1)]
    return to_tensor(reduced)[None]


def _seconds(original: Generator, exported: Generator, image: Picture) -> tuple[float, float]:
    """What both take, called in turn."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPEATS):
        for generator, times in zip((original, exported), taken, strict=True):
            start = time.perf_counter()
            with torch.inference_mode():
                edit(generator, image)
            times.append(time.perf_counter() - start)
    return min(taken[0]), min(taken[1])


def table(checked: Sequence[Checked]) -> str:
    """What was measured, in Markdown."""
    lines = [
        "| format | file | MB | max difference | mean difference | PSNR to the original | s/megapixel "
        "| of the original's | PSNR to the target | of the original |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in checked:
        targets = [
            "" if value is None else f"{value:.3f} dB" for value in (each.target_psnr, each.original_target_psnr)
        ]
        cells = [
            each.format,
            each.file,
            f"{each.megabytes:.2f}",
            f"{each.largest:.2g}",
            f"{each.mean:.2g}",
            "equal" if each.largest == 0 else f"{each.psnr:.1f} dB",
            f"{each.seconds:.3g}",
            f"{each.seconds / each.original_seconds:.2f}",
            *targets,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
