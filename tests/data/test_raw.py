import sys

import numpy as np
import pytest
from photo_samples import noise, write_dng
from PIL import ExifTags, Image

from hdr_lightning.data.files import output_name, photo_header, read_photo, write_photo
from hdr_lightning.errors import InputError

LIGHT = np.array([10000, 20000, 5000])  # red, green, blue


@pytest.fixture
def mosaic():
    pixels = np.empty((64, 96), np.uint16)
    pixels[0::2, 0::2], pixels[0::2, 1::2] = LIGHT[0], LIGHT[1]
    pixels[1::2, 0::2], pixels[1::2, 1::2] = LIGHT[1], LIGHT[2]
    return pixels


def test_a_raw_is_developed_to_what_the_sensor_saw(mosaic, tmp_path):
    """A flat colour: the light in the mosaic under the curve of sRGB."""
    pytest.importorskip("rawpy")
    write_dng(tmp_path / "a.dng", mosaic)
    photo = read_photo(tmp_path / "a.dng")
    light = LIGHT / 65535
    expected = 65535 * (1.055 * light ** (1 / 2.4) - 0.055)
    assert photo.pixels.dtype == np.uint16
    assert np.abs(photo.pixels - expected).max() < 20


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_raw_stands_upright(orientation, mosaic, tmp_path):
    pytest.importorskip("rawpy")
    mosaic[:20, :20] = 0  # the upper left corner of the sensor
    write_dng(tmp_path / "a.dng", mosaic, orientation)
    header, photo = photo_header(tmp_path / "a.dng"), read_photo(tmp_path / "a.dng")
    assert (header.height, header.width) == photo.pixels.shape[:2] == ((64, 96) if orientation < 5 else (96, 64))
    assert (header.format, header.bits, header.orientation) == ("RAW", 16, orientation)
    corner = {1: (0, 0), 3: (-1, -1), 6: (0, -1), 8: (-1, 0)}[orientation]
    assert photo.pixels[corner].max() == 0
    assert sum(int(photo.pixels[y, x].max() == 0) for y in (0, -1) for x in (0, -1)) == 1


def test_a_raw_is_written_as_a_deep_tiff_with_its_exif(mosaic, tmp_path):
    pytest.importorskip("rawpy")
    write_dng(tmp_path / "a.dng", mosaic, 6)
    photo = read_photo(tmp_path / "a.dng")
    out = output_name(tmp_path / "a.dng")
    assert out.name == "a.tif"
    write_photo(out, photo)
    np.testing.assert_array_equal(read_photo(out).pixels, photo.pixels)
    with Image.open(out) as image:
        assert image.getexif()[ExifTags.Base.Model] == "Pinhole"
        assert image.getexif().get(ExifTags.Base.Orientation, 1) == 1
        assert ExifTags.Base.DNGVersion not in image.getexif()


def test_without_the_extra_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rawpy", None)
    write_dng(tmp_path / "a.dng", noise(16, 16))
    for read in (photo_header, read_photo):
        with pytest.raises(InputError, match=r"a\.dng: RAW files need the extra `raw`: pip install"):
            read(tmp_path / "a.dng")


@pytest.mark.parametrize("suffix", ["dng", "cr2", "nef", "arw"])
def test_what_is_no_raw_is_refused(suffix, tmp_path):
    pytest.importorskip("rawpy")
    (tmp_path / f"a.{suffix}").write_bytes(b"hello" * 1000)
    with pytest.raises(InputError, match=rf"a\.{suffix}: the RAW file cannot be read"):
        read_photo(tmp_path / f"a.{suffix}")
