import json
import logging
import os
import shutil
from pathlib import Path

if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # processes that share the cores; torch reads it when it is imported
    threads = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))

import numpy as np
import pytest
import torch
from PIL import Image

from hdr_lightning.data.rooms import write_demo_set
from hdr_lightning.losses.networks import FILES

logging.raiseExceptions = False  # Lightning's log handler keeps the stderr of the test in which it was imported

TINY = [
    "--model.generator=hdr_lightning.generators.NAFNet",
    "--model.generator.init_args.width=4",
    "--model.generator.init_args.encoder_blocks=[1]",
    "--model.generator.init_args.middle_blocks=1",
    "--model.generator.init_args.decoder_blocks=[1]",
    '--model.loss={"class_path": "hdr_lightning.losses.CompositeLoss", "init_args": {"terms": {'
    '"l1": {"class_path": "hdr_lightning.losses.L1"},'
    '"window": {"class_path": "hdr_lightning.losses.WindowL1", "init_args": {"weight": 0.5}},'
    '"saturation": {"class_path": "hdr_lightning.losses.Saturation", "init_args": {"weight": 0.3}}}}}',
    "--trainer.accelerator=cpu",
    "--trainer.enable_model_summary=false",
    "--trainer.log_every_n_steps=1",
    "--data.crop=16",
    "--data.workers=0",
    "--data.batch_size=2",
]
"""Options of a training that takes a second."""


def pytest_collection_modifyitems(items):
    """Say of tests that need a GPU that there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="there is no CUDA GPU"))


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    """The user's cache folder: not that of whoever runs the tests."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    yield folder
    os.environ.pop("XDG_CACHE_HOME") if before is None else os.environ.update(XDG_CACHE_HOME=before)


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory):
    """Random weights, in place of ImageNet's, where torch looks for downloads."""
    from torchvision.models import alexnet, squeezenet1_1
    from torchvision.models.vgg import cfgs, make_layers

    home = tmp_path_factory.mktemp("torch_home")
    folder = home / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    for network, features in {
        "vgg19": lambda: make_layers(cfgs["E"]),
        "vgg16": lambda: make_layers(cfgs["D"]),
        "alexnet": lambda: alexnet().features,
        "squeezenet1_1": lambda: squeezenet1_1().features,
    }.items():
        weights = {f"features.{name}": value for name, value in features().state_dict().items()}
        for value in weights.values():
            if value.ndim == 4:
                torch.nn.init.kaiming_normal_(value)
            else:
                torch.nn.init.uniform_(value, -0.1, 0.1)
        torch.save(weights, folder / FILES[network])
    before = os.environ.get("TORCH_HOME")
    os.environ["TORCH_HOME"] = str(home)
    yield folder
    os.environ.pop("TORCH_HOME") if before is None else os.environ.update(TORCH_HOME=before)


@pytest.fixture(scope="session")
def depth_model(tmp_path_factory):
    """A Depth Anything of a few thousand values, as `transformers` saves it."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    backbone = transformers.Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=28,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=4,
    )
    folder = tmp_path_factory.mktemp("depth_anything")
    transformers.DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    size = {"height": 56, "width": 56}
    transformers.DPTImageProcessor(size=size, ensure_multiple_of=14, keep_aspect_ratio=True).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The manifest of a small rendered set: 12 pairs of 32 x 48."""
    return write_demo_set(tmp_path_factory.mktemp("demo") / "rooms", number=12, size=(32, 48), seed=7)


@pytest.fixture(scope="session")
def checkpoint(demo, tmp_path_factory):
    """The best checkpoint of a tiny run, in the folder of that run."""
    from hdr_lightning.cli import main

    folder = tmp_path_factory.mktemp("runs")
    run = main(["fit", *TINY, f"--data.pairs={demo}", f"--trainer.default_root_dir={folder}", "--trainer.max_epochs=1"])
    return run / "checkpoints" / "best.ckpt"


@pytest.fixture
def shared():
    """The folder of real photos and reference tensors."""
    folder = Path(os.environ.get("HDR_LIGHTNING_SHARED", "../shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: set HDR_LIGHTNING_SHARED to the folder that holds it")
    return folder


@pytest.fixture
def photo(tmp_path):
    """A function that writes a noise photo and gives its path."""

    def write(name="photo.png", height=24, width=32, seed=0, folder=tmp_path, **options):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(path, **options)
        return path

    return write


@pytest.fixture
def manifest(photo, tmp_path):
    """A function that writes pairs of noise photos with a manifest and gives the manifest's path."""

    def write(number=10, groups=None, **options):
        rows = []
        for n in range(number):
            photo(f"data/{n}_src.png", seed=2 * n, **options)
            photo(f"data/{n}_tar.png", seed=2 * n + 1, **options)
            row = {"src": f"{n}_src.png", "tar": f"{n}_tar.png"}
            rows.append(row | ({"group": groups[n]} if groups else {}))
        path = tmp_path / "data" / "pairs.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


@pytest.fixture(scope="session")
def chromium():
    """A headless browser."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("there is no Chromium: install one to test pages")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def smooth(seed, size=(40, 52), number=1):
    """A picture like a photo: mostly low frequencies."""
    noise = torch.rand(number, 3, *(length // 4 for length in size), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(noise, size=size, mode="bicubic").clamp(0, 1)
