import shutil

import numpy as np
import pytest
import torch
from conftest import TINY
from PIL import ExifTags, Image
from torch._subclasses.fake_tensor import FakeTensor

from hdr_lightning.cli import main
from hdr_lightning.data.files import read_photo, to_pixels, to_tensor
from hdr_lightning.errors import InputError
from hdr_lightning.generators import Generator, NAFNet
from hdr_lightning.generators.loading import find_checkpoint, load_generator
from hdr_lightning.inference import Enhancer


def enhance(*photos, checkpoint, output, **options):
    words = [f"--{name}={value}" for name, value in options.items()]
    return main(["enhance", *map(str, photos), "--checkpoint", str(checkpoint), "--output", str(output), *words])


def refusal(capsys, *photos, code=2, **options):
    with pytest.raises(SystemExit) as leave:
        enhance(*photos, **options)
    assert leave.value.code == code
    return capsys.readouterr().err


def photos_in(folder):
    """Names of the photos of an output folder."""
    return [path.name for path in folder.iterdir() if path.suffix != ".jsonl"]


def test_a_photo_of_any_size_is_what_the_generator_makes_of_it(checkpoint, photo, tmp_path):
    generator = load_generator(checkpoint)
    for height, width in ((1, 1), (5, 7), (31, 64)):
        path = photo(f"{height}.png", height, width)
        (written,) = enhance(path, checkpoint=checkpoint, output=tmp_path / "out")
        result = read_photo(written).pixels
        assert result.shape == (height, width, 3)
        if height % 2 == width % 2 == 0:
            with torch.inference_mode():
                expected = to_pixels(generator(to_tensor(read_photo(path).pixels)[None])[0])
            np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_name_format_exif_and_profile_are_kept(suffix, checkpoint, photo, tmp_path):
    tags = Image.Exif()
    tags[ExifTags.Base.Model] = "Pinhole"
    tags[ExifTags.Base.Orientation] = 6
    icc = pytest.importorskip("PIL.ImageCms")
    profile = icc.ImageCmsProfile(icc.createProfile("sRGB")).tobytes()
    path = photo(f"photo.{suffix}", 20, 30, exif=tags, icc_profile=profile)
    before = path.read_bytes()
    (written,) = enhance(path, checkpoint=checkpoint, output=tmp_path / "out")
    assert written == tmp_path / "out" / path.name
    with Image.open(path) as old, Image.open(written) as new:
        assert new.format == old.format
        assert new.size == (20, 30)  # upright now
        assert new.getexif()[ExifTags.Base.Model] == "Pinhole"
        assert new.getexif().get(ExifTags.Base.Orientation, 1) == 1
        assert new.info["icc_profile"] == profile
    assert path.read_bytes() == before


def test_folders_keep_their_structure(checkpoint, photo, tmp_path):
    for name in ("house/a.png", "house/upper floor/b.png"):
        photo(name)
    enhance(tmp_path / "house", checkpoint=checkpoint, output=tmp_path / "house" / "enhanced")
    enhance(tmp_path / "house", checkpoint=checkpoint, output=tmp_path / "house" / "enhanced", overwrite="true")
    written = {str(p.relative_to(tmp_path / "house")) for p in (tmp_path / "house" / "enhanced").rglob("*.png")}
    assert written == {"enhanced/a.png", "enhanced/upper floor/b.png"}


def test_hidden_files_of_a_folder_are_no_photos_unless_they_are_named(checkpoint, photo, tmp_path):
    photo("in/a.png")
    (tmp_path / "in" / "._a.png").write_bytes(b"what macOS leaves")
    hidden = photo("in/.b.png")
    enhance(tmp_path / "in", checkpoint=checkpoint, output=tmp_path / "out")
    assert photos_in(tmp_path / "out") == ["a.png"]
    enhance(hidden, checkpoint=checkpoint, output=tmp_path / "out")
    assert (tmp_path / "out" / ".b.png").is_file()


def test_a_run_or_a_folder_of_runs_stands_for_its_best_checkpoint(checkpoint, tmp_path):
    run = checkpoint.parents[1]
    assert find_checkpoint(checkpoint) == find_checkpoint(run) == find_checkpoint(run.parent) == checkpoint
    with pytest.raises(InputError, match="no run below this folder"):
        find_checkpoint(tmp_path)


