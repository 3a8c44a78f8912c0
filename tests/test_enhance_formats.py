"""`enhance` and `predict` give back what they were given: format, depth, profile, EXIF, XMP, transparency, light."""

import imagecodecs
import numpy as np
import OpenEXR
import pytest
import tifffile
import torch
from conftest import TINY
from photo_samples import exif, noise, write_dng, write_exr
from PIL import ExifTags, Image

from hdr_lightning.cli import main
from hdr_lightning.data.files import Photo, read_photo, to_pixels, to_tensor, write_photo
from hdr_lightning.generators.loading import load_generator

XMP = b"<x:xmpmeta>Ansel</x:xmpmeta>"


def write_photos(folder):
    folder.mkdir()
    icc = imagecodecs.cms_profile("adobergb")
    for name, file_format in (("a.png", "PNG"), ("b.tif", "TIFF")):
        pixels = noise(24, 32, 3) // 2 + 16384  # mild colours, inside of sRGB
        write_photo(folder / name, Photo(pixels, file_format, exif().tobytes(), icc, XMP, noise(24, 32, seed=1)))
    write_exr(folder / "c.exr", {"RGB": (noise(24, 32, 3) / 1000).astype(np.float32)}, owner="Ansel")
    return folder


def enhanced(verb, folder, checkpoint, output):
    if verb == "enhance":
        main(["enhance", str(folder), "--checkpoint", str(checkpoint), "--output", str(output)])
        return output
    words = [f"--ckpt_path={checkpoint}", f"--data.photos={folder}", f"--trainer.default_root_dir={output}"]
    return main(["predict", *TINY, *words]) / "photos"


@pytest.mark.parametrize("verb", ["enhance", "predict"])
def test_all_but_the_pixels_is_kept(verb, checkpoint, tmp_path):
    folder = write_photos(tmp_path / "in")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    output = enhanced(verb, folder, checkpoint, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert {path.name for path in output.iterdir()} - {"journal.jsonl"} == before.keys()
    generator = load_generator(checkpoint)
    for name in ("a.png", "b.tif"):
        source, result = read_photo(folder / name), read_photo(output / name)
        assert result.pixels.dtype == np.uint16
        with torch.inference_mode():
            expected = to_pixels(generator(to_tensor(source.pixels)[None])[0], np.uint16)
        assert np.abs(result.pixels.astype(int) - expected).max() < 257  # two roundings through Adobe RGB
        assert np.abs(result.pixels.astype(int) - expected).mean() < 4
        assert np.unique(result.pixels).size > 500
        np.testing.assert_array_equal(result.alpha, source.alpha)
        assert (result.icc, result.xmp) == (source.icc, XMP)
        with Image.open(output / name) as image:
            assert image.getexif()[ExifTags.Base.Model] == "Pinhole"
            assert image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FNumber] == 8
    with OpenEXR.File(str(output / "c.exr"), num_threads=0) as file:
        assert file.header()["owner"] == "Ansel"
        assert file.channels()["RGB"].pixels.max() > 2


def test_16_bits_are_not_rounded_to_8_on_the_way(checkpoint, tmp_path):
    """Without a profile the file holds, to the bit, what the generator makes of all 65536 levels."""
    ramp = np.arange(32 * 64 * 3, dtype=np.uint16).reshape(32, 64, 3) * 10
    write_photo(tmp_path / "a.tif", Photo(ramp, "TIFF", b"", b""))
    output = enhanced("enhance", tmp_path / "a.tif", checkpoint, tmp_path / "out")
    with torch.inference_mode():
        expected = to_pixels(load_generator(checkpoint)(to_tensor(ramp)[None])[0], np.uint16)
    np.testing.assert_array_equal(tifffile.imread(output / "a.tif"), expected)
    assert (expected % 257 != 0).any()


@pytest.mark.parametrize("verb", ["enhance", "predict"])
def test_a_raw_becomes_a_deep_tiff_and_is_told(verb, checkpoint, tmp_path, capsys):
    pytest.importorskip("rawpy")
    (tmp_path / "in").mkdir()
    write_dng(tmp_path / "in" / "a.dng", noise(32, 48))
    output = enhanced(verb, tmp_path / "in", checkpoint, tmp_path / "out")
    assert {path.name for path in output.iterdir()} - {"journal.jsonl"} == {"a.tif"}
    assert read_photo(output / "a.tif").pixels.dtype == np.uint16
    if verb == "enhance":
        assert "1 of them are RAW and become TIFFs with 16 bits" in capsys.readouterr().out


def test_a_raw_and_a_tiff_of_one_name_are_refused(checkpoint, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    write_dng(tmp_path / "in" / "a.dng", noise(32, 48))
    tifffile.imwrite(tmp_path / "in" / "a.tif", noise(8, 8, 3), photometric="rgb")
    with pytest.raises(SystemExit):
        enhanced("enhance", tmp_path / "in", checkpoint, tmp_path / "out")
    assert "would both become" in capsys.readouterr().err
