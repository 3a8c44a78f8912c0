"""Training samples a second of a core: our reading beside that of others, and beside what memory allows."""

import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hdr_lightning.data.augment import CropFlip
from hdr_lightning.data.cache import PhotoCache, PhotoReader, Reader
from hdr_lightning.data.files import read_photo, to_tensor
from hdr_lightning.data.files.reduce import reduced_size
from hdr_lightning.data.manifest import PairPaths, photos_of, read_pairs
from hdr_lightning.data.pairs import Draw, PairDataset
from hdr_lightning.data.rooms import write_demo_set
from hdr_lightning.errors import InputError
from hdr_lightning.progress import track

HEADER = (
    "| training on | samples by | ms a sample | CPU ms a sample | samples a CPU second | ours is faster by | cached |"
)
MEGAPIXELS_12 = (3000, 4000)
FAST_PASSES = 50

Sample = Callable[[Draw], tuple[Tensor, Tensor]]
"""From a draw to source and target: 3 x crop x crop, float32, [0, 1]."""


class Cost(NamedTuple):
    """Median seconds a sample: of the clock, and of all threads of the process."""

    wall: float
    cpu: float


def benchmark_data(
    pairs: Path | None = None,
    photos: int = 4,
    crop: int = 384,
    resize: int = 384,
    repeats: int = 5,
    output: Path | None = None,
) -> str:
    """Measure how many training samples one thread makes a second, of crops of whole photos and of reduced ones.

    A sample is a crop of both photos of a pair, at the same place, mirrored at random, as float tensors. All ways take
    turns; ratios are of CPU seconds. Files lie in the page cache of the system: disks are not measured. BasicSR's way
    is its code: decoded by OpenCV, the whole photo to float, then the crop; for reduced photos OpenCV's area filter
    between the two. "OpenCV" and "torchvision" are the same without the float, the latter with its antialiased filter.

    Args:
        pairs: a JSONL manifest of photos in JPEG or PNG; without one, rendered rooms of 12 megapixels with the noise of
            a sensor, JPEG of quality 92, are made in a temporary folder.
        photos: pairs to go through.
        crop: side of the square, in pixels.
        resize: shorter side of the reduced photos, in pixels.
        repeats: rounds, after one to warm up.
        output: a Markdown file to write the table to.

    Returns:
        The table, in Markdown.

    Raises:
        InputError: if OpenCV or torchvision is not installed, or the photos are smaller than the crop.
    """
    lines = [HEADER, "|" + "---|" * (HEADER.count("|") - 1)]
    with _one_thread(), tempfile.TemporaryDirectory() as folder:
        origin = pairs or _write_rooms(Path(folder), photos)
        paths = read_pairs(origin)[:photos]
        for shorter_side in (None, resize):
            ways = _ways(paths, crop, shorter_side, Path(folder) / str(shorter_side))
            lines += _rows(shorter_side, _measure(ways, len(paths), repeats))
    table = "\n".join(lines)
    print(table)
    if output is not None:
        output.write_text(table + "\n", encoding="utf-8")
    return table


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for torch and OpenCV, and no word of torchvision's that its decoders move to another package."""
    try:
        import cv2
        import torchvision  # noqa: F401
    except ImportError as error:
        raise InputError(f"{error.name} is not installed: pip install 'hdr-lightning[benchmark]'") from None
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The image decoding", DeprecationWarning)
            yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def _write_rooms(folder: Path, number: int) -> Path:
    """Rooms of 12 megapixels as a camera stores them: rendered at a quarter, enlarged, with noise."""
    height, width = MEGAPIXELS_12
    rooms = read_pairs(write_demo_set(folder / "rooms", number, (height // 4, width // 4)))
    rng = np.random.default_rng(0)
    rows = []
    for n, pair in enumerate(track(rooms, "making 12-megapixel photos", len(rooms), "pair")):
        for path in (pair.source, pair.target):
            large = Image.open(path).resize((width, height), Image.Resampling.LANCZOS)
            noise = rng.normal(0, 4, (height, width, 1)).astype(np.float32)
            noisy = (np.asarray(large, np.float32) + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / f"{n}_{path.parent.name}.jpg", quality=92)
        rows.append({"src": f"{n}_source.jpg", "tar": f"{n}_target.jpg"})
    manifest = folder / "pairs.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    size = statistics.mean(path.stat().st_size for path in folder.glob("*.jpg"))
    print(f"{2 * number} photos of {width} x {height}, {size / 1e6:.1f} MB each")
    return manifest


def _ways(pairs: Sequence[PairPaths], crop: int, shorter_side: int | None, folder: Path) -> dict[str, Sample]:
    """How samples can be made, by name; the last is what memory allows."""
    augment = CropFlip(crop, 0.5)
    files = photos_of(pairs)
    cache = PhotoCache(folder / "cache", 100, shorter_side)
    cache.build(files)
    return {
        "BasicSR's way": _basicsr(pairs, augment, shorter_side),
        "OpenCV": _whole(pairs, augment, lambda path: _opencv(path, shorter_side)),
        "torchvision": _whole(pairs, augment, lambda path: _torchvision(path, shorter_side)),
        "ours": _ours(PairDataset(pairs, augment, read=PhotoReader(shorter_side))),
        "ours, cached": _ours(PairDataset(pairs, augment, read=cache.reader(files))),
        "one memory-mapped array": _mapped(pairs, augment, shorter_side, folder / "array"),
    }


def _ours(dataset: PairDataset) -> Sample:
    def sample(draw: Draw) -> tuple[Tensor, Tensor]:
        pair = dataset[draw]
        return pair.source, pair.target

    return sample


def _whole(pairs: Sequence[PairPaths], augment: CropFlip, read: Reader) -> Sample:
    """Photos are read whole, then cropped."""

    def sample(draw: Draw) -> tuple[Tensor, Tensor]:
        pair, rng = pairs[draw.photo], np.random.default_rng([0, draw.epoch, draw.photo])
        source, target = augment(read(pair.source), read(pair.target), rng)
        return to_tensor(source), to_tensor(target)

    return sample


def _opencv(path: Path, shorter_side: int | None, as_float: bool = False) -> NDArray[Any]:
    import cv2

    colours = cv2.IMREAD_COLOR if as_float else cv2.IMREAD_COLOR_RGB
    pixels: NDArray[Any] | None = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), colours)
    assert pixels is not None
    if as_float:
        pixels = pixels.astype(np.float32) / 255.0
    if shorter_side is None:
        return pixels
    height, width = reduced_size(pixels.shape[0], pixels.shape[1], shorter_side)
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def _torchvision(path: Path, shorter_side: int | None) -> NDArray[np.uint8]:
    from torchvision.io import ImageReadMode, decode_image, read_file
    from torchvision.transforms.v2.functional import InterpolationMode, resize

    photo = decode_image(read_file(str(path)), ImageReadMode.RGB)
    if shorter_side is not None:
        size = list(reduced_size(photo.shape[1], photo.shape[2], shorter_side))
        photo = resize(photo, size, InterpolationMode.BICUBIC, antialias=True)
    pixels: NDArray[np.uint8] = photo.permute(1, 2, 0).numpy()
    return pixels


def _basicsr(pairs: Sequence[PairPaths], augment: CropFlip, shorter_side: int | None) -> Sample:
    """As `basicsr.data.PairedImageDataset` does: imfrombytes(float32=True), paired_random_crop, augment, img2tensor."""
    import cv2

    def tensor(pixels: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_BGR2RGB).transpose(2, 0, 1))

    def sample(draw: Draw) -> tuple[Tensor, Tensor]:
        pair, rng = pairs[draw.photo], np.random.default_rng([0, draw.epoch, draw.photo])
        source, target = (_opencv(path, shorter_side, as_float=True) for path in (pair.source, pair.target))
        # CropFlip takes pixels of files; the window is what it would cut.
        top, left = (int(rng.integers(side - augment.crop + 1)) for side in source.shape[:2])
        step = -1 if rng.random() < augment.flip else 1
        window = (slice(top, top + augment.crop), slice(left, left + augment.crop))
        return tensor(source[window][:, ::step]), tensor(target[window][:, ::step])

    return sample


