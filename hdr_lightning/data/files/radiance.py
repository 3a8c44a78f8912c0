"""Radiance: light without an upper bound, in OpenEXR and in TIFF with floating-point numbers."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import OpenEXR
from jaxtyping import Shaped
from numpy.typing import NDArray

from hdr_lightning.data.files.color_profile import SRGB
from hdr_lightning.data.files.header import Header, check_size, profile_description
from hdr_lightning.data.files.metadata import Metadata
from hdr_lightning.data.files.photo import Photo
from hdr_lightning.data.files.tone import ToneCurve
from hdr_lightning.errors import InputError

REC_709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
"""Chromaticities of red, green, blue and white, which an OpenEXR without them has too."""

STORAGE_ATTRIBUTES = frozenset({"channels", "compression", "type", "tiles", "lineOrder", "chunkCount", "version"})


def photo_of_light(
    light: Shaped[np.ndarray, "h w 3"],
    file_format: str,
    alpha: Shaped[np.ndarray, "h w"] | None,
    beside: Metadata,
    attributes: Mapping[str, object] | None = None,
) -> Photo:
    """Make a photo of linear light with the primaries of Rec. 709; negative light, outside of their gamut, is none.

    Args:
        light: float16 or float32.
        file_format: "EXR" or "TIFF".
        alpha: opacity in [0, 1], or nothing; full everywhere, it is none.
        beside: what the file holds beside its pixels.
        attributes: of an OpenEXR, to be written again.

    Raises:
        InputError: if values are not finite.
    """
    broken = int((~np.isfinite(light)).sum())
    if broken:
        raise InputError(f"expected finite light, {broken} values are infinite or not a number: repair the file")
    linear = np.maximum(light, 0, dtype=np.float32)
    curve = ToneCurve.of(linear, "float16" if light.dtype == np.float16 else "float32")
    opaque = alpha is None or bool((alpha == 1).all())
    return Photo(
        curve.encode(linear),
        file_format,
        beside.exif,
        beside.icc,
        beside.xmp,
        None if alpha is None or opaque else np.ascontiguousarray(alpha, np.float32),
        curve,
        attributes or {},
    )


def light_of_photo(photo: Photo) -> Shaped[np.ndarray, "h w 3"]:
    """The light that a photo's pixels stand for, float16 or float32 like the file that it was read from."""
    assert photo.curve is not None
    return photo.curve.decode(photo.pixels).astype(photo.curve.stored)


def refuse_other_light(icc: bytes) -> None:
    """See that values under a colour profile are linear light with the primaries of Rec. 709.

    Raises:
        InputError: if they are others.
    """
    if not icc:
        return
    patches = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.2140, 0.2140, 0.2140]]], np.float32)
    expected = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5]]], np.float32)
    seen = imagecodecs.cms_transform(patches, icc, SRGB, colorspace="rgb", outcolorspace="rgb")
    if np.abs(seen - expected).max() > 0.02:
        raise InputError(
            "expected floating-point numbers to be linear light with the primaries of Rec. 709, their profile is "
            f"{profile_description(icc)!r}: convert it to linear Rec. 709, or to 16 bits"
        )


def exr_header(path: Path) -> Header:
    """What an OpenEXR says of its first part.

    Raises:
        InputError: if that is no picture in one of our formats.
    """
    header = _header(path)
    names = [channel.name for channel in header["channels"]]
    height, width = _size(header)
    colour = "R" if "R" in names else "Y"
    channels = ("RGB" if "R" in names else "L") + ("A" if "A" in names else "")
    return Header(height, width, "EXR", channels, 16 if _is_half(path, colour) else 32, True, "", 1)


def _is_half(path: Path, channel: str) -> bool:
    """Tell whether a channel holds numbers of 16 bits, which the library says only of channels that it decoded."""
    with path.open("rb") as file:
        start = file.read(1 << 16)
    entries = start[start.index(b"channels\0chlist\0") :]
    behind_name = entries.index(b"\0" + channel.encode() + b"\0") + len(channel) + 2
    return entries[behind_name] == 1


def read_exr(path: Path) -> Photo:
    """Read the first part of an OpenEXR: its channels R, G, B or Y, and A.

    Raises:
        InputError: if it has too many pixels, other channels or primaries, or values that are not finite.
    """
    header = _header(path)
    with OpenEXR.File(os.fspath(path), separate_channels=True, num_threads=0) as file:
        channels: dict[str, NDArray[np.generic]] = {name: each.pixels for name, each in file.channels().items()}
    colours = [channels[name] for name in ("RGB" if "R" in channels else "YYY")]
    alpha = channels.get("A")
    if {plane.shape for plane in channels.values()} != {_size(header)} or not all(
        plane.dtype in (np.float16, np.float32) for plane in colours
    ):
        raise InputError("expected channels of one size in floating-point numbers: convert it to plain RGB")
    attributes = {name: value for name, value in header.items() if name not in STORAGE_ATTRIBUTES}
    return photo_of_light(np.dstack(colours), "EXR", alpha, Metadata(1, b"", b"", b""), attributes)


def write_exr(path: Path, photo: Photo) -> None:
    """Write an OpenEXR with the attributes of the one that was read, compressed without loss."""
    light = light_of_photo(photo)
    channels = {name: np.ascontiguousarray(light[..., n]) for n, name in enumerate("RGB")}
    if photo.alpha is not None:
        channels["A"] = photo.alpha.astype(light.dtype)
    header = {**photo.attributes, "compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, channels, num_threads=0) as file:
        file.write(os.fspath(path))


def _header(path: Path) -> dict[str, Any]:
    # No threads: a pool of them would not survive the fork into a worker.
    with OpenEXR.File(os.fspath(path), separate_channels=True, header_only=True, num_threads=0) as file:
        header: dict[str, Any] = dict(file.header())
    names = {channel.name for channel in header["channels"]}
    if "deep" in str(header["type"]) or not ({"R", "G", "B"} <= names or "Y" in names) or names & {"RY", "BY"}:
        raise InputError(f"expected an OpenEXR with the channels R, G, B, or Y, got {sorted(names)}: convert it to RGB")
    if not np.allclose(header.get("chromaticities", REC_709), REC_709, atol=0.002):
        raise InputError(f"expected the primaries of Rec. 709, got {header['chromaticities']}: convert it to them")
    height, width = _size(header)
    check_size(width, height * -(-len(names) // 4))
    return header


def _size(header: Mapping[str, Any]) -> tuple[int, int]:
    (left, top), (right, bottom) = header["dataWindow"]
    return int(bottom) - int(top) + 1, int(right) - int(left) + 1
