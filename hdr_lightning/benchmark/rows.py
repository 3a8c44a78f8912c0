"""The figures of a benchmark, as Markdown and as JSON, with what they were measured on."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Literal

import torch

import hdr_lightning
from hdr_lightning.data.files import writing
from hdr_lightning.errors import InputError
from hdr_lightning.evaluation.cost import processor_name
from hdr_lightning.evaluation.timing import Timing

Pass = Literal["forward", "step"]
Precision = Literal["fp32", "bf16", "fp16"]
Code = Literal["ours", "published"]

COLUMNS = (
    "generator | code | pass | pixels | batch | device | precision | threads | parameters (M) | GMAC | ms | quartiles "
    "| CPU ms | photos/s | MP/s | peak (MiB) | kept (MiB) | ours is faster | max difference"
)


@dataclass(frozen=True)
class Case:
    """What is done to every network in turn.

    Attributes:
        what: a forward without gradients, or a training step (forward, L1, backward).
        size: height and width of the pictures, in pixels.
        batch: pictures at once.
        device: where.
        precision: of ours.
        threads: of a CPU.
    """

    what: Pass
    size: int
    batch: int
    device: str
    precision: Precision
    threads: int


@dataclass(frozen=True)
class Row:
    """What was measured of one network in one case.

    Attributes:
        generator: its name.
        code: whether it is this package's.
        case: what was done; its precision is that of this network.
        parameters: how many; nothing where they are out of sight, as in ONNX.
        macs: multiplications with addition of a forward of the batch; nothing as above.
        time: of the whole batch.
        peak_bytes: largest memory of tensors, weights among them; nothing where the device does not tell.
        kept_bytes: what a step keeps for the gradient; nothing for a forward.
        faster: how many times as fast ours is; of published code alone.
        difference: the largest from the output of ours; of published code alone.
    """

    generator: str
    code: Code
    case: Case
    parameters: int | None
    macs: int | None
    time: Timing
    peak_bytes: int | None
    kept_bytes: int | None
    faster: float | None = None
    difference: float | None = None

    @property
    def photos_per_second(self) -> float:
        """Pictures of the batch over the median time."""
        return self.case.batch / self.time.median

    @property
    def megapixels_per_second(self) -> float:
        """Millions of pixels of the batch over the median time."""
        return self.photos_per_second * self.case.size**2 / 1e6


def to_markdown(rows: Sequence[Row]) -> str:
    """A table."""
    return "\n".join([f"| {COLUMNS} |", "|" + "---|" * len(COLUMNS.split(" | ")), *map(_line, rows)])


def _line(row: Row) -> str:
    case, time = row.case, row.time
    cells = [row.generator, row.code, case.what, case.size, case.batch, case.device, case.precision, case.threads]
    cells += [
        _number(row.parameters, 1e6, ".2f"),
        _number(row.macs, 1e9, ".2f"),
        f"{1000 * time.median:.1f}",
        f"{1000 * time.low:.1f} to {1000 * time.high:.1f}",
        f"{1000 * time.cpu:.1f}",
        f"{row.photos_per_second:.3g}",
        f"{row.megapixels_per_second:.3g}",
        _number(row.peak_bytes, 2**20, ".0f"),
        _number(row.kept_bytes, 2**20, ".0f"),
        "" if row.faster is None else f"**{row.faster:.2f}x**",
        "" if row.difference is None else f"{row.difference:.1e}",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def _number(value: int | None, unit: float, digits: str) -> str:
    return "" if value is None else f"{value / unit:{digits}}"


def write_rows(rows: Sequence[Row], facts: dict[str, str], output: Path) -> None:
    """Write the figures as Markdown or JSON, by the suffix.

    Raises:
        InputError: if the file cannot be written.
    """
    if output.suffix == ".json":
        speeds = [
            {"photos_per_second": row.photos_per_second, "megapixels_per_second": row.megapixels_per_second}
            for row in rows
        ]
        records = [
            {**asdict(row), "time": row.time._asdict(), **speed} for row, speed in zip(rows, speeds, strict=True)
        ]
        text = json.dumps({"facts": facts, "rows": records}, indent=1)
    else:
        text = "\n".join([to_markdown(rows), "", *(f"- {name}: {fact}" for name, fact in facts.items())])
    with writing(output) as part:
        part.write_text(text + "\n", encoding="utf-8")


def check_output(output: Path | None) -> None:
    """Refuse a file that is neither Markdown nor JSON, before anything is measured.

    Raises:
        InputError: if it is neither.
    """
    if output is not None and output.suffix not in (".md", ".json"):
        raise InputError(f"--output {output}: expected a name that ends in .md or .json")


def facts_of(devices: Sequence[torch.device]) -> dict[str, str]:
    """What figures depend on: machine, versions, date, allocator, settings."""
    facts = {
        "date": date.today().isoformat(),
        "processor": f"{processor_name()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}",
        "allocator": _allocator(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "hdr_lightning": hdr_lightning.__version__,
        "spandrel": _version("spandrel"),
    }
    for device in devices:
        if device.type == "cuda":
            facts[str(device)] = f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
            facts["TF32"] = f"{torch.backends.cuda.matmul.allow_tf32} (products), {torch.backends.cudnn.allow_tf32}"
    return facts


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _allocator() -> str:
    """What hands out memory on the CPU, on which a network's time depends by up to two."""
    preloaded = [Path(name).name for name in os.environ.get("LD_PRELOAD", "").replace(":", " ").split()]
    tuned = [
        f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(("MALLOC_", "GLIBC_TUN"))
    ]
    own = " ".join(platform.libc_ver()).strip() or "the system's"
    return ", ".join([*preloaded, own, *tuned])