def _mapped(pairs: Sequence[PairPaths], augment: CropFlip, shorter_side: int | None, file: Path) -> Sample:
    """All photos in one array on disk, mapped once: no file is opened and nothing is looked up."""
    photos = [[read_photo(path, shorter_side).pixels for path in (pair.source, pair.target)] for pair in pairs]
    height, width = (min(photo.shape[axis] for both in photos for photo in both) for axis in (0, 1))
    with file.open("wb") as out:
        for both in photos:
            for photo in both:
                np.ascontiguousarray(photo[:height, :width]).tofile(out)
    array = np.memmap(file, np.uint8, "r", shape=(len(pairs), 2, height, width, 3))

    def sample(draw: Draw) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([0, draw.epoch, draw.photo])
        source, target = augment(array[draw.photo, 0], array[draw.photo, 1], rng)
        return to_tensor(source), to_tensor(target)

    return sample


def _measure(ways: dict[str, Sample], photos: int, repeats: int) -> dict[str, Cost]:
    """Median cost of a sample, by way; the ways take turns, and those without decoding make more samples a turn."""
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for round_ in track(range(repeats + 1), "measuring", repeats + 1, "round"):
        for name, sample in ways.items():
            passes = FAST_PASSES if name in ("ours, cached", "one memory-mapped array") else 1
            draws = [Draw(round_ * passes + epoch, photo) for epoch, photo in product(range(passes), range(photos))]
            wall, cpu = time.perf_counter(), time.process_time()
            for draw in draws:
                sample(draw)
            cost = Cost((time.perf_counter() - wall) / len(draws), (time.process_time() - cpu) / len(draws))
            if round_:
                costs[name].append(cost)
    return {name: Cost(*map(statistics.median, zip(*each, strict=True))) for name, each in costs.items()}


def _rows(shorter_side: int | None, costs: dict[str, Cost]) -> list[str]:
    what = "crops of whole photos" if shorter_side is None else f"photos reduced to {shorter_side} px"
    return [
        f"| {what} | {name} | {1e3 * cost.wall:.2f} | {1e3 * cost.cpu:.2f} | {1 / cost.cpu:.0f} | "
        f"{_times(cost.cpu / costs['ours'].cpu)} | {_times(cost.cpu / costs['ours, cached'].cpu)} |"
        for name, cost in costs.items()
    ]


def _times(ratio: float) -> str:
    return f"{ratio:.0f}x" if ratio >= 10 else f"{ratio:.2g}x"
