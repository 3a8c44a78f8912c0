"""Write a trained network in the formats of others, each proven equal to the original on photos."""

import csv
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from hdr_lightning.data.files import Pixels, writing_folder
from hdr_lightning.data.splits import Split
from hdr_lightning.errors import InputError, RunStopped
from hdr_lightning.exports.check import Format, compare, table
from hdr_lightning.exports.facts import Facts
from hdr_lightning.exports.graph import record
from hdr_lightning.exports.hub import check_hub, push_folder, write_hub_folder
from hdr_lightning.exports.int8 import quantize
from hdr_lightning.exports.onnx_files import write_onnx
from hdr_lightning.exports.programs import write_program
from hdr_lightning.exports.reading import load_model
from hdr_lightning.exports.samples import Sample, named_samples, pair_samples, rooms, run_split
from hdr_lightning.exports.weights import WEIGHTS, write_weights
from hdr_lightning.generators import Generator
from hdr_lightning.generators.loading import find_checkpoint, generator_spec, load_generator, read_checkpoint
from hdr_lightning.progress import track
from hdr_lightning.signals import SIGNALS

FILES: dict[Format, str] = {
    "safetensors": WEIGHTS,
    "torch": "model.pt2",
    "onnx": "model.onnx",
    "int8": "model_int8.onnx",
    "hub": "hub",
}
"""What each format is called in the folder."""


def export(
    checkpoint: Sequence[Path],
    output: Path,
    formats: Sequence[Format] = ("safetensors",),
    photos: Path | None = None,
    number: int = 4,
    calibration: Path | None = None,
    calibration_number: int = 32,
    tolerance: float | None = None,
    weights_license: str = "other",
    push: str | None = None,
    modules: Sequence[str] = (),
) -> Path:
    """Write the network of a checkpoint as safetensors, torch.export, ONNX, INT8 or a folder for the Hugging Face hub.

    Each export is loaded again and compared with the original on photos at two sizes; if one differs by more than its
    tolerance, nothing is written.

    Args:
        checkpoint: a checkpoint, or the folder of a run, which means its best.
        output: folder for the exports; it must not exist.
        formats: which: safetensors, torch, onnx, int8, hub.
        photos: photos to compare on: a manifest of pairs, a folder, or a photo. Without them validation photos of the
            run, else those of the calibration, else rendered rooms.
        number: how many of them are taken.
        calibration: photos on which int8 finds the ranges of its features, given likewise; training photos of the run
            if nothing is given.
        calibration_number: how many of them are taken.
        tolerance: the most that an export may differ, in [0, 1], instead of that of its format.
        weights_license: license of the weights by its SPDX identifier, for those who get them.
        push: repository on the Hugging Face hub, owner/name, to upload the hub folder to; without it nothing is.
        modules: Python modules to import first, if the generator is your own.

    Returns:
        The folder.

    Raises:
        InputError: if there is no checkpoint, the output is there already, a format cannot hold the generator, a photo
            cannot be read, or an extra is missing.
        RunStopped: if an export differs from the original.
        RunInterrupted: if a signal ended it.
    """
    _refuse(checkpoint, output, formats, push, min(number, calibration_number))
    path = find_checkpoint(checkpoint[0])
    generator = load_generator(path, modules)
    facts = _facts(generator, path, weights_license)
    split = run_split(path)
    ranges = _calibrating(calibration, split, calibration_number) if "int8" in formats else []
    samples = _compared(photos, calibration, split, number)
    with SIGNALS.listening(), writing_folder(output) as part:  # a signal leaves nothing behind
        part.mkdir(parents=True)
        _write(generator, facts, part, formats, ranges)
        checked = []
        for kind in track(formats, "comparing", len(formats), "export"):
            file = part / FILES[kind]
            checked.append(compare(kind, file, generator, load_model(file, modules), samples))
        print(table(checked))
        failures = [failure for each in checked if (failure := each.exceeds(tolerance))]
        if failures:
            raise RunStopped("\n  ".join(["exports differ from the original, and nothing was written:", *failures]))
    print(f"{output}: {', '.join(FILES[kind] for kind in formats)}")
    if push is not None:
        print(push_folder(output / FILES["hub"], push))
    return output


def _refuse(checkpoint: Sequence[Path], output: Path, formats: Sequence[Format], push: str | None, number: int) -> None:
    """Refuse what cannot be done, before anything is."""
    if len(checkpoint) != 1:
        raise InputError(f"expected one checkpoint, got {len(checkpoint)}: export them one after the other")
    if output.exists():
        raise InputError(f"{output} exists: choose another --output, or remove it")
    if not formats or len(set(formats)) < len(formats):
        raise InputError(f"expected formats, each once, got {list(formats)}: choose among {', '.join(FILES)}")
    if push is not None and "hub" not in formats:
        raise InputError("--push uploads the hub folder: add hub to --formats")
    if push is not None:
        check_hub()
    if number < 1:
        raise InputError("expected 1 photo or more to compare and to calibrate on")


def _facts(generator: Generator, path: Path, weights_license: str) -> Facts:
    checkpoint = read_checkpoint(path)
    return Facts(
        generator=generator_spec(checkpoint, path),
        stride=generator.stride,
        channels=generator.in_channels,
        license=weights_license,
        training={
            "epoch": checkpoint.get("epoch", 0),
            "steps": checkpoint.get("global_step", 0),
            **_validated(path, checkpoint.get("epoch")),
        },
    )


def _validated(path: Path, epoch: Any) -> dict[str, float]:
    """The figures of the checkpoint's epoch in the log of its run, where there is one."""
    log = path.parent.parent / "metrics.csv"
    if not log.is_file():
        return {}
    with log.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("epoch") == str(epoch)]
    found = {key: float(value) for row in rows for key, value in row.items() if str(key).startswith("val/") and value}
    return {key: value for key, value in found.items() if isfinite(value)}  # JSON has no others


def _calibrating(calibration: Path | None, split: Split | None, number: int) -> list[Pixels]:
    if calibration is not None:
        return [sample.source for sample in named_samples(calibration, number)]
    if split is not None:
        return [sample.source for sample in pair_samples(split.train, number)]
    raise InputError("int8 is calibrated on photos such as those of the training: name some with --calibration")


def _compared(photos: Path | None, calibration: Path | None, split: Split | None, number: int) -> list[Sample]:
    if photos is not None:
        return named_samples(photos, number)
    if split is not None:
        print(f"comparing on {min(number, len(split.validation))} validation photos of the run")
        return pair_samples(split.validation, number)
    if calibration is not None:
        print("comparing on photos of the calibration, as those of the run are not there")
        return named_samples(calibration, number)
    print("comparing on rendered rooms, as the photos of the run are not there: name others with --photos")
    return rooms(number)


def _write(
    generator: Generator, facts: Facts, folder: Path, formats: Sequence[Format], ranges: Sequence[Pixels]
) -> None:
    """Write the formats; what int8 is made of goes again."""
    onnx = folder / FILES["onnx"]
    program = record(generator) if {"torch", "onnx", "int8"} & set(formats) else None
    if "safetensors" in formats:
        write_weights(generator, facts, folder / FILES["safetensors"])
    if "hub" in formats:
        write_hub_folder(generator, facts, folder / FILES["hub"])
    if program is None:
        return
    if "torch" in formats:
        write_program(program, facts, folder / FILES["torch"])
    if {"onnx", "int8"} & set(formats):
        write_onnx(program, facts, onnx)
    if "int8" in formats:
        quantize(onnx, folder / FILES["int8"], ranges)
        if "onnx" not in formats:
            onnx.unlink()
