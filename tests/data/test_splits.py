import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hdr_lightning.cli import main
from hdr_lightning.data.contents import (
    fingerprint,
    recorded_beside,
    refuse_changed,
    refuse_shared_content,
    refuse_shared_files,
    sums_beside,
)
from hdr_lightning.data.manifest import PairPaths, read_pairs
from hdr_lightning.data.module import PairDataModule
from hdr_lightning.data.split_file import read_record, read_split
from hdr_lightning.data.splits import Fold, split_pairs
from hdr_lightning.errors import InputError


def pairs(number, groups=None):
    return [
        PairPaths(f"{n}.jpg", Path(f"/none/{n}.jpg"), Path(f"/none/{n}_t.jpg"), groups[n] if groups else str(n))
        for n in range(number)
    ]


def names(part):
    return [pair.name for pair in part]


def test_the_catalogue_s_577_pairs_give_515_57_and_5():
    parts = split_pairs(pairs(577), test=5, validation=0.1, seed=0)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (515, 57, 5)
    assert names(parts.test) == [f"{n}.jpg" for n in range(5)]
    assert sorted(names([*parts.train, *parts.validation, *parts.test])) == sorted(names(pairs(577)))


def test_a_seed_is_a_split():
    first, again, other = (split_pairs(pairs(100), 5, 0.1, seed) for seed in (1, 1, 2))
    assert first == again
    assert names(first.validation) != names(other.validation)
    assert names(first.test) == names(other.test)


def test_groups_are_never_divided():
    groups = [f"g{n // 3}" for n in range(60)]
    parts = split_pairs(pairs(60, groups), test=4, validation=0.2, seed=3)
    owners = [{pair.group for pair in part} for part in (parts.train, parts.validation, parts.test)]
    assert not owners[0] & owners[1]
    assert not owners[0] & owners[2]
    assert not owners[1] & owners[2]
    # The fourth test pair is the first of group 1: its other two may serve nobody.
    assert names(parts.left_out) == ["4.jpg", "5.jpg"]
    assert len(parts.validation) <= round(0.2 * 54)


@pytest.mark.parametrize("sizes", [[1] * 40, [3] * 20, [1, 9, 2, 7, 3, 3, 5, 1, 1, 8, 2, 4]])
@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds_divide_the_groups_as_scikit_learn_says_they_should(sizes, folds):
    """Each pair validates once, no group is divided (GroupKFold's contract), and folds are equal but for a group."""
    owners = [f"g{group}" for group, size in enumerate(sizes) for _ in range(size)]
    splits = [split_pairs(pairs(len(owners), owners), 0, Fold(number, folds), seed=1) for number in range(folds)]
    assert sorted(name for parts in splits for name in names(parts.validation)) == sorted(names(pairs(len(owners))))
    for parts in splits:
        assert not {pair.group for pair in parts.train} & {pair.group for pair in parts.validation}
        assert len(parts.train) + len(parts.validation) == len(owners)
        assert abs(len(parts.validation) - len(owners) / folds) <= max(sizes)


def test_a_fold_that_is_not_there_is_refused():
    for number, folds in ((3, 3), (0, 50)):
        with pytest.raises(InputError, match=rf"data.fold is {number} of data.folds {folds}, and there are 20 groups"):
            split_pairs(pairs(20), 0, Fold(number, folds), seed=0)


def test_a_fold_without_folds_is_refused():
    with pytest.raises(InputError, match="data.fold is 1, and there are no folds"):
        PairDataModule(Path("pairs.jsonl"), fold=1)


def test_a_share_holds_out_whole_groups_whatever_the_seed():
    owners = [f"g{n // 3}" for n in range(60)]
    first, other = (split_pairs(pairs(60, owners), 0.2, 0.1, seed) for seed in (0, 1))
    assert names(first.test) == names(other.test)
    assert names(first.validation) != names(other.validation)
    assert len(first.test) == 12
    assert not first.left_out
    for share in (0.0, 1.0, -0.5, 1.5):
        with pytest.raises(InputError, match="a number of pairs or a share between 0 and 1"):
            split_pairs(pairs(60), share, 0.1, seed=0)


