"""What people send: damaged, cut off, or made to fill the memory.

Native libraries may crash, so another process reads.
"""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from photo_samples import write_bombs, write_samples
from PIL import Image

from hdr_lightning.data.files import photo_header, read_photo
from hdr_lightning.errors import InputError

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return write_samples(tmp_path_factory.mktemp("samples"))


def run(script, *words):
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(
        [sys.executable, HERE / script, *map(str, words)], capture_output=True, text=True, timeout=590, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def fuzz(samples, rounds, seed):
    counts = re.findall(r"(\S+) read_photo (read|refused): (\d+)", run("fuzz.py", seed, rounds, *samples))
    assert {name for name, _, _ in counts} == {path.name for path in samples}
    for path in samples:
        assert sum(int(count) for name, _, count in counts if name == path.name) == rounds
        assert any(name == path.name and outcome == "refused" for name, outcome, _ in counts)


def test_damaged_files_are_read_or_refused(samples):
    fuzz(samples, rounds=15, seed=0)


@pytest.mark.slow
def test_many_damaged_files_are_read_or_refused(samples):
    fuzz(samples, rounds=400, seed=1)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # Pillow says what it misses
def test_what_is_cut_off_is_refused(samples, tmp_path):
    """Wherever it is cut, but for the last bytes of a PNG, behind its pixels."""
    for path in samples:
        content, cut = path.read_bytes(), tmp_path / f"cut{path.suffix}"
        for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98):
            cut.write_bytes(content[: int(len(content) * share)])
            with pytest.raises(InputError):
                read_photo(cut)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_with_a_hole_is_refused(progressive, mode, tmp_path):
    """Pillow and OpenCV make a picture of it, grey from there on."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (99, 99, 3), np.uint8)).convert(mode).save(
        tmp_path / "a.jpg", progressive=progressive
    )
    content = (tmp_path / "a.jpg").read_bytes()
    for broken in (content[: len(content) // 2] + b"\xff\xd9", content[: len(content) // 2] + content[-300:]):
        (tmp_path / "a.jpg").write_bytes(broken)
        Image.open(tmp_path / "a.jpg").load()
        with pytest.raises(InputError, match=r"a\.jpg: a part of the picture is missing"):
            read_photo(tmp_path / "a.jpg")


def test_bombs_are_refused_in_little_memory(samples, tmp_path):
    good = [
        path for path in samples if path.name in ("a.jpg", "a.webp", "deep.png", "deep.tif", "zip.exr", "camera.dng")
    ]
    bombs = write_bombs(tmp_path)
    lines = run("bombs.py", ",".join(map(str, good)), *bombs).splitlines()
    refused = dict(re.findall(r"(\S+) read_photo refused (\d+) MiB", "\n".join(lines)))
    assert refused.keys() == {path.name for path in bombs}, lines
    assert max(map(int, refused.values())) < 64, lines


def test_reading_changes_no_file(samples):
    for path in samples:
        before = hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns
        photo_header(path), read_photo(path)
        assert (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns) == before


FORKED = """
import multiprocessing, sys, warnings
from pathlib import Path
from hdr_lightning.data.files import read_photo

warnings.simplefilter("ignore")

def read_all():
    for path in sys.argv[1:]:
        read_photo(Path(path))

read_all()
child = multiprocessing.get_context("fork").Process(target=read_all)
child.start()
child.join(60)
hung = child.is_alive()
child.kill()
sys.exit("hangs" if hung else child.exitcode)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_worker_reads_what_the_process_read_that_it_was_forked_from(samples, tmp_path):
    """A library with a pool of threads, such as libvips, hangs there."""
    (tmp_path / "forked.py").write_text(FORKED)
    run(tmp_path / "forked.py", *samples)


def test_the_header_tells_what_reading_finds(samples):
    for path in samples:
        header, photo = photo_header(path), read_photo(path)
        assert (header.height, header.width) == photo.pixels.shape[:2]
        assert {8: np.uint8, 16: np.uint16, 32: np.float32}[
            32 if header.radiance else header.bits
        ] == photo.pixels.dtype
        assert header.channels.endswith("A") == (photo.alpha is not None)
        assert header.profile.startswith("Adobe RGB") == bool(photo.icc)
        assert header.format == ("RAW" if path.suffix == ".dng" else photo.format)
