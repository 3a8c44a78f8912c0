"""Each defect is planted in a sound set of small pictures and found by name; the sound set gives nothing."""

import dataclasses
import json
import shutil

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from hdr_lightning.data.audit.alignment import align, unrelated
from hdr_lightning.data.audit.candidates import Vocabulary, vectors
from hdr_lightning.data.audit.looks import look_at
from hdr_lightning.data.audit.photos import reduced
from hdr_lightning.data.audit.resemblance import resemblance
from hdr_lightning.data.audit.run import find_all
from hdr_lightning.data.manifest import Pairs, read_pairs
from hdr_lightning.data.splits import Split, split_pairs

TEST = 10
NUMBER = 36
HEIGHT, WIDTH = 180, 260


def scene(seed):
    """A picture with edges and texture, as of a room: overlapping shapes on a gradient."""
    rng = np.random.default_rng(seed)
    pixels = np.linspace(rng.integers(40, 90, 3), rng.integers(90, 170, 3), WIDTH)[None].repeat(HEIGHT, 0)
    pixels = np.ascontiguousarray(pixels.astype(np.uint8))
    for _ in range(60):
        corners = rng.integers((0, 0), (WIDTH, HEIGHT), 2) + rng.integers(-28, 28, (rng.integers(3, 6), 2))
        cv2.fillPoly(pixels, [corners.astype(np.int32)], rng.integers(20, 190, 3).tolist())
    return pixels


