"""What a photo file says of itself, read without decoding its pixels, and the limits that it has to keep."""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from PIL import Image, ImageCms, TiffImagePlugin, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from hdr_lightning.errors import InputError

MAX_PIXELS = 178_956_970
"""Of a photo that is decoded, checked by its header: what Pillow holds for a decompression bomb, for all formats."""

MAX_BYTES = 1 << 32
"""Of a file: more than `MAX_PIXELS` of radiance need."""

RAW_SUFFIXES = frozenset({".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"})
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".exr"}) | RAW_SUFFIXES

Format = Literal["JPEG", "PNG", "TIFF", "WEBP", "EXR", "RAW"]

DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    ImageCms.PyCMSError,
)
"""What decoders raise on damaged and hostile files."""


@dataclass(frozen=True)
class Header:
    """What a photo file says of itself.

    Attributes:
        height: of the upright photo, in pixels.
        width: of the upright photo, in pixels.
        format: of the file.
        channels: what a pixel holds, in Pillow's words: "RGB", "RGBA", "L", "LA", "P", "1", "CMYK".
        bits: of a channel, as stored.
        radiance: whether values are floating-point light, without an upper bound.
        profile: description of the ICC profile; empty where there is none, which means sRGB.
        orientation: of EXIF, 1 to 8; 1 is upright.
    """

    height: int
    width: int
    format: Format
    channels: str
    bits: int
    radiance: bool
    profile: str
    orientation: int


def photo_header(path: Path) -> Header:
    """Read what a photo file says of itself; no pixel is decoded.

    Raises:
        InputError: if the file is missing, no photo, damaged where it is read, or has more than `MAX_PIXELS` pixels.
    """
    with told(path):
        kind = file_kind(path)
        if kind == "RAW":
            from hdr_lightning.data.files.raw import raw_header

            return raw_header(path)
        if kind == "EXR":
            from hdr_lightning.data.files.radiance import exr_header

            return exr_header(path)
        with path.open("rb") as file:
            if kind == "TIFF":
                return tiff_header(file)
            return _pillow_header(file, 16 if kind == "deep PNG" else 8)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Tell what goes wrong inside as an `InputError` that names the file.

    Raises:
        InputError: if reading the file raises what decoders raise.
    """
    try:
        yield
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except UnidentifiedImageError:
        raise InputError(
            f"{path}: expected a photo (JPEG, PNG, TIFF, WebP, OpenEXR, or RAW by its suffix), this is none: replace it"
        ) from None
    except DAMAGE as error:
        detail = str(error) or type(error).__name__
        raise InputError(f"{path}: the photo cannot be read ({detail}): replace the file or leave it out") from None


def file_kind(path: Path) -> Literal["RAW", "EXR", "TIFF", "deep PNG", "other"]:
    """Tell which reader a file needs, by its first bytes; RAW, often a TIFF with a preview in it, by its suffix."""
    with path.open("rb") as file:
        start = file.read(25)
        size = os.fstat(file.fileno()).st_size
    if size > MAX_BYTES:
        raise InputError(f"{path}: expected a photo of at most {MAX_BYTES} bytes, this file has {size}")
    if path.suffix.lower() in RAW_SUFFIXES:
        return "RAW"
    if start.startswith(b"\x76\x2f\x31\x01"):
        return "EXR"
    if start[:4] in TiffImagePlugin.PREFIXES:
        return "TIFF"
    return "deep PNG" if start.startswith(b"\x89PNG") and start[24:] == b"\x10" else "other"


def check_size(width: int, height: int) -> None:
    """Refuse what would not fit the memory.

    Raises:
        InputError: if there are no pixels or too many.
    """
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise InputError(
            f"expected 1 to {MAX_PIXELS} pixels, the header says {width} x {height} "
            "(a decompression bomb?): make the photo smaller"
        )


def upright_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Height and width of a photo after its orientation is applied."""
    return (width, height) if orientation >= 5 else (height, width)


