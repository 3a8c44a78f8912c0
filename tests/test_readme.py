"""The README is true: its commands run, in their order, on small data."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from hdr_lightning.cli import main

ROOT = Path(__file__).parent.parent

SHRINK = {
    "fit": ["--data.crop=16", "--data.batch_size=1", "--data.workers=0", "--trainer.max_epochs=1"]
    + ["--trainer.check_val_every_n_epoch=1", "--trainer.log_every_n_steps=1", "--trainer.precision=32-true"],
    "check-loss": ["--data.crop=16"],
    "benchmark-memory": ["--names=[NAFNet-32]", "--sizes=[64x64]"],
    "evaluate": ["--measures=[psnr,ssim]"],
    "benchmark": ["--names=[runs/demo]", "--sizes=[32]", "--precisions=[fp32]", "--threads=[1]", "--repeats=1"],
    "export": ["--formats=[safetensors]", "--number=1"],
    "plan": ["--data.crop=16", "--photo=96x64"],
    "test": ["--data.workers=0", "--trainer.precision=32-true"],
}
"""What makes a command take seconds."""

COUNTED = {"benchmark-memory", "plan"}
"""Verbs that add up the memory of whole steps, which takes half a minute whatever the size."""


def commands():
    """The lines of the README's shell blocks that call us, without what sets up."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.strip().splitlines()]
    return [line.split("hdr-lightning ", 1)[1] for line in lines if "hdr-lightning " in line]


def examples():
    """The README's Python."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def clone(tmp_path, monkeypatch, demo):
    """A folder like a clone, with photos of one's own."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    photos = tmp_path / "photos"
    shutil.copytree(demo.parent / "source", photos / "before")
    shutil.copytree(demo.parent / "target", photos / "after")
    shutil.copytree(demo.parent / "source", tmp_path / "my_photos")
    shutil.copytree(demo.parent / "target", tmp_path / "other_tool")
    rows = [{"src": f"before/{n:05d}.png", "tar": f"after/{n:05d}.png"} for n in range(12)]
    (photos / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    main(["fingerprint", str(photos / "pairs.jsonl")])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_runs(clone, monkeypatch, capsys):
    from hdr_lightning import cli

    lines = commands()
    assert len(lines) >= 8
    inner = cli.main
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[0] in COUNTED:
            continue
        if words[0] == "quickstart":  # its own commands are shrunk, too
            monkeypatch.setattr(cli, "main", lambda args: inner([*args, *SHRINK.get(args[0], [])]))
            words += ["--number=8", "--epochs=1"]
        else:
            words += SHRINK.get(words[0], [])
        inner(words)
        monkeypatch.setattr(cli, "main", inner)
    assert (clone / "runs" / "demo" / "test_0" / "report.html").is_file()
    assert {path.name for path in clone.glob("pareto.*")} == {"pareto.svg", "pareto.png"}
    shutil.copy(clone / "my_photos" / "00000.png", clone / "photo.png")
    for example in examples():
        exec(compile(example, "README.md", "exec"), {})
    assert (clone / "enhanced.png").read_bytes() == (clone / "my_photos_enhanced" / "00000.png").read_bytes()
    assert len(list((clone / "my_photos_enhanced").glob("*.png"))) == 12


@pytest.mark.slow
@pytest.mark.usefixtures("clone")
def test_every_command_that_counts_memory_runs():
    lines = [words for line in commands() if (words := shlex.split(line, comments=True))[0] in COUNTED]
    assert {words[0] for words in lines} == COUNTED
    for words in lines:
        main([*words, *SHRINK[words[0]]])


def test_configurations_are_listed():
    text = (ROOT / "configs" / "README.md").read_text(encoding="utf-8")
    for path in (ROOT / "configs").glob("*.yaml"):
        assert f"`{path.name}`" in text


def test_links_lead_somewhere():
    for page in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "configs" / "README.md",
        *(ROOT / "docs").glob("*.md"),
    ]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} -> {target}"


@pytest.mark.slow
def test_quickstart_as_written(tmp_path, monkeypatch, capsys):
    """The whole of it; what it promises is that photos gain."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    report = main(["quickstart"])
    assert report.is_file()
    out = capsys.readouterr().out
    gain = re.search(r"PSNR \(dB\).*\+([\d.]+)", out)
    assert gain
    assert float(gain[1]) > 8
