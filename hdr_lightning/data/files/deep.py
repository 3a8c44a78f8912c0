"""PNG with 16 bits a channel, and TIFF with 16 or with floating-point numbers.

Pixels are decoded and encoded by libpng, libtiff and libdeflate (imagecodecs); what surrounds them by Pillow.
"""

import mmap
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import imagecodecs
import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, TiffImagePlugin

from hdr_lightning.data.files.color_profile import from_srgb, profile_space, to_srgb
from hdr_lightning.data.files.header import opened, tiff_tags
from hdr_lightning.data.files.metadata import ICC_TAG, XMP_TAG, Metadata, metadata, tiff_metadata
from hdr_lightning.data.files.photo import Photo, full_scale, turned
from hdr_lightning.data.files.radiance import photo_of_light, refuse_other_light
from hdr_lightning.errors import InputError

STRIP_BYTES = 1 << 20


def read_deep_png(path: Path) -> Photo:
    """Read a PNG with 16 bits a channel.

    Raises:
        InputError: if it has too many pixels, or its profile does not fit.
    """
    with path.open("rb") as file:
        with opened(file) as image:
            beside = metadata(image)
            height, width = image.height, image.width
        with _mapped(file) as content:
            pixels: NDArray[np.generic] = imagecodecs.png_decode(content)
    if pixels.shape[:2] != (height, width) or pixels.dtype != np.uint16:
        raise InputError(f"expected {width} x {height} pixels of 16 bits, got {pixels.shape} of {pixels.dtype}")
    return _photo(pixels, "PNG", beside)


def read_deep_tiff(path: Path) -> Photo:
    """Read a TIFF with 16 bits a channel, or with light as floating-point numbers.

    Raises:
        InputError: if it has too many pixels, holds other numbers or colours, or its profile does not fit.
    """
    with path.open("rb") as file:
        tags = tiff_tags(file)
        beside = tiff_metadata(file, tags)
        shape = _tiff_shape(tags)
        dtype = _tiff_type(tags.get(258, (1,)), tags.get(339, (1,)), tags[262] == 0)
        out = np.empty(shape, dtype)  # if libtiff reads another size, it refuses before it decodes
        with _mapped(file) as content:
            pixels = imagecodecs.tiff_decode(content, index=0, out=out)
    pixels = pixels.reshape(shape)
    if len(shape) == 3 and tags.get(284, 1) == 2:
        pixels = np.moveaxis(pixels, 0, 2)
    if tags[262] == 0:  # white is zero
        pixels = np.iinfo(np.uint16).max - pixels
    if len(shape) == 3 and pixels.shape[2] in (2, 4):
        pixels = _with_transparency(pixels, tags.get(338, (0,))[0])
    return _photo(pixels, "TIFF", beside)


def _with_transparency(pixels: NDArray[np.generic], extra: int) -> NDArray[np.generic]:
    """Colours that are not multiplied by the last channel; without that, where it is no transparency (0)."""
    colours, alpha = pixels[..., :-1], pixels[..., -1:]
    if extra == 0:
        return colours[..., 0] if colours.shape[2] == 1 else colours
    if extra == 1:
        opacity = alpha.astype(np.float32) / full_scale(alpha.dtype)
        divided = np.divide(colours, opacity, out=np.zeros(colours.shape, np.float32), where=opacity > 0)
        if pixels.dtype == np.uint16:
            divided = divided.round().clip(0, full_scale(np.uint16))
        pixels = np.dstack([divided.astype(pixels.dtype), alpha])
    return pixels


def _tiff_shape(tags: TiffImagePlugin.ImageFileDirectory_v2) -> tuple[int, ...]:
    width, height, samples = int(tags[256]), int(tags[257]), int(tags.get(277, 1))
    channels = {0: (1,), 1: (1, 2), 2: (3, 4)}.get(int(tags.get(262, -1)), ())
    if samples not in channels:
        raise InputError("expected grey or RGB, perhaps with transparency, in a deep TIFF: convert it to RGB")
    if samples == 1:
        return height, width
    return (samples, height, width) if tags.get(284, 1) == 2 else (height, width, samples)


