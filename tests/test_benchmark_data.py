"""What is timed beside each other is the same; the times are printed, not asserted."""

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("cv2")
pytest.importorskip("torchvision")

from hdr_lightning.benchmark_data import _one_thread, _ways
from hdr_lightning.cli import main
from hdr_lightning.data.manifest import PairPaths
from hdr_lightning.data.pairs import Draw


@pytest.fixture
def pairs(tmp_path):
    rng = np.random.default_rng(0)
    names = [tmp_path / f"{n}.jpg" for n in range(4)]
    for name in names:
        small = rng.integers(0, 256, (7, 9, 3), np.uint8)
        Image.fromarray(small).resize((260, 200), Image.Resampling.BICUBIC).save(name, quality=92)
    return [PairPaths(path.name, path, other, path.name) for path, other in zip(names[::2], names[1::2], strict=True)]


@pytest.mark.parametrize("shorter_side", [None, 48])
def test_all_ways_make_the_same_samples(tmp_path, pairs, shorter_side):
    ways = _ways(pairs, 32, shorter_side, tmp_path / "made")
    tolerance = 1e-6 if shorter_side is None else 0.05  # filters differ
    for name, sample in ways.items():
        for photo in range(2):
            with _one_thread():
                ours, made = ways["ours"](Draw(3, photo)), sample(Draw(3, photo))
            exact = 0 if "ours" in name or "memory" in name else tolerance
            for a, b in zip(made, ours, strict=True):
                assert a.shape == (3, 32, 32)
                assert a.dtype == torch.float32
                assert (a - b).abs().mean() <= exact, name


def test_a_table_comes_out(tmp_path, pairs, capsys):
    manifest = tmp_path / "pairs.jsonl"
    manifest.write_text("".join(f'{{"src": "{p.source.name}", "tar": "{p.target.name}"}}\n' for p in pairs))
    words = [f"--pairs={manifest}", "--crop=32", "--resize=48", "--repeats=1", "--photos=2"]
    main(["benchmark-data", *words, f"--output={tmp_path / 'table.md'}"])
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert len(lines) == 2 + 2 * 6
    assert {line.count("|") for line in lines} == {lines[0].count("|")}
