"""Settings that change how a run is computed, and not what."""

import subprocess
import sys

import pytest
import torch
import yaml
from conftest import TINY

from hdr_lightning.cli import main
from hdr_lightning.generators import NAFNet, Restormer
from hdr_lightning.generators.loading import load_generator


def fit(folder, demo, *more):
    words = ["fit", *TINY, f"--data.pairs={demo}", f"--trainer.default_root_dir={folder}", "--trainer.max_epochs=1"]
    return main([*words, *more])


def last(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.fixture(scope="module")
def plain(demo, tmp_path_factory):
    return fit(tmp_path_factory.mktemp("plain"), demo)


def test_blocks_computed_again_train_alike(plain, demo, tmp_path):
    run = fit(tmp_path, demo, "--model.checkpoint_blocks=true")
    first, second = last(plain), last(run)
    assert first["hyper_parameters"] == second["hyper_parameters"]
    assert yaml.safe_load((run / "config.yaml").read_text())["model"]["checkpoint_blocks"]
    for name, value in first["state_dict"].items():
        torch.testing.assert_close(second["state_dict"][name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
@pytest.mark.parametrize("blocks", ["false", "true"])
def test_trains_in_less_precision(plain, demo, tmp_path, precision, blocks):
    run = fit(tmp_path, demo, f"--trainer.precision={precision}", f"--model.checkpoint_blocks={blocks}")
    checkpoint = last(run)
    dtype = torch.bfloat16 if precision == "bf16-true" else torch.float32
    first, second = last(plain)["state_dict"], checkpoint["state_dict"]
    for name, value in second.items():
        if name.startswith("generator."):
            assert value.dtype == dtype
            torch.testing.assert_close(value.float(), first[name], rtol=0.02, atol=2e-3)
    assert load_generator(run / "checkpoints" / "best.ckpt").eval() is not None


@pytest.mark.parametrize("cls", [NAFNet, Restormer])
def test_blocks_keep_their_names_when_compiled(cls):
    generator = cls()
    names = list(generator.state_dict())
    generator.compile_blocks()
    assert list(generator.state_dict()) == names
    assert len(generator.blocks) == {NAFNet: 36, Restormer: 44}[cls]


def fit_apart(folder, demo, *more):
    """In a process without the checks of shapes, which the compiler cannot see through."""
    words = [*TINY, f"--data.pairs={demo}", f"--trainer.default_root_dir={folder}", "--trainer.max_epochs=1", *more]
    command = [sys.executable, "-m", "hdr_lightning", "fit", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (run,) = folder.iterdir()
    return run


@pytest.mark.slow
def test_a_compiled_run_and_a_plain_one_read_each_other(plain, demo, tmp_path, photo):
    compiled = fit_apart(tmp_path / "compiled", demo, "--model.compile=true")
    first, second = last(plain), last(compiled)
    assert first["hyper_parameters"] == second["hyper_parameters"]
    assert first["state_dict"].keys() == second["state_dict"].keys()
    for name, value in first["state_dict"].items():
        torch.testing.assert_close(second["state_dict"][name], value, rtol=1e-3, atol=1e-5)
    starts = {"false": compiled, "true": plain}
    for compiles, start in starts.items():
        more = ("--trainer.max_epochs=2", f"--model.compile={compiles}")
        run = fit_apart(tmp_path / compiles, demo, *more, f"--ckpt_path={start / 'checkpoints' / 'last.ckpt'}")
        assert yaml.safe_load((run / "config.yaml").read_text())["model"]["compile"] is (compiles == "true")
        assert last(run)["global_step"] == 2 * first["global_step"]
    main(["enhance", str(photo()), f"--checkpoint={compiled}", f"--output={tmp_path / 'enhanced'}"])
    assert len(list((tmp_path / "enhanced").iterdir())) == 1


def test_a_strategy_that_cannot_run_here_is_told(demo, tmp_path, capsys):
    for more, told in (
        (["--trainer.strategy=deepspeed_stage_2"], "DeepSpeed"),
        (["--trainer.strategy=fsdp2", "--trainer.precision=16-mixed"], "fsdp2 does not train in 16-mixed"),
    ):
        with pytest.raises(SystemExit) as leave:
            fit(tmp_path / "never", demo, *more)
        assert leave.value.code == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "never").exists()
