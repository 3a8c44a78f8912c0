"""A run read back says what its files say; figures hold what was read."""

import io
import json
import math

import pytest
import yaml
from PIL import Image

from hdr_lightning import reading
from hdr_lightning.cli import main
from hdr_lightning.errors import InputError

ROWS = """epoch,step,train/loss,val/psnr,terms/share/l1,terms/share/window,gradients/cosine/l1-window,{memory}
0,0,0.5,,0.75,0.25,-0.5,
0,9,0.4,10.0,,,,1.5
1,10,0.3,,0.5,0.5,0.25,
1,19,nan,12.0,,,,2.5
2,29,0.2,11.0,,,,2.0
""".format(memory="system/peak_memory_gb")
FLAG = {"step": 19, "epoch": 1, "name": "gap", "seen": "they part", "means": "by heart", "try": "more | pairs"}


@pytest.fixture
def written(tmp_path):
    """A function that writes a run folder of the given table."""

    def write(table=ROWS, name="fit_0", **config):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text(table)
        content = {"model": {"generator": {"class_path": "a.b.NAFNet"}}, "data": {}, **config}
        (folder / "config.yaml").write_text(yaml.safe_dump(content))
        (folder / "flags.jsonl").write_text(json.dumps(FLAG) + "\n")
        return folder

    return write


def png(drawing):
    return Image.open(io.BytesIO(drawing._repr_png_()))


def texts(drawing):
    import matplotlib.text

    return [text.get_text() for text in drawing.findobj(matplotlib.text.Text)]


def test_curves_are_those_of_the_table(written):
    import pandas as pd

    folder = written()
    run, table = reading.read_run(folder), pd.read_csv(folder / "metrics.csv")
    for name in table.columns.drop(["epoch", "step"]):
        column = table.set_index("step")[name].dropna()
        finite = [(s, v) for s, v in zip(run.curves[name].steps, run.curves[name].values, strict=True) if v == v]
        assert finite == list(column.items())
    assert math.isnan(run.curves["train/loss"].values[3])  # a value that is none is seen, not left out


def test_best_is_that_of_the_monitored_value(written):
    assert reading.read_run(written()).best == (19, 12.0)
    lowest = written(name="fit_1", checkpoint={"monitor": "train/loss", "mode": "min"})
    assert reading.read_run(lowest).best == (29, 0.2)


def test_epochs_shares_cosines_and_flags(written):
    run = reading.read_run(written())
    assert run.epochs == {0: 9, 1: 19, 2: 29}
    assert run.shares.terms == ["l1", "window"]
    assert run.shares.values == [[0.75, 0.5], [0.25, 0.5]]
    assert run.cosines.mean("window", "l1") == run.cosines.mean("l1", "window") == -0.125
    assert run.gradient_shares is None
    assert run.peak_memory_gb == 2.5
    assert run.flags == [reading.RaisedFlag(19, 1, "gap", "they part", "by heart", "more | pairs")]
    assert "more \\| pairs" in str(run.flag_table())


def test_names_of_earlier_versions_are_read(written):
    before = ROWS.replace("gradients/cosine", "terms/cosine").replace("system/peak", "train/peak")
    run = reading.read_run(written(before))
    assert run.cosines.mean("l1", "window") == -0.125
    assert run.peak_memory_gb == 2.5


def test_the_newest_run_below_a_folder(written, tmp_path):
    import os

    old, new = written(name="fit_0"), written(name="fit_1")
    os.utime(old / "metrics.csv", (1, 1))
    (tmp_path / "runs" / "test_0").mkdir()
    (tmp_path / "runs" / "test_0" / "metrics.csv").write_text("step\n")
    assert reading.read_run(tmp_path / "runs").folder == new
    assert reading.read_run(old / "checkpoints" / "best.ckpt").folder == old


