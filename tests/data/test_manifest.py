import csv
import json
import os
import pickle
import shutil
import subprocess
import sys

import pyarrow
import pytest
from pyarrow import parquet

from hdr_lightning.data.manifest import Pairs, list_photos, read_pairs
from hdr_lightning.errors import InputError


def test_paths_are_relative_to_the_manifest_and_order_is_kept(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(
        '{"src": "images/2_src.jpg", "tar": "images/2_tar.jpg"}\n\n{"src": "b.jpg", "tar": "c.jpg", "group": "g"}\n'
    )
    first, second = read_pairs(path)
    assert first.name == "images/2_src.jpg"
    assert first.source == tmp_path / "images/2_src.jpg"
    assert first.target == tmp_path / "images/2_tar.jpg"
    assert second.group == "g"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the manifest is empty"),
        ("hello\n", "line 1: expected one JSON object a line"),
        ('{"src": "a"}\n', 'line 1: expected the keys "src", "tar"'),
        ('{"src": "a", "tar": "b"}\n{"src": "c", "tar": "d", "gruop": "x"}\n', "line 2: expected the keys"),
        ('{"src": "a", "tar": 3}\n', "line 1: expected text for every key"),
        ("[1, 2]\n", "line 1: expected the keys"),
        ('{"src": "a\\u0000.png", "tar": "b"}\n', "row 1: expected a name"),
        ('{"src": "a", "tar": "b"}\n{"src": "a", "tar": "c"}\n', "a is the source of more than one pair"),
    ],
)
def test_bad_manifests_are_refused_by_line(text, message, tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_pairs(path)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_csv_and_parquet_say_the_same_as_jsonl(suffix, tmp_path):
    """Written by pandas' and Python's own writers' formats, with a pair that has no group."""
    rows = [
        {"src": "a, 1.png", "tar": "b.png", "group": "007"},
        {"src": "é.png", "tar": "d.png", "group": None},
        {"src": "2", "tar": "3", "group": "7"},
    ]
    path = tmp_path / f"pairs.{suffix}"
    if suffix == "csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["src", "tar", "group"])
            writer.writeheader()
            writer.writerows(rows)
    elif suffix == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps({k: v for k, v in row.items() if v}) + "\n" for row in rows))
    pairs = read_pairs(path)
    assert [pair.name for pair in pairs] == ["a, 1.png", "é.png", "2"]
    assert [pair.group for pair in pairs] == ["007", str(tmp_path / "é.png"), "7"]
    assert pairs[2].target == tmp_path / "3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("src,tar,gruop\na,b,c\n", 'expected the columns "src", "tar" and perhaps "group", got src, tar, gruop'),
        ("src,tar\na,b\nc,\n", r'row 2: expected a name for the keys "src" and "tar", got none for "tar"'),
        ("src,tar\na,b,c\n", "cannot be read as a manifest"),
        ("src,tar\n", "the manifest is empty"),
        ("", "cannot be read as a manifest"),
        ("src,tar\na,b\na,c\n", "a is the source of more than one pair"),
        ("src,tar,src\na,b,c\n", "expected the columns .* got src, tar, src"),
    ],
)
def test_bad_csv_is_refused(text, message, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_pairs(path)


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "pairs.parquet").write_text("hello")
    with pytest.raises(InputError, match="cannot be read as a manifest"):
        read_pairs(tmp_path / "pairs.parquet")


def test_pairs_are_a_sequence_of_views(tmp_path):
    """As a list of the same pairs is."""
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(f'{{"src": "{n}.png", "tar": "{n}_t.png"}}\n' for n in range(5)))
    pairs = read_pairs(path)
    listed = list(pairs)
    assert Pairs.of(listed) == pairs
    assert list(pairs[1:4]) == listed[1:4]
    assert list(reversed(pairs[::2])) == listed[::2][::-1]
    assert pairs[-1] == listed[-1]
    assert pickle.loads(pickle.dumps(pairs[3:])) == pairs[3:]  # as workers that are not forked get it
    with pytest.raises(IndexError):
        pairs[5]


@pytest.mark.parametrize("lengths", [[3], [1, 2, 3, 40]])
def test_a_repeated_name_among_many_is_found(lengths, tmp_path):
    names = [str(n).zfill(lengths[n % len(lengths)]) for n in range(100, 5000)]
    path = tmp_path / "pairs.jsonl"
    rows = [json.dumps({"src": name, "tar": "x"}) for name in names]
    path.write_text("\n".join(rows))
    assert len(read_pairs(path)) == len(names)
    path.write_text("\n".join([*rows, rows[1234]]))
    with pytest.raises(InputError, match=f"{names[1234]} is the source of more than one pair"):
        read_pairs(path)