class TestFile:
    """A split that is written once."""

    @pytest.fixture
    def origin(self, manifest):
        return manifest(20, groups=[f"house {n // 2}" for n in range(20)])

    @pytest.mark.parametrize("options", [["--test=0.2"], ["--test=4"], ['--test=["3_src.png"]', "--validation=0.3"]])
    def test_what_is_read_is_what_was_written(self, origin, options, capsys):
        path = main(["split", str(origin), *options])
        assert path == origin.with_name("pairs.split.json")
        assert "2 groups" in capsys.readouterr().out
        parts = read_split(path, read_pairs(origin), fold=0)
        content = json.loads(path.read_text())
        assert [names(parts.test), names(parts.train), names(parts.validation)] == [
            content[part] for part in ("test", "train", "validation")
        ]
        assert len({pair.group for pair in parts.test}) in (1, 2)
        assert len(content["sha256"]) == 2 * len(parts.test)
        with pytest.raises(SystemExit):
            main(["split", str(origin), *options])
        assert "is there already, and a split is written once" in capsys.readouterr().err

    def test_folds_take_turns(self, origin):
        path = main(["split", str(origin), "--test=2", "--folds=3"])
        pairs = read_pairs(origin)
        splits = [read_split(path, pairs, fold) for fold in range(3)]
        assert sorted(name for parts in splits for name in names(parts.validation)) == sorted(names(pairs[2:]))
        with pytest.raises(InputError, match=r"holds 3 folds: set data.fold to 0 ... 2, got 3"):
            read_split(path, pairs, 3)

    def test_pairs_that_it_does_not_name_serve_nobody(self, origin):
        path = main(["split", str(origin), "--test=2"])
        with origin.open("a") as file:
            file.write('{"src": "new.png", "tar": "new_t.png"}\n')
        assert names(read_split(path, read_pairs(origin), 0).left_out) == ["new.png"]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda content: content["train"].append("x.png"), r'names x.png, which is no "src" of the manifest'),
            (lambda content: content["train"].append(content["test"][0]), "names 0_src.png more than once"),
            (
                lambda content: content["train"].append(content["test"].pop()),
                "divides the group 'house 0' between test",
            ),
            (lambda content: content.pop("sha256"), "expected a split with test, train, validation"),
            (lambda content: content.update(train=[3]), "expected lists of names"),
            (lambda content: content.update(train="x.png"), "expected lists of names"),
            (lambda content: content.update(validation=[]), "none but the test empty"),
            (lambda content: content.update(sha256=[]), "hashes by photo"),
        ],
    )
    def test_a_file_that_contradicts_itself_is_refused(self, origin, change, message):
        path = main(["split", str(origin), "--test=2"])
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        with pytest.raises(InputError, match=message):
            read_split(path, read_pairs(origin), 0)

    def test_what_is_no_file_of_a_split_is_refused(self, origin):
        for path, message in ((origin, "expected a split as"), (origin.with_name("x.json"), "there is no such file")):
            with pytest.raises(InputError, match=message):
                read_split(path, read_pairs(origin), 0)

    def test_a_missing_test_photo_is_told_and_nothing_written(self, origin, capsys):
        (origin.parent / "0_tar.png").unlink()
        with pytest.raises(SystemExit):
            main(["split", str(origin), "--test=2"])
        assert "0_tar.png of the test set: there is no such file" in capsys.readouterr().err
        assert not origin.with_name("pairs.split.json").exists()

    def test_it_knows_the_test_photos_wherever_the_data_set_is_moved(self, origin, tmp_path):
        path = main(["split", str(origin), "--test=2"])
        moved = tmp_path / "moved"
        path.parent.rename(moved)
        os.utime(moved / path.name, (0, 0))  # a checkout may give any age
        parts = read_split(moved / path.name, read_pairs(moved / origin.name), 0)
        record = read_record(moved / path.name)
        assert refuse_changed(parts.test, record) == 4
        shutil.copy(parts.test[0].source, parts.train[0].source)
        with pytest.raises(InputError, match="of the training set has the content of .*0_src.png of the test set"):
            refuse_shared_content(parts, record, may_open_test=False)


def test_a_split_behind_a_link_finds_its_photos(manifest, tmp_path):
    origin = manifest(8)
    (tmp_path / "deep" / "sets").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "sets")
    path = main(["split", str(origin), "--test=2", f"--output={tmp_path / 'link' / 'split.json'}"])
    parts = read_split(path, read_pairs(origin), 0)
    assert refuse_changed(parts.test, read_record(path)) == 4
    content = json.loads(path.read_text())
    content["sha256"].popitem()
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"split.json says nothing of .*1_tar.png of the test set"):
        refuse_changed(parts.test, read_record(path))


def test_a_fingerprint_of_one_manifest_leaves_the_record_of_another(manifest):
    """Else it would bless a test photo that changed."""
    path = manifest(4)
    other = path.with_name("other.jsonl")
    other.write_text(path.read_text().splitlines()[3])
    fingerprint([path])
    parts = split_pairs(read_pairs(path), test=1, validation=0.3, seed=0)
    with parts.test[0].source.open("ab") as file:
        file.write(b"\0")
    fingerprint([other])
    with pytest.raises(InputError, match="0_src.png of the test set is not the photo"):
        refuse_changed(parts.test, recorded_beside(path))


