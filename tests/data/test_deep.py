import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from photo_samples import exif, noise, swapped_profile
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from hdr_lightning.data.files import Photo, photo_header, read_photo, to_pixels, to_tensor, write_photo
from hdr_lightning.errors import InputError

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="%d" dc:creator="Ansel"/></x:xmpmeta>'

WIDE = {
    "Adobe RGB": imagecodecs.cms_profile("adobergb"),
    "Display P3": imagecodecs.cms_profile(
        "rgb", whitepoint=[0.3127, 0.329, 1], primaries=[0.68, 0.32, 1, 0.265, 0.69, 1, 0.15, 0.06, 1], gamma=2.2
    ),
    "ProPhoto": imagecodecs.cms_profile(
        "rgb",
        whitepoint=[0.3457, 0.3585, 1],
        primaries=[0.7347, 0.2653, 1, 0.1596, 0.8404, 1, 0.0366, 1e-4, 1],
        gamma=1.8,
    ),
}


def png(pixels, *chunks):
    """A PNG by libpng, with chunks of Pillow's making."""
    encoded = imagecodecs.png_encode(pixels)
    file = io.BytesIO()
    file.write(encoded[:33])
    for kind, data in chunks:
        PngImagePlugin.putchunk(file, kind, data)
    file.write(encoded[33:])
    return file.getvalue()


