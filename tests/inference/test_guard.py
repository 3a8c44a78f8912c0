"""The guard lets through what editors do to photos, and refuses what broken networks do."""

import json

import numpy as np
import pytest
import torch
from conftest import smooth
from torch.nn import functional as F

from hdr_lightning.cli import main
from hdr_lightning.data.files import read_photo, to_pixels, to_tensor
from hdr_lightning.errors import InputError
from hdr_lightning.generators import Generator
from hdr_lightning.generators.loading import load_generator
from hdr_lightning.inference import Editing, Enhancer
from hdr_lightning.inference.guard import look, refuse_absurd


def blocks(size=16, shape=(192, 256)):
    """Random coloured blocks."""
    colours = torch.rand(1, 3, *(length // size for length in shape), generator=torch.Generator().manual_seed(0))
    return F.interpolate(colours, size=shape, mode="nearest")


def flat(value):
    return torch.full((1, 3, 192, 256), value)


PHOTO = smooth(0, (192, 256))

EDITS = {
    "nothing": lambda x: x,
    "brighter": lambda x: 1.2 * x,
    "darker": lambda x: x / 3,
    "gamma": lambda x: x.clamp(min=1e-6) ** 0.3,
    "black and white": lambda x: x.mean(dim=1, keepdim=True).expand_as(x),
    "another white": lambda x: x * torch.tensor([1.2, 1.0, 0.7]).view(3, 1, 1),
    "noise": lambda x: x + 0.01 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)),
    "blur": lambda x: F.avg_pool2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), 5, stride=1),
}


SOURCES = {
    "photo": PHOTO,
    "dark": 0.05 * PHOTO,
    "bright": 0.9 + 0.1 * PHOTO,
    "black and white": PHOTO.mean(dim=1, keepdim=True).expand_as(PHOTO),
    "black": flat(0.0),
    "white": flat(1.0),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_edits_pass(edit, source):
    refuse_absurd(edit(source).clamp(-0.2, 1.2), source)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 500), (9, 2)])
def test_small_and_thin_photos_pass(size):
    picture = torch.rand(1, 3, *size)
    refuse_absurd(picture * 0.8, picture)


@pytest.mark.parametrize(
    ("source", "result", "reason"),
    [
        (PHOTO, PHOTO.index_fill(3, torch.tensor([5]), torch.nan), "576 of its values are not finite"),
        (PHOTO, PHOTO * 3 - 1, "of its values are beyond"),
        (PHOTO, 1 - PHOTO, "its structure agrees with the photo's to -1"),
        (PHOTO, smooth(1, (192, 256)), "its structure agrees with the photo's to"),
        (PHOTO, torch.rand(1, 3, 192, 256), "its structure agrees with the photo's to"),
        (PHOTO, PHOTO.flip(-1), "its structure agrees with the photo's to"),
        (PHOTO, blocks(), "its structure agrees with the photo's to"),
        *(
            (flat(value), blocks(size), "where the photo is flat it varies by")
            for value in (0.0, 0.02, 0.5, 1.0)
            for size in (8, 64)
        ),
        (0.01 * PHOTO, blocks(), "where the photo is flat it varies by"),
    ],
)
def test_what_is_no_edit_is_refused_by_name(source, result, reason):
    with pytest.raises(InputError, match=reason):
        refuse_absurd(result, source)


def damaged(checkpoint):
    """The network of a checkpoint after a wrong turn of its training."""
    network = load_generator(checkpoint)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return network


@pytest.mark.parametrize("source", [PHOTO, 0.05 * PHOTO, flat(0.5)], ids=["photo", "dark", "flat"])
def test_a_damaged_network_is_refused(checkpoint, source):
    network = damaged(checkpoint)
    with pytest.raises(InputError, match="--guard=false"):
        Enhancer([network], torch.device("cpu")).edit(source[0])
    written = Enhancer([network], torch.device("cpu"), Editing(guard=False)).edit(source[0]).image
    assert written.isfinite().all()


def test_enhance_refuses_by_name_and_writes_when_told(checkpoint, photo, tmp_path, capsys):
    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"] = {name: value * torch.nan for name, value in content["state_dict"].items()}
    torch.save(content, tmp_path / "broken.ckpt")
    words = ["enhance", str(photo()), "--checkpoint", str(tmp_path / "broken.ckpt"), "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as leave:
        main(words)
    assert leave.value.code == 1
    assert "photo.png: the result cannot be an edit of the photo: 2304 of its values are not" in capsys.readouterr().err
    assert not (tmp_path / "out" / "photo.png").exists()
    main([*words, "--guard=false"])
    assert read_photo(tmp_path / "out" / "photo.png").pixels.shape == (24, 32, 3)


@pytest.mark.parametrize("folder", ["brackets", "brackets_val", "rooms_cc0"])
def test_real_edits_pass_with_room_to_spare(shared, folder):
    """Targets against their sources, some of each data set; all of them in docs/enhancing.md."""
    rows = [json.loads(line) for line in (shared / folder / "pairs.jsonl").read_text().splitlines()]
    for row in rows[:: max(1, len(rows) // 6)]:
        source, target = (to_tensor(read_photo(shared / folder / row[key], 256).pixels)[None] for key in ("src", "tar"))
        signs = look(target, source)
        assert signs.outside == signs.broken == 0
        assert signs.likeness > 0.75
        assert signs.invented < 0.2


class NotANumber(Generator):
    """Stands for a network of which some values are broken."""

    def forward(self, image):
        return image.index_fill(3, torch.tensor([3]), torch.nan)


def test_an_output_that_is_written_all_the_same_holds_numbers():
    """NaN has no place in a file."""
    image = Enhancer([NotANumber()], torch.device("cpu"), Editing(guard=False, sharpen=0.5)).edit(PHOTO[0]).image
    assert to_pixels(image).dtype == np.uint8
    assert image.isfinite().all()
