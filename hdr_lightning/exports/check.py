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

Format = Literal["safetensors", "torch", "onnx", "int8", "hub"]

TOLERANCES: dict[Format, float] = {"safetensors": 0.0, "hub": 0.0, "torch": 1e-4, "onnx": 1e-4, "int8": 0.01}
"""The most that an export may differ, in [0, 1]: of int8 the mean over a photo, of the others any value."""

SIDES = (512, 301)
"""Shorter sides, in pixels, that the photos are compared at; at the second, both sides are odd."""

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
    differences, ratios, ours, theirs, time_ours, time_theirs, pixels = [], [], [], [], 0.0, 0.0, 0
    with torch.inference_mode():
        for sample in samples:
            for side in SIDES:
                source = _picture(sample.source, side)
                expected, result = edit(original, source), edit(exported, source)  # warms up, too
                difference = (expected - result).abs()
                differences.append((difference.max().item(), difference.mean().item()))
                ratios.append(psnr(result.clamp(0, 1), expected.clamp(0, 1)).item())
                if side != SIDES[0]:
                    continue
                time_ours += _seconds(original, source)
                time_theirs += _seconds(exported, source)
                pixels += source.shape[-2] * source.shape[-1]
                if sample.target is not None:
                    target = _picture(sample.target, side)
                    ours.append(psnr(expected.clamp(0, 1), target).item())
                    theirs.append(psnr(result.clamp(0, 1), target).item())
    largest, means = zip(*differences, strict=True)
    files = [path] if path.is_file() else list(path.iterdir())
    return Checked(
        kind,
        path.name,
        sum(file.stat().st_size for file in files) / 1e6,
        _most(largest),
        _most(means),
        min(ratios),
        time_theirs / pixels * 1e6,
        time_ours / pixels * 1e6,
        sum(theirs) / len(theirs) if theirs else None,
        sum(ours) / len(ours) if ours else None,
    )


def _most(values: Sequence[float]) -> float:
    """The largest, or NaN where there is one."""
    return torch.tensor(values).max().item()


def _picture(pixels: Pixels, side: int) -> Float[Tensor, "1 3 h w"]:
    """A photo with a shorter side of so many pixels; with odd sides where that is odd."""
    reduced = reduce(pixels, side)
    if side % 2:
        height, width = (length - 1 + length % 2 for length in reduced.shape[:2])
        reduced = reduced[: max(height, 1), : max(width, 1)]
    return to_tensor(reduced)[None]


def _seconds(generator: Generator, image: Float[Tensor, "1 3 h w"]) -> float:
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        edit(generator, image)
        taken.append(time.perf_counter() - start)
    return min(taken)


def table(checked: Sequence[Checked]) -> str:
    """What was measured, in Markdown."""
    lines = [
        "| format | file | MB | max difference | mean difference | PSNR to the original | s/megapixel | of the original's "
        "| PSNR to the target | of the original |",
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
