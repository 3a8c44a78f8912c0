"""Photos of the kinds that Python programs hold: files, Pillow images, arrays, tensors."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Shaped
from numpy.typing import NDArray
from PIL import ExifTags, Image
from torch import Tensor

from hdr_lightning.data.files import Photo, full_scale, read_photo, to_pixels, to_tensor, write_photo
from hdr_lightning.data.files.color_profile import from_srgb, profile_space, to_srgb
from hdr_lightning.data.files.photo import turned
from hdr_lightning.errors import InputError
from hdr_lightning.image.color import luminance

Edit = Callable[[Float[Tensor, "3 _ _"]], Float[Tensor, "3 _ _"]]

SUFFIXES = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "EXR": (".exr",),
}
"""How files of a format end."""

BACK = {6: 8, 8: 6}
"""The EXIF orientation that undoes another; the others undo themselves."""


def edited_file(path: Path, output: Path | None, edit: Edit) -> Path | Image.Image:
    """Edit a file: into another one of its format, or into a Pillow image that stands upright.

    Raises:
        InputError: if it cannot be read or written, or a Pillow image cannot hold it.
    """
    photo = read_photo(path)
    if output is None:
        if photo.pixels.dtype != np.uint8:
            raise InputError(f"{path} has more than 8 bits a channel, which a Pillow image cannot hold: give an output")
        return _pillow(replace(photo, pixels=to_pixels(edit(to_tensor(photo.pixels)))))
    if output.exists() and output.samefile(path):
        raise InputError(f"{path} would be written onto itself: give another output")
    if output.suffix.lower() not in SUFFIXES[photo.format]:
        raise InputError(f"{path} becomes a {photo.format}: give an output that ends in {SUFFIXES[photo.format][0]}")
    write_photo(output, replace(photo, pixels=to_pixels(edit(to_tensor(photo.pixels)), photo.pixels.dtype)))
    return output


def _pillow(photo: Photo) -> Image.Image:
    pixels = from_srgb(photo.pixels, photo.icc)
    image = Image.fromarray(pixels if photo.alpha is None else np.dstack([pixels, photo.alpha]))
    image.info |= {name: value for name, value in (("icc_profile", photo.icc), ("exif", photo.exif)) if value}
    return image


def edited_picture(image: Image.Image, edit: Edit) -> Image.Image:
    """Edit a Pillow image; mode, size, EXIF and colour profile stay. It is edited as EXIF says that it stands.

    Raises:
        InputError: if its mode is another than RGB, RGBA, L and LA, or its profile is none for it.
    """
    if image.mode not in ("RGB", "RGBA", "L", "LA"):
        raise InputError(f"expected an image in RGB, RGBA, L or LA, got {image.mode}: convert it to RGB")
    values = np.asarray(image)
    alpha = values[..., -1:] if image.mode.endswith("A") else None
    colours = values[..., 0] if image.mode == "LA" else values[..., :3] if image.mode == "RGBA" else values
    icc = image.info.get("icc_profile") or b""
    profile = icc if profile_space(icc) == "RGB" and image.mode.startswith("RGB") else b""
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    orientation = orientation if orientation in range(1, 9) else 1

    upright = np.ascontiguousarray(turned(to_srgb(colours, profile), orientation))
    result = edit(to_tensor(upright))
    edited = np.ascontiguousarray(turned(to_pixels(result), BACK.get(orientation, orientation)))
    edited = from_srgb(edited, profile)
    if image.mode in ("L", "LA"):
        edited = np.ascontiguousarray(turned(_grey(result, np.uint8), BACK.get(orientation, orientation)))[..., None]
    planes = edited if alpha is None else np.concatenate((edited, alpha), axis=2)
    made = Image.fromarray(planes[..., 0] if image.mode == "L" else planes)
    made.info = dict(image.info)
    if image.getexif():
        made.info["exif"] = image.getexif().tobytes()  # of a TIFF, which keeps no block of its own
    return made


def edited_array(pixels: NDArray[np.generic], edit: Edit) -> NDArray[np.generic]:
    """Edit an array; shape and type stay.

    Raises:
        InputError: if it is no picture, or has values out of range.
    """
    kind = pixels.dtype
    if kind not in (np.uint8, np.uint16) and not np.issubdtype(kind, np.floating):
        raise InputError(f"expected an array of uint8, uint16, or floating point in [0, 1], got {kind}")
    grey = pixels.ndim == 2
    if not grey and (pixels.ndim != 3 or pixels.shape[2] != 3):
        raise InputError(f"expected (height, width, 3) or (height, width), RGB or grey, got {pixels.shape}")
    if not pixels.size:
        raise InputError(f"expected an array of 1 x 1 pixels or more, got {pixels.shape}")
    colours = np.repeat(pixels[..., None], 3, axis=2) if grey else pixels
    integer = kind in (np.uint8, np.uint16)
    image = to_tensor(colours if integer else colours.astype(np.float32))
    if not integer:
        _check_range(image, "array")
    result = edit(image)
    depth = kind if integer else np.float32
    return (_grey(result, depth) if grey else to_pixels(result, depth)).astype(kind, copy=False)


def edited_tensor(images: Tensor, edit: Edit) -> Tensor:
    """Edit a tensor; shape, type and device stay. A batch is edited picture by picture.

    Raises:
        InputError: if it is no picture, or has values out of range.
    """
    if not images.is_floating_point():
        raise InputError(f"expected a tensor of floating point in [0, 1], got {images.dtype}: divide it by its white")
    if images.ndim not in (3, 4) or images.shape[-3] != 3 or not images.numel():
        raise InputError(f"expected (3, height, width) or (n, 3, height, width), got {tuple(images.shape)}")
    _check_range(images, "tensor")
    batch = images.detach()[None] if images.ndim == 3 else images.detach()
    results = torch.stack([edit(image.float().cpu()) for image in batch])
    return results.to(images.device, images.dtype).view(images.shape)


def _check_range(values: Tensor, kind: str) -> None:
    """Refuse what is none of [0, 1]: a picture of 0 to 255 would come back white."""
    low, high = (float(value) for value in values.detach().aminmax())
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # not so for NaN, too
        raise InputError(f"expected the {kind} in [0, 1], got values from {low:g} to {high:g}: divide it by its white")


def _grey(image: Float[Tensor, "3 h w"], dtype: type[np.generic] | np.dtype[np.generic]) -> Shaped[np.ndarray, "h w"]:
    """The luminance of a picture, at the depth of a file."""
    light = luminance(image).clamp(0, 1)[0] * full_scale(dtype)
    return (light if np.dtype(dtype) == np.float32 else light.round()).numpy().astype(dtype)
