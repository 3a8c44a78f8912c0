"""The verbs of the trainer, through the command line, on a small rendered set."""

import contextlib
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
import yaml
from conftest import TINY
from photo_tables import measured
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from hdr_lightning.cli import main
from hdr_lightning.data.files import read_photo
from hdr_lightning.data.manifest import read_pairs
from hdr_lightning.task import EnhancementTask


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Runs go below a folder of this module's tests."""
    with (
        contextlib.chdir(tmp_path_factory.mktemp("here"))
        if hasattr(contextlib, "chdir")
        else _chdir(tmp_path_factory.mktemp("here"))
    ):
        yield Path.cwd()


@contextlib.contextmanager
def _chdir(folder):
    before = Path.cwd()
    os.chdir(folder)
    yield
    os.chdir(before)


@pytest.fixture(scope="module")
def options(demo):
    return [*TINY, f"--data.pairs={demo}", "--trainer.default_root_dir=runs/tiny"]


@pytest.fixture(scope="module")
def trained(here, options):
    """The folder of a finished run."""
    return here / main(["fit", *options, "--trainer.max_epochs=6"])


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def column(rows, name):
    return [float(row[name]) for row in rows if row.get(name)]


class TestFit:
    def test_the_folder_of_a_run_holds_everything(self, trained):
        assert trained.name == "fit_0"
        files = {str(path.relative_to(trained)) for path in trained.rglob("*") if path.is_file()}
        assert files == {
            "config.yaml",
            "metrics.csv",
            "validation.csv",
            "loss_check.json",
            "loss_check.png",
            "checkpoints/best.ckpt",
            "checkpoints/last.ckpt",
            "checkpoints/last_1.ckpt",
            *(f"pictures/epoch_{epoch:04d}.jpg" for epoch in range(6)),
        }

    def test_the_log_has_every_part(self, trained):
        rows = table(trained / "metrics.csv")
        for name in ("terms/l1", "terms/window", "terms/saturation", "train/loss", "gradients/norm"):
            assert len(column(rows, name)) == 6 * 3  # 6 pairs train, 2 a step
        per_epoch = ("learning_rate", "system/samples_per_second", "system/peak_memory_gb")
        for name in ("val/l1", "val/psnr", "val/ssim", "val/loss", *per_epoch):
            assert len(column(rows, name)) == 6
        names = ("terms/l1", "terms/window", "terms/saturation", "train/loss")
        parts = zip(*(column(rows, name) for name in names), strict=True)
        assert all(sum(row[:3]) == pytest.approx(row[3], rel=1e-5) for row in parts)

    def test_the_learning_rate_warms_up_exactly(self, trained):
        rates = column(table(trained / "metrics.csv"), "learning_rate")
        assert rates[:5] == pytest.approx([4e-5, 8e-5, 1.2e-4, 1.6e-4, 2e-4], rel=1e-6)
        assert rates[5] < 2e-4

    def test_the_configuration_is_complete_and_trains_again(self, trained, here, demo):
        config = yaml.safe_load((trained / "config.yaml").read_text())
        assert config["model"]["optimizer"]["init_args"]["weight_decay"] == 0.02
        assert config["data"]["flip"] == 0.5
        again = main(["fit", "--config", str(trained / "config.yaml"), "--trainer.default_root_dir=runs/again"])
        first, second = (table(folder / "metrics.csv") for folder in (trained, again))
        assert column(first, "train/loss") == column(second, "train/loss")

    def test_a_second_run_overwrites_nothing(self, trained, options):
        before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
        second = main(["fit", *options, "--trainer.max_epochs=1"])
        assert second.name != trained.name
        assert second.parent.resolve() == trained.parent.resolve()
        assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before

    def test_pictures_show_source_output_target_and_difference(self, trained):
        with Image.open(trained / "pictures" / "epoch_0005.jpg") as picture:
            assert picture.size == (4 * 48 + 3 * 6, 32)  # one photo validates

    def test_one_weight_changes_alone(self, here, options):
        folder = main(
            ["fit", *options, "--trainer.max_epochs=1", "--model.loss.init_args.terms.window.init_args.weight=0.25"]
        )
        terms = yaml.safe_load((folder / "config.yaml").read_text())["model"]["loss"]["init_args"]["terms"]
        assert {name: term["init_args"]["weight"] for name, term in terms.items()} == {
            "l1": 1.0,
            "window": 0.25,
            "saturation": 0.3,
        }

    def test_mixed_precision_and_accumulation(self, here, options):
        folder = main(
            ["fit", *options, "--trainer.max_epochs=1", "--trainer.precision=bf16-mixed"]
            + ["--trainer.accumulate_grad_batches=3"]
        )
        assert len(column(table(folder / "metrics.csv"), "gradients/norm")) == 1

    def test_resuming_goes_on_with_the_next_epoch(self, trained, options):
        folder = main(
            ["fit", *options, "--trainer.max_epochs=7", f"--ckpt_path={trained / 'checkpoints' / 'last.ckpt'}"]
        )
        assert {row["epoch"] for row in table(folder / "metrics.csv") if row["epoch"]} == {"6"}

    def test_early_stopping(self, here, options):
        folder = main(
            ["fit", *options, "--trainer.max_epochs=9", "--early_stopping.patience=1", "--early_stopping.min_delta=50"]
        )
        assert len(column(table(folder / "metrics.csv"), "val/psnr")) == 2

    def test_it_learns(self, here, options):
        folder = main(
            ["fit", *options, "--trainer.max_epochs=12", "--model.optimizer.init_args.lr=5e-3"]
            + ["--model.schedule.init_args.warmup_epochs=0", "--early_stopping.patience=99"]
        )
        psnr = column(table(folder / "metrics.csv"), "val/psnr")
        assert psnr[-1] > psnr[0] + 3

    def test_a_log_file_gets_lines_not_bars(self, trained, options, capfd):
        main(["validate", *options, f"--ckpt_path={trained}"])
        out, err = capfd.readouterr()
        assert "val/psnr" in out + err
        assert "it/s]" not in out + err