def test_a_run_that_is_still_written(written):
    run = reading.read_run(written(ROWS + "2,3"))
    assert run.best == (19, 12.0)
    empty = reading.read_run(written("epoch,step,train/loss\n", "fit_1"))
    assert "not validated yet" in str(empty.summary())
    with pytest.raises(InputError, match="after its first validation"):
        _ = empty.best
    with pytest.raises(InputError, match="none of these curves"):
        reading.draw_curves(empty)
    with pytest.raises(InputError, match="loss_shares"):
        reading.draw_shares(empty)


def test_what_a_kill_cut_off_is_left_out(written):
    """Half a line may hold half a number, such as step 2 of 290."""
    whole = reading.read_run(written())
    for half in ("2,2", "3,39,0.1,", "3,39,0.1,13.", "3,39,nan,14,0.5,0.2"):
        folder = written(ROWS + half, name=f"after {len(half)}")
        assert repr(reading.read_run(folder).curves) == repr(whole.curves)
        reading.draw_shares(reading.read_run(folder))
    (whole.folder / "flags.jsonl").write_text(json.dumps(FLAG) + '\n{"step": 2, "ep')
    assert reading.read_run(whole.folder).flags == whole.flags


def test_a_run_without_a_finite_validation_is_drawn(written):
    """A sick run is what one wants to look at."""
    run = reading.read_run(written(ROWS.replace("10.0", "nan").replace("12.0", "nan").replace("11.0", "inf")))
    assert "best epoch" not in " ".join(texts(reading.draw_curves(run)))
    assert "not validated yet" in str(run.summary())
    with pytest.raises(InputError, match="no finite value"):
        _ = run.best


def test_a_term_that_was_dropped_has_no_share_from_then_on(written):
    run = reading.read_run(written(ROWS.replace("0.5,0.5,0.25", "1.0,,nan").replace("0.25,-0.5", "0.25,nan")))
    assert run.shares.values == [[0.75, 1.0], [0.25, 0.0]]
    assert math.isnan(run.cosines.mean("l1", "window"))
    for drawing in (reading.draw_shares(run), reading.draw_cosines(run)):
        assert min(png(drawing).size) > 200


def test_what_is_no_run_is_refused(tmp_path, written):
    with pytest.raises(InputError, match="expected the folder of a run"):
        reading.read_run(tmp_path)
    folder = written()
    (folder / "flags.jsonl").write_text("{\n")
    with pytest.raises(InputError, match=r"flags\.jsonl"):
        reading.read_run(folder)


def test_figures_hold_what_was_read(written):
    run = reading.read_run(written())
    curves = reading.draw_curves(run)
    loss = curves.axes[0].lines[0]
    assert list(loss.get_xdata()) == run.curves["train/loss"].steps
    assert {"loss", "PSNR (dB)", "best epoch (step 19)", "red flag"} <= set(texts(curves))
    assert len({axes.get_xlim() for axes in curves.axes}) == 1
    cosines = reading.draw_cosines(run)
    assert texts(cosines).count("-0.12") == 2
    for drawing in (curves, cosines, reading.draw_shares(run)):
        assert min(png(drawing).size) > 200
        assert drawing._repr_jpeg_() is None


def test_a_style_of_ones_own_stays(written):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    reading.draw_curves(reading.read_run(written()))
    assert dict(mpl.rcParams) == before


def test_a_real_run(checkpoint):
    run = reading.read_run(checkpoint)
    assert run.config["data"]["crop"] == 16
    assert run.monitored == "val/psnr"
    assert run.pictures
    assert sum(values[0] for values in run.shares.values) == pytest.approx(1)
    assert sum(values[0] for values in run.gradient_shares.values) == pytest.approx(1)
    assert -1 <= run.cosines.mean("l1", "window") <= 1
    assert run.samples_per_second > 0
    assert "NAFNet" in str(run.summary())


def test_a_run_of_any_data_is_tested_as_its_folder_says(checkpoint, tmp_path):
    """The way of notebook 04: nothing but the folder is known."""
    run = reading.read_run(checkpoint)
    own = [f"--config={run.folder}/config.yaml", f"--ckpt_path={run.folder}"]
    tested = main(["test", *own, f"--trainer.default_root_dir={tmp_path}"])
    assert reading.read_measured(tested).contenders[0].origin == str(checkpoint)