@pytest.mark.slow
def test_ten_million_pairs_open_split_and_shard(tmp_path):
    """Within two gigabytes, workers included, as a process of its own says; shards neither overlap nor leave out."""
    path = tmp_path / "pairs.jsonl"
    number = 10_000_000
    with path.open("w") as file:
        for n in range(0, number, 100_000):
            file.write(
                "".join(
                    f'{{"src": "{i // 12}/{i}_src.jpg", "tar": "{i // 12}/{i}_tar.jpg", "group": "house {i // 12}"}}\n'
                    for i in range(n, n + 100_000)
                )
            )
    code = f"""
import json, resource, time
from pathlib import Path
import numpy as np
from torch.utils.data import DataLoader
from hdr_lightning.data.manifest import read_pairs
from hdr_lightning.data.pairs import EpochSampler, PairDataset
from hdr_lightning.data.splits import split_pairs

class Names(PairDataset):
    def __getitem__(self, draw):
        return draw.photo if self.pairs[draw.photo].name else None

start = time.perf_counter()
pairs = read_pairs(Path({str(path)!r}))
opened = time.perf_counter() - start
split = split_pairs(pairs, 0.001, 0.01, 0)
divided = time.perf_counter() - start - opened
train = split.train
assert not np.intersect1d(train.rows, split.validation.rows).size
shards = [EpochSampler(len(train), 3, True, rank, 2) for rank in range(2)]
loader = iter(DataLoader(Names(train), 4096, sampler=shards[0], num_workers=2))
first = next(loader).tolist()
proportional = 0
for process in [Path("/proc/self"), *(Path(f"/proc/{{worker.pid}}") for worker in loader._workers)]:
    words = (process / "smaps_rollup").read_text().split()
    proportional += 1024 * int(words[words.index("Pss:") + 1])
peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
seen = [np.fromiter((draw.photo for draw in shard), np.int64) for shard in shards]
assert first == seen[0][:4096].tolist()
assert np.array_equal(np.sort(np.concatenate(seen)), np.sort(np.unique(np.concatenate(seen))))
assert sum(map(len, seen)) == len(train) - len(train) % 2
print(json.dumps(dict(opened=opened, divided=divided, peak=peak, with_workers=proportional, pairs=len(train))))
"""
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    found = json.loads(out)
    print(found)
    assert found["pairs"] == pytest.approx(0.989 * number, rel=0.01)
    assert found["with_workers"] < 2e9


def test_encodings(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"src": "a.png", "tar": "b.png"}\r\n')  # as Windows writes it
    assert [pair.name for pair in read_pairs(path)] == ["a.png"]
    path.write_bytes('{"src": "é.png", "tar": "b.png"}'.encode("latin-1"))
    with pytest.raises(InputError, match="expected UTF-8, got the byte 0xe9"):
        read_pairs(path)


def test_missing_manifest_and_folder_instead_of_one(tmp_path):
    with pytest.raises(InputError, match="there is no such manifest; `hdr-lightning demo-data` makes one"):
        read_pairs(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="is a folder: expected a JSONL manifest, or two folders"):
        read_pairs(tmp_path)


def test_two_folders_match_by_name_whatever_the_suffix(photo, tmp_path):
    for name in ("b.png", "a.png"):
        photo(f"in/{name}")
    for name in ("a.jpg", "b.JPG"):
        photo(f"out/{name}")
    pairs = read_pairs((tmp_path / "in", tmp_path / "out"))
    assert [(pair.name, pair.target.name) for pair in pairs] == [("a.png", "a.jpg"), ("b.png", "b.JPG")]


def test_two_folders_refuse_photos_without_partner_and_doubles(photo, tmp_path):
    photo("in/a.png")
    photo("in/b.png")
    photo("out/a.png")
    with pytest.raises(InputError, match=r"b\.png has no partner of that name in .*out \(1 photos have none\)"):
        read_pairs((tmp_path / "in", tmp_path / "out"))
    photo("in/a.jpg")
    with pytest.raises(InputError, match="more than one photo is called a"):
        read_pairs((tmp_path / "in", tmp_path / "out"))


def test_an_empty_group_is_none(tmp_path):
    (tmp_path / "pairs.jsonl").write_text(
        '{"src": "a", "tar": "x", "group": ""}\n{"src": "b", "tar": "y", "group": ""}\n'
        '{"src": "c", "tar": "z", "group": "g"}\n'
    )
    assert len({pair.group for pair in read_pairs(tmp_path / "pairs.jsonl")}) == 3


def test_list_photos(photo, tmp_path):
    photo("._b.png")  # as macOS leaves them
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="holds no photos"):
        list_photos(tmp_path)
    photo("b.png")
    photo("a.jpeg")
    assert [path.name for path in list_photos(tmp_path)] == ["a.jpeg", "b.png"]
    with pytest.raises(InputError, match="no such folder"):
        list_photos(tmp_path / "none")


def test_names_that_are_no_text_are_refused(photo, tmp_path):
    photo("größe.png")
    assert len(list_photos(tmp_path)) == 1
    try:
        shutil.copy(tmp_path / "größe.png", os.fsencode(tmp_path) + b"/caf\xe9.png")
    except OSError:
        pytest.skip("the file system refuses such names itself")
    with pytest.raises(InputError, match="no UTF-8"):
        list_photos(tmp_path)


def test_real_manifest(shared):
    pairs = read_pairs(shared / "brackets" / "pairs.jsonl")
    rows = [json.loads(line) for line in (shared / "brackets" / "pairs.jsonl").read_text().splitlines()]
    assert len(pairs) == len(rows) == 310
    assert len({pair.group for pair in pairs}) == 138
    assert all(pair.source.is_file() and pair.target.is_file() for pair in pairs)
