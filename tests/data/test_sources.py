"""Public data sets, on small stand-ins of the layouts in which they are published."""

import json

import pytest
from conftest import TINY

from hdr_lightning.cli import main
from hdr_lightning.data.files import PHOTO_SUFFIXES
from hdr_lightning.data.manifest import read_pairs
from hdr_lightning.data.module import PairDataModule
from hdr_lightning.data.sources import SICE, FiveK, LOLv1, LOLv2
from hdr_lightning.errors import InputError


@pytest.fixture
def fivek(photo, tmp_path):
    """Ten photos exported from FiveK, with the edits of two experts; three belong to the usual test set."""
    seed = 0
    for number in (1, 2, 3, 4, 5, 6, 4500, 4501, 4999, 5000):
        for folder in ("input", "expert_a", "expert_c"):
            suffix = {"input": "png", "expert_a": "tif", "expert_c": "jpg"}[folder]
            photo(f"fivek/{folder}/a{number:04d}-jmac_DSC1459.{suffix}", seed=(seed := seed + 1))
    return tmp_path / "fivek"


@pytest.fixture
def lol_v1(photo, tmp_path):
    for part, names in (("our485", range(1, 9)), ("eval15", (101, 102))):
        for name in names:
            photo(f"LOL/{part}/low/{name}.png", seed=name)
            photo(f"LOL/{part}/high/{name}.png", seed=1000 + name)
    return tmp_path / "LOL"


@pytest.fixture
def lol_v2(photo, tmp_path):
    for split, names in (("Train", range(1, 7)), ("Test", (690, 691))):
        for name in names:
            photo(f"LOL-v2/Real_captured/{split}/Low/low{name:05d}.png", seed=name)
            photo(f"LOL-v2/Real_captured/{split}/Normal/normal{name:05d}.png", seed=1000 + name)
            photo(f"LOL-v2/Synthetic/{split}/Low/r{name:03d}da54ft.png", seed=2000 + name)
            photo(f"LOL-v2/Synthetic/{split}/Normal/r{name:03d}da54ft.png", seed=3000 + name)
    return tmp_path / "LOL-v2"


@pytest.fixture
def sice(photo, tmp_path):
    seed = 0
    for part, scenes in (("Dataset_Part1", (1, 2, 10)), ("Dataset_Part2", (1, 2))):
        for scene in scenes:
            photo(f"SICE/{part}/Label/{scene}.JPG", seed=(seed := seed + 1))
            for exposure in (1, 2, 3, 10):
                photo(f"SICE/{part}/{scene}/{exposure}.JPG", seed=(seed := seed + 1))
    return tmp_path / "SICE"


def split_of(source, **options):
    return PairDataModule(source, **options).split


def test_fivek_gives_the_edits_of_the_chosen_expert(fivek):
    pairs = FiveK(fivek).pairs()
    assert len(pairs) == 10
    assert pairs[0].name == "input/a0001-jmac_DSC1459.png"
    assert pairs[0].target == fivek / "expert_c" / "a0001-jmac_DSC1459.jpg"
    assert FiveK(fivek, expert="a").pairs()[9].target == fivek / "expert_a" / "a5000-jmac_DSC1459.tif"


def test_fivek_tests_on_the_last_500(fivek):
    split = split_of(FiveK(fivek))
    assert [pair.source.name[:5] for pair in split.test] == ["a4501", "a4999", "a5000"]
    assert len(split.train) + len(split.validation) == 7


@pytest.mark.parametrize(
    ("name", "text"), [("test.txt", "a0001\na0006-x.dng\n"), ("testing.json", '{"a0001-x": {"id": 1}, "a0006-y": {}}')]
)
def test_fivek_tests_on_the_photos_of_a_list(fivek, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    split = split_of(FiveK(fivek, test_list=tmp_path / name))
    assert [pair.source.name[:5] for pair in split.test] == ["a0001", "a0006"]


def test_data_test_goes_before_the_published_test_set(fivek):
    assert [pair.source.name[:5] for pair in split_of(FiveK(fivek), test=2).test] == ["a0001", "a0002"]


def test_fivek_exports_under_other_names_match_by_number(photo, tmp_path):
    photo("input/0007.jpg")
    photo("expertB/a0007-KE_-2118.png")
    (pair,) = FiveK(tmp_path, expert="b").pairs()
    assert (pair.source.name, pair.target.name) == ("0007.jpg", "a0007-KE_-2118.png")


def test_fivek_archive(photo, tmp_path, monkeypatch):
    photo("tiff16_c/a0001-jmac_DSC1459.tif")
    photo("tiff16_c/a0701-x.tif")
    for part, name in (("HQa1to700", "a0001-jmac_DSC1459"), ("HQa701to1400", "a0701-x")):
        path = tmp_path / "raw_photos" / part / "photos" / f"{name}.dng"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"raw")
    monkeypatch.setattr("hdr_lightning.data.sources.published.PHOTO_SUFFIXES", PHOTO_SUFFIXES - {".dng"})
    with pytest.raises(InputError, match=r"holds RAW photos \(.dng\), which cannot be read: export the collection"):
        FiveK(tmp_path).pairs()
    monkeypatch.setattr("hdr_lightning.data.sources.published.PHOTO_SUFFIXES", PHOTO_SUFFIXES | {".dng"})
    first, second = FiveK(tmp_path).pairs()
    assert first.name == "raw_photos/HQa1to700/photos/a0001-jmac_DSC1459.dng"
    assert second.target == tmp_path / "tiff16_c" / "a0701-x.tif"