def png_by_hand(pixels):
    """Big-endian rows without a filter, as the PNG specification has them."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_a_deep_png_is_read_to_the_bit(tmp_path):
    pixels = noise(9, 13, 3)
    (tmp_path / "a.png").write_bytes(png_by_hand(pixels))
    photo = read_photo(tmp_path / "a.png")
    assert photo.pixels.dtype == np.uint16
    np.testing.assert_array_equal(photo.pixels, pixels)


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"tile": (16, 16)},
        {"compression": "zlib", "predictor": True},
        {"compression": "lzw", "predictor": True},
        {"planarconfig": "separate"},
    ],
    ids=str,
)
def test_a_deep_tiff_is_read_to_the_bit(layout, tmp_path):
    pixels = noise(40, 50, 3)
    stored = np.moveaxis(pixels, 2, 0) if "planarconfig" in layout else pixels
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", **layout)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.tif").pixels, pixels)


@pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities of TorchVision:DeprecationWarning")
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_written_are_what_another_library_reads(suffix, tmp_path):
    from torchvision.io import ImageReadMode, decode_image

    pixels, path = noise(33, 47, 3), tmp_path / f"a.{suffix}"
    write_photo(path, Photo(pixels, {"png": "PNG", "tif": "TIFF"}[suffix], b"", b""))
    foreign = (
        tifffile.imread(path)
        if suffix == "tif"
        else decode_image(torch.from_numpy(np.fromfile(path, np.uint8)), ImageReadMode.UNCHANGED)
        .permute(1, 2, 0)
        .numpy()
    )
    np.testing.assert_array_equal(foreign, pixels)
    np.testing.assert_array_equal(read_photo(path).pixels, pixels)


def test_65536_values_survive_the_tensor():
    pixels = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1).repeat(3, axis=2)
    image = to_tensor(pixels)
    assert image.min() == 0 and image.max() == 1
    np.testing.assert_array_equal(to_pixels(image, np.uint16), pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_exif_xmp_profile_and_orientation_of_16_bits(orientation, suffix, tmp_path):
    pixels, path, out = noise(6, 10, 3), tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    icc = imagecodecs.cms_profile("srgb")
    packet = XMP % orientation
    if suffix == "png":
        chunks = {
            b"iCCP": b"x\0\0" + zlib.compress(icc),
            b"eXIf": exif(orientation).tobytes()[6:],
            b"iTXt": b"XML:com.adobe.xmp\0\0\0\0\0" + packet,
        }
        path.write_bytes(png(pixels, *chunks.items()))
    else:
        extra = [
            (274, "H", 1, orientation, True),
            (272, "s", 0, "Pinhole", True),
            (700, "B", len(packet), packet, True),
        ]
        tifffile.imwrite(path, pixels, photometric="rgb", iccprofile=icc, extratags=extra)
    write_photo(out, read_photo(path))
    turn = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}[orientation]  # Pillow's numbers of transpositions
    planes = [Image.fromarray(plane) for plane in np.moveaxis(pixels.astype(np.int32), 2, 0)]
    upright = np.dstack([plane if turn is None else plane.transpose(turn) for plane in planes])
    np.testing.assert_array_equal(read_photo(out).pixels, upright)
    with Image.open(out) as image:
        tags = image.getexif()
        assert tags.get(ExifTags.Base.Orientation, 1) == 1
        assert tags[ExifTags.Base.Model] == "Pinhole"
        assert suffix == "tif" or tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FNumber] == 8
        assert image.info["icc_profile"] == icc
        assert image.info["xmp"] == XMP % 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_deep_tiff_keeps_the_exif_of_exposure(order, tmp_path):
    """The block goes into the first directory of the file and into a directory below it, where Pillow looks for it."""
    tags = exif()
    tags.endian = order
    photo = Photo(noise(5, 6, 3), "TIFF", tags.tobytes(), b"")
    write_photo(tmp_path / "a.tif", photo)
    write_photo(tmp_path / "b.tif", read_photo(tmp_path / "a.tif"))
    with Image.open(tmp_path / "b.tif") as image:
        assert image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FNumber] == 8
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.pages[0].tags["ExifTag"].value["FNumber"] == 8
    np.testing.assert_array_equal(read_photo(tmp_path / "b.tif").pixels, photo.pixels)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_deep_grey_becomes_rgb(suffix, tmp_path):
    pixels, path = noise(7, 8), tmp_path / f"a.{suffix}"
    path.write_bytes(png(pixels)) if suffix == "png" else tifffile.imwrite(path, pixels)
    np.testing.assert_array_equal(read_photo(path).pixels, np.dstack([pixels] * 3))


def test_a_tiff_with_white_at_zero(tmp_path):
    pixels = noise(7, 8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite")
    np.testing.assert_array_equal(read_photo(tmp_path / "a.tif").pixels[..., 0], 65535 - pixels)


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_deep_transparency_is_a_plane_and_comes_back(suffix, channels, tmp_path):
    pixels, path = noise(7, 8, channels), tmp_path / f"a.{suffix}"
    if suffix == "png":
        path.write_bytes(png(pixels))
    else:
        tifffile.imwrite(path, pixels, extrasamples=["unassalpha"], photometric=["minisblack", "rgb"][channels // 4])
    photo = read_photo(path)
    np.testing.assert_array_equal(photo.alpha, pixels[..., -1])
    np.testing.assert_array_equal(photo.pixels[..., 0], pixels[..., 0])
    write_photo(tmp_path / f"b.{suffix}", photo)
    again = read_photo(tmp_path / f"b.{suffix}")
    np.testing.assert_array_equal(again.alpha, photo.alpha)
    np.testing.assert_array_equal(again.pixels, photo.pixels)


def test_colours_multiplied_by_their_transparency_are_divided(tmp_path):
    colours, alpha = noise(7, 8, 3), noise(7, 8, 1, seed=1) // 2 + 20000
    multiplied = np.rint(colours * (alpha / 65535)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", np.dstack([multiplied, alpha]), photometric="rgb", extrasamples=["assocalpha"])
    photo = read_photo(tmp_path / "a.tif")
    np.testing.assert_array_equal(photo.alpha, alpha[..., 0])
    assert np.abs(photo.pixels.astype(int) - colours).max() <= 2


def test_a_channel_that_is_no_transparency_is_left_out(tmp_path):
    pixels = noise(7, 8, 4)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unspecified"])
    photo = read_photo(tmp_path / "a.tif")
    assert photo.alpha is None
    np.testing.assert_array_equal(photo.pixels, pixels[..., :3])
    assert photo_header(tmp_path / "a.tif").channels == "RGB"


def srgb_light(pixels):
    v = pixels / 65535
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_wide_profiles_are_converted_at_16_bits(name, suffix, tmp_path):
    """As floating-point lcms says; a colour inside of sRGB comes back to where it was, to some of 65536 levels."""
    inside = noise(64, 64, 3)
    floats = imagecodecs.cms_transform(
        (inside / 65535).astype(np.float32),
        imagecodecs.cms_profile("srgb"),
        WIDE[name],
        colorspace="rgb",
        outcolorspace="rgb",
    )
    stored, path = np.rint(floats * 65535).clip(0, 65535).astype(np.uint16), tmp_path / f"a.{suffix}"
    if suffix == "png":
        path.write_bytes(png(stored, (b"iCCP", b"x\0\0" + zlib.compress(WIDE[name]))))
    else:
        tifffile.imwrite(path, stored, photometric="rgb", iccprofile=WIDE[name])
    photo = read_photo(path)
    assert np.abs(srgb_light(photo.pixels) - srgb_light(inside)).max() < 1e-4
    assert np.abs(photo.pixels.astype(int) - inside).max() < 40
    write_photo(tmp_path / f"b.{suffix}", photo)
    raw = (tmp_path / f"b.{suffix}").read_bytes()
    again = imagecodecs.png_decode(raw) if suffix == "png" else imagecodecs.tiff_decode(raw)
    assert np.abs(again.astype(int) - stored).max() < 40
    with Image.open(tmp_path / f"b.{suffix}") as image:
        assert image.info["icc_profile"] == WIDE[name]


def test_a_wide_profile_at_16_bits_agrees_with_pillow_at_8(tmp_path):
    stored = noise(32, 32, 3, dtype=np.uint8)
    icc = swapped_profile()
    (tmp_path / "deep.png").write_bytes(png(stored.astype(np.uint16) * 257, (b"iCCP", b"x\0\0" + zlib.compress(icc))))
    profile, srgb = ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
    expected = np.asarray(ImageCms.profileToProfile(Image.fromarray(stored), profile, srgb))
    assert np.abs(read_photo(tmp_path / "deep.png").pixels / 257 - expected).max() < 1.6


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (noise(4, 5, 3).astype(np.uint32), {"photometric": "rgb"}),
        (noise(4, 5, 3).astype(np.int16), {"photometric": "rgb"}),
        (noise(4, 5, 4), {"photometric": "separated"}),
        (noise(4, 5, 3), {"photometric": "cielab"}),
    ],
)
def test_other_numbers_and_colours_are_refused(pixels, options, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    with pytest.raises(InputError, match=r"a\.tif: expected .*convert it"):
        read_photo(tmp_path / "a.tif")


def test_a_format_of_8_bits_is_not_given_16(tmp_path):
    with pytest.raises(InputError, match="JPEG holds 8 bits"):
        write_photo(tmp_path / "a.jpg", Photo(noise(4, 4, 3), "JPEG", b"", b""))
    assert list(tmp_path.iterdir()) == []