def test_records_of_other_tools_are_read(manifest):
    """PowerShell writes capital digits, and a mark before UTF-8."""
    path = manifest(4)
    sums = fingerprint([path])
    rows = [line.split(maxsplit=1) for line in sums.read_text().splitlines()]
    text = "".join(f"{digest.upper()} *{name}\r\n" for digest, name in rows)
    sums.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert refuse_changed(read_pairs(path), recorded_beside(path)) == 8


def test_numbers_that_split_nothing_are_refused():
    for test, validation, seed, message in (
        (-1, 0.1, 0, "data.test is to be 0 pairs or more, got -1"),
        (5, 0.1, -1, "seed of a split is to be 0 or more"),
        (5, 1.0, 0, "share that validates is to lie between 0 and 1"),
        (5, Fold(0, 1), 0, "expected 2 folds or more"),
    ):
        with pytest.raises(InputError, match=message):
            split_pairs(pairs(20), test, validation, seed)


def test_a_test_photo_that_changed_is_refused(manifest):
    path = manifest(8)
    parts = split_pairs(read_pairs(path), test=2, validation=0.2, seed=0)
    assert refuse_changed(parts.test, recorded_beside(path)) == 0
    fingerprint([path])
    assert refuse_changed(parts.test, recorded_beside(path)) == 4
    with parts.test[1].target.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(InputError, match=r"1_tar.png of the test set is not the photo that .*SHA256SUMS records"):
        refuse_changed(parts.test, recorded_beside(path))


def test_explicit_names_hold_out():
    parts = split_pairs(pairs(20), test=["7.jpg", "3.jpg"], validation=0.1, seed=0)
    assert names(parts.test) == ["7.jpg", "3.jpg"]
    with pytest.raises(InputError, match='names 99.jpg, which is no "src"'):
        split_pairs(pairs(20), test=["99.jpg"], validation=0.1, seed=0)


def test_a_manifest_of_its_own_holds_out_its_pairs_and_groups(manifest, tmp_path):
    path = manifest(6, groups=["a", "a", "b", "c", "d", "e"])
    apart = tmp_path / "apart"
    apart.mkdir()
    shutil.copy(path.parent / "0_src.png", apart / "0_src.png")
    (apart / "pairs.jsonl").write_text('{"src": "0_src.png", "tar": "0_tar.png", "group": "a"}\n')
    parts = split_pairs(read_pairs(path), test=apart / "pairs.jsonl", validation=0.3, seed=0)
    assert [pair.source.parent for pair in parts.test] == [apart]
    assert names(parts.left_out) == ["0_src.png", "1_src.png"]


@pytest.mark.parametrize(
    ("number", "test", "groups"), [(5, 5, None), (6, 5, None), (3, 4, None), (8, 2, ["x"] * 2 + ["y"] * 6)]
)
def test_too_few_pairs_are_refused(number, test, groups):
    with pytest.raises(InputError, match="too few pairs to split"):
        split_pairs(pairs(number, groups), test=test, validation=0.1, seed=0)


def test_the_same_file_in_two_parts_is_refused(manifest):
    """By the file, not by its name: a link is seen through."""
    path = manifest(10)
    folder = path.parent
    (folder / "9_src.png").unlink()
    (folder / "9_src.png").symlink_to(folder / "0_src.png")
    with pytest.raises(
        InputError, match=r"9_src.png of the (training|validation) set is the same file as .*0_src.png of the test"
    ):
        refuse_shared_files(split_pairs(read_pairs(path), test=5, validation=0.2, seed=0))