class TestHeldOut:
    """`fit` cannot open a test image."""

    @pytest.fixture
    def opened(self, tmp_path):
        """The files opened by this process and its workers, until the test ends."""
        path = tmp_path / "opened.txt"
        record = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        active = [True]

        def hook(event, arguments):
            if active[0] and event == "open" and isinstance(arguments[0], (str, Path)):
                os.write(record, f"{arguments[0]}\n".encode())

        sys.addaudithook(hook)
        yield lambda: set(path.read_text().splitlines())
        active[0] = False

    @pytest.mark.parametrize("workers", [0, 2])
    @pytest.mark.parametrize("test", [5, ["source/00003.png", "source/00007.png"], None])
    def test_fit_opens_no_test_photo(self, opened, demo, here, test, workers, tmp_path):
        rows = [json.loads(line) for line in demo.read_text().splitlines()]
        if test is None:  # a manifest of its own
            own = demo.parent / "own.jsonl"
            own.write_text("".join(json.dumps(row) + "\n" for row in rows[:2]))
            rest = demo.parent / "rest.jsonl"
            rest.write_text("".join(json.dumps(row) + "\n" for row in rows[2:]))
            held, arguments = rows[:2], [f"--data.pairs={rest}", f"--data.test={own}"]
        else:
            held = rows[:5] if test == 5 else [row for row in rows if row["src"] in test]
            arguments = [f"--data.pairs={demo}", f"--data.test={json.dumps(test)}"]
        main(
            ["fit", *TINY, *arguments, f"--data.workers={workers}", "--trainer.max_epochs=2"]
            + ["--trainer.default_root_dir=runs/held_out"]
        )
        photos = {path for path in opened() if path.endswith(".png")}
        forbidden = {str(demo.parent / row[key]) for row in held for key in ("src", "tar")}
        allowed = {str(demo.parent / row[key]) for row in rows if row not in held for key in ("src", "tar")}
        assert not photos & forbidden
        assert allowed <= photos  # the record would have seen them

    def test_the_test_set_is_closed_to_fit(self, demo):
        from lightning import Trainer
        from lightning.pytorch.trainer.states import TrainerFn

        from hdr_lightning.data.module import PairDataModule
        from hdr_lightning.errors import InputError

        data = PairDataModule(demo)
        data.trainer = Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)
        data.trainer.state.fn = TrainerFn.FITTING
        with pytest.raises(InputError, match="opened by `test` alone"):
            data.test_dataloader()


@pytest.fixture(scope="module")
def tested(trained, options):
    """The folder of a finished test."""
    return main(["test", *options, f"--ckpt_path={trained}"])