def profile_description(icc: bytes) -> str:
    """The name that an ICC profile gives itself; empty for no profile.

    Raises:
        OSError: if it is none.
    """
    return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(icc))).strip() if icc else ""


def opened(file: BinaryIO) -> ImageFile:
    """Open a photo with Pillow, which reads its header alone.

    Raises:
        InputError: if it has too many pixels.
        UnidentifiedImageError: if it is no photo.
    """
    image = Image.open(file)
    check_size(*image.size)
    if image.format == "PNG" and "exif" not in image.info:
        image.info.update(_late_exif(file))
    return image


def _late_exif(file: BinaryIO) -> dict[str, bytes]:
    """The EXIF block that a PNG may hold behind its pixels, found without reading those."""
    here = file.tell()
    file.seek(8)
    found = {}
    while len(start := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", start)
        if kind == b"eXIf":
            found = {"exif": b"Exif\0\0" + file.read(length)}
            break
        file.seek(length + 4, os.SEEK_CUR)
    file.seek(here)
    return found


def _pillow_header(file: BinaryIO, bits: int) -> Header:
    with opened(file) as image:
        orientation = orientation_of(Image.Image.getexif(image))
        height, width = upright_size(*image.size, orientation)
        icc = profile_description(image.info.get("icc_profile") or b"")
        channels = "L" if image.mode.startswith("I") else image.mode
        return Header(height, width, photo_format(image), channels, bits, False, icc, orientation)


def orientation_of(tags: Image.Exif) -> int:
    """EXIF orientation, 1 to 8; anything else means upright."""
    value = tags.get(274, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def photo_format(image: ImageFile) -> Format:
    """The format of a file that Pillow opened.

    Phones write JPEGs with a second picture behind the first (MPO); the first is the photo.

    Raises:
        UnidentifiedImageError: if it is none of ours.
    """
    formats: dict[str | None, Format] = {
        "JPEG": "JPEG",
        "MPO": "JPEG",
        "PNG": "PNG",
        "TIFF": "TIFF",
        "WEBP": "WEBP",
    }
    if image.format not in formats:
        raise UnidentifiedImageError(image.format)
    return formats[image.format]


CHANNELS = {0: "L", 1: "L", 2: "RGB", 3: "P", 4: "1", 5: "CMYK", 6: "RGB", 8: "LAB"}
"""Of a TIFF, by its photometric interpretation."""


def tiff_tags(file: BinaryIO) -> TiffImagePlugin.ImageFileDirectory_v2:
    """The tags of the first picture of a TIFF."""
    start = file.read(8)
    if start[2:3] == b"\x2b" or start[3:4] == b"\x2b":
        start += file.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(start)
    if tags.next >= os.fstat(file.fileno()).st_size:
        raise OSError("the file ends before its directory")
    file.seek(tags.next)
    tags.load(file)
    check_size(int(tags[256]), int(tags[257]))
    return tags


def tiff_header(file: BinaryIO) -> Header:
    """What a TIFF says of its first picture, whatever its depth."""
    tags = tiff_tags(file)
    bits = tags.get(258, (1,))
    samples = int(tags.get(277, 1))
    channels = CHANNELS.get(int(tags.get(262, 1)), "unknown")
    colours = {"RGB": 3, "LAB": 3, "CMYK": 4}.get(channels, 1)
    value = tags.get(274, 1)
    orientation = value if value in range(1, 9) else 1
    height, width = upright_size(int(tags[256]), int(tags[257]), orientation)
    return Header(
        height,
        width,
        "TIFF",
        channels + ("A" if samples == colours + 1 and tags.get(338, (0,))[0] in (1, 2) else ""),
        int(bits[0]),
        tags.get(339, (1,))[0] == 3,
        profile_description(bytes(tags.get(34675, b""))),
        orientation,
    )