def test_the_checkpoint_alone_is_enough(checkpoint, tmp_path):
    alone = shutil.copy(checkpoint, tmp_path / "model.ckpt")
    generator = load_generator(alone)
    assert isinstance(generator, NAFNet)
    assert not generator.training
    stored = torch.load(checkpoint, weights_only=True)["state_dict"]
    for name, value in generator.state_dict().items():
        assert torch.equal(value, stored[f"generator.{name}"])


class TestRefused:
    def test_onto_itself(self, checkpoint, photo, capsys):
        path = photo()
        before = path.read_bytes()
        err = refusal(capsys, path, checkpoint=checkpoint, output=path.parent, overwrite="true")
        assert "would be written onto itself" in err
        assert path.read_bytes() == before

    def test_onto_another_photo(self, checkpoint, photo, tmp_path, capsys):
        path, other = photo("a.png"), photo("out/a.png", seed=1)
        before = other.read_bytes()
        assert "is there already" in refusal(capsys, path, checkpoint=checkpoint, output=tmp_path / "out")
        assert other.read_bytes() == before
        enhance(path, checkpoint=checkpoint, output=tmp_path / "out", overwrite="true")
        assert other.read_bytes() != before

    def test_two_photos_of_one_name(self, checkpoint, photo, tmp_path, capsys):
        err = refusal(capsys, photo("a/x.png"), photo("b/x.png"), checkpoint=checkpoint, output=tmp_path / "out")
        assert "would both become" in err
        assert not (tmp_path / "out").exists()

    def test_a_missing_photo(self, checkpoint, tmp_path, capsys):
        err = refusal(capsys, tmp_path / "none.jpg", checkpoint=checkpoint, output=tmp_path / "out")
        assert "none.jpg: there is no such photo or folder" in err

    def test_a_damaged_photo_does_not_stop_the_others(self, checkpoint, photo, tmp_path, capsys):
        good, bad = photo("good.png"), photo("bad.png")
        bad.write_bytes(bad.read_bytes()[:200])
        err = refusal(capsys, bad, good, code=1, checkpoint=checkpoint, output=tmp_path / "out")
        assert "1 of 2 photos were not enhanced" in err
        assert "bad.png: the photo cannot be read" in err
        assert photos_in(tmp_path / "out") == ["good.png"]

    def test_a_name_that_is_too_long_does_not_stop_the_others(self, checkpoint, photo, tmp_path, capsys):
        """The longest that a file may have leaves no room for the name that is written first."""
        long = photo(f"{'a' * 251}.png")
        err = refusal(capsys, long, photo("good.png"), code=1, checkpoint=checkpoint, output=tmp_path / "out")
        assert "1 of 2 photos were not enhanced" in err
        assert "cannot be written" in err
        assert photos_in(tmp_path / "out") == ["good.png"]

    def test_an_output_that_is_a_file(self, checkpoint, photo, tmp_path, capsys):
        (tmp_path / "out").write_text("")
        assert "is a file" in refusal(capsys, photo(), checkpoint=checkpoint, output=tmp_path / "out")

    def test_a_folder_onto_itself(self, checkpoint, photo, tmp_path, capsys):
        path = photo("in/a.png")
        before = path.read_bytes()
        err = refusal(capsys, path.parent, checkpoint=checkpoint, output=path.parent, overwrite="true")
        assert "would be written onto itself" in err
        assert path.read_bytes() == before
        enhance(path.parent, checkpoint=checkpoint, output=tmp_path)  # its parent is another folder
        assert (tmp_path / "a.png").is_file()

    def test_a_module_that_is_not_there(self, checkpoint, photo, tmp_path, capsys):
        err = refusal(capsys, photo(), checkpoint=checkpoint, output=tmp_path / "out", modules="[nosuch]")
        assert "--modules nosuch: cannot be imported" in err
        assert not (tmp_path / "out").exists()

    def test_a_device_that_is_not_there(self, checkpoint, photo, tmp_path, capsys):
        if torch.backends.mps.is_available():
            pytest.skip("this machine has one")
        err = refusal(capsys, photo(), checkpoint=checkpoint, output=tmp_path / "out", device="mps")
        assert "there is none on this machine" in err

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "there is no such checkpoint"),
            (b"", "damaged or no checkpoint"),
            (b"hello world", "damaged or no checkpoint"),
        ],
    )
    def test_what_is_no_checkpoint(self, content, message, photo, tmp_path, capsys):
        path = tmp_path / "model.ckpt"
        if content is not None:
            path.write_bytes(content)
        err = refusal(capsys, photo(), checkpoint=path, output=tmp_path / "out")
        assert message in err
        assert not (tmp_path / "out").exists()

    def test_a_truncated_checkpoint(self, checkpoint, photo, tmp_path, capsys):
        path = tmp_path / "model.ckpt"
        path.write_bytes(checkpoint.read_bytes()[:5000])
        assert "damaged or no checkpoint" in refusal(capsys, photo(), checkpoint=path, output=tmp_path / "out")


