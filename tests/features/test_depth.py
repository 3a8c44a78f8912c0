"""Depth by a model: against the pipeline of transformers, and through every verb."""

import json
import sys

import numpy as np
import pytest
import torch
from conftest import TINY, smooth
from photo_tables import measured

from hdr_lightning.cli import main
from hdr_lightning.data.augment import CropFlip, Mix
from hdr_lightning.data.depth_maps import DepthMaps
from hdr_lightning.data.files import read_photo, to_pixels, to_tensor
from hdr_lightning.data.manifest import read_pairs
from hdr_lightning.data.pairs import Draw, PairDataset
from hdr_lightning.errors import InputError
from hdr_lightning.features import depth as depth_module
from hdr_lightning.features.depth import DepthModel, enlarge
from hdr_lightning.generators import FeatureGuided, NAFNet, edit

CPU = torch.device("cpu")
NAF = {"width": 4, "encoder_blocks": (1,), "middle_blocks": 1, "decoder_blocks": (1,)}


@pytest.fixture(scope="module")
def dpt(tmp_path_factory):
    """A model of another family, whose processor does not keep the aspect ratio."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    config = transformers.DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=8,
        is_hybrid=False,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
    )
    folder = tmp_path_factory.mktemp("dpt")
    transformers.DPTForDepthEstimation(config).save_pretrained(folder)
    transformers.DPTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", ["depth_model", "dpt"])
def test_depth_is_that_of_the_pipeline_of_transformers(family, request):
    """But for its scale: from 0 to 1 over the photo, at the resolution of the model."""
    from PIL import Image
    from transformers import pipeline

    folder = request.getfixturevalue(family)
    image = smooth(3, (60, 92))
    found = DepthModel(str(folder))(image)[0, 0].numpy()
    with Image.fromarray(to_pixels(image[0])) as picture:
        peer = pipeline("depth-estimation", model=str(folder), device="cpu")
        whole = peer(picture)["predicted_depth"].numpy()
        inputs = peer.image_processor(picture, return_tensors="pt")
    with torch.no_grad():
        raw = peer.model(**inputs).predicted_depth.numpy()
    expected = ((whole - raw.min()) / (raw.max() - raw.min())).clip(0, 1)
    assert found.std() > 0.02
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_window_of_the_depth_is_part_of_the_whole():
    depth = torch.rand(1, 1, 14, 21)
    whole = enlarge(depth, 60, 100)
    for rows, columns in (
        (slice(0, 16), slice(0, 16)),
        (slice(44, 60), slice(84, 100)),
        (slice(13, 29), slice(50, 66)),
    ):
        part = enlarge(depth, 60, 100, (rows, columns))
        torch.testing.assert_close(part, whole[..., rows, columns], atol=1e-5, rtol=0)


def test_distances_are_turned_over_so_that_near_is_one(depth_model, monkeypatch):
    image = smooth(3, (60, 92))
    near = DepthModel(str(depth_model))(image)
    with pytest.raises(InputError, match="gives relative depth: set depth_metric to False"):
        DepthModel(str(depth_model), metric=True).load()
    _, network = DepthModel(str(depth_model)).load()
    monkeypatch.setattr(network.config, "depth_estimation_type", "metric")
    torch.testing.assert_close(DepthModel(str(depth_model), metric=True)(image), 1 - near, atol=1e-5, rtol=0)


def test_a_flat_depth_is_zero_and_a_broken_one_refused(depth_model, monkeypatch):
    _, network = DepthModel(str(depth_model)).load()
    for value in (0.0, torch.nan):
        monkeypatch.setattr(network.head.conv3.weight, "data", torch.full_like(network.head.conv3.weight, value))
        monkeypatch.setattr(network.head.conv3.bias, "data", torch.zeros_like(network.head.conv3.bias))
        if value == 0:
            assert not DepthModel(str(depth_model))(smooth(0)).any()
        else:
            with pytest.raises(InputError, match="values that are not finite"):
                DepthModel(str(depth_model))(smooth(0))


def test_a_model_that_is_not_there_is_told_without_the_network(tmp_path):
    with pytest.raises(InputError, match="nobody/nothing .* fetch it first with `hf download nobody/nothing`"):
        DepthModel("nobody/nothing").load()
    with pytest.raises(InputError, match="give a folder with a depth model"):
        DepthModel(str(tmp_path)).load()


def test_without_transformers_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"pip install 'hdr-lightning\[depth\]'"):
        DepthModel("some/model").load()


def test_other_weights_have_another_fingerprint(depth_model, dpt, monkeypatch):
    first = DepthModel(str(depth_model)).fingerprint
    assert first != DepthModel(str(dpt)).fingerprint
    depth_module._fingerprint.cache_clear()
    assert DepthModel(str(depth_model)).fingerprint == first
    depth_module._fingerprint.cache_clear()
    _, network = DepthModel(str(depth_model)).load()
    monkeypatch.setattr(network.head.conv3.bias, "data", network.head.conv3.bias.data + 1e-3)
    assert DepthModel(str(depth_model)).fingerprint != first
    depth_module._fingerprint.cache_clear()


class TestMaps:
    @pytest.fixture
    def model(self, depth_model):
        return DepthModel(str(depth_model))

    def test_they_are_computed_once_for_each_content(self, model, photo, tmp_path, monkeypatch):
        maps = DepthMaps.of(model, tmp_path / "depth")
        photos = [photo("a.png", seed=1), photo("b.png", seed=2), photo("twin.png", seed=1)]
        maps.build(photos, model, CPU)
        assert len(list(maps.folder.iterdir())) == 2
        with monkeypatch.context() as patch:
            patch.setattr(DepthModel, "estimate", None)
            maps.build(photos, model, CPU)
        before = maps.read(photos[0], 24, 32)
        assert torch.equal(before, maps.read(photos[2], 24, 32))
        torch.testing.assert_close(before[None], model(to_tensor(read_photo(photos[0]).pixels)[None]))
        photo("a.png", seed=7)  # another content under the name
        with pytest.raises(InputError, match=r"a\.png: its depth is not in"):
            maps.read(photos[0], 24, 32)
        maps.build(photos, model, CPU)
        assert not torch.equal(before, maps.read(photos[0], 24, 32))

    def test_a_build_that_breaks_off_leaves_no_half_map(self, model, photo, tmp_path, monkeypatch):
        maps = DepthMaps.of(model, tmp_path / "depth")

        def break_off(file, values):
            file.write(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "save", break_off)
        with pytest.raises(InputError, match="cannot be written .No space left"):
            maps.build([photo()], model, CPU)
        assert not list(maps.folder.iterdir())

    def test_a_damaged_map_is_named(self, model, photo, tmp_path):
        maps, path = DepthMaps.of(model, tmp_path / "depth"), photo()
        maps.build([path], model, CPU)
        maps.path(path).write_bytes(maps.path(path).read_bytes()[:-9])
        with pytest.raises(InputError, match="is damaged .* remove this file"):
            maps.read(path, 24, 32)

    @pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 and more", "cut", "integers", "flat"])
    def test_a_damaged_map_is_made_anew_and_a_sound_one_kept(self, content, model, photo, tmp_path):
        maps, photos = DepthMaps.of(model, tmp_path / "depth"), [photo("a.png"), photo("b.png", seed=1)]
        maps.build(photos, model, CPU)
        damaged, sound = map(maps.path, photos)
        before, written = damaged.read_bytes(), sound.stat().st_mtime_ns
        if content == "cut":
            damaged.write_bytes(before[:-9])
        elif content == "integers":
            np.save(damaged, np.zeros((1, 1, 4, 4), int))
        elif content == "flat":
            np.save(damaged, np.zeros((4, 4), np.float32))
        else:
            damaged.write_bytes(content)
        maps.build(photos, model, CPU)
        assert damaged.read_bytes() == before
        assert sound.stat().st_mtime_ns == written

    def test_depth_is_cut_turned_and_mixed_along_with_its_photo(self, model, demo, tmp_path):
        """Luminance as depth goes the same way as the photo does."""
        pairs = read_pairs(demo)
        maps = DepthMaps(tmp_path)
        for pair in pairs:
            grey = to_tensor(read_photo(pair.source).pixels).mean(0)[None, None]
            np.save(maps.path(pair.source), grey.numpy())
        dataset = PairDataset(pairs, CropFlip(16, 0.5, 0.5, 0.75), 3, mix=Mix(0.3, 0.3), depth=maps)
        for photo in range(len(pairs)):
            pair = dataset[Draw(1, photo)]
            torch.testing.assert_close(pair.depth, pair.source.mean(0, keepdim=True), atol=1e-5, rtol=0)
            assert torch.equal(pair.input, torch.cat((pair.source, pair.depth)))


@pytest.fixture(scope="module")
def words(demo, depth_model, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    inner = {"class_path": "NAFNet", "init_args": {**NAF, "in_channels": 5}}
    generator = {
        "class_path": "FeatureGuided",
        "init_args": {"generator": inner, "features": ["depth", "edge"], "depth_model": str(depth_model)},
    }
    words = [word for word in TINY if "model.generator" not in word]
    words += [f"--model.generator={json.dumps(generator)}", f"--data.pairs={demo}", "--loss_check.pairs=2"]
    return [*words, f"--trainer.default_root_dir={root}", f"--data.depth_folder={root / 'depth'}"]


@pytest.fixture(scope="module")
def trained(words):
    return main(["fit", *words, "--trainer.max_epochs=2", "--data.turns=0.75", "--data.workers=2"])


class TestVerbs:
    def test_fit_computes_the_depth_of_training_and_validation_photos_alone(self, trained, demo, depth_model):
        maps = DepthMaps.of(DepthModel(str(depth_model)), trained.parent / "depth")
        made = {path.name for path in maps.folder.iterdir()}
        held_out = {maps.path(pair.source).name for pair in read_pairs(demo)[:5]}
        assert made == {maps.path(pair.source).name for pair in read_pairs(demo)[5:]}
        assert not made & held_out

    def test_what_is_measured_predicted_and_enhanced_agrees(self, trained, words, demo, tmp_path):
        """On photos whose depth nobody has computed before."""
        from skimage.metrics import peak_signal_noise_ratio

        checkpoint = f"--ckpt_path={trained}"
        tested = main(["test", *words, checkpoint])
        main(["validate", *words, checkpoint])
        main(["check-loss", *words, f"--data.depth_folder={tmp_path / 'other'}"])
        predicted = main(["predict", *words, checkpoint, f"--data.photos={demo.parent / 'source'}"])
        main(["enhance", str(demo.parent / "source"), "--checkpoint", str(trained), "--output", str(tmp_path / "out")])
        rows = {row["photo"]: row for row in measured(tested)}
        for pair in read_pairs(demo)[:5]:
            output = read_photo(tmp_path / "out" / pair.source.name).pixels
            assert (output == read_photo(predicted / "photos" / pair.source.name).pixels).all()
            expected = peak_signal_noise_ratio(read_photo(pair.target).pixels, output)
            assert float(rows[pair.name]["psnr"]) == pytest.approx(expected, abs=0.05)

    def test_a_missing_model_ends_every_verb_at_once(self, trained, words, demo, depth_model, tmp_path, capsys):
        path = trained / "checkpoints" / "last.ckpt"
        checkpoint = torch.load(path, weights_only=True)
        checkpoint["hyper_parameters"]["generator"]["init_args"]["depth_model"] = "nobody/nothing"
        torch.save(checkpoint, tmp_path / "moved.ckpt")
        with pytest.raises(SystemExit):
            main(["enhance", str(demo.parent), "--checkpoint", str(tmp_path / "moved.ckpt"), "--output", str(tmp_path)])
        assert capsys.readouterr().err.count("hf download nobody/nothing") == 1
        with pytest.raises(SystemExit):
            main(["test", *words, f"--ckpt_path={tmp_path / 'moved.ckpt'}"])
        assert "hf download nobody/nothing" in capsys.readouterr().err


def test_a_crop_in_training_must_come_with_its_depth(depth_model):
    """Its own would be that of a crop, not of its photo."""
    net = FeatureGuided(NAFNet(**NAF, in_channels=4), ["depth"], depth_model=str(depth_model))
    image = smooth(0, (16, 16))
    with pytest.raises(InputError, match="FeatureGuided takes 4 planes, got 3"):
        edit(net.train(), image)
    with torch.no_grad():
        whole = edit(net.eval(), image)
        assert torch.equal(whole, edit(net, torch.cat((image, net.depth(image)), dim=1)))