def _tiff_type(bits: Sequence[int], sample_format: Sequence[int], inverted: bool) -> type[np.generic]:
    types: dict[tuple[int, int], type[np.generic]] = {(16, 1): np.uint16, (16, 3): np.float16, (32, 3): np.float32}
    kinds = {*zip(bits, list(sample_format) * len(bits), strict=False)}
    if len(kinds) != 1 or not kinds <= types.keys():
        raise InputError(f"expected 8 or 16 bits a channel or floating-point light, got {bits} bits: convert it")
    found = types[kinds.pop()]
    if inverted and found != np.uint16:
        raise InputError("expected light to be zero where it is dark, this TIFF says where it is white: convert it")
    return found


def _mapped(file: BinaryIO) -> mmap.mmap:
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _photo(pixels: NDArray[np.generic], file_format: str, beside: Metadata) -> Photo:
    """Upright and in sRGB, with the transparency apart; a transparency that is full everywhere is none."""
    pixels = turned(pixels, beside.orientation)
    alpha = None
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        pixels, alpha = pixels[..., :-1], pixels[..., -1]
        pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    if pixels.dtype == np.uint16:
        alpha = None if alpha is None or (alpha == np.iinfo(np.uint16).max).all() else np.ascontiguousarray(alpha)
        colours = np.ascontiguousarray(to_srgb(pixels, beside.icc))
        icc = beside.icc if profile_space(beside.icc) == "RGB" else b""
        return Photo(colours, file_format, beside.exif, icc, beside.xmp, alpha)
    refuse_other_light(beside.icc)
    light = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
    return photo_of_light(light, file_format, alpha, beside)


def write_deep_png(path: Path, photo: Photo) -> None:
    """Write a PNG with 16 bits a channel."""
    pixels = from_srgb(photo.pixels, photo.icc)
    if photo.alpha is not None:
        pixels = np.dstack([pixels, photo.alpha])
    encoded = imagecodecs.png_encode(np.ascontiguousarray(pixels), level=2)
    header_end = 33  # signature and IHDR
    with path.open("wb") as file:
        file.write(encoded[:header_end])
        if photo.icc:
            PngImagePlugin.putchunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(photo.icc))
        if photo.exif:
            PngImagePlugin.putchunk(file, b"eXIf", photo.exif.removeprefix(b"Exif\0\0"))
        if photo.xmp:
            PngImagePlugin.putchunk(file, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + photo.xmp)
        file.write(memoryview(encoded)[header_end:])


def write_tiff(path: Path, photo: Photo, values: Shaped[np.ndarray, "h w 3"]) -> None:
    """Write a TIFF of any depth.

    An EXIF block is a TIFF without a picture: the picture is put behind it and described in its first directory.

    Args:
        path: where to.
        photo: whose EXIF block, XMP packet, colour profile and transparency to write.
        values: uint8, uint16, float16 or float32, in the colours of the profile.
    """
    if photo.alpha is not None:
        values = np.dstack([values, photo.alpha.astype(values.dtype)])
    tags = Image.Exif()
    tags.load(photo.exif)
    tags.endian = tags.endian or "<"
    height, width, samples = values.shape
    rows = max(1, STRIP_BYTES // (width * samples * values.itemsize))
    strips = [_strip(values[top : top + rows], tags.endian) for top in range(0, height, rows)]
    floating = values.dtype.kind == "f"
    described: dict[int, object] = {
        256: width,
        257: height,
        258: (8 * values.itemsize,) * samples,
        259: 8,  # deflate
        262: 2,  # RGB
        273: tuple(int(offset) for offset in np.cumsum([0, *map(len, strips)])[:-1]),  # Pillow adds where they start
        277: samples,
        278: rows,
        279: tuple(map(len, strips)),
        284: 1,
        317: 1 if floating else 2,  # horizontal differences
        339: (3 if floating else 1,) * samples,
    }
    if photo.alpha is not None:
        described[338] = (2,)  # transparency that colours are not multiplied by
    if photo.xmp:
        described[XMP_TAG] = photo.xmp
    if photo.icc:
        described[ICC_TAG] = photo.icc
    tags.update(described)
    with path.open("wb") as file:
        file.write(tags.tobytes()[6:])
        file.writelines(strips)


def _strip(values: NDArray[np.generic], order: str) -> bytes:
    rows = values.astype(values.dtype.newbyteorder("="), copy=True)
    if rows.dtype.kind == "u":
        rows[:, 1:] -= values[:, :-1]
    ordered = rows.astype(rows.dtype.newbyteorder(order), copy=False)
    return bytes(imagecodecs.deflate_encode(ordered.tobytes(), level=4))