class TestContent:
    @pytest.fixture
    def leaking(self, manifest):
        """Ten pairs; the last source is a copy of the first, which is held out."""
        path = manifest(10)
        shutil.copy(path.parent / "0_src.png", path.parent / "9_src.png")
        return path

    def parts(self, path):
        return split_pairs(read_pairs(path), test=5, validation=0.2, seed=0)

    def test_training_refuses_what_it_cannot_tell_and_says_how(self, leaking):
        with pytest.raises(
            InputError, match="may not open test photos to see: run `hdr-lightning fingerprint .*pairs.jsonl`"
        ):
            refuse_shared_content(self.parts(leaking), recorded_beside(leaking), may_open_test=False)

    def test_training_refuses_a_copy_of_a_recorded_test_photo(self, leaking):
        fingerprint([leaking])
        with pytest.raises(
            InputError, match=r"9_src.png of the \w+ set has the content of .*0_src.png of the test set"
        ):
            refuse_shared_content(self.parts(leaking), recorded_beside(leaking), may_open_test=False)

    def test_the_test_sees_by_itself(self, leaking):
        with pytest.raises(InputError, match="has the content of"):
            refuse_shared_content(self.parts(leaking), recorded_beside(leaking), may_open_test=True)

    def test_equal_size_alone_is_no_leak(self, manifest):
        path = manifest(10)
        sources = [path.parent / f"{n}_src.png" for n in (0, 9)]
        size = max(source.stat().st_size for source in sources) + 10
        for source in sources:
            source.write_bytes(source.read_bytes().ljust(size, b"\0"))
        fingerprint([path])
        refuse_shared_content(self.parts(path), recorded_beside(path), may_open_test=False)
        refuse_shared_content(self.parts(path), recorded_beside(path), may_open_test=True)

    def test_a_copy_between_training_and_validation_is_refused(self, manifest):
        path = manifest(10)
        parts = self.parts(path)
        shutil.copy(parts.train[0].target, parts.validation[0].target)
        fingerprint([path])  # noise compresses to files of one size, test photos included
        with pytest.raises(InputError, match="of the validation set has the content of .* of the training set"):
            refuse_shared_content(parts, recorded_beside(path), may_open_test=False)

    def test_outdated_records_do_not_count(self, leaking):
        fingerprint([leaking])
        first = leaking.parent / "0_src.png"
        content = first.read_bytes()
        first.unlink()
        first.write_bytes(content)
        os.utime(sums_beside(leaking), (0, 0))
        with pytest.raises(InputError, match="run `hdr-lightning fingerprint "):
            refuse_shared_content(self.parts(leaking), recorded_beside(leaking), may_open_test=False)

    def test_photos_that_are_elsewhere_are_counted(self, manifest):
        path = manifest(10)
        parts = self.parts(path)
        parts.train[0].source.unlink()
        with pytest.warns(UserWarning, match="1 of 20 photos are not on this machine"):
            refuse_shared_content(parts, recorded_beside(path), may_open_test=True)


def test_fingerprints_are_those_of_sha256sum(manifest):
    path = manifest(3)
    sums = fingerprint([path])
    assert len(sums.read_text().splitlines()) == 6
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--quiet", sums.name], cwd=sums.parent, check=True)


def test_fingerprint_of_folders_and_of_a_missing_photo(photo, tmp_path):
    photo("in/a.png")
    photo("out/a.png", seed=1)
    assert fingerprint([tmp_path / "in", tmp_path / "out"]) == tmp_path / "SHA256SUMS"
    (tmp_path / "pairs.jsonl").write_text('{"src": "in/a.png", "tar": "gone.png"}\n')
    with pytest.raises(InputError, match=r"gone\.png: there is no such file"):
        fingerprint([tmp_path / "pairs.jsonl"])


def test_a_test_manifest_has_hashes_of_its_own(manifest, photo, tmp_path):
    """Beside it where it lies elsewhere, and in the same file where it does not."""
    path = manifest(6)
    elsewhere = tmp_path / "elsewhere"
    photo("elsewhere/t_src.png", seed=90)
    photo("elsewhere/t_tar.png", seed=91)
    (elsewhere / "test.jsonl").write_text('{"src": "t_src.png", "tar": "t_tar.png"}\n')
    for target in [elsewhere / "t_src.png", path.parent / "0_src.png"]:  # of one size, and different
        target.write_bytes(target.read_bytes().ljust(5000, b"\0"))
    parts = split_pairs(read_pairs(path), test=elsewhere / "test.jsonl", validation=0.2, seed=0)
    with pytest.raises(InputError, match=r"fingerprint .*elsewhere/test\.jsonl`"):
        refuse_shared_content(parts, recorded_beside(elsewhere / "test.jsonl"), may_open_test=False)
    fingerprint([elsewhere / "test.jsonl"])
    refuse_shared_content(parts, recorded_beside(elsewhere / "test.jsonl"), may_open_test=False)

    other = path.parent / "other.jsonl"
    other.write_text(path.read_text().splitlines()[0])
    fingerprint([path])
    assert len(fingerprint([other]).read_text().splitlines()) == 12


def test_real_brackets_split_by_pair_leak_and_by_group_do_not(shared):
    """Several exposures there share one target."""
    manifest = shared / "brackets" / "pairs.jsonl"
    by_group = split_pairs(read_pairs(manifest), test=0, validation=0.1, seed=0)
    refuse_shared_content(by_group, recorded_beside(manifest), may_open_test=False)
    alone = [PairPaths(p.name, p.source, p.target, p.name) for p in read_pairs(manifest)]
    by_pair = split_pairs(alone, test=0, validation=0.1, seed=0)
    with pytest.raises(InputError, match='has the content of .* give the pairs a common "group"'):
        refuse_shared_content(by_pair, recorded_beside(manifest), may_open_test=False)
