"""EXIF, XMP and colour profile of a file, made fit for a photo that stands upright."""

import re
from dataclasses import dataclass
from typing import BinaryIO

from PIL import ExifTags, Image, TiffImagePlugin

from hdr_lightning.data.files.header import orientation_of

XMP_TAG, ICC_TAG = 700, 34675

STORAGE_TAGS = frozenset(
    {*range(254, 260), 262, 266, 273, 274, *range(277, 281), 284, 317, 320, *range(322, 326), 330, *range(338, 342)}
    | {347, *range(529, 533), XMP_TAG, ICC_TAG, *range(50706, 50742), *range(50827, 50835)}
)
"""Tags of TIFF and DNG that say how its pixels lie in the file or how to turn them, and what is kept apart from EXIF:
none of them describes the next file."""


@dataclass(frozen=True)
class Metadata:
    """What a file holds beside its pixels.

    Attributes:
        orientation: of EXIF, 1 to 8, that the pixels still need.
        exif: the EXIF block for the upright photo, or empty.
        xmp: the XMP packet for the upright photo, or empty.
        icc: the colour profile of the file's pixels, or empty.
    """

    orientation: int
    exif: bytes
    xmp: bytes
    icc: bytes


def metadata(image: Image.Image) -> Metadata:
    """What a file that Pillow opened holds beside its pixels."""
    # A PNG's own getexif decodes its pixels in search of a block behind them.
    tags = Image.Image.getexif(image)
    orientation = orientation_of(tags)
    exif = image.info.get("exif", b"") if orientation == 1 else b""
    xmp = image.info.get("xmp", b"")
    return Metadata(
        orientation,
        exif or exif_without_storage(tags),
        _upright(xmp.encode() if isinstance(xmp, str) else xmp),
        image.info.get("icc_profile") or b"",
    )


def tiff_metadata(file: BinaryIO, tags: TiffImagePlugin.ImageFileDirectory_v2) -> Metadata:
    """What a TIFF of any depth holds beside its pixels.

    Args:
        file: the open file.
        tags: of its first picture.
    """
    exif = Image.Exif()
    exif.endian, exif.bigtiff = tags._endian, tags._bigtiff
    exif.load_from_fp(file, tags._offset)
    exif.bigtiff = False  # where it goes, it is a block of its own
    return Metadata(
        orientation_of(exif),
        exif_without_storage(exif),
        _upright(bytes(tags.get(XMP_TAG, b""))),
        bytes(tags.get(ICC_TAG, b"")),
    )


def exif_without_storage(tags: Image.Exif) -> bytes:
    """The block without the tags that do not describe the next file; empty if nothing is left."""
    for pointer in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if pointer in tags:
            tags.get_ifd(pointer)
    for tag in STORAGE_TAGS & tags.keys():
        del tags[tag]
    return tags.tobytes() if tags else b""


def _upright(xmp: bytes) -> bytes:
    """The packet to the byte, but for an orientation that the pixels no longer need."""
    return re.sub(rb'(tiff:Orientation(?:="|>))[2-8]', rb"\g<1>1", xmp)