def edited(pixels):
    """What an editor does: brighter, more contrast, more colour."""
    values = pixels.astype(np.float32) * 1.25 + 12
    grey = values.mean(2, keepdims=True)
    return np.clip(grey + (values - grey) * 1.2, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The folder of a set in which nothing is wrong."""
    folder = tmp_path_factory.mktemp("sound")
    rows = []
    for n in range(NUMBER):
        pixels = scene(n)
        Image.fromarray(pixels).save(folder / f"{n}_src.png")
        Image.fromarray(edited(pixels)).save(folder / f"{n}_tar.png")
        rows.append({"src": f"{n}_src.png", "tar": f"{n}_tar.png"})
    write_rows(folder, rows)
    return folder


def write_rows(folder, rows):
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def read(path):
    return np.asarray(Image.open(path))


def write(path, pixels, **options):
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, **options)


def found(folder, test=TEST):
    parts = split_pairs(read_pairs(folder / "pairs.jsonl"), test, validation=0.2, seed=0)
    return find_all(parts.items(), tolerance=1.5)


def missing(source, target):
    source.unlink()


def unreadable(source, target):
    source.write_text("no photo")


def truncated(source, target):
    _, code = cv2.imencode(".jpg", read(target))
    target.write_bytes(code.tobytes()[: len(code) // 2])


def size(source, target):
    write(target, read(target)[:, 10:])


def equal(source, target):
    shutil.copy(source, target)


def swapped(source, target):
    before, after = read(source), read(target)
    write(source, after)
    write(target, before)


def misaligned(source, target):
    turn = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 1.5, 1.02) + [[0, 0, 6], [0, 0, -4]]
    write(target, cv2.warpAffine(read(target), turn, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT))


def mirrored(source, target):
    write(target, read(target)[:, ::-1])


def stranger(source, target):
    write(target, edited(scene(999)))


def profile(source, target):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    name = "sRGB built-in"
    wide = srgb.replace(name.encode("utf-16-be"), "Wide built-in".encode("utf-16-be"))
    assert wide != srgb
    write(source, read(source), icc_profile=wide)


def depth(source, target):
    Image.open(source).convert("L").save(source)


def orientation(source, target):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    write(source, read(source)[::-1, ::-1], exif=exif)


def blank(source, target):
    write(target, np.full((HEIGHT, WIDTH, 3), 255, np.uint8))


def clipped(source, target):
    pixels = read(target).copy()
    pixels[: HEIGHT * 3 // 4] = 255
    write(target, pixels)


INSIDE = [
    (missing, "missing", "error"),
    (unreadable, "unreadable", "error"),
    (truncated, "truncated", "error"),
    (size, "size", "error"),
    (equal, "equal", "warning"),
    (swapped, "swapped", "warning"),
    (misaligned, "misaligned", "warning"),
    (mirrored, "misaligned", "warning"),
    (stranger, "unrelated", "warning"),
    (profile, "profile", "warning"),
    (depth, "depth", "warning"),
    (orientation, "orientation", "note"),
    (blank, "blank", "error"),
    (clipped, "clipped", "note"),
]
"""Defects of a pair, with kind and severity of their finding."""


def jpeg(pixels):
    code = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    return cv2.imdecode(code, cv2.IMREAD_COLOR)


def scaled(pixels):
    return cv2.resize(pixels, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)


def brighter(pixels):
    return np.clip(pixels * 1.3, 0, 255).astype(np.uint8)


def other_view(pixels):
    """The camera turned: part of the place is out of sight, and what comes into sight instead is new."""
    corners = np.float32([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]])
    seen = np.float32([[-90, -14], [WIDTH - 90, 16], [WIDTH - 96, HEIGHT - 12], [-84, HEIGHT + 10]])
    matrix = cv2.getPerspectiveTransform(corners, seen)
    view = cv2.warpPerspective(pixels, matrix, (WIDTH, HEIGHT))
    new = cv2.warpPerspective(np.ones((HEIGHT, WIDTH), np.uint8), matrix, (WIDTH, HEIGHT)) == 0
    view[new] = scene(777)[new]
    return view


def same(pixels):
    return pixels


ACROSS = [
    ("the file", same, same, "duplicate"),
    ("its target", lambda pixels: pixels // 2, same, "shared-target"),
    ("a crop", *[lambda pixels: pixels[20:150, 30:230]] * 2, "near-duplicate"),
    ("the scale", scaled, scaled, "near-duplicate"),
    ("JPEG of quality 60", jpeg, jpeg, "near-duplicate"),
    ("+30 %", brighter, brighter, "near-duplicate"),
    ("-30 %", *[lambda pixels: (pixels * 0.7).astype(np.uint8)] * 2, "near-duplicate"),
    ("the mirror", *[lambda pixels: pixels[:, ::-1]] * 2, "near-duplicate"),
    ("all at once", *[lambda pixels: jpeg(brighter(pixels[20:160, 240:30:-1]))] * 2, "near-duplicate"),
    ("a view", other_view, other_view, "same-scene"),
]
"""What becomes of a test pair that hides among the others, and the kind of the finding."""


@pytest.fixture(scope="module")
def planted(sound, tmp_path_factory):
    """What an audit finds in a set with every defect: findings by the name of the source."""
    folder = shutil.copytree(sound, tmp_path_factory.mktemp("planted") / "set")
    for n, (plant, _, _) in enumerate(INSIDE, TEST):
        plant(folder / f"{n}_src.png", folder / f"{n}_tar.png")
    for n, (_, source, target, _) in enumerate(ACROSS):
        other = n + TEST + len(INSIDE)
        write(folder / f"{other}_src.png", source(read(folder / f"{n}_src.png")), compress_level=1)
        write(folder / f"{other}_tar.png", target(read(folder / f"{n}_tar.png")), compress_level=1)
    return found(folder)


@pytest.mark.parametrize("n", range(len(INSIDE)), ids=[plant.__name__ for plant, _, _ in INSIDE])
def test_a_defect_of_a_pair_is_found(planted, n):
    _, kind, severity = INSIDE[n]
    name = f"{TEST + n}_src.png"
    about = [finding for finding in planted if name in [pair.name for pair in finding.pairs]]
    assert [(finding.kind, finding.severity) for finding in about] == [(kind, severity)]


@pytest.mark.parametrize("n", range(len(ACROSS)), ids=[name for name, *_ in ACROSS])
def test_a_test_photo_is_found_in_training(planted, n):
    name = f"{n + TEST + len(INSIDE)}_src.png"
    (finding,) = [finding for finding in planted if name in [pair.name for pair in finding.pairs]]
    assert (finding.kind, finding.severity) == (ACROSS[n][3], "error")
    assert {pair.name for pair in finding.pairs} == {f"{n}_src.png", name}
    assert [pair.name for pair in finding.leave_out] == [name]


def test_nothing_else_is_found(planted):
    assert len(planted) == len(INSIDE) + len(ACROSS)


def test_the_displacement_is_measured(planted):
    finding = next(finding for finding in planted if "angle_degrees" in finding.figures)
    assert finding.figures["dx_px"] == pytest.approx(6, abs=0.3)
    assert finding.figures["dy_px"] == pytest.approx(-4, abs=0.3)
    assert finding.figures["scale"] == pytest.approx(1.02, abs=0.002)
    assert abs(finding.figures["angle_degrees"]) == pytest.approx(1.5, abs=0.1)


def test_a_sound_set_gives_nothing(sound):
    assert found(sound) == []


def test_pairs_of_one_group_may_share_what_they_like(sound, tmp_path):
    rows = []
    for n in range(6):
        shutil.copy(sound / f"{n}_src.png", tmp_path)
        shutil.copy(sound / f"{n % 5}_tar.png", tmp_path / f"{n}_tar.png")
        rows.append({"src": f"{n}_src.png", "tar": f"{n}_tar.png"})
    write(tmp_path / "5_src.png", read(tmp_path / "0_src.png") // 2)
    write_rows(tmp_path, [row | ({"group": "house"} if row["src"][0] in "05" else {}) for row in rows])
    assert found(tmp_path, 0) == []
    write_rows(tmp_path, rows)
    assert {finding.kind for finding in found(tmp_path, 0)} == {"shared-target"}


def test_a_group_on_two_sides_is_an_error(sound):
    pairs = [dataclasses.replace(pair, group="house") for pair in read_pairs(sound / "pairs.jsonl")[:3]]
    pairs = Pairs.of(pairs)
    (finding,) = find_all(Split(pairs[:1], pairs[1:2], pairs[2:], pairs[:0]).items(), tolerance=1.5)
    assert (finding.kind, finding.severity, finding.leave_out) == ("group-leak", "error", tuple(pairs[:2]))


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (5, 7), (16, 16), (2000, 8)])
def test_pictures_of_any_size_can_be_looked_at(size):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    look = look_at(reduced(pixels))
    likeness = resemblance(look, look, mirror=False)
    assert likeness is None or likeness.kind == "near-duplicate"
    vectors(Vocabulary([look]), look)
    assert align(look, look, size[1]) is None or not unrelated(look, look)


def test_16_bits_are_reduced_to_8():
    assert reduced(np.full((10, 900, 3), 65535, np.uint16)).max() == 255
