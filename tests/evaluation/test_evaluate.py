"""The verb: networks, pictures and sources on pairs, on held-out photos, on photos without targets."""

import csv
import json
import shutil

import numpy as np
import pytest
from conftest import TINY
from PIL import Image

from hdr_lightning.cli import main
from hdr_lightning.data.files import read_photo
from hdr_lightning.data.manifest import read_pairs
from hdr_lightning.evaluation.cost import count_macs, count_parameters
from hdr_lightning.evaluation.results import Evaluation
from hdr_lightning.generators.loading import load_generator


@pytest.fixture
def run(tmp_path):
    """Evaluate with a few measures, and give what was found."""

    def evaluate(*words):
        folder = main(["evaluate", *map(str, words), f"--output={tmp_path / 'out'}", "--device=cpu"])
        assert folder == tmp_path / "out"
        return Evaluation.from_json(folder / "evaluation.json")

    return evaluate


SOME = "--measures=[l1,psnr,ssim,ciede2000,psnr_inside]"


def test_a_run_on_a_manifest_gives_what_test_gives(checkpoint, demo, run, capsys, tmp_path):
    """Whatever the verb: the same photos have the same numbers."""
    options = [f"--data.pairs={demo}", f"--ckpt_path={checkpoint}", f"--trainer.default_root_dir={tmp_path / 'runs'}"]
    folder = main(["test", *TINY, *options])
    with (folder / "photos.csv").open(newline="") as file:
        tested = {row["photo"]: float(row["psnr"]) for row in csv.DictReader(file)}
    found = run(checkpoint, f"--pairs={demo}", SOME)
    assert [each.name for each in found.contenders] == ["source", checkpoint.parent.parent.name]
    assert found.contenders[1].generator == "NAFNet"
    ours = dict(
        zip([photo.name for photo in found.photos], found.values[found.contenders[1].name]["psnr"], strict=True)
    )
    assert len(ours) == 12
    assert {name: ours[name] for name in tested} == pytest.approx(tested, rel=1e-4)
    assert (found.photos[0].width, found.photos[0].height) == (48, 32)
    assert "pairs: " in found.config or "data:" in found.config
    said = capsys.readouterr().out
    assert "12 photos of" in said
    assert "against source" in said


