import json

import pytest

from hdr_lightning.data.manifest import list_photos, read_pairs
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
        ('{"src": "a", "tar": "b"}\n{"src": "a", "tar": "c"}\n', "a is the source of more than one pair"),
    ],
)
def test_bad_manifests_are_refused_by_line(text, message, tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_pairs(path)


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


def test_list_photos(photo, tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="holds no photos"):
        list_photos(tmp_path)
    photo("b.png")
    photo("a.jpeg")
    assert [path.name for path in list_photos(tmp_path)] == ["a.jpeg", "b.png"]
    with pytest.raises(InputError, match="no such folder"):
        list_photos(tmp_path / "none")


def test_real_manifest(shared):
    pairs = read_pairs(shared / "brackets" / "pairs.jsonl")
    rows = [json.loads(line) for line in (shared / "brackets" / "pairs.jsonl").read_text().splitlines()]
    assert len(pairs) == len(rows) == 310
    assert len({pair.group for pair in pairs}) == 138
    assert all(pair.source.is_file() and pair.target.is_file() for pair in pairs)