class TestTest:
    def test_the_report_has_table_pictures_and_page(self, tested):
        rows = measured(tested)
        assert len(rows) == 5
        assert all((tested / row["picture"]).is_file() for row in rows)
        page = (tested / "report.html").read_text()
        data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
        assert {row[name] for row in rows for name in ("picture", "untouched_picture")} <= data["pictures"].keys()
        assert "http" not in page.replace("http-equiv", "")
        assert "train/loss" in page

    def test_metrics_equal_scikit_image(self, tested, demo):
        """Of the untouched photos, which are on disk: mean per photo, then over photos."""
        rows = {row["photo"]: row for row in measured(tested)}
        for pair in read_pairs(demo)[:5]:
            source, target = (read_photo(path).pixels / 255 for path in (pair.source, pair.target))
            assert float(rows[pair.name]["untouched_psnr"]) == pytest.approx(
                peak_signal_noise_ratio(target, source, data_range=1), abs=1e-3
            )
            ssim = structural_similarity(
                target, source, channel_axis=2, data_range=1, gaussian_weights=True, use_sample_covariance=False
            )
            assert float(rows[pair.name]["untouched_ssim"]) == pytest.approx(ssim, abs=1e-4)

    def test_enhanced_photos_have_the_metrics_of_the_report(self, tested, trained, demo, tmp_path):
        """What `test` measures is what `enhance` writes, but for the rounding to 8 bits."""
        pairs = read_pairs(demo)[:5]
        main(
            ["enhance", *(str(pair.source) for pair in pairs), "--checkpoint", str(trained), "--output", str(tmp_path)]
        )
        rows = {row["photo"]: row for row in measured(tested)}
        for pair in pairs:
            output, target = (read_photo(path).pixels / 255 for path in (tmp_path / pair.source.name, pair.target))
            expected = peak_signal_noise_ratio(target, output, data_range=1)
            assert float(rows[pair.name]["psnr"]) == pytest.approx(expected, abs=0.05)

    def test_means_are_means_over_photos(self, tested):
        rows = measured(tested)
        logged = table(tested / "metrics.csv")[-1]
        for name in ("l1", "psnr", "ssim"):
            mean = sum(float(row[name]) for row in rows) / len(rows)
            assert float(logged[f"test/{name}"]) == pytest.approx(mean, rel=1e-4)

    def test_each_opening_is_counted(self, trained, options, demo, here, capsys):
        """In the run's log, and in a book beside the runs."""
        words = ["test", *options, f"--ckpt_path={trained}", "--trainer.default_root_dir=runs/counted"]
        for number in (1, 2):
            folder = main(words)
            assert float(table(folder / "metrics.csv")[-1]["test/openings"]) == number
        rows = table(folder.parent / "test_openings.csv")
        assert [row["run"] for row in rows] == ["test_0", "test_1"]
        assert all(Path(row["checkpoint"]).is_file() for row in rows)

    def test_another_test_set_than_the_one_held_out_is_told(self, trained, options, caplog):
        told = "not the test set that was held out when the checkpoint was trained"
        for test, expected in ((5, False), (6, True)):
            caplog.clear()
            main(["test", *options, f"--ckpt_path={trained}", f"--data.test={test}"])
            assert (told in caplog.text) is expected

    def test_a_split_file_decides_and_a_changed_photo_is_refused(self, trained, options, demo, capsys):
        words = ["test", *options, f"--ckpt_path={trained}"]
        split = main(["split", str(demo), "--test=3", "--validation=0.3", f"--output={demo.parent / 'once.json'}"])
        assert len(measured(main([*words, f"--data.split={split}"]))) == 3
        photo = read_pairs(demo)[1].target
        before = photo.read_bytes()
        photo.write_bytes(before + b"\0")
        try:
            with pytest.raises(SystemExit):
                main([*words, f"--data.split={split}"])
        finally:
            photo.write_bytes(before)
        assert "is not the photo that" in capsys.readouterr().err

    def test_the_checkpoint_decides_the_generator(self, trained, options):
        folder = main(["test", *options, "--model.generator.init_args.width=8", f"--ckpt_path={trained}"])
        config = yaml.safe_load((folder / "config.yaml").read_text())
        assert config["model"]["generator"]["init_args"]["width"] == 4

    def test_a_checkpoint_is_required(self, options, capsys):
        with pytest.raises(SystemExit) as leave:
            main(["test", *options])
        assert leave.value.code == 2
        assert "test needs --ckpt_path" in capsys.readouterr().err

    def test_no_test_set_is_told(self, trained, options, capsys):
        with pytest.raises(SystemExit) as leave:
            main(["test", *options, "--data.test=0", f"--ckpt_path={trained}"])
        assert leave.value.code == 2
        assert "no pairs are held out" in capsys.readouterr().err


