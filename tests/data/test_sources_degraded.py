"""Bad photos made of clean ones, against OpenCV, Pillow and what the physics says."""

import io
import json

import cv2
import numpy as np
import pytest
import torch
from conftest import TINY, smooth
from PIL import Image
from torch.utils.data import DataLoader

from hdr_lightning.cli import main
from hdr_lightning.data.augment import CropFlip
from hdr_lightning.data.manifest import PairPaths
from hdr_lightning.data.pairs import Draw, EpochSampler, PairDataset
from hdr_lightning.data.sources import (
    DefocusBlur,
    DegradedPhotos,
    GaussianBlur,
    Grey,
    Jpeg,
    MotionBlur,
    OneOf,
    SensorNoise,
    Underexposure,
)
from hdr_lightning.data.sources.degradations import convolve, degrade
from hdr_lightning.errors import InputError
from hdr_lightning.image.color import decode_srgb

ALL = [
    GaussianBlur(),
    MotionBlur(),
    DefocusBlur(),
    Underexposure(),
    SensorNoise(),
    Grey(),
    Jpeg(),
    OneOf([GaussianBlur(), MotionBlur()]),
]


def rng(seed=0):
    return np.random.default_rng(seed)


def picture(seed=0, size=(60, 76)):
    """Linear light."""
    return smooth(seed, size)[0].permute(1, 2, 0).contiguous().numpy()


def photo(dtype=np.uint8):
    code = picture(1)
    return code if dtype == np.float32 else (code * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("side", [1, 7, 31])
def test_filtering_is_that_of_opencv(side):
    kernel = rng().random((side, side))
    theirs = cv2.filter2D(picture(), -1, np.flip(kernel / kernel.sum()), borderType=cv2.BORDER_REFLECT_101)
    np.testing.assert_allclose(convolve(picture(), kernel), theirs, atol=1e-5)


def test_gaussian_blur_is_that_of_opencv():
    theirs = cv2.GaussianBlur(picture(), (0, 0), 2.0, borderType=cv2.BORDER_REFLECT_101)
    np.testing.assert_allclose(GaussianBlur((2.0, 2.0))(picture(), rng()), theirs, atol=2e-4)


def spread(step, seed=0):
    """How a point of light is spread: its second moments, and the picture."""
    point = np.zeros((81, 81, 3), np.float32)
    point[40, 40] = 1
    spot = step(point, rng(seed))[..., 0]
    y, x = np.mgrid[-40:41, -40:41]
    assert spot.sum() == pytest.approx(1, abs=1e-4)
    return np.array([[(spot * a * b).sum() for a in (x, y)] for b in (x, y)]), spot


def test_defocus_spreads_a_point_to_a_disc():
    """The second moment of a disc is a quarter of its squared radius."""
    moments, spot = spread(DefocusBlur((6.0, 6.0)))
    np.testing.assert_allclose(moments, np.eye(2) * 9, atol=0.2)
    assert spot[40, 40] == pytest.approx(1 / (np.pi * 36), rel=0.02)
    assert abs(spot[40, 48]) < 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_motion_spreads_a_point_to_a_line(seed):
    """The second moment along a line is a twelfth of its squared length, and next to nothing across."""
    moments, _ = spread(MotionBlur((20.0, 20.0)), seed)
    across, along = np.linalg.eigvalsh(moments)
    assert along == pytest.approx(400 / 12, rel=0.03)
    assert across < 0.5


def test_noise_has_the_variance_of_the_sensor():
    for light in (0.0, 0.1, 0.8):
        flat = np.full((200, 200, 3), light, np.float32)
        noise = SensorNoise((0.004, 0.004), (0.01, 0.01))(flat, rng()) - flat
        assert noise.var() == pytest.approx(0.004 * light + 0.01**2, rel=0.03)
        assert abs(noise.mean()) < 5e-4


def test_a_stop_is_half_the_light():
    dark = degrade(photo(np.float32), [Underexposure((2.0, 2.0))], rng())
    light, less = (decode_srgb(torch.from_numpy(each)) for each in (photo(np.float32), dark))
    torch.testing.assert_close(less, light / 4, atol=1e-5, rtol=1e-4)


def test_a_converter_of_few_bits_leaves_few_steps():
    dark = Underexposure((3.0, 3.0), bits=6)(picture(), rng())
    assert len(np.unique(dark)) <= 2**6 / 8 + 1
    np.testing.assert_allclose(dark, picture() / 8, atol=0.5 / 63)


def test_grey_is_the_luminance_of_light():
    """As OpenCV computes Y of XYZ, which is linear."""
    theirs = cv2.cvtColor(picture(), cv2.COLOR_RGB2XYZ)[..., 1]
    grey = Grey()(picture(), rng())
    for channel in range(3):
        np.testing.assert_allclose(grey[..., channel], theirs, atol=1e-4)


def test_jpeg_is_that_of_pillow():
    file = io.BytesIO()
    Image.fromarray(photo()).save(file, "JPEG", quality=40, subsampling=2)
    np.testing.assert_array_equal(degrade(photo(), [Jpeg((40, 40))], rng()), np.asarray(Image.open(file)))


def test_one_of_several_is_drawn_as_often_as_the_others():
    steps = OneOf([Underexposure((1.0, 1.0)), Underexposure((2.0, 2.0))], skip=0.5)
    light = np.ones((1, 1, 3), np.float32)
    drawn = [float(steps(light, rng(seed)).mean()) for seed in range(400)]
    shares = [drawn.count(value) / 400 for value in (1.0, 0.5, 0.25)]
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25], atol=0.07)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("step", ALL, ids=lambda step: type(step).__name__)
def test_size_and_depth_stay_and_chance_comes_from_the_generator(step, dtype):
    clean = photo(dtype)
    kept = clean.copy()
    first, again, other = (degrade(clean, [step], rng(seed)) for seed in (1, 1, 2))
    assert (first.shape, first.dtype) == (clean.shape, clean.dtype)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, clean)
    np.testing.assert_array_equal(clean, kept)
    if not isinstance(step, Grey):
        assert not np.array_equal(first, other)


