"""Photo files to pixels and back. The one place where a file's dtype, orientation and colour profile are dealt with."""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8, UInt16
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from hdr_lightning.errors import InputError

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"})

READABLE_MODES = frozenset({"RGB", "L", "P", "RGBA", "LA", "1"})
"""Pillow's modes of 8 bits a channel that become RGB without loss."""

STORAGE_TAGS = frozenset({*range(254, 260), 262, 266, 273, 274, *range(277, 280), 284, 317, 320, *range(322, 326), 330})
"""Tags of TIFF that say how its pixels lie in the file, or how to turn them: none of them describes the next file."""

SAVE_OPTIONS: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {"compress_level": 4},
    "TIFF": {"compression": "tiff_lzw"},
    "WEBP": {"quality": 95, "method": 4},
}


@dataclass(frozen=True)
class Photo:
    """A photo as it is seen: upright, RGB, sRGB-encoded.

    Attributes:
        pixels: (height, width, 3), 0 to 255.
        format: Pillow's name of the file format, such as "JPEG".
        exif: the file's EXIF block with the orientation taken out, or empty.
        icc: the file's colour profile if it is one of RGB, or empty; `pixels` are sRGB whatever it says.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    format: str
    exif: bytes
    icc: bytes


def read_photo(path: Path) -> Photo:
    """Read a photo: EXIF orientation applied, colour profile converted to sRGB, grey and palette expanded to RGB.

    Raises:
        InputError: if the file is missing, damaged, no photo, has transparency, or has more than 8 bits a channel.
    """
    try:
        with Image.open(path) as image:
            return _decode(path, image)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except UnidentifiedImageError:
        raise InputError(f"{path}: expected a photo (JPEG, PNG, TIFF, WebP), this is none: replace it") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, ImageCms.PyCMSError) as error:
        raise InputError(f"{path}: the photo cannot be read ({error}): replace the file or leave it out") from None


def _decode(path: Path, image: Image.Image) -> Photo:
    tiles = getattr(image, "tile", None)
    rawmode = str(tiles[0][3]) if tiles else ""
    if image.mode not in READABLE_MODES or ";16" in rawmode:
        raise InputError(
            f"{path}: expected 8 bits a channel in RGB or grey, got {image.mode} {rawmode}: convert it to 8-bit RGB"
        )
    # Phones write JPEGs with a second picture behind the first (MPO); the first is the photo.
    file_format = "JPEG" if image.format == "MPO" else image.format or "PNG"
    icc = _rgb_profile(image.info.get("icc_profile") or b"")
    upright = ImageOps.exif_transpose(image)
    exif = _upright_exif(image)
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        if upright.getchannel("A").getextrema() != (255, 255):
            raise InputError(f"{path}: expected an opaque photo, this one is partly transparent: flatten it first")
    upright = upright.convert("RGB")
    if icc:
        upright = _convert(upright, icc, "to sRGB")
    return Photo(np.asarray(upright), file_format, exif, icc)


def _upright_exif(image: Image.Image) -> bytes:
    """The EXIF block for a photo that no longer needs turning; to the byte the same where it never did."""
    tags = image.getexif()
    turned = tags.get(ExifTags.Base.Orientation, 1) != 1
    if "exif" in image.info and not turned:
        whole: bytes = image.info["exif"]
        return whole
    for tag in STORAGE_TAGS & tags.keys():
        del tags[tag]
    return tags.tobytes() if tags else b""


def _rgb_profile(icc: bytes) -> bytes:
    """A profile that an RGB file can carry: a grey photo's own says nothing about the RGB that it becomes."""
    space = ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.xcolor_space.strip() if icc else ""
    return icc if space == "RGB" else b""


def _convert(image: Image.Image, icc: bytes, direction: Literal["to sRGB", "from sRGB"]) -> Image.Image:
    """Change colours between a profile and sRGB; a profile that is sRGB changes nothing."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    if "sRGB" in ImageCms.getProfileDescription(profile):
        return image
    srgb = ImageCms.createProfile("sRGB")
    source, target = (profile, srgb) if direction == "to sRGB" else (srgb, profile)
    converted = ImageCms.profileToProfile(image, source, target)
    assert converted is not None
    return converted


def to_tensor(
    pixels: UInt8[np.ndarray, "h w 3"] | UInt16[np.ndarray, "h w 3"] | Float[np.ndarray, "h w 3"],
) -> Float[Tensor, "3 h w"]:
    """Turn pixels of a file into a picture: the only place where their range is converted."""
    planes = torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))
    return planes.float().div_(np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1)


def to_pixels(image: Float[Tensor, "3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Round a picture to 8 bits a channel; values outside [0, 1] are clipped."""
    quantised = image.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)
    pixels: NDArray[np.uint8] = quantised.permute(1, 2, 0).contiguous().cpu().numpy()
    return pixels


def write_photo(path: Path, photo: Photo) -> None:
    """Write a photo whole or not at all, in its own format, with its EXIF block and in its own colour profile.

    Raises:
        InputError: if the file cannot be written.
    """
    image = Image.fromarray(photo.pixels)
    tags: dict[str, bytes] = {}
    if photo.icc:
        image = _convert(image, photo.icc, "from sRGB")
        tags["icc_profile"] = photo.icc
    if photo.exif:
        tags["exif"] = photo.exif
    with writing(path) as temporary:
        image.save(temporary, format=photo.format, **SAVE_OPTIONS.get(photo.format, {}), **tags)


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
        temporary.unlink(missing_ok=True)


def content_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
