import json
from pathlib import Path

import pytest
from conftest import TINY

from hdr_lightning.cli import main
from hdr_lightning.report.dashboard import log_to_wandb
from hdr_lightning.report.page import write_report

wandb = pytest.importorskip("wandb", reason="wandb is not installed")


HARMLESS = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    """All of W&B stays in the folder of the test, and nothing of it is left for the next one."""
    for key in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(key, str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    yield
    wandb.teardown()


@HARMLESS
def test_an_offline_run_holds_summary_photos_pictures_and_page(evaluated, tmp_path):
    evaluation, gallery = evaluated(tmp_path / "evaluation", shown=2)
    page = write_report(evaluation, gallery, tmp_path / "evaluation")
    run = wandb.init(project="reports", mode="offline", dir=tmp_path, settings=wandb.Settings(silent=True))
    try:
        log_to_wandb(evaluation, gallery, run)
        means = dict(run.summary)
    finally:
        run.finish()
    media = tmp_path / "wandb" / Path(run.dir).parent.name / "files" / "media"
    tables = {path.name.split("_")[0]: json.loads(path.read_text()) for path in (media / "table").rglob("*.table.json")}
    staged = [path.read_bytes() for path in (tmp_path / "artifacts" / "staging").iterdir()]  # where pictures are kept
    (photos, *_) = (json.loads(each) for each in staged if each[:1] == b"{" and b'"output"' in each)
    summary = tables["summary"]
    assert len(photos["data"]) == 15
    (row,) = (row for row in photos["data"] if row[:2] == ["broken.jpg", "bright"])
    fields = dict(zip(photos["columns"], row, strict=True))
    assert fields["fault"] == "3 values are not finite"
    assert fields["PSNR (dB)"] is None
    (broken,) = (shot for shot in gallery.shots if shot.name == "broken.jpg")
    assert fields["output"]["width"] == fields["target"]["width"] > 0
    assert (gallery.folder / broken.outputs["bright"]).read_bytes() in staged
    assert sum(row[-1] is not None for row in photos["data"]) == 2 * 2  # photos of the page, outputs of each
    assert len(tables["photos"]["data"]) == 15
    expected = {(row[0], row[1]): row[3] for row in summary["data"]}
    assert means["evaluation/bright/psnr"] == pytest.approx(expected["PSNR (dB)", "bright"])
    (html,) = (media / "html").rglob("*.html")
    assert page.read_text(encoding="utf-8") == html.read_text(encoding="utf-8")


@HARMLESS
def test_a_test_sends_its_report(checkpoint, demo, tmp_path):
    logger = ["--trainer.logger=WandbLogger", "--trainer.logger.project=rooms", "--trainer.logger.offline=true"]
    words = [f"--data.pairs={demo}", f"--ckpt_path={checkpoint}", f"--trainer.default_root_dir={tmp_path / 'runs'}"]
    folder = main(["test", *TINY, *words, *logger])
    wandb.finish()
    (html,) = folder.rglob("media/html/**/*.html")
    assert html.read_text(encoding="utf-8") == (folder / "report.html").read_text(encoding="utf-8")


@HARMLESS
def test_an_evaluation_sends_itself(checkpoint, demo, tmp_path):
    words = ["--pairs", str(demo), "--photos=2", "--measures=[psnr]", "--wandb=rooms", "--device=cpu"]
    folder = main(["evaluate", str(checkpoint), *words, f"--output={tmp_path / 'evaluation'}"])
    (html,) = (tmp_path / "wandb").rglob("*.html")
    assert html.read_text(encoding="utf-8") == (folder / "report.html").read_text(encoding="utf-8")
