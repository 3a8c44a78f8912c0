"""Photo files to pixels and back. The one way in and out for the rest of the package."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import DTypeLike
from PIL import Image, PngImagePlugin
from PIL.ImageFile import ImageFile
from torch import Tensor

from hdr_lightning.data.files.color_profile import from_srgb, profile_space, to_srgb
from hdr_lightning.data.files.deep import read_deep_png, read_deep_tiff, write_deep_png, write_tiff
from hdr_lightning.data.files.header import (
    PHOTO_SUFFIXES,
    RAW_SUFFIXES,
    Header,
    file_kind,
    opened,
    photo_format,
    photo_header,
    tiff_header,
    told,
)
from hdr_lightning.data.files.jpeg import decode_jpeg
from hdr_lightning.data.files.metadata import metadata
from hdr_lightning.data.files.photo import Photo, Pixels, full_scale, turned
from hdr_lightning.data.files.radiance import light_of_photo, read_exr, write_exr
from hdr_lightning.data.files.raw import read_raw
from hdr_lightning.data.files.reduce import reduce
from hdr_lightning.errors import InputError

__all__ = [
    "PHOTO_SUFFIXES",
    "Header",
    "Photo",
    "Pixels",
    "content_hash",
    "file_state",
    "full_scale",
    "make_folder",
    "output_name",
    "photo_header",
    "read_photo",
    "to_pixels",
    "to_tensor",
    "write_photo",
    "writing",
    "writing_folder",
]

READABLE_MODES = frozenset({"RGB", "L", "P", "RGBA", "LA", "1", "CMYK"})
"""Pillow's modes of 8 bits a channel that become RGB without loss, CMYK through its profile."""

SAVE_OPTIONS: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {"compress_level": 4},
    "WEBP": {"quality": 95, "method": 4, "exact": True},
}


def read_photo(path: Path, shorter_side: int | None = None) -> Photo:
    """Read a photo: upright, in sRGB, grey and palette expanded to RGB, at the depth of the file.

    Radiance (OpenEXR, TIFF of floating-point numbers) passes the tone curve of `data.files.tone`; RAW is developed.

    Args:
        path: the file.
        shorter_side: length in pixels that a longer shorter side is reduced to, or nothing for the photo as it is.

    Raises:
        InputError: if the file is missing, damaged, no photo or has more than `MAX_PIXELS` pixels, if its colours
            cannot be told, or if a RAW file comes and the extra `raw` is missing.
    """
    with told(path):
        photo = _read(path, shorter_side)
    if shorter_side is None:
        return photo
    alpha = None if photo.alpha is None else reduce(photo.alpha[..., None], shorter_side)[..., 0]
    return replace(photo, pixels=reduce(photo.pixels, shorter_side), alpha=alpha)


def _read(path: Path, shorter_side: int | None) -> Photo:
    """A photo by the reader of its kind; only that of JPEG reduces it."""
    kind = file_kind(path)
    if kind == "RAW":
        return read_raw(path)
    if kind == "EXR":
        return read_exr(path)
    if kind == "deep PNG":
        return read_deep_png(path)
    if kind == "TIFF":
        with path.open("rb") as file:
            deep = tiff_header(file).bits > 8
        if deep:
            return read_deep_tiff(path)
    with path.open("rb") as file, opened(file) as image:
        return _read_shallow(image, shorter_side)


def _read_shallow(image: ImageFile, shorter_side: int | None) -> Photo:
    """A photo with 8 bits a channel or fewer."""
    if image.mode not in READABLE_MODES:
        raise InputError(f"expected RGB, grey or CMYK, got {image.mode}: convert it to RGB")
    file_format = photo_format(image)
    beside = metadata(image)
    colours, alpha = _shallow_pixels(image, shorter_side)
    pixels = turned(to_srgb(colours, beside.icc), beside.orientation)
    return Photo(
        np.ascontiguousarray(pixels),
        file_format,
        beside.exif,
        beside.icc if profile_space(beside.icc) == "RGB" else b"",
        beside.xmp,
        None if alpha is None else np.ascontiguousarray(turned(alpha, beside.orientation)),
    )