def test_predict_writes_what_enhance_writes(trained, options, demo, tmp_path):
    folder = main(["predict", *options, f"--ckpt_path={trained}", f"--data.photos={demo.parent / 'source'}"])
    main(["enhance", str(demo.parent / "source"), "--checkpoint", str(trained), "--output", str(tmp_path)])
    written = sorted(path.name for path in (folder / "photos").glob("*.png"))
    assert written == sorted(path.name for path in (demo.parent / "source").iterdir())
    for name in written:
        assert (read_photo(folder / "photos" / name).pixels == read_photo(tmp_path / name).pixels).all()


@pytest.mark.parametrize(
    ("live", "given", "bar"),
    [(False, (), "LineProgress"), (True, (), "TQDMProgressBar"), (False, ("TQDMProgressBar",), "TQDMProgressBar")],
)
def test_there_is_one_progress_bar(live, given, bar, here, options, monkeypatch):
    """Ours, whatever is installed, but for the one that is asked for."""
    bars = []
    monkeypatch.setattr("hdr_lightning.training.watched_live", lambda: live)
    monkeypatch.setattr(EnhancementTask, "on_fit_start", lambda task: bars.append(task.trainer.progress_bar_callback))
    words = [f"--trainer.callbacks+={name}" for name in given]
    main(["fit", *options, "--trainer.fast_dev_run=1", *words])
    assert [type(each).__name__ for each in bars] == [bar]


def test_predict_needs_photos(trained, options, capsys):
    with pytest.raises(SystemExit) as leave:
        main(["predict", *options, f"--ckpt_path={trained}"])
    assert leave.value.code == 2
    assert "data.photos, which is not set" in capsys.readouterr().err


