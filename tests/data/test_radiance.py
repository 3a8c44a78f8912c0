from dataclasses import replace

import imagecodecs
import numpy as np
import OpenEXR
import pytest
import tifffile
from photo_samples import write_exr

from hdr_lightning.data.files import photo_header, read_photo, to_pixels, to_tensor, write_photo
from hdr_lightning.data.files.tone import ToneCurve
from hdr_lightning.errors import InputError


def light(height=20, width=30, stops=10, seed=0, dtype=np.float32):
    """Noise over so many stops, log-normal as light is."""
    rng = np.random.default_rng(seed)
    return np.exp2(rng.normal(0, stops / 4, (height, width, 3))).astype(dtype)


def read_exr(path):
    with OpenEXR.File(str(path), separate_channels=True, num_threads=0) as file:
        return {name: channel.pixels for name, channel in file.channels().items()}, dict(file.header())


def test_the_curve_is_reinhards_then_that_of_srgb():
    """Against the published formulas in plain numbers: log-average to 0.18, the brightest value to 1."""
    values = light()
    curve = ToneCurve.of(values, "float32")
    luminance = values @ [0.2126, 0.7152, 0.0722]
    x = values.astype(float) * 0.18 / np.exp(np.log(luminance.astype(float)).mean())
    t = x * (1 + x / x.max() ** 2) / (1 + x)
    expected = np.where(t <= 0.0031308, 12.92 * t, 1.055 * t ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(curve.encode(values), expected, atol=1e-6)
    assert curve.encode(values).max() == 1


@pytest.mark.parametrize("stops", [4, 10, 20])
def test_the_curve_can_be_undone(stops):
    """To float32 where it is not flat; towards the brightest values an error of one rounding grows with 1 + x."""
    values = light(stops=stops)
    curve = ToneCurve.of(values, "float32")
    again = curve.decode(curve.encode(values))
    x = values * curve.scale
    assert (np.abs(again / values - 1) <= 4 * np.finfo(np.float32).eps * (1 + x)).all()


def test_it_keeps_the_order_of_light():
    values = np.sort(light(1, 3000, stops=20), axis=None).reshape(1, -1, 3)
    assert (np.diff(ToneCurve.of(values, "float32").encode(values).ravel()) >= 0).all()


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_flat_light(value):
    values = np.full((4, 4, 3), value, np.float32)
    curve = ToneCurve.of(values, "float32")
    assert np.isfinite(curve.encode(values)).all()
    np.testing.assert_allclose(curve.decode(curve.encode(values)), values, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_an_exr_comes_back_with_its_attributes(dtype, tmp_path):
    values = light(dtype=dtype)
    write_exr(tmp_path / "a.exr", {"RGB": values}, owner="Ansel", dataWindow=((10, 5), (39, 24)))
    photo = read_photo(tmp_path / "a.exr")
    assert photo.pixels.dtype == np.float32
    assert photo.pixels.min() >= 0 and photo.pixels.max() == 1
    write_photo(tmp_path / "b.exr", photo)
    channels, header = read_exr(tmp_path / "b.exr")
    again = np.dstack([channels[name] for name in "RGB"])
    assert again.dtype == dtype
    assert header["owner"] == "Ansel"
    assert np.array(header["dataWindow"]).tolist() == [[10, 5], [39, 24]]
    if dtype == np.float16:
        np.testing.assert_array_equal(again, values)
    else:
        np.testing.assert_allclose(again, values, rtol=1e-4)


def test_alpha_and_luminance_of_an_exr(tmp_path):
    values = light()[..., 0].copy()
    write_exr(tmp_path / "a.exr", {"Y": values, "A": np.full_like(values, 0.25)})
    photo = read_photo(tmp_path / "a.exr")
    assert (photo.pixels[..., 0] == photo.pixels[..., 2]).all()
    write_photo(tmp_path / "b.exr", photo)
    channels, _ = read_exr(tmp_path / "b.exr")
    np.testing.assert_allclose(channels["G"], values, rtol=1e-4)
    assert (channels["A"] == 0.25).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("layout", [{}, {"compression": "zlib", "predictor": True}], ids=str)
def test_a_float_tiff_comes_back(dtype, layout, tmp_path):
    values = light(dtype=dtype)
    linear = imagecodecs.cms_profile(
        "rgb", whitepoint=[0.3127, 0.329, 1], primaries=[0.64, 0.33, 1, 0.3, 0.6, 1, 0.15, 0.06, 1], gamma=1.0
    )
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", iccprofile=linear, **layout)
    write_photo(tmp_path / "b.tif", read_photo(tmp_path / "a.tif"))
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        again = file.asarray()
        assert file.pages[0].tags["InterColorProfile"].value == linear
    assert again.dtype == dtype
    np.testing.assert_allclose(again, values, rtol=0 if dtype == np.float16 else 1e-4)


def test_grey_light_with_transparency(tmp_path):
    values = light()[..., :2].copy()
    values[..., 1] = 0.5
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", extrasamples=["unassalpha"])
    write_photo(tmp_path / "b.tif", read_photo(tmp_path / "a.tif"))
    np.testing.assert_allclose(tifffile.imread(tmp_path / "b.tif"), values[..., [0, 0, 0, 1]], rtol=1e-4)


def test_a_brighter_picture_is_brighter_light(tmp_path):
    write_exr(tmp_path / "a.exr", {"RGB": light()})
    photo = read_photo(tmp_path / "a.exr")
    brighter = to_pixels(to_tensor(photo.pixels) * 0.9 + 0.1, np.float32)
    write_photo(tmp_path / "b.exr", replace(photo, pixels=brighter))
    channels, _ = read_exr(tmp_path / "b.exr")
    before = light()
    assert (channels["R"] >= before[..., 0] * 0.999).all()
    assert channels["R"].max() <= before.max() * 1.001


def test_negative_light_is_none(tmp_path):
    values = light()
    values[0, 0] = -0.5
    write_exr(tmp_path / "a.exr", {"RGB": values})
    assert (read_photo(tmp_path / "a.exr").pixels[0, 0] == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("suffix", ["exr", "tif"])
def test_light_that_is_not_finite_is_refused(value, suffix, tmp_path):
    values, path = light(), tmp_path / f"a.{suffix}"
    values[3, 4, 1] = value
    write_exr(path, {"RGB": values}) if suffix == "exr" else tifffile.imwrite(path, values, photometric="rgb")
    with pytest.raises(InputError, match=rf"a\.{suffix}: expected finite light, 1 values"):
        read_photo(path)


def test_light_in_other_primaries_is_refused(tmp_path):
    aces = (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767)
    write_exr(tmp_path / "a.exr", {"RGB": light()}, chromaticities=aces)
    with pytest.raises(InputError, match=r"a\.exr: expected the primaries of Rec. 709"):
        read_photo(tmp_path / "a.exr")


@pytest.mark.parametrize("name", ["srgb", "adobergb"])
def test_numbers_that_are_not_linear_light_are_refused(name, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", light(), photometric="rgb", iccprofile=imagecodecs.cms_profile(name))
    with pytest.raises(InputError, match=r"a\.tif: .* linear light .* to 16 bits"):
        read_photo(tmp_path / "a.tif")


def test_other_channels_are_refused(tmp_path):
    write_exr(tmp_path / "a.exr", {"Z": light()[..., 0].copy()})
    with pytest.raises(InputError, match=r"a\.exr: expected an OpenEXR with the channels"):
        read_photo(tmp_path / "a.exr")


@pytest.mark.parametrize(("dtype", "bits"), [(np.float16, 16), (np.float32, 32)])
def test_the_header_of_an_exr(dtype, bits, tmp_path):
    write_exr(tmp_path / "a.exr", {"RGBA": np.ones((5, 7, 4), dtype)})
    header = photo_header(tmp_path / "a.exr")
    assert (header.height, header.width, header.channels, header.bits) == (5, 7, "RGBA", bits)
    assert header.radiance