def test_held_out_photos_of_its_run_are_the_default_and_openings_are_counted(checkpoint, demo, run, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(checkpoint.parent.parent, runs / "fit_0")
    found = run(runs / "fit_0", SOME)
    held_out = [pair.name for pair in read_pairs(demo)][:5]
    assert [photo.name for photo in found.photos] == held_out
    with (runs / "test_openings.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["run"], row["checkpoint"]) == ("out", str(runs / "fit_0"))
    assert found.facts["photos"].startswith("5, held out by ")


def test_pictures_made_elsewhere_take_part_and_broken_ones_count_for_nothing(demo, run, tmp_path, capsys):
    """One of them is missing, one of another size, one no photo; the targets themselves are perfect."""
    made = tmp_path / "made"
    made.mkdir()
    pairs = list(read_pairs(demo))
    for number, pair in enumerate(pairs):
        pixels = read_photo(pair.target).pixels
        path = made / f"{pair.source.stem}.png"
        if number == 1:
            path.write_bytes(b"no photo")
        elif number:
            Image.fromarray(pixels[:-1] if number == 2 else pixels).save(path)
    found = run(f"perfect={made}", f"--pairs={demo}", SOME)
    faults = found.faults["perfect"]
    assert list(faults) == [pair.name for pair in pairs[:3]]
    assert f"holds no picture called {pairs[0].source.stem}" in faults[pairs[0].name]
    assert faults[pairs[2].name] == "it is 48 x 31 pixels, the photo 48 x 32"
    assert found.values["perfect"]["psnr"][:3] == [None] * 3
    assert found.values["perfect"]["psnr"][3] > found.values["source"]["psnr"][3] + 5
    assert None not in found.values["source"]["psnr"]
    assert "perfect: 3 of 12 photos left out: " in capsys.readouterr().out


def test_a_broken_pair_counts_for_nobody(manifest, run, tmp_path):
    path = manifest(4, height=24, width=40)
    (path.parent / "0_tar.png").write_bytes(b"")
    made = tmp_path / "made"
    made.mkdir()
    for number in range(4):
        shutil.copy(path.parent / f"{number}_src.png", made)
    found = run(made, f"--pairs={path}", SOME)
    assert list(found.faults["source"]) == list(found.faults["made"]) == ["0_src.png"]
    assert "0_tar.png" in found.faults["made"]["0_src.png"]
    assert found.values["source"]["psnr"][0] is None
    assert (found.photos[0].width, found.photos[0].height) == (0, 0)
    assert found.values["source"]["psnr"] == found.values["made"]["psnr"]


def test_photos_without_targets_have_niqe_alone(run, photo, tmp_path):
    for number in range(2):
        photo(f"photos/{number}.png", height=200, width=210, seed=number)
        photo(f"made/{number}.png", height=200, width=210, seed=number + 5)
    parameters = tmp_path / "niqe.npz"
    arrays = {"mu_pris_param": np.ones((1, 36)), "cov_pris_param": np.eye(36), "gaussian_window": np.ones((7, 7)) / 49}
    np.savez(parameters, **arrays)
    found = run(tmp_path / "made", f"--pairs={tmp_path / 'photos'}", f"--niqe={parameters}")
    assert found.measures == ["niqe"]
    assert all(value > 0 for column in found.values.values() for value in column["niqe"])
    assert found.facts["NIQE"] == "parameters of niqe.npz"


def test_only_the_first_photos_are_measured_where_that_is_asked(demo, checkpoint, run):
    assert len(run(checkpoint, f"--pairs={demo}", "--photos=2", "--measures=[l1]").photos) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{made}"], "no contender has a run with held-out photos: give --pairs, or --held_out"),
        (["{made}", "--pairs={demo}", "--held_out={run}"], "--pairs and --held_out exclude each other"),
        (["{made}", "--held_out={made}"], "expected the config.yaml of a run, or the folder of a run"),
        (["nowhere.ckpt", "--pairs={demo}"], "nowhere.ckpt: there is no such checkpoint"),
        (["{made}", "--pairs={demo}"], "none of its 1 pictures is called like a photo"),
        (["{run}", "--pairs={demo}", "--photos=0"], "--photos: expected 1 or more, got 0"),
        (["{run}", "--pairs={demo}", "--output={made}"], "is not empty: give another --output"),
        (["{run}", "--pairs={made}"], "--niqe"),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_is_written(words, said, demo, checkpoint, photo, tmp_path, capsys):
    places = {"made": photo("made/strange.png").parent, "demo": demo, "run": checkpoint.parent.parent}
    words = [word.format(**places) for word in words]
    if not any("--output" in word for word in words):
        words.append(f"--output={tmp_path / 'out'}")
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", *words, "--measures=[l1]" if "niqe" not in said else "--device=cpu"])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made"]


def test_where_no_photo_can_be_measured_the_run_stops(manifest, tmp_path, capsys):
    path = manifest(2)
    made = tmp_path / "made"
    shutil.copytree(path.parent, made)
    for number in range(2):
        (path.parent / f"{number}_tar.png").write_bytes(b"")
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", str(made), f"--pairs={path}", "--measures=[l1]", f"--output={tmp_path / 'out'}"])
    assert stopped.value.code == 1
    assert "stopped: none of the photos could be measured" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_cost_is_measured_where_that_is_asked(demo, checkpoint, run, monkeypatch):
    from hdr_lightning.evaluation.results import Cost

    cost = Cost(1000, 2000, 0.1, 3000, (512, 512), "cpu")
    monkeypatch.setattr("hdr_lightning.evaluate.measure_cost", lambda generator, device: cost)
    found = run(checkpoint, f"--pairs={demo}", "--photos=1", "--measures=[l1]", "--cost=true")
    assert [each.cost for each in found.contenders] == [None, cost]


def test_flips_and_turns_cost_eight_passes(demo, checkpoint, run):
    words = [checkpoint, f"--pairs={demo}", "--photos=1", "--measures=[l1]", "--cost", "--tta"]
    found = run(*words).contenders[1].cost
    network = load_generator(checkpoint)
    assert found.macs == 8 * count_macs(network, (1, 3, 512, 512))
    assert found.parameters == count_parameters(network)


def test_one_evaluation_is_one_folder_of_plain_text(demo, checkpoint, tmp_path):
    main(["evaluate", str(checkpoint), f"--pairs={demo}", "--photos=1", SOME, f"--output={tmp_path / 'out'}"])
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert {"title", "contenders", "photos", "values", "faults", "config", "facts"} == set(content)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]