def test_fivek_names_what_is_missing(fivek, photo, tmp_path):
    with pytest.raises(
        InputError, match=r"expected the edits of expert D \(or tiff16_d/\) .* holds expert_a/, expert_c"
    ):
        FiveK(fivek, expert="d").pairs()
    with pytest.raises(InputError, match=r"expected the FiveK data set in .*none, but .* holds fivek/"):
        FiveK(tmp_path / "none").pairs()
    with pytest.raises(InputError, match="holds 10 pairs, but none of the 1 in .* set data.test"):
        (tmp_path / "list.txt").write_text("a0099\n")
        FiveK(fivek, test_list=tmp_path / "list.txt").published_test()
    (fivek / "expert_c" / "a0003-jmac_DSC1459.jpg").unlink()
    with pytest.raises(InputError, match=r"a0003-jmac_DSC1459.png has no target \(1 of 10 have none"):
        FiveK(fivek).pairs()
    photo("fivek/input/holiday.png")
    with pytest.raises(InputError, match=r"holiday.png: expected a name of FiveK"):
        FiveK(fivek).pairs()


def test_lol_v1_holds_out_eval15(lol_v1):
    split = split_of(LOLv1(lol_v1))
    assert [pair.name for pair in split.test] == ["eval15/low/101.png", "eval15/low/102.png"]
    assert split.test[0].target == lol_v1 / "eval15/high/101.png"
    assert len(split.train) + len(split.validation) == 8
    assert all(pair.name.startswith("our485/low/") for pair in split.train)


@pytest.mark.parametrize("part", ["real", "synthetic"])
def test_lol_v2_holds_out_test(lol_v2, part):
    split = split_of(LOLv2(lol_v2, part=part))
    assert len(split.test) == 2
    assert len(split.train) + len(split.validation) == 6
    assert all("/Test/Low/" in pair.name for pair in split.test)
    stems = [(pair.source.stem.replace("low", ""), pair.target.stem.replace("normal", "")) for pair in split.train]
    assert all(source == target for source, target in stems)


def test_lol_names_what_is_missing(lol_v1, lol_v2):
    (lol_v1 / "our485/high/3.png").unlink()
    with pytest.raises(InputError, match=r"our485/low/3.png has no target \(1 of 8 have none"):
        LOLv1(lol_v1).pairs()
    with pytest.raises(InputError, match=r"expected dark photos of LOL in .*our485/low, but .*there is no such folder"):
        LOLv1(lol_v2).pairs()
    (lol_v2 / "Real_captured/Test/Low/low00690.png").unlink()
    with pytest.raises(InputError, match="normal00690.png has no source"):
        LOLv2(lol_v2).pairs()


def test_sice_pairs_each_exposure_with_the_reference_of_its_scene(sice):
    pairs = SICE(sice / "Dataset_Part1").pairs()
    assert len(pairs) == 12
    assert [pair.name for pair in pairs[:4]] == ["1/1.JPG", "1/2.JPG", "1/3.JPG", "1/10.JPG"]
    assert {pair.target.name for pair in pairs if pair.group == "10"} == {"10.JPG"}
    assert len({pair.group for pair in SICE(sice).pairs()}) == 5  # scene 1 of one part is not that of the other
    chosen = {which: SICE(sice / "Dataset_Part2", exposures=which).pairs() for which in ("under", "middle", "over")}
    assert [[pair.name for pair in pairs] for pairs in chosen.values()] == [
        ["1/1.JPG", "2/1.JPG"],
        ["1/2.JPG", "2/2.JPG"],
        ["1/10.JPG", "2/10.JPG"],
    ]


def test_sice_names_what_is_missing(sice):
    with pytest.raises(InputError, match="expected a folder Label/ with the references"):
        SICE(sice / "Dataset_Part1" / "1").pairs()
    (sice / "Dataset_Part1/Label/2.JPG").unlink()
    with pytest.raises(InputError, match=r"Part1/2 has no reference \(1 of 3 have none\): expected scene N in"):
        SICE(sice).pairs()


FIT = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]