class TestScaleGuard:
    CEILING = "--model.loss.init_args.terms.window.init_args.ceiling=0.01"
    UNSEEN = "--loss_check.pairs=0"  # else the check at the start refuses

    def test_a_term_out_of_scale_ends_the_run_by_name(self, here, options, capsys):
        with pytest.raises(SystemExit) as leave:
            main(
                ["fit", *options, self.UNSEEN, "--trainer.max_epochs=2", self.CEILING]
                + ["--trainer.default_root_dir=runs/guard"]
            )
        assert leave.value.code == 1
        err = capsys.readouterr().err
        assert 'stopped: the loss term "window" reached' in err
        assert "above its ceiling of 0.01" in err
        assert "--model.loss.init_args.terms.window.init_args.weight" in err

    def test_no_checkpoint_is_written_after_it(self, here, options):
        folder = Path("runs/guard_late")
        with pytest.raises(SystemExit):
            main(
                ["fit", *options, self.UNSEEN, "--trainer.max_epochs=2", self.CEILING]
                + [f"--trainer.default_root_dir={folder}"]
                + ["--scale_guard.every_n_steps=1000"]  # so that saving comes first
            )
        assert not list(folder.rglob("*.ckpt"))

    def test_a_term_that_is_not_finite_ends_the_run(self, here, options, demo, monkeypatch, capsys):
        from hdr_lightning.losses import Saturation

        monkeypatch.setattr(Saturation, "measure", lambda *_: torch.tensor(torch.nan, requires_grad=True))
        with pytest.raises(SystemExit) as leave:
            main(["fit", *options, self.UNSEEN, "--trainer.max_epochs=2", "--trainer.default_root_dir=runs/nan"])
        assert leave.value.code == 1
        assert 'the loss term "saturation" is nan' in capsys.readouterr().err  # validation sees it first

    def test_warn_goes_on_and_says_so_once(self, here, options):
        with pytest.warns(UserWarning, match='"window" reached .* not told again') as warned:
            folder = main(
                ["fit", *options, self.UNSEEN, self.CEILING, "--trainer.max_epochs=3", "--scale_guard.policy=warn"]
                + ["--trainer.default_root_dir=runs/warn"]
            )
        assert len([each for each in warned if "ceiling" in str(each.message)]) == 1
        assert (folder / "checkpoints" / "best.ckpt").is_file()

    def test_drop_goes_on_without_the_term_and_resumes_so(self, here, options):
        words = [
            "fit",
            *options,
            self.UNSEEN,
            self.CEILING,
            "--scale_guard.policy=drop",
            "--scale_guard.every_n_steps=1",
        ]
        words.append("--trainer.default_root_dir=runs/drop")
        with pytest.warns(UserWarning, match='"window" reached .* dropped, the training goes on without it'):
            folder = main([*words, "--trainer.max_epochs=2"])
        assert column(table(folder / "metrics.csv"), "terms/window")[-1] == 0
        validated = main(["validate", *options, f"--ckpt_path={folder / 'checkpoints' / 'last.ckpt'}"])
        losses = [column(table(each / "metrics.csv"), "val/loss")[-1] for each in (folder, validated)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
        folder = main([*words, "--trainer.max_epochs=3", f"--ckpt_path={folder / 'checkpoints' / 'last.ckpt'}"])
        assert set(column(table(folder / "metrics.csv"), "terms/window")) == {0}

    def test_rescale_gives_a_term_its_share_and_resumes_so(self, here, options):
        words = ["fit", *options, "--scale_guard.policy=rescale", "--trainer.default_root_dir=runs/rescale"]
        words.append(TestCheckLoss.RAW)
        folder = main([*words, "--trainer.max_epochs=2"])
        rows = table(folder / "metrics.csv")
        first, lab = (column(rows, f"terms/{name}")[0] for name in ("l1", "lab"))
        assert 0.5 * first < lab < 2 * first
        again = main([*words, "--trainer.max_epochs=3", f"--ckpt_path={folder / 'checkpoints' / 'last.ckpt'}"])
        states = [torch.load(each / "checkpoints" / "last.ckpt", weights_only=True) for each in (folder, again)]
        scales = [state["loss"]["scales"]["lab"] for state in states]
        assert scales[0] == scales[1] < 0.1

    def test_dropping_the_last_term_ends_the_run(self, here, options, capsys):
        terms = '{"l1": {"class_path": "L1", "init_args": {"ceiling": 0.001}}}'
        with pytest.raises(SystemExit):
            main(
                ["fit", *options, self.UNSEEN, f"--model.loss.init_args.terms={terms}", "--trainer.max_epochs=2"]
                + ["--scale_guard.policy=drop", "--scale_guard.every_n_steps=1"]
            )
        assert "no term is left to train on" in capsys.readouterr().err


class TestCheckLoss:
    RAW = (
        '--model.loss.init_args.terms={"l1": {"class_path": "L1"}, "window": {"class_path": "WindowL1"}, '
        '"lab": {"class_path": "Lab", "init_args": {"scale": 1.0}}}'
    )

    def test_the_verb_prints_and_saves_a_table(self, here, options, caplog):
        folder = main(["check-loss", *options])
        assert re.search(r"saturation +0\.3 +", caplog.text)
        found = json.loads((folder / "loss_check.json").read_text())
        assert [term["name"] for term in found["terms"]] == ["l1", "window", "saturation"]
        assert found["pairs"] == 4
        assert (folder / "loss_check.png").is_file()
        assert not list(folder.rglob("*.ckpt"))

    def test_a_photo_smaller_than_the_crop_is_told(self, here, options, capsys):
        with pytest.raises(SystemExit):
            main(["check-loss", *options, "--data.crop=5000"])
        assert "48 x 32 pixels is smaller than data.crop=5000" in capsys.readouterr().err

    def test_it_takes_the_configuration_of_a_run(self, here, trained, options):
        folder = main(["check-loss", "--config", str(trained / "config.yaml"), f"--ckpt_path={trained}"])
        assert (folder / "loss_check.json").is_file()

    @pytest.mark.parametrize("verb", ["check-loss", "fit"])
    def test_a_term_that_starves_the_others_is_refused(self, here, options, capsys, verb):
        with pytest.raises(SystemExit) as leave:
            main([verb, *options, self.RAW, "--trainer.default_root_dir=runs/raw", "--trainer.max_epochs=1"])
        assert leave.value.code == 2
        err = capsys.readouterr().err
        assert 'the loss term "lab" makes 9' in err
        assert "--model.loss.init_args.terms.lab.init_args.weight" in err
        assert "--allow=NAME" in err

    def test_and_passes_by_name(self, here, options):
        folder = main(
            ["fit", *options, self.RAW, "--allow=lab", "--scale_guard.policy=warn", "--trainer.max_epochs=1"]
            + ["--model.loss.init_args.terms.lab.init_args.ceiling=1000"]
        )
        assert json.loads((folder / "loss_check.json").read_text())["terms"][2]["failures"]

    def test_under_mixed_precision(self, here, options):
        folder = main(["check-loss", *options, "--trainer.precision=bf16-mixed"])
        found = json.loads((folder / "loss_check.json").read_text())
        assert found["precision"] == "bf16-mixed"
        assert all(term["rounded"] == pytest.approx(term["value"], rel=0.05) for term in found["terms"])
        assert any(term["rounded"] != term["value"] for term in found["terms"])

    def test_a_curriculum_is_checked_at_its_end(self, here, options):
        folder = main(["check-loss", *options, '--model.loss.init_args.ramps={"window": {"start": 3, "end": 9}}'])
        found = json.loads((folder / "loss_check.json").read_text())
        assert found["terms"][1]["value"] > 0

    def test_shares_and_cosines_are_logged(self, here, options):
        folder = main(["fit", *options, "--trainer.max_epochs=3", "--loss_shares.every_n_steps=2"])
        rows = table(folder / "metrics.csv")
        names = ("l1", "window", "saturation")
        for group in ("terms", "gradients"):
            columns = [column(rows, f"{group}/share/{name}") for name in names]
            assert len(columns[0]) >= 4
            assert all(sum(shares) == pytest.approx(1, rel=1e-4) for shares in zip(*columns, strict=True))
        assert all(-1 <= value <= 1 for value in column(rows, "gradients/cosine/l1-saturation"))


class TestWeighting:
    """What a loss learns trains with the generator, and resumes."""

    @pytest.mark.parametrize(
        ("weighting", "name"), [("Uncertainty", "log_variances"), ("Normalised", "sums"), ("Normalised", "mass")]
    )
    def test_what_is_learned_is_saved_and_resumed(self, here, options, weighting, name):
        words = ["fit", *options, f"--model.loss.init_args.weighting={weighting}", "--loss_check.pairs=0"]
        words.append("--scale_guard.policy=warn")
        words += [f"--trainer.default_root_dir=runs/{weighting}_{name}", "--model.optimizer.init_args.lr=1e-9"]
        path = main([*words, "--trainer.max_epochs=1"]) / "checkpoints" / "last.ckpt"
        checkpoint = torch.load(path, weights_only=True)
        values = checkpoint["state_dict"][f"loss.weighting.{name}"]
        assert name == "log_variances" or values.min() > 0
        values.fill_(700.0)
        torch.save(checkpoint, path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such values are out of scale
            again = main([*words, "--trainer.max_epochs=2", f"--ckpt_path={path}"])
        after = torch.load(again / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        assert after[f"loss.weighting.{name}"].tolist() == pytest.approx([700] * 3, rel=0.05)

    def test_normalised_shares_follow_the_weights(self, here, options):
        folder = main(["fit", *options, "--model.loss.init_args.weighting=Normalised", "--trainer.max_epochs=3"])
        rows = table(folder / "metrics.csv")
        for name, weight in (("l1", 1.0), ("window", 0.5), ("saturation", 0.3)):
            values = column(rows, f"terms/{name}")
            assert sum(values) / len(values) == pytest.approx(weight, rel=0.3)
        assert (
            torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"][
                "loss.weighting.mass"
            ].min()
            > 0
        )

    def test_a_ramp_follows_the_epoch(self, here, options):
        words = ["fit", *options, '--model.loss.init_args.ramps={"window": {"start": 0, "end": 2}}']
        words.append("--trainer.default_root_dir=runs/ramp")
        folder = main([*words, "--trainer.max_epochs=2"])
        first = [
            float(row["terms/window"])
            for row in table(folder / "metrics.csv")
            if row["epoch"] == "0" and row["terms/window"]
        ]
        assert set(first) == {0}
        last = folder / "checkpoints" / "last.ckpt"
        again = main([*words, "--trainer.max_epochs=3", f"--ckpt_path={last}"])
        assert min(column(table(again / "metrics.csv"), "terms/window")) > 0
        validated = main(["validate", *words[1:], f"--ckpt_path={last}"])
        losses = [column(table(each / "metrics.csv"), "val/loss")[-1] for each in (folder, validated)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)


TERMS = """
import os
import torch
from hdr_lightning.losses import LossTerm

class Sick(LossTerm):
    \"\"\"L1 that on rank 1 turns to {value} at calls {calls}.\"\"\"

    calls = 0

    def measure(self, prediction, target, source):
        value = (prediction - target).abs().mean()
        if self.training and torch.is_grad_enabled():
            self.calls += 1
            if os.environ.get("LOCAL_RANK") == "1" and self.calls in {calls}:
                return value * ({value})
        return value
"""


class TestTwoRanks:
    """Two processes on the CPU, of which one falls ill."""

    def run(self, tmp_path, demo, value, calls, *more):
        (tmp_path / "sick.py").write_text(TERMS.format(value=value, calls=calls))
        words = [sys.executable, "-m", "hdr_lightning", "fit", *TINY, f"--data.pairs={demo}", "--data.batch_size=1"]
        words += ["--data.test=2", "--data.validation=0.2"]
        words += ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_epochs=3", *more]
        words += ['--model.loss.init_args.terms={"l1": {"class_path": "L1"}, "sick": {"class_path": "sick.Sick"}}']
        environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[1]}"}
        return subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    def test_a_broken_step_is_skipped_on_both(self, tmp_path, demo):
        done = self.run(tmp_path, demo, "float('nan')", {2, 3})
        assert done.returncode == 0, done.stderr
        for number in (1, 2):
            assert f'step {number} skipped, {number} in all: the loss term "sick" was not finite' in done.stderr
        (path,) = tmp_path.rglob("last.ckpt")
        checkpoint = torch.load(path, weights_only=True)
        assert all(value.isfinite().all() for value in checkpoint["state_dict"].values() if value.is_floating_point())
        (state,) = (each for name, each in checkpoint["callbacks"].items() if name.startswith("GradientGuard"))
        assert (state["skipped"], state["pending"]) == (2, [])

    def test_too_many_in_a_row_end_the_run(self, tmp_path, demo):
        done = self.run(tmp_path, demo, "float('nan')", set(range(2, 99)), "--gradient_guard.patience=3")
        assert done.returncode == 1
        assert "3 steps in a row were skipped, the first and the last:" in done.stderr
        assert 'step 3: the loss term "sick" was not finite on some rank' in done.stderr
        assert "nothing had been saved yet to go back to" in done.stderr

    def test_an_explosion_before_a_broken_step_is_not_forgotten(self, tmp_path, demo):
        value = "1e6 if self.calls == 3 else float('nan')"
        done = self.run(tmp_path, demo, value, {3, 4})
        assert done.returncode == 1
        assert 'stopped: the loss term "sick" reached' in done.stderr
        assert not list(tmp_path.rglob("*.ckpt"))

    def test_a_term_that_stays_broken_is_dropped(self, tmp_path, demo):
        more = ("--scale_guard.policy=drop", "--scale_guard.every_n_steps=1")
        done = self.run(tmp_path, demo, "float('nan')", set(range(3, 99)), *more)
        assert done.returncode == 0, done.stderr
        assert '"sick" reached inf at step 3' in done.stderr
        (path,) = tmp_path.rglob("last.ckpt")
        assert torch.load(path, weights_only=True)["loss"]["scales"] == {"sick": 0.0}

    def test_an_explosion_on_one_stops_both_with_the_same_message(self, tmp_path, demo):
        done = self.run(tmp_path, demo, "1e4", set(range(3, 99)))
        assert done.returncode == 1
        messages = re.findall(r'stopped: the loss term "sick" reached (.*)', done.stderr)
        assert len(set(messages)) == 1  # of both, or of the one that left before it could end the other
        assert not list(tmp_path.rglob("*.ckpt"))


class TestInitFrom:
    def test_training_starts_from_published_weights(self, here, options, trained, tmp_path, caplog):
        weights = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        published = {key.removeprefix("generator."): v for key, v in weights.items() if key.startswith("generator.")}
        torch.save({"params": published}, tmp_path / "net.pth")
        words = ["fit", *options, "--trainer.max_epochs=1", f"--model.init_from={tmp_path / 'net.pth'}"]
        folder = main([*words, "--model.optimizer=torch.optim.SGD", "--model.optimizer.init_args.lr=1e-12"])
        assert "100.00% of the values" in caplog.text
        after = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        assert all(torch.allclose(after[f"generator.{key}"], value) for key, value in published.items())

        (tmp_path / "net.pth").unlink()  # what was trained stands alone
        main(["test", *options, f"--ckpt_path={folder}"])

    def test_other_weights_are_refused(self, here, options, tmp_path, capsys):
        torch.save({"params": {"other": torch.zeros(3)}}, tmp_path / "net.pth")
        with pytest.raises(SystemExit) as leave:
            main(["fit", *options, f"--model.init_from={tmp_path / 'net.pth'}"])
        assert leave.value.code == 2
        assert "0.00% of the values" in capsys.readouterr().err


class TestSideOutput:
    DARKIR = (
        "width=4",
        "encoder_blocks=[1]",
        "middle_encoder_blocks=1",
        "middle_decoder_blocks=1",
        "decoder_blocks=[1]",
    )

    def test_it_trains_beside_the_loss(self, here, demo):
        words = [word for word in TINY if "model.generator" not in word]
        words += ["--model.generator=DarkIR", *(f"--model.generator.init_args.{word}" for word in self.DARKIR)]
        folder = main(
            ["fit", *words, f"--data.pairs={demo}", "--trainer.default_root_dir=runs/side", "--trainer.max_epochs=2"]
            + ["--model.side_weight=0.5"]
        )
        rows = table(folder / "metrics.csv")
        assert all(0 < float(value) < 0.5 for value in column(rows, "terms/side"))
        weights = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        assert "generator.side_out.weight" in weights

    def test_a_generator_without_one_is_refused(self, here, options, capsys):
        with pytest.raises(SystemExit) as leave:
            main(["fit", *options, "--model.side_weight=0.5"])
        assert leave.value.code == 2
        assert "expected 0 for NAFNet" in capsys.readouterr().err


def test_the_last_epoch_validates(here, options):
    folder = main(["fit", *options, "--trainer.max_epochs=2", "--trainer.check_val_every_n_epoch=7"])
    assert (folder / "checkpoints" / "best.ckpt").is_file()
    assert len(column(table(folder / "metrics.csv"), "val/psnr")) == 1


@pytest.mark.parametrize("rate", ["-1", ".nan", ".inf"])
def test_a_bad_learning_rate_leaves_no_run_behind(rate, here, options, capsys):
    words = ["fit", *options, "--trainer.default_root_dir=runs/rate", f"--model.optimizer.init_args.lr={rate}"]
    with pytest.raises(SystemExit) as leave:
        main([*words, "--model.optimizer=torch.optim.AdamW"])
    assert leave.value.code == 2
    assert "model.optimizer" in capsys.readouterr().err
    assert not list(Path("runs/rate").glob("*"))


def test_a_broken_data_set_leaves_no_run_behind(here, options, manifest, capsys):
    path = manifest(9)
    (path.parent / "8_tar.png").unlink()
    with pytest.raises(SystemExit) as leave:
        main(["fit", *options, f"--data.pairs={path}", "--trainer.default_root_dir=runs/broken"])
    assert leave.value.code == 2
    assert "8_tar.png: there is no such file" in capsys.readouterr().err
    assert not list(Path("runs/broken").iterdir())


def run_apart(command):
    """Run in a process of its own, as DDP starts its second process with the words of the first."""
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]


