"""The same grid or search as a sweep of W&B, checked by the schema of its package `sweeps` where that lies beside us.

It needs NumPy 1, which it does not use for that: `pip install --no-deps sweeps`.
"""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator

from hdr_lightning.cli import main

SWEEPS = find_spec("sweeps")
SCHEMA = json.loads((Path(SWEEPS.origin).parent / "config" / "schema.json").read_text()) if SWEEPS else {}


@pytest.fixture
def sweep(tmp_path):
    base = tmp_path / "base.yaml"
    base.write_text(yaml.safe_dump({"model": {"optimizer": {"init_args": {"lr": 1e-3}}}, "data": {"crop": 64}}))

    def write(**content):
        file = tmp_path / "ablation.yaml"
        content = {"base": str(base), "output": str(tmp_path / "out"), "seeds": [0], **content}
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        path = main(["ablate", "--config", str(file), "--sweep", str(tmp_path / "rate.yaml")])
        assert not (tmp_path / "out").exists()
        found = yaml.safe_load(path.read_text())
        Draft7Validator(SCHEMA).validate(found)
        return found, yaml.safe_load((tmp_path / "rate_base.yaml").read_text())

    return write


def test_a_grid_is_crossed_with_the_seeds(sweep):
    grid = {"model.generator.init_args.width": [8, 16], "data.crop": [32, 64]}
    found, base = sweep(grid=grid, seeds=[0, 1, 2], settings={"data.crop": 48}, budget={"steps": 500})
    assert found["method"] == "grid"
    assert found["metric"] == {"name": "val/psnr", "goal": "maximize"}
    expected = {**{key: {"values": values} for key, values in grid.items()}, "seed_everything": {"values": [0, 1, 2]}}
    assert found["parameters"] == expected
    assert base["data"]["crop"] == 48
    assert base["trainer"]["max_steps"] == 500
    assert base["trainer"]["logger"] == {"class_path": "WandbLogger"}
    assert found["command"][-1] == "${args}"


def test_a_search_has_its_ranges_trials_and_pruning(sweep):
    search = {
        "lr": {"low": 1.0e-5, "high": 1.0e-3, "log": True},
        "width": {"low": 8, "high": 32, "whole": True},
        "blocks": {"low": 1, "high": 64, "whole": True, "log": True},
        "weight": {"low": 0.1, "high": 2.0},
        "loss": {"choices": ["a", "b"]},
    }
    found, _ = sweep(search=search, trials=7, prune=True, metric="val/l1", maximise=False)
    assert (found["method"], found["run_cap"]) == ("bayes", 7)
    assert found["metric"] == {"name": "val/l1", "goal": "minimize"}
    assert found["parameters"] == {
        "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-3},
        "width": {"min": 8, "max": 32},
        "blocks": {"distribution": "q_log_uniform_values", "q": 1, "min": 1, "max": 64},
        "weight": {"distribution": "uniform", "min": 0.1, "max": 2.0},
        "loss": {"values": ["a", "b"]},
        "seed_everything": {"values": [0]},
    }
    assert found["early_terminate"]["type"] == "hyperband"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"variations": {"a": {"data.crop": 32}}}, "give a grid or a search"),
        ({}, "give one of them"),
        ({"grid": {"data.crop": [1]}, "search": {"lr": {}}}, "give one of them"),
        ({"search": {"lr": {}}, "seeds": [0, 1]}, "proposes once"),
        ({"grid": {"data.crop": [32, None]}}, "take a key out"),
        ({"grid": {"data.batch_size": [1, 2]}, "budget": {"samples": 100}}, "a budget in steps or epochs"),
    ],
)
def test_what_a_sweep_cannot_do_is_refused(sweep, tmp_path, capsys, content, told):
    with pytest.raises(SystemExit) as leave:
        sweep(**content)
    assert leave.value.code == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "rate.yaml").exists()
