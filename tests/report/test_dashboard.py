import json
from pathlib import Path

import pytest

from hdr_lightning.report.dashboard import log_to_wandb
from hdr_lightning.report.page import write_report

wandb = pytest.importorskip("wandb", reason="wandb is not installed")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::ResourceWarning")
def test_an_offline_run_holds_summary_photos_pictures_and_page(evaluated, tmp_path, monkeypatch):
    for key in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(key, str(tmp_path))
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
    summary, photos = tables["summary"], tables["photos"]
    assert len(photos["data"]) == 15
    (row,) = (row for row in photos["data"] if row[:2] == ["broken.jpg", "bright"])
    fields = dict(zip(photos["columns"], row, strict=True))
    assert fields["fault"] == "3 values are not finite"
    assert fields["PSNR (dB)"] is None
    assert (media.parent / fields["output"]["path"]).read_bytes()[8:12] == b"WEBP"
    assert sum(row[-1] is not None for row in photos["data"]) == 2 * 2
    expected = {(row[0], row[1]): row[3] for row in summary["data"]}
    assert means["evaluation/bright/psnr"] == pytest.approx(expected["PSNR (dB)", "bright"])
    (html,) = (media / "html").rglob("*.html")
    assert page.read_text(encoding="utf-8") in html.read_text(encoding="utf-8")