def test_two_processes_measure_as_one(here, options, trained):
    """Seven photos on two ranks: none twice, none left out; one folder for both."""
    words = ["test", *options, f"--ckpt_path={trained}", "--data.test=7"]
    alone = main(words)
    command = [sys.executable, "-m", "hdr_lightning", *words, "--trainer.devices=2", "--trainer.strategy=ddp"]
    before = set(alone.parent.iterdir())
    run_apart(command)
    (together,) = set(alone.parent.iterdir()) - before
    rows, others = (sorted(measured(folder), key=lambda row: row["photo"]) for folder in (alone, together))
    assert len(others) == 7
    pictures = {row[name] for row in others for name in ("picture", "untouched_picture")}
    assert len(pictures) == 14
    assert all((together / picture).is_file() for picture in pictures)
    for name in ("photo", "psnr", "untouched_ssim"):
        assert [row[name] for row in rows] == [row[name] for row in others]
    first, second = (table(folder / "metrics.csv")[-1] for folder in (alone, together))
    assert float(second.pop("test/openings")) == float(first.pop("test/openings")) + 1
    assert {k: v for k, v in first.items() if k.startswith("test/")} == {
        k: v for k, v in second.items() if k.startswith("test/")
    }


def test_two_processes_train_in_one_folder(here, options):
    command = [sys.executable, "-m", "hdr_lightning", "fit", *options, "--trainer.max_epochs=1"]
    command += ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.default_root_dir=runs/ddp"]
    command += ["--data.validation=0.3"]
    run_apart(command)
    (folder,) = Path("runs/ddp").iterdir()
    assert (folder / "checkpoints" / "best.ckpt").is_file()
    shutil.rmtree(folder)