@pytest.mark.parametrize(
    ("fixture", "words"),
    [
        ("fivek", ["--data.pairs=FiveK", "--data.pairs.expert=a"]),
        ("lol_v1", ["--data.pairs=LOLv1"]),
        ("lol_v2", ["--data.pairs=hdr_lightning.data.sources.LOLv2", "--data.pairs.init_args.part=synthetic"]),
        ("sice", ["--data.pairs=SICE", "--data.pairs.exposures=middle", "--data.test=1"]),
    ],
)
def test_trains_a_step_and_tests(fixture, words, request, tmp_path, monkeypatch):
    """With the same words in both; the saved configuration says where the pairs came from."""
    monkeypatch.chdir(tmp_path)
    folder = request.getfixturevalue(fixture)
    words = [*words, f"--data.pairs.folder={folder}", *TINY]
    listing = [word.replace("--data.", "--") for word in words if word.startswith("--data.pairs")]
    main(["fingerprint", str(main(["write-manifest", *listing]))])  # photos of noise are equally large
    run = main(["fit", *words, *FIT])
    assert f"folder: {folder}" in (run / "config.yaml").read_text()
    assert (main(["test", *words, f"--ckpt_path={run}"]) / "report.html").is_file()


def test_fit_opens_no_photo_of_the_published_test_set(lol_v1, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in lol_v1.glob("eval15/*/*.png"):
        path.write_bytes(b"no photo, and of a size of its own" + path.parent.name.encode() + path.name.encode())
    words = ["--data.pairs=LOLv1", f"--data.pairs.folder={lol_v1}", *TINY]
    main(["fingerprint", str(main(["write-manifest", "--pairs=LOLv1", f"--pairs.folder={lol_v1}"]))])
    run = main(["fit", *words, *FIT])
    with pytest.raises(SystemExit):
        main(["test", *words, f"--ckpt_path={run}"])


def test_a_source_is_configured_in_yaml(lol_v1, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["fingerprint", str(main(["write-manifest", "--pairs=LOLv1", f"--pairs.folder={lol_v1}"]))])
    (tmp_path / "lol.yaml").write_text(
        f"data:\n  pairs:\n    class_path: hdr_lightning.data.sources.LOLv1\n    init_args: {{folder: {lol_v1}}}\n"
    )
    assert main(["fit", "--config=lol.yaml", *TINY, *FIT]).is_dir()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data.pairs=FiveK"], "the following arguments are required: folder"),
        (["--data.pairs=FiveK", "--data.pairs.folder=x", "--data.pairs.expert=f"], "'e']. Got value: f"),
        (["--data.pairs=FiveK", "--data.pairs.folder=x", "--data.pairs.exprt=a"], "Option 'exprt' is not accepted"),
        (["--data.pairs=FiveQ", "--data.pairs.folder=x"], "expected the name of a class that is known"),
        (["--data.pairs=FiveK", "--data.pairs.folder=x"], "expected the FiveK data set in x, but"),
        (["--data.pairs=x.jsonl"], "x.jsonl: there is no such manifest"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as leave:
        main(["fit", *TINY, *words])
    assert leave.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Union" not in error


def test_a_source_is_listed_in_a_manifest(lol_v1, sice, tmp_path):
    path = main(["write-manifest", "--pairs=LOLv1", f"--pairs.folder={lol_v1}"])
    assert path == lol_v1 / "pairs.jsonl"
    assert json.loads(path.read_text().splitlines()[0]) == {"src": "our485/low/1.png", "tar": "our485/high/1.png"}
    assert [pair.source for pair in read_pairs(path)] == [pair.source for pair in LOLv1(lol_v1).pairs()]
    with pytest.raises(SystemExit):
        main(["write-manifest", "--pairs=LOLv1", f"--pairs.folder={lol_v1}"])  # it is there already
    path = main(
        ["write-manifest", "--pairs=SICE", f"--pairs.folder={sice}", f"--output={tmp_path / 'lists' / 's.jsonl'}"]
    )
    assert [pair.source.resolve() for pair in read_pairs(path)] == [pair.source for pair in SICE(sice).pairs()]
    assert {pair.group for pair in read_pairs(path)} == {pair.group for pair in SICE(sice).pairs()}


def test_a_manifest_behind_a_link_finds_its_photos(lol_v1, tmp_path):
    (tmp_path / "elsewhere" / "lists").mkdir(parents=True)
    (tmp_path / "lists").symlink_to(tmp_path / "elsewhere" / "lists")
    path = main(
        ["write-manifest", "--pairs=LOLv1", f"--pairs.folder={lol_v1}", f"--output={tmp_path / 'lists' / 'l.jsonl'}"]
    )
    assert all(pair.source.is_file() and pair.target.is_file() for pair in read_pairs(path))


def test_photos_of_one_size_are_told_apart_by_the_fingerprint(lol_v1, tmp_path, monkeypatch, capsys):
    """The hashes that training consults, as it may not open test photos."""
    monkeypatch.chdir(tmp_path)
    words = ["fit", "--data.pairs=LOLv1", f"--data.pairs.folder={lol_v1}", *TINY, *FIT]
    with pytest.raises(SystemExit):
        main(words)
    assert (
        "run `hdr-lightning write-manifest --pairs=LOLv1` with the options of data.pairs, then `hdr-"
        in capsys.readouterr().err
    )
    main(["fingerprint", str(main(["write-manifest", "--pairs=LOLv1", f"--pairs.folder={lol_v1}"]))])
    assert main(words).is_dir()
