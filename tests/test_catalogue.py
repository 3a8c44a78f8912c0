"""Every row of the catalogue of earlier experiments has its configuration, with the numbers of the catalogue."""

import json
from pathlib import Path

import pytest

from hdr_lightning.config import complete, written

CONFIGS = Path(__file__).parent.parent / "configs"

GENERATORS = {
    "G1": ["restormer_combined_512", "restormer_slim"],
    "G2": ["nafnet_stable", "nafnet_64"],
    "G3": ["darkir_m", "darkir_l"],
    "G4": ["retinexformer"],
    "G5": [],  # RetinexMamba: there is no such generator yet; its loss is in `retinexformer_suite`
    "G6": [],  # MambaIR
    "G7": [],  # Mamba diffusion
    "G8": [],  # HAT
    "G9": [],  # DAT
    "G10": [],  # ControlNet on Stable Diffusion
    "G11": ["restormer_zero_conv"],
    "G12": ["refiner_combined"],
    "G13": ["restormer_gain"],
    "G14": ["restormer_guided_4", "restormer_guided_6", "restormer_depth_guided", "nafnet_guided", "nafnet_depth"],
}

LOSSES = {
    "L1": ["restormer_l1_512", "restormer_l1_384"],
    "L2": ["restormer_combined_512"],
    "L3": ["restormer_simple_fast", "restormer_simple_perceptual"],
    "L4": ["restormer_enhanced"],
    "L5": ["restormer_zones"],
    "L6": ["restormer_luminance_attention"],
    "L7": ["restormer_color_suite"],
    "L8": ["restormer_bright_color"],
    "L9": ["restormer_color_perceptual"],
    "L10": ["restormer_delta"],
    "L11": ["restormer_adaptive_zones"],
    "L12": ["restormer_unified_5", "restormer_unified_8"],
    "L13": ["restormer_style"],  # without PatchGAN: there is no discriminator yet
    "L14": ["refiner_full", "refiner_fast", "refiner_normalised", "refiner_combined"],
    "L15": ["darkir_perceptual", "darkir_l1", "darkir_window"],
    "L16": ["retinexformer_suite"],
    "L17": ["deblur_nafnet"],
    "L18": ["colorize_nafnet"],
}

RECIPES = {
    "384 from scratch": ["restormer_l1_384"],
    "896": ["restormer_l1_896"],
    "384 from published weights": ["restormer_l1_pretrained"],
    "DarkIR: three folds, averaged": ["darkir_m"],
    "FiveK, then here": ["darkir_fivek", "darkir_finetune"],
    "the strategy of ControlNet, in folds, from SIDD or GoPro": ["restormer_zero_conv"],
    "two GPUs at 3296 x 2192": ["restormer_full_size"],
    "DDP, FSDP, DeepSpeed at 512": [
        "restormer_ddp",
        "restormer_fsdp",
        "restormer_deepspeed_2",
        "restormer_deepspeed_3",
    ],
    "deblurring, colourisation": ["deblur_nafnet", "colorize_nafnet"],
}

BEYOND = {"demo", "nafnet_small"}
"""Ours, not the catalogue's."""


def test_the_table_is_the_catalogue():
    assert list(GENERATORS) == [f"G{n}" for n in range(1, 15)]
    assert list(LOSSES) == [f"L{n}" for n in range(1, 19)]
    named = {name for rows in (GENERATORS, LOSSES, RECIPES) for configs in rows.values() for name in configs}
    assert named | BEYOND == {path.stem for path in CONFIGS.glob("*.yaml")}


def test_every_configuration_is_listed():
    listed = (CONFIGS / "README.md").read_text(encoding="utf-8")
    assert [path.stem for path in sorted(CONFIGS.glob("*.yaml")) if f"`{path.name}`" not in listed] == []


def recipe(crop, batch, accumulate, rate, decay, warmup, epochs, clip=1.0):
    return {
        "data.crop": crop,
        "data.batch_size": batch,
        "trainer.accumulate_grad_batches": accumulate,
        "model.optimizer.init_args.lr": rate,
        "model.optimizer.init_args.weight_decay": decay,
        "model.schedule.init_args.warmup_epochs": warmup,
        "trainer.max_epochs": epochs,
        "trainer.gradient_clip_val": clip,
    }


def shown(value):
    return json.dumps(value) if isinstance(value, str) else str(value)


TERM = "model.loss.init_args.terms"

NUMBERS = {
    "restormer_l1_384": recipe(384, 2, 2, 1e-4, 0.02, 5, 100),
    "restormer_l1_896": recipe(896, 1, 8, 5e-5, 0.02, 10, 100),
    "restormer_l1_pretrained": recipe(384, 2, 2, 1e-5, 0.05, 10, 150, 0.5),
    "restormer_combined_512": {
        "data.crop": 512,
        f"{TERM}.window.init_args.weight": 0.5,
        f"{TERM}.saturation.init_args.weight": 0.3,
    },
    "restormer_simple_fast": {f"{TERM}.window.init_args.threshold": 0.75, f"{TERM}.window.init_args.gain": 3.0},
    "restormer_simple_perceptual": {f"{TERM}.vgg.init_args.weight": 0.1},
    "restormer_enhanced": {
        f"{TERM}.vgg.init_args.weight": 0.1,
        f"{TERM}.edge.init_args.weight": 0.05,
        f"{TERM}.ssim.init_args.weight": 0.1,
    },
    "refiner_fast": {f"{TERM}.hsv.init_args.weight": 3.0},
    "refiner_normalised": {f"{TERM}.hsv.init_args.weight": 0.6},
    "restormer_gain": {
        "model.generator.init_args.darkest": 0.3,
        "model.generator.init_args.brightest": 3.0,
    },
    "nafnet_stable": {"trainer.precision": "32-true", "trainer.gradient_clip_val": 0.1},
    "deblur_nafnet": {
        "data.batch_size": 8,
        "trainer.max_epochs": 50,
        "model.optimizer.init_args.lr": 1e-4,
        "early_stopping.patience": 20,
    },
    "colorize_nafnet": {
        "data.batch_size": 16,
        "model.optimizer.init_args.lr": 1e-4,
        f"{TERM}.lpips.init_args.weight": 1.0,
        f"{TERM}.lab.init_args.weight": 1.0,
        f"{TERM}.ab.init_args.weight": 2.0,
        f"{TERM}.diversity.init_args.weight": 0.01,
        "previews.every_n_steps": 250,
    },
    "restormer_full_size": {"data.crop": 2192, "trainer.devices": 2, "trainer.strategy": "ddp"},
}


@pytest.mark.parametrize("name", NUMBERS)
def test_the_numbers_are_those_of_the_catalogue(name):
    found = written(complete(CONFIGS / f"{name}.yaml"))
    assert {key: found.get(key) for key in NUMBERS[name]} == {key: shown(value) for key, value in NUMBERS[name].items()}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_early_stopping_and_flips_are_those_of_the_catalogue(path):
    found = written(complete(path))
    assert found["early_stopping.patience"] == ("20" if path.stem == "deblur_nafnet" else "15")
    assert found["data.flip"] == "0.5"
