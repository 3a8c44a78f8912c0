import io

import imagecodecs
import numpy as np
import pytest
import torch
from photo_samples import cmyk_profile, exif, noise, swapped_profile
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from hdr_lightning.data.files import (
    Photo,
    content_hash,
    photo_header,
    read_photo,
    to_pixels,
    to_tensor,
    write_photo,
    writing,
)
from hdr_lightning.errors import InputError

FORMATS = {"jpg": "JPEG", "png": "PNG", "tif": "TIFF", "webp": "WEBP"}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_orientation_is_applied_and_taken_out(orientation, suffix, tmp_path):
    """Each orientation of an L-shaped mark ends upright, as Pillow's own transposition of the pixels says."""
    upright = np.zeros((24, 16, 3), np.uint8)
    upright[:, :5], upright[18:, :] = 250, 250
    turns = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = Image.fromarray(upright)
    stored = image if turns[orientation] is None else image.transpose(turns[orientation])
    path = tmp_path / f"photo.{suffix}"
    options = {"quality": 100} if suffix in ("jpg", "webp") else {}
    stored.save(path, exif=exif(orientation), **options)

    photo = read_photo(path)
    assert photo.pixels.shape == (24, 16, 3)
    assert np.abs(photo.pixels.astype(int) - upright).mean() < 4

    out = tmp_path / f"out.{suffix}"
    write_photo(out, photo)
    with Image.open(out) as written:
        assert written.size == (16, 24)
        assert written.getexif().get(ExifTags.Base.Orientation, 1) == 1
        assert written.getexif()[ExifTags.Base.Model] == "Pinhole"


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "LA"])
def test_other_modes_become_rgb(mode, photo, tmp_path):
    with Image.open(photo()) as image:
        changed = image.convert(mode)
        expected = np.asarray(changed.convert("RGB"))
    changed.save(tmp_path / "other.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "other.png").pixels, expected)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_transparency_is_a_plane_and_comes_back(suffix, tmp_path):
    """The colours below are what they were, even where they cannot be seen."""
    stored, path = noise(9, 12, 4, dtype=np.uint8), tmp_path / f"a.{suffix}"
    stored[0, 0, 3] = 0
    Image.fromarray(stored).save(path, **({"lossless": True, "exact": True} if suffix == "webp" else {}))
    photo = read_photo(path)
    np.testing.assert_array_equal(np.dstack([photo.pixels, photo.alpha]), stored)
    write_photo(tmp_path / f"b.{suffix}", photo)
    again = read_photo(tmp_path / f"b.{suffix}")
    np.testing.assert_array_equal(again.alpha, photo.alpha)
    if suffix != "webp":
        np.testing.assert_array_equal(again.pixels, photo.pixels)


def test_transparency_turns_with_its_photo(tmp_path):
    stored = noise(9, 12, 4, dtype=np.uint8)
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif(6))
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png").alpha, np.rot90(stored[..., 3], -1))


@pytest.mark.parametrize("mode", ["LA", "P"])
def test_transparency_of_grey_and_of_a_palette(mode, tmp_path):
    image = Image.fromarray(noise(9, 12, dtype=np.uint8)).convert(mode)
    if mode == "LA":
        image.putalpha(100)
        image.save(tmp_path / "a.png")
    else:
        image.save(tmp_path / "a.png", transparency=0)
    with Image.open(tmp_path / "a.png") as image:
        expected = np.asarray(image.convert("RGBA"))
    photo = read_photo(tmp_path / "a.png")
    np.testing.assert_array_equal(np.dstack([photo.pixels, photo.alpha]), expected)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_xmp_is_kept_but_for_its_orientation(suffix, tmp_path):
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="%d" dc:creator="Ansel"/></x:xmpmeta>'
    path, out = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    photo = Photo(noise(9, 12, 3, dtype=np.uint8), FORMATS[suffix], exif().tobytes(), b"", packet % 6)
    write_photo(path, photo)
    with Image.open(path) as image:
        xmp = image.info["xmp"]
        assert xmp == packet % 6
    write_photo(out, read_photo(path))
    with Image.open(out) as image:
        assert image.info["xmp"] in (packet % 1, packet % 6)
        assert image.getexif()[ExifTags.Base.Model] == "Pinhole"


def test_exif_behind_the_pixels_of_a_png_is_found(photo):
    path = photo("a.png", 10, 20)
    end = path.read_bytes()[-12:]
    with path.open("r+b") as file:
        file.seek(-12, 2)
        PngImagePlugin.putchunk(file, b"eXIf", exif(6).tobytes()[6:])
        file.write(end)
    assert read_photo(path).pixels.shape == (20, 10, 3)
    assert photo_header(path).orientation == 6


def linear_grey():
    return imagecodecs.cms_profile("gray", gamma=1.0, whitepoint=[0.3457, 0.3585, 1.0])


def test_a_grey_profile_is_converted(tmp_path):
    """Gray of gamma 1, as linear light."""
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(stored).save(tmp_path / "a.png", icc_profile=linear_grey())
    photo = read_photo(tmp_path / "a.png")
    light = stored / 255
    expected = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(photo.pixels[..., 1] - expected).max() < 2
    assert photo.icc == b""


