import json

import numpy as np
import pytest

from hdr_lightning.data.audit import check_pairs
from hdr_lightning.data.contents import recorded_beside, refuse_shared_content
from hdr_lightning.data.files import read_photo
from hdr_lightning.data.manifest import read_pairs
from hdr_lightning.data.rooms import write_demo_set
from hdr_lightning.data.rooms.develop import edit, photograph
from hdr_lightning.data.rooms.furnish import Furnisher
from hdr_lightning.data.rooms.render import render
from hdr_lightning.data.splits import split_pairs
from hdr_lightning.errors import InputError


@pytest.fixture(scope="module")
def rooms():
    renderings = []
    for seed in range(12):
        rng = np.random.default_rng([1, seed])
        rendering = render(Furnisher(rng).furnish(), 48, 72)
        renderings.append((rendering, photograph(rendering, rng), edit(rendering)))
    return renderings


def test_rooms_have_windows_far_brighter_than_their_walls(rooms):
    seen = [r for r, _, _ in rooms if r.glass.mean() > 0.01]
    assert len(seen) >= 9
    for rendering in seen:
        outside = np.median(rendering.radiance[rendering.glass == 1])
        inside = np.median(rendering.radiance[rendering.glass == 0])
        assert outside > 2 * inside
    assert np.median([np.median(r.radiance[r.glass == 1]) / np.median(r.radiance[r.glass == 0]) for r in seen]) > 8


def test_radiance_is_finite_and_positive(rooms):
    for rendering, _, _ in rooms:
        assert np.isfinite(rendering.radiance).all()
        assert (rendering.radiance >= 0).all()
        assert ((rendering.glass >= 0) & (rendering.glass <= 1)).all()


def test_the_edit_lifts_the_interior_and_holds_the_windows(rooms):
    for rendering, photo, edited in rooms:
        inside, window = rendering.glass == 0, rendering.glass == 1
        assert edited[inside].mean() > photo[inside].mean() + 20
        assert 110 < edited[inside].mean() < 235
        if window.mean() > 0.01:
            assert (edited[window] >= 254).all(axis=1).mean() < 0.4


def test_the_photo_clips_windows_in_many_rooms(rooms):
    clipped = [(photo[r.glass == 1] == 255).any(axis=1).mean() for r, photo, _ in rooms if r.glass.mean() > 0.01]
    assert np.mean(np.array(clipped) > 0.2) > 0.4


def test_the_edit_is_more_neutral_than_the_photo(rooms):
    def cast(pixels):
        means = pixels.reshape(-1, 3).mean(axis=0) + 1
        return np.ptp(means) / means.mean()

    assert np.mean([cast(e) for _, _, e in rooms]) < 0.6 * np.mean([cast(p) for _, p, _ in rooms])


def test_the_same_seed_is_the_same_room_whatever_the_number(tmp_path):
    few = write_demo_set(tmp_path / "few", number=1, size=(32, 40), seed=4)
    more = write_demo_set(tmp_path / "more", number=2, size=(32, 40), seed=4)
    other = write_demo_set(tmp_path / "other", number=1, size=(32, 40), seed=5)
    first = [read_photo(manifest.parent / "source" / "00000.png").pixels for manifest in (few, more, other)]
    np.testing.assert_array_equal(first[0], first[1])
    assert (first[0] != first[2]).mean() > 0.5


def test_many_rooms_are_rendered_by_several_processes_alike(tmp_path):
    """More than `IN_PROCESS` rooms go to worker processes."""
    manifest = write_demo_set(tmp_path / "many", number=17, size=(16, 24), seed=4)
    alone = write_demo_set(tmp_path / "alone", number=2, size=(16, 24), seed=4)
    assert len(read_pairs(manifest)) == 17
    for name in ("source/00001.png", "target/00001.png"):
        np.testing.assert_array_equal(read_photo(manifest.parent / name).pixels, read_photo(alone.parent / name).pixels)


def test_the_set_passes_its_own_checks(demo):
    pairs = read_pairs(demo)
    check_pairs(pairs, crop=32)
    parts = split_pairs(pairs, test=5, validation=0.1, seed=0)
    refuse_shared_content(parts, recorded_beside(demo), may_open_test=False)
    assert read_photo(pairs[0].source).pixels.shape == (32, 48, 3)


def test_a_set_that_is_there_is_kept_and_another_never_replaced(tmp_path, capsys):
    first = write_demo_set(tmp_path / "rooms", number=1, size=(16, 16))
    before = first.stat().st_mtime_ns
    assert write_demo_set(tmp_path / "rooms", number=1, size=(16, 16)) == first
    assert first.stat().st_mtime_ns == before
    assert "are there already" in capsys.readouterr().out
    with pytest.raises(InputError, match="holds something else"):
        write_demo_set(tmp_path / "rooms", number=2, size=(16, 16))
    assert len(first.read_text().splitlines()) == 1


def test_a_set_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hdr_lightning.data.rooms._render_pair", fail)
    with pytest.raises(InputError, match="No space left on device"):
        write_demo_set(tmp_path / "rooms", number=1, size=(16, 16))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "size"), [(0, (32, 32)), (1, (8, 32))])
def test_numbers_out_of_range_are_refused(number, size, tmp_path):
    with pytest.raises(InputError, match="expected at least 1 pair of at least 16 x 16 pixels"):
        write_demo_set(tmp_path / "rooms", number=number, size=size)


def test_groups_are_rooms(demo):
    rows = [json.loads(line) for line in demo.read_text().splitlines()]
    assert len({row["group"] for row in rows}) == len(rows) == 12