def _shallow_pixels(
    image: ImageFile, shorter_side: int | None
) -> tuple[UInt8[np.ndarray, "h w *c"], UInt8[np.ndarray, "h w"] | None]:
    """Values of grey (height, width), RGB or CMYK as they lie in the file, and transparency if there is any."""
    fast = decode_jpeg(image, shorter_side)
    if fast is not None:
        return fast, None
    grey = image.mode in ("1", "L", "LA")
    if image.has_transparency_data:
        both = np.asarray(image.convert("LA" if grey else "RGBA"))
        values, alpha = both[..., :-1], both[..., -1]
        return values[..., 0] if grey else values, None if alpha.min() == 255 else np.ascontiguousarray(alpha)
    return np.asarray(image if image.mode == "CMYK" else image.convert("L" if grey else "RGB")), None


def to_tensor(pixels: Pixels) -> Float[Tensor, "3 h w"]:
    """Turn pixels of a photo into a picture: the only place where their range is converted."""
    planes = torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C")).float()
    return planes.div_(full_scale(pixels.dtype))


def to_pixels(image: Float[Tensor, "3 h w"], dtype: DTypeLike = np.uint8) -> Pixels:
    """Round a picture to the depth of a photo; values outside [0, 1] are clipped.

    Args:
        image: a picture.
        dtype: uint8, uint16, or float32, which is not rounded.
    """
    scaled = image.detach().float().clamp(0, 1).mul(full_scale(dtype)).permute(1, 2, 0)
    rounded = scaled if np.dtype(dtype) == np.float32 else scaled.round()
    return rounded.contiguous().cpu().numpy().astype(dtype, copy=False)


def output_name(name: Path) -> Path:
    """The name under which a photo of this name can be written: RAW becomes a TIFF of 16 bits."""
    return name.with_suffix(".tif") if name.suffix.lower() in RAW_SUFFIXES else name


def write_photo(path: Path, photo: Photo, announce: Callable[[Path], None] | None = None) -> None:
    """Write a photo whole or not at all, in its own format, depth and colour profile, with its EXIF, XMP and alpha.

    Args:
        path: the file.
        photo: what is written.
        announce: called with the file under another name, when it is complete and before it takes its place; where it
            raises, nothing is written.

    Raises:
        InputError: if the file cannot be written, or its format does not hold such a photo.
    """
    if photo.pixels.dtype != np.uint8 and photo.format in ("JPEG", "WEBP"):
        raise InputError(f"{path}: {photo.format} holds 8 bits a channel, the photo is {photo.pixels.dtype}")
    with writing(path) as temporary:
        if photo.format == "EXR":
            write_exr(temporary, photo)
        elif photo.curve is not None:
            write_tiff(temporary, photo, light_of_photo(photo))
        elif photo.format == "TIFF":
            write_tiff(temporary, photo, from_srgb(photo.pixels, photo.icc))
        elif photo.pixels.dtype == np.uint16:
            write_deep_png(temporary, photo)
        else:
            _write_shallow(temporary, photo)
        if announce is not None:
            announce(temporary)


def _write_shallow(path: Path, photo: Photo) -> None:
    pixels = from_srgb(photo.pixels, photo.icc)
    image = Image.fromarray(pixels if photo.alpha is None else np.dstack([pixels, photo.alpha]))
    tags: dict[str, object] = {"icc_profile": photo.icc or None, "exif": photo.exif, "xmp": photo.xmp}
    if photo.format == "PNG":
        text = PngImagePlugin.PngInfo()
        if photo.xmp:
            text.add_itxt("XML:com.adobe.xmp", photo.xmp.decode(errors="replace"))
        tags["pnginfo"] = text
    image.save(path, format=photo.format, **SAVE_OPTIONS[photo.format], **tags)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all: give a name beside it to write to, then put that in its place.

    Works through power loss (the data is on disk before the name changes) and across full disks (the old file stays).

    Raises:
        InputError: if the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}): choose another folder") from error
    finally:
        with suppress(OSError):  # such as a name that is too long, which was told already
            temporary.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder for what long work will write, and see that it can be written, before the work begins.

    Raises:
        InputError: if it is a file, or cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except FileExistsError:
        raise InputError(f"{folder} is a file: give --output a folder") from None
    except OSError as error:
        raise InputError(f"{folder}: cannot write there ({error.strerror}): choose another --output") from None


@contextmanager
def writing_folder(output: Path) -> Iterator[Path]:
    """Write a folder whole or not at all: give a name beside it to write to, then put that in its place.

    Raises:
        InputError: if it cannot be written.
    """
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        yield part
        part.rename(output)
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror or error}): choose another --output") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def file_state(path: Path) -> list[int]:
    """What tells a file from what it was: its size in bytes, and the time of its last change in nanoseconds."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