def test_a_cmyk_jpeg_is_converted_through_its_profile(tmp_path):
    """As Pillow converts it; no ink is the white of the paper. Written, it is RGB."""
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    inks = np.dstack([smooth, smooth[::-1], smooth[:, ::-1], smooth // 4])
    inks[:16, :16] = 0
    Image.fromarray(inks, "CMYK").save(tmp_path / "a.jpg", quality=100, subsampling=0, icc_profile=cmyk_profile())
    photo = read_photo(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(cmyk_profile()))
        srgb, exact = ImageCms.createProfile("sRGB"), ImageCms.Flags.NOOPTIMIZE
        expected = np.asarray(ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB", flags=exact))
    assert np.abs(photo.pixels.astype(int) - expected).max() <= 1
    assert photo.pixels[:8, :8].min() > 250
    write_photo(tmp_path / "b.jpg", photo)
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.mode == "RGB"
        assert "icc_profile" not in image.info


def test_colours_without_their_profile_are_refused(photo, tmp_path):
    with Image.open(photo()) as image:
        image.convert("CMYK").save(tmp_path / "a.jpg")
        image.save(
            tmp_path / "b.png", icc_profile=imagecodecs.cms_profile("gray", gamma=1.0, whitepoint=[0.3457, 0.3585, 1.0])
        )
    with pytest.raises(InputError, match=r"a\.jpg: expected a colour profile for CMYK, got one for nothing"):
        read_photo(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"b\.png: expected a colour profile for RGB, got one for GRAY"):
        read_photo(tmp_path / "b.png")


def test_colour_profile_is_converted_on_reading_and_restored_on_writing(photo, tmp_path):
    icc = swapped_profile()
    path = photo("wide.png", icc_profile=icc)
    with Image.open(path) as image:
        stored = np.asarray(image)
    read = read_photo(path)
    # With red and green exchanged, what the file calls red is green to the eye.
    np.testing.assert_allclose(read.pixels.astype(int), stored[..., [1, 0, 2]], atol=2)
    write_photo(tmp_path / "out.png", read)
    with Image.open(tmp_path / "out.png") as written:
        assert written.info["icc_profile"] == icc
        np.testing.assert_allclose(np.asarray(written).astype(int), stored, atol=3)


def test_srgb_profile_changes_nothing_and_is_kept(photo, tmp_path):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = photo("plain.png", icc_profile=icc)
    with Image.open(path) as image:
        stored = np.asarray(image)
    np.testing.assert_array_equal(read_photo(path).pixels, stored)
    write_photo(tmp_path / "out.png", read_photo(path))
    with Image.open(tmp_path / "out.png") as written:
        assert written.info["icc_profile"] == icc


def test_the_jpeg_of_a_phone_stays_a_good_jpeg(tmp_path):
    """Two pictures in one file (MPO), of which the first is the photo."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    noise.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[noise], quality=95)
    write_photo(tmp_path / "out.jpg", read_photo(tmp_path / "phone.jpg"))
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.format == "JPEG"
        assert max(image.quantization[0]) < 20


def test_reading_a_jpeg_equals_pillow(photo):
    path = photo("photo.jpg", quality=90)
    with Image.open(path) as image:
        np.testing.assert_array_equal(read_photo(path).pixels, np.asarray(image))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file"),
        (b"", "expected a photo"),
        (b"hello", "expected a photo"),
    ],
)
def test_what_is_no_photo_is_refused_by_name(content, message, tmp_path):
    path = tmp_path / "photo.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"photo\.jpg: {message}"):
        read_photo(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_a_truncated_photo_is_refused(suffix, photo):
    path = photo(f"photo.{suffix}", height=200, width=200)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(InputError, match=rf"photo\.{suffix}: .*replace"):
        read_photo(path)


def test_a_decompression_bomb_is_refused(photo, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match="decompression bomb"):
        read_photo(photo(height=40, width=40))


def test_pixels_and_tensor_are_the_same_256_values():
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    image = to_tensor(pixels)
    assert image.dtype == torch.float32
    assert image.min() == 0
    assert image.max() == 1
    np.testing.assert_array_equal(to_pixels(image), pixels)


def test_values_out_of_range_are_clipped_and_rounded():
    image = torch.tensor([-1.0, 0.4999 / 255, 0.5001 / 255, 2.0]).view(1, 1, 4).expand(3, 1, 4)
    assert to_pixels(image)[0, :, 0].tolist() == [0, 0, 1, 255]


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(InputError, match="cannot be written"), writing(path) as temporary:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_is_too_long_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be written"), writing(tmp_path / ("x" * 250)) as temporary:
        temporary.write_text("")


def test_a_file_in_place_of_a_folder_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"), writing(tmp_path / "file" / "below.txt"):
        pass


def test_content_hash_is_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert content_hash(tmp_path / "abc") == expected


def test_exif_of_a_jpeg_is_kept_to_the_byte_where_it_needs_no_change(photo, tmp_path):
    tags = exif()
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.MakerNote] = b"secret of the maker"
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", exif=tags.tobytes())
    path = tmp_path / "a.jpg"
    path.write_bytes(buffer.getvalue())
    write_photo(tmp_path / "b.jpg", read_photo(path))
    with Image.open(path) as before, Image.open(tmp_path / "b.jpg") as after:
        assert before.info["exif"] == after.info["exif"]
