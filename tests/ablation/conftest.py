"""Ablations whose trainings are pretended."""

import sys

import pytest
import yaml

from hdr_lightning import run_process
from hdr_lightning.cli import main
from hdr_lightning.run_process import Run

BASE = {"model": {"loss": {"init_args": {"terms": {"l1": 1, "window": 2}}}}, "data": {"batch_size": 4}}

PRETENDED = """
import json, pathlib, sys, yaml
words = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
config = yaml.safe_load(pathlib.Path(words["config"]).read_text())
folder = pathlib.Path(words["trainer.default_root_dir"]) / words["run"]
folder.mkdir(parents=True, exist_ok=True)
value = config["value"] + 0.1 * int(words["seed_everything"])
(folder / "metrics.csv").write_text(f"step,val/psnr\\n5,{value - 1}\\n10,{value}\\n15,\\n")
code = config.get("code", 0)
finished = {"epochs": 1, "steps": config.get("steps", 16), "early": False} if code == 0 else None
(folder / "run.json").write_text(json.dumps({"finished": finished}))
with (folder / "starts").open("a") as file:
    file.write("x")
print("error: the value is odd" if code == 2 else "trained", file=sys.stderr)
sys.exit(code)
"""
"""What takes the place of `fit`."""


@pytest.fixture
def ablation(tmp_path, monkeypatch):
    script = tmp_path / "pretended.py"
    script.write_text(PRETENDED, encoding="utf-8")
    plain = Run.command

    def command(run):
        return [sys.executable, str(script), *plain(run)[4:]]

    monkeypatch.setattr(Run, "command", command)
    monkeypatch.setattr(run_process, "LOOK_SECONDS", 0.05)
    base = tmp_path / "base.yaml"
    base.write_text(yaml.safe_dump({"value": 1.0, **BASE}), encoding="utf-8")

    def ablate(*words, **content):
        file = tmp_path / "ablation.yaml"
        content = {"base": str(base), "output": str(tmp_path / "out"), "seeds": [0, 1], **content}
        file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return main(["ablate", "--config", str(file), *words])

    return ablate
