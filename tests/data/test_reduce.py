"""Reduced photos against Pillow, which decodes and filters in its own way."""

import io

import numpy as np
import pytest
from photo_samples import swapped_profile
from PIL import Image, ImageOps

from hdr_lightning.data.files import read_photo
from hdr_lightning.data.files.jpeg import decode_jpeg, jpeg_scale
from hdr_lightning.data.files.reduce import reduce, reduced_size
from hdr_lightning.errors import InputError


def scene(height, width, seed=0):
    """A picture with edges and texture, as a photo has them."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 32 + 1, width // 32 + 1, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def written(path, image, **options):
    image.save(path, **options)
    return path


def psnr(a, b):
    return 10 * np.log10(255**2 / (np.mean((a.astype(float) - b.astype(float)) ** 2) + 1e-6))


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_whole_jpegs_have_pillows_pixels(tmp_path, mode, progressive, subsampling):
    options = {"subsampling": subsampling} if mode == "RGB" else {}
    path = written(tmp_path / "a.jpg", scene(97, 131).convert(mode), quality=92, progressive=progressive, **options)
    np.testing.assert_array_equal(read_photo(path).pixels, np.asarray(Image.open(path).convert("RGB")))


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_decoding_at_a_scale_gives_pillows_pixels(tmp_path, scale):
    path = written(tmp_path / "a.jpg", scene(400, 520), quality=92)
    with Image.open(path) as image, Image.open(path) as peer:
        peer.draft("RGB", (520 // scale, 400 // scale))
        np.testing.assert_array_equal(decode_jpeg(image, 400 // scale), np.asarray(peer))


def test_decoding_never_goes_below_the_size_that_is_needed():
    sides = [50, 51, 100, 101, 201, 202, 900]
    assert [jpeg_scale(517, 403, side) for side in sides] == [8, 4, 4, 2, 2, 1, 1]
    assert jpeg_scale(517, 403, None) == 1


@pytest.mark.parametrize(
    ("dtype", "full", "levels"), [(np.uint8, 1, 2), (np.uint16, 257, 0.01), (np.float32, 1 / 255, 0.001)]
)
def test_reducing_is_pillows_bicubic(dtype, full, levels):
    image = scene(403, 517)
    peer = [plane.convert("F").resize((192, 150), Image.Resampling.BICUBIC) for plane in image.split()]
    reduced = reduce((np.asarray(image).astype(float) * full).astype(dtype), 150)
    assert reduced.dtype == dtype
    assert np.abs(reduced / full - np.stack(peer, axis=-1).clip(0, 255)).max() <= levels


@pytest.mark.parametrize("size", [(403, 517), (516, 401), (400, 400), (801, 1203)])
@pytest.mark.parametrize("shorter_side", [48, 100, 150, 399])
def test_a_jpeg_is_reduced_as_a_png_is(tmp_path, size, shorter_side):
    """Where decoding rounds a side up, the picture must not shift or stretch by a part of a pixel."""
    image = scene(*size)
    jpeg = read_photo(written(tmp_path / "a.jpg", image, quality=98, subsampling=0), shorter_side).pixels
    png = read_photo(written(tmp_path / "a.png", image), shorter_side).pixels
    assert jpeg.shape == png.shape == (*reduced_size(*size, shorter_side), 3)
    assert min(jpeg.shape[:2]) == shorter_side
    assert psnr(jpeg, png) > 40


def test_nothing_is_enlarged(tmp_path):
    path = written(tmp_path / "a.jpg", scene(40, 60))
    np.testing.assert_array_equal(read_photo(path, 64).pixels, read_photo(path).pixels)
    np.testing.assert_array_equal(read_photo(path, 40).pixels, read_photo(path).pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shorter_side", [None, 50])
def test_reduced_photos_are_upright(tmp_path, orientation, shorter_side):
    exif = Image.Exif()
    exif[274] = orientation
    image = scene(403, 517)
    path = written(tmp_path / "a.jpg", image, quality=98, subsampling=0, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(path))
    photo = read_photo(path, shorter_side)
    peer = upright.resize(reduced_size(*upright.size, shorter_side), Image.Resampling.BICUBIC)  # width, height
    assert photo.pixels.shape[:2] == peer.size[::-1]
    assert psnr(photo.pixels, np.asarray(peer)) > 40


def test_the_colour_profile_is_converted_on_the_reduced_photo(tmp_path):
    image = scene(403, 517)
    path = written(tmp_path / "a.jpg", image, quality=98, subsampling=0, icc_profile=swapped_profile())
    reduced, whole = read_photo(path, 100), read_photo(path)
    assert reduced.icc == whole.icc != b""
    assert psnr(reduced.pixels, reduce(whole.pixels, 100)) > 40
    assert psnr(reduced.pixels, np.asarray(image.resize((128, 100), Image.Resampling.BICUBIC))) < 20


def test_transparency_is_reduced_along(tmp_path):
    image = scene(40, 60)
    image.putalpha(Image.linear_gradient("L").resize((60, 40)))
    photo = read_photo(written(tmp_path / "a.png", image), 20)
    assert photo.pixels.shape == (20, 30, 3)
    assert photo.alpha.shape == (20, 30)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
@pytest.mark.parametrize("shorter_side", [None, 50, 100])
def test_a_truncated_photo_is_refused_at_every_scale(tmp_path, share, shorter_side):
    path = written(tmp_path / "a.jpg", scene(403, 517), quality=92)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match="missing or damaged"):
        read_photo(path, shorter_side)


def test_a_bomb_is_refused_by_its_header(tmp_path):
    data = bytearray(written(tmp_path / "a.jpg", scene(64, 64)).read_bytes())
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = b"\xff\xf0\xff\xf0"
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(InputError, match="cannot be read"):
        read_photo(tmp_path / "a.jpg", 16)


def test_a_cmyk_jpeg_is_left_to_pillow(tmp_path):
    path = written(tmp_path / "a.jpg", scene(64, 64).convert("CMYK"))
    with Image.open(path) as image:
        assert decode_jpeg(image, 16) is None


def test_a_jpeg_with_a_second_picture_behind_it_gives_the_first(tmp_path):
    first, second = scene(403, 517), scene(64, 64, seed=1)
    buffer = io.BytesIO()
    first.save(buffer, "MPO", save_all=True, append_images=[second], quality=95)
    path = tmp_path / "a.jpg"
    path.write_bytes(buffer.getvalue())
    assert psnr(read_photo(path, 100).pixels, np.asarray(first.resize((128, 100), Image.Resampling.BICUBIC))) > 35


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning", "ignore:.*EXIF.*:UserWarning")
def test_a_damaged_jpeg_gives_a_photo_of_its_size_or_is_refused(tmp_path):
    data = written(tmp_path / "a.jpg", scene(403, 517), quality=85).read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(200):
        flipped = bytearray(data)
        for place in rng.integers(0, rng.choice([700, len(data)]), 3):
            flipped[place] = rng.integers(256)
        (tmp_path / "a.jpg").write_bytes(flipped)
        try:
            photo = read_photo(tmp_path / "a.jpg", 50)
        except InputError:
            outcomes.add("refused")
            continue
        outcomes.add("read")
        with Image.open(tmp_path / "a.jpg") as image:
            sizes = {reduced_size(*image.size[::-1], 50), reduced_size(*image.size, 50)}
        assert photo.pixels.shape[:2] in sizes
    assert outcomes == {"read", "refused"}
