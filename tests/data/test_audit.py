import shutil

import pytest
from PIL import Image

from hdr_lightning.data.audit import check_pairs
from hdr_lightning.data.manifest import read_pairs
from hdr_lightning.errors import InputError


def test_good_pairs_pass(manifest):
    check_pairs(read_pairs(manifest(3)), crop=24)


def test_every_defect_is_named(manifest, capsys):
    path = manifest(6)
    folder = path.parent
    (folder / "0_src.png").unlink()
    (folder / "1_tar.png").write_bytes((folder / "1_tar.png").read_bytes()[:500])
    with Image.open(folder / "2_tar.png") as image:
        image.resize((30, 24)).save(folder / "2_tar.png")
    (folder / "3_src.png").write_text("no photo")
    with pytest.raises(InputError) as error:
        check_pairs(read_pairs(path), crop=None)
    message = str(error.value)
    assert message.startswith("4 of 6 pairs cannot be used:")
    assert "0_src.png: there is no such file" in message
    assert "1_tar.png: the photo cannot be read" in message
    assert "2_src.png is 32 x 24 and its target 2_tar.png 30 x 24: give both the same size" in message
    assert "3_src.png: expected a photo" in message


def test_many_defects_are_counted_not_listed(manifest):
    path = manifest(9)
    for n in range(9):
        (path.parent / f"{n}_src.png").unlink()
    with pytest.raises(InputError, match=r"(?s)9 of 9 pairs.*and 4 more$"):
        check_pairs(read_pairs(path), crop=None)


def test_a_crop_larger_than_a_photo_is_refused(manifest):
    with pytest.raises(
        InputError, match=r"0_src.png is 32 x 24, smaller than the crop of 25: set data.crop to 24 or less"
    ):
        check_pairs(read_pairs(manifest(2)), crop=25)


def test_targets_equal_to_their_sources(manifest):
    path = manifest(3)
    shutil.copy(path.parent / "0_src.png", path.parent / "0_tar.png")
    with pytest.warns(UserWarning, match=r"in 1 of 3 pairs the target equals the source: \['0_src.png'\]"):
        check_pairs(read_pairs(path), crop=None)
    for n in (1, 2):
        shutil.copy(path.parent / f"{n}_src.png", path.parent / f"{n}_tar.png")
    with pytest.raises(InputError, match="in all 3 pairs the target equals the source"):
        check_pairs(read_pairs(path), crop=None)