def test_depths_agree():
    steps = [GaussianBlur(), Underexposure(), SensorNoise()]
    eight, sixteen = (
        degrade(photo().astype(dtype) * scale, steps, rng()) for dtype, scale in ((np.uint8, 1), (np.uint16, 257))
    )
    assert np.abs(eight / 255 - sixteen / 65535).max() <= 0.51 / 255


def test_light_goes_there_and_back_exactly():
    codes = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    np.testing.assert_array_equal(degrade(codes, [Underexposure((0.0, 0.0))], rng()), codes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianBlur((3.0, 1.0)), r"sigma is to be \[lowest, highest\] within 0.01 and 50, got \[3.0, 1.0\]"),
        (lambda: Jpeg((0, 50)), "quality is to be"),
        (lambda: OneOf([Jpeg(), Grey()]), r"all of light or all of code values \(Jpeg\), got Jpeg, Grey"),
        (lambda: OneOf([]), "got none"),
        (lambda: Underexposure(bits=0), "bits is to lie between 1 and 16, got 0"),
    ],
)
def test_wrong_ranges_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.fixture
def clean(tmp_path):
    """Clean photos: three alone, and two houses of three."""
    folder = tmp_path / "clean"
    for n in range(9):
        path = folder / ("" if n < 3 else f"house {n % 2}") / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((smooth(n, (32, 40))[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)).save(path)
    return folder


def test_a_subfolder_is_a_group(clean):
    pairs = DegradedPhotos(clean, ALL).pairs()
    assert [pair.name for pair in pairs[:4]] == ["0.png", "1.png", "2.png", "house 0/4.png"]
    assert all(pair.source == pair.target for pair in pairs)
    assert len({pair.group for pair in pairs}) == 5


def test_targets_of_a_manifest_are_used_once(clean, tmp_path):
    rows = [{"src": "x.png", "tar": "clean/0.png", "group": "g"}, {"src": "y.png", "tar": "clean/0.png", "group": "g"}]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert DegradedPhotos(tmp_path / "pairs.jsonl", [Grey()]).pairs() == [
        PairPaths("clean/0.png", clean / "0.png", clean / "0.png", "g")
    ]


def test_nothing_to_degrade_is_refused(tmp_path):
    with pytest.raises(InputError, match="degradations is empty"):
        DegradedPhotos(tmp_path, [])
    with pytest.raises(InputError, match="expected clean photos in this folder or below, found none"):
        DegradedPhotos(tmp_path, [Grey()]).pairs()
    with pytest.raises(InputError, match="expected clean photos in .*none"):
        DegradedPhotos(tmp_path / "none", [Grey()]).pairs()


def samples(clean, epoch, workers=0, augment=True):
    source = DegradedPhotos(clean, ALL)
    dataset = PairDataset(source.pairs(), CropFlip(24, 0.5) if augment else None, 3, degradations=source.degradations)
    sampler = EpochSampler(len(dataset), seed=3)
    sampler.set_epoch(epoch)
    return [pair.source for pair in DataLoader(dataset, batch_size=1, sampler=sampler, num_workers=workers)]


def test_training_sees_another_draw_each_epoch_whatever_the_workers(clean):
    first, again, other = samples(clean, 1), samples(clean, 1, workers=2), samples(clean, 2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_evaluation_always_sees_the_same_draw_of_a_photo(clean):
    for first, again in zip(samples(clean, 0, augment=False), samples(clean, 5, augment=False), strict=True):
        assert torch.equal(first, again)
    source = DegradedPhotos(clean, ALL)
    pairs = source.pairs()
    alone = PairDataset(pairs[4:5], seed=3, degradations=source.degradations)[Draw(0, 0)]  # of another split
    assert torch.equal(alone.source[None], samples(clean, 0, augment=False)[4])


def test_it_trains_and_tests(clean, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--data.pairs=DegradedPhotos", f"--data.pairs.photos={clean}", "--data.test=2", *TINY]
    words.append("--data.pairs.degradations=[{class_path: MotionBlur, init_args: {length: [2, 5]}}, SensorNoise, Jpeg]")
    listing = [word.replace("--data.", "--") for word in words if word.startswith("--data.pairs")]
    main(["fingerprint", str(main(["write-manifest", *listing]))])
    run = main(["fit", *words, "--trainer.max_epochs=1", "--trainer.limit_train_batches=1"])
    assert "hdr_lightning.data.sources.MotionBlur" in (run / "config.yaml").read_text()
    assert (main(["test", *words, f"--ckpt_path={run}"]) / "report.html").is_file()


def test_a_wrong_degradation_is_told_in_a_line(clean, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--data.pairs=DegradedPhotos", f"--data.pairs.photos={clean}", *TINY]
    with pytest.raises(SystemExit):
        main(["fit", *words, "--data.pairs.degradations=[{class_path: Jpeg, init_args: {quality: [90, 30]}}]"])
    assert (
        capsys.readouterr()
        .err.rstrip()
        .endswith("error: quality is to be [lowest, highest] within 1 and 100, got [90, 30]")
    )