class Malicious:
    def __reduce__(self):
        return (exec, ("import pathlib; pathlib.Path('pwned').touch()",))


class TestHostileCheckpoints:
    def change(self, checkpoint, tmp_path, **changes):
        content = torch.load(checkpoint, weights_only=True)
        content.update(changes)
        path = tmp_path / "model.ckpt"
        torch.save(content, path)
        return path

    def test_code_in_it_never_runs(self, checkpoint, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        path = self.change(checkpoint, tmp_path, extra=Malicious())
        with pytest.raises(InputError, match="holds Python objects, which could run code"):
            load_generator(path)
        assert not (tmp_path / "pwned").exists()

    def test_nor_under_test_and_fit(self, checkpoint, demo, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        path = self.change(checkpoint, tmp_path, extra=Malicious())
        for verb in ("test", "fit"):
            with pytest.raises(SystemExit) as leave:
                main([verb, *TINY, f"--data.pairs={demo}", f"--ckpt_path={path}"])
            assert leave.value.code == 2
        assert not (tmp_path / "pwned").exists()

    @pytest.mark.parametrize(
        "name", ["subprocess.Popen", "torch.nn.Linear", "hdr_lightning.enhance.enhance", "nosuch.Net"]
    )
    def test_only_generators_are_built(self, checkpoint, tmp_path, name):
        path = self.change(
            checkpoint, tmp_path, hyper_parameters={"generator": {"class_path": name, "init_args": {"args": "true"}}}
        )
        with pytest.raises(InputError, match=rf"its generator {name} is not part of this package"):
            load_generator(path)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"hyper_parameters": {}}, "does not say which generator"),
            ({"state_dict": {}}, "weights do not fit"),
            (
                {
                    "hyper_parameters": {
                        "generator": {"class_path": "hdr_lightning.generators.NAFNet", "init_args": {"x": 1}}
                    }
                },
                "cannot be built from the checkpoint's arguments",
            ),
        ],
    )
    def test_what_does_not_fit_is_told(self, checkpoint, tmp_path, changes, message):
        with pytest.raises(InputError, match=message):
            load_generator(self.change(checkpoint, tmp_path, **changes))

    def test_another_layout_is_told(self, tmp_path):
        torch.save({"params": {}}, tmp_path / "model.pth")
        with pytest.raises(InputError, match="this file has another layout"):
            load_generator(tmp_path / "model.pth")


def test_a_generator_of_your_own_is_imported_when_named(checkpoint, tmp_path, monkeypatch):
    (tmp_path / "my_lab.py").write_text("from hdr_lightning.generators import NAFNet\nclass MyNet(NAFNet):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"]["generator"]["class_path"] = "my_lab.MyNet"
    torch.save(content, tmp_path / "model.ckpt")
    with pytest.raises(InputError, match="name the module that defines it with --modules"):
        load_generator(tmp_path / "model.ckpt")
    assert type(load_generator(tmp_path / "model.ckpt", ["my_lab"])).__name__ == "MyNet"


class Broken(Generator):
    def __init__(self, value):
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(value))

    def forward(self, image):
        return image * self.value


def enhancer(value):
    return Enhancer([Broken(value)], torch.device("cpu"))


def test_an_output_that_is_not_finite_is_refused():
    with pytest.raises(InputError, match="values are not finite"):
        enhancer(torch.nan).edit(torch.rand(3, 24, 32))


def test_too_little_memory_is_told(monkeypatch):
    def fail(_, image):
        if isinstance(image, FakeTensor):  # what is needed is counted
            return 1 * image
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Broken, "forward", fail)
    with pytest.raises(InputError, match="32 x 24 pixels .*do not fit the memory of cpu"):
        enhancer(1.0).edit(torch.rand(3, 24, 32))
