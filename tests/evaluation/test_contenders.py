"""What takes part in an evaluation is told apart, named, and matched to the photos."""

from pathlib import Path

import pytest
import torch

from hdr_lightning.errors import InputError
from hdr_lightning.evaluation.contenders import Pictures, is_pictures, name_contenders
from hdr_lightning.evaluation.results import Contender, EvaluatedPhoto, Evaluation
from hdr_lightning.evaluation.table import Measured, Row, tabulate


def names(*paths):
    return [each.name for each in name_contenders([Path(path) for path in paths])]


def test_names_are_the_shortest_that_differ():
    assert names("runs/nafnet", "theirs/photoshop") == ["nafnet", "photoshop"]
    assert names("runs/fit_0/checkpoints/best.ckpt", "runs/fit_0/checkpoints/last.ckpt") == ["fit_0", "last"]
    assert names("a/x.ckpt", "b/x.ckpt", "c/y.onnx") == ["a/x", "b/x", "y"]
    assert names("new=a/x.ckpt", "b/x.ckpt") == ["new", "b/x"]


@pytest.mark.parametrize("given", [("a/x", "a/x"), ("x=a", "x=b"), ("source=a",), ("runs/source",)])
def test_names_that_would_be_shared_are_refused(given):
    with pytest.raises(InputError, match="give it a name of its own as NAME=PATH"):
        names(*given)


def test_a_folder_with_a_network_is_none_of_pictures(photo, tmp_path):
    photo("made/a.png")
    photo("run/pictures/epoch_0.png")
    (tmp_path / "run" / "checkpoints").mkdir()
    (tmp_path / "run" / "checkpoints" / "best.ckpt").write_bytes(b"")
    assert is_pictures(tmp_path / "made")
    assert not is_pictures(tmp_path / "run")
    assert not is_pictures(tmp_path / "made" / "a.png")
    assert not is_pictures(tmp_path / "nowhere")


def test_pictures_are_found_by_name_whatever_their_format_and_folder(photo, tmp_path):
    photo("made/one.jpg", height=20)
    photo("made/input/two.png", height=21)
    photo("made/two.png", height=22)
    pictures = Pictures(tmp_path / "made", ["input/one.tif", "input/two.jpg", "three.png"])
    source = torch.zeros(3, 9, 9)
    assert pictures.picture("input/one.tif", source).shape == (3, 20, 32)
    assert pictures.picture("input/two.jpg", source).shape == (3, 21, 32)
    with pytest.raises(InputError, match="made holds no picture called three"):
        pictures.picture("three.png", source)


def test_pictures_that_cannot_be_matched_are_refused(photo, tmp_path):
    photo("made/one.png")
    with pytest.raises(InputError, match="none of its 1 pictures is called like a photo, such as two.png"):
        Pictures(tmp_path / "made", ["two.png"])
    with pytest.raises(InputError, match="would be the picture of a/one.png and of b/one.png"):
        Pictures(tmp_path / "made", ["a/one.png", "b/one.png"])
    photo("made/one.jpg")
    with pytest.raises(InputError, match="are pictures of one photo by their names"):
        Pictures(tmp_path / "made", ["one.png"])


def test_rows_become_an_evaluation_that_its_file_holds(tmp_path):
    """A photo at fault has no values, whatever was measured; what is not a number is nothing."""
    photos = [EvaluatedPhoto("a", "hall", 30, 20), EvaluatedPhoto("b", "hall", 30, 20)]
    sound = Measured({"psnr": 20.0, "psnr_inside": float("nan")})
    rows = [
        Row(photos[0], {"source": sound, "ours": Measured({"psnr": 25.0, "psnr_inside": 22.0})}),
        Row(photos[1], {"source": sound, "ours": Measured({"psnr": 30.0}, "broken")}),
    ]
    contenders = [Contender("source"), Contender("ours", "runs/a", "NAFNet")]
    found = tabulate("ours", contenders, ["psnr", "psnr_inside"], rows, facts={"date": "today"})
    assert found.values == {
        "source": {"psnr": [20.0, 20.0], "psnr_inside": [None, None]},
        "ours": {"psnr": [25.0, None], "psnr_inside": [22.0, None]},
    }
    assert found.faults == {"ours": {"b": "broken"}}
    path = tmp_path / "evaluation.json"
    path.write_text(found.to_json())
    assert Evaluation.from_json(path) == found
