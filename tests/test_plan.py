import re
import warnings
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import TINY
from jsonargparse import Namespace

from hdr_lightning.cli import main
from hdr_lightning.data.module import PairDataModule
from hdr_lightning.data.stages import Stage
from hdr_lightning.errors import RunStopped
from hdr_lightning.generators import NAFNet
from hdr_lightning.ledger import emptied, without_memory
from hdr_lightning.losses import L1, CompositeLoss
from hdr_lightning.plan import Plan, Row, Settings, reduced, verdict
from hdr_lightning.task import EnhancementTask

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))
WORDS = ["plan", *TINY, "--trainer.accelerator=gpu", "--photo=96x64"]


def planned(*more):
    return main([*WORDS, *more])


@contextmanager
def small_plan(memory=24e9, stages=(), **settings):
    """A plan for a small network."""
    generator = NAFNet(width=8, encoder_blocks=(1, 1), middle_blocks=1, decoder_blocks=(1, 1))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Attribute")  # the task is built by hand
        task = EnhancementTask(generator, CompositeLoss({"l1": L1()}))
    data = PairDataModule(crop=64, batch_size=2, stages=stages)
    with without_memory():
        emptied(task)
        yield Plan(task, data, Settings("32-true", **settings), memory)


def test_a_small_training_fits_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    planned("--memory=24", "--model.checkpoint_blocks=true", "--trainer.precision=bf16-mixed", "--data.batch_size=1")
    told = capsys.readouterr().out
    assert re.search(r"fits: 0\.\d of 24\.0 GB", told)
    for part in ("weights", "optimiser", "activations", "validation of a photo of 96 x 64", "largest batch a device"):
        assert part in told
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_large_one_does_not_and_the_remedy_is_named(capsys):
    with pytest.raises(SystemExit) as leave:
        planned("--memory=0.65", "--data.crop=512", "--data.batch_size=8")
    assert leave.value.code == 1
    captured = capsys.readouterr()
    remedy = re.search(r"takes [\d.]+ GB, there are 0\.7: set (.*)", captured.err)[1]
    assert f"| {remedy} |" in captured.out
    assert "yes" in next(line for line in captured.out.splitlines() if line.startswith(f"| {remedy} |"))


def test_a_photo_that_cannot_be_validated_is_told():
    with small_plan() as plan:
        small, large = plan.evaluation(*reduced((6000, 4000), 256)), plan.evaluation(6000, 4000)
    assert large > 100 * small
    with pytest.raises(RunStopped, match="training fits, but the validation of a photo takes"):
        verdict([Row("as configured", 1e9)], large, 1.5e9)
    verdict([Row("as configured", 1e9)], small, 1.5e9)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--photo=large", "expected a size in pixels such as 3296x2192, got large"),
        ("--memory=-1", "expected a memory above 0 GB"),
        ("--trainer.precision=transformer-engine", "is not known: take one of 32-true"),
    ],
)
def test_what_cannot_be_used_is_refused(option, message, capsys):
    with pytest.raises(SystemExit) as leave:
        planned("--memory=24", option)
    assert leave.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, whose memory is taken")
def test_without_a_gpu_the_memory_is_to_be_given(capsys):
    with pytest.raises(SystemExit) as leave:
        planned()
    assert leave.value.code == 2
    assert "give the memory of one" in capsys.readouterr().err


@pytest.mark.slow
def test_the_largest_batch_fits_and_one_more_does_not():
    with small_plan(memory=0.7e9) as plan:
        batch = plan.largest_batch(plan.settings)
        assert 1 < batch < 1024
        assert plan.fits(replace(plan.settings, batch_size=batch))
        assert not plan.fits(replace(plan.settings, batch_size=batch + 1))
        plan.memory = 0.6e9
        assert plan.largest_batch(plan.settings) == 0


def test_the_proposed_crop_fits_and_the_next_does_not():
    with small_plan(memory=0.7e9) as plan:
        settings = replace(plan.settings, crop=2048, batch_size=1)
        crop = plan.largest_crop(settings)
        assert 0 < crop < 2048
        assert crop % 64 == 0
        assert plan.fits(replace(settings, crop=crop))
        assert not plan.fits(replace(settings, crop=crop + 64))


def test_the_largest_stage_counts():
    with small_plan(stages=[Stage(1, 128, 1), Stage(2, 32, 4)]) as plan:
        assert (plan.settings.crop, plan.settings.batch_size) == (128, 1)


def test_devices_share_out_what_their_strategy_says():
    """ZeRO stages 1, 2, 3 share the optimiser's state, then gradients, then weights (Rajbhandari et al., 2020)."""
    with small_plan(ema=True) as plan:
        alone = plan.footprint(plan.settings).moments["optimiser"]
        assert alone["EMA"] == alone["weights"]
        for sharing, shared in (
            ("none", set()),
            ("ddp", set()),
            ("zero1", {"optimiser"}),
            ("zero2", {"optimiser", "gradients"}),
            ("full", {"optimiser", "gradients", "weights", "EMA"}),
        ):
            moment = plan.footprint(replace(plan.settings, sharing=sharing, devices=4)).moments["optimiser"]
            for kind in ("weights", "gradients", "optimiser", "EMA", "activations"):
                assert moment[kind] == alone[kind] // (4 if kind in shared else 1)
            assert (moment["exchange between devices"] > 0) == (sharing in ("ddp", "full"))


@pytest.mark.parametrize(
    ("strategy", "devices", "sharing", "count"),
    [
        ("auto", 1, "none", 1),
        ("auto", "auto", "none", 1),
        ("auto", 4, "ddp", 4),
        ("ddp_find_unused_parameters_true", [0, 1], "ddp", 2),
        ("fsdp", 8, "full", 8),
        ("deepspeed_stage_3_offload", 2, "full", 2),
        (Namespace(class_path="x.DeepSpeedStrategy", init_args=Namespace(stage=1)), 2, "zero1", 2),
        (Namespace(class_path="x.ModelParallelStrategy", init_args=Namespace(data_parallel_size=2)), 2, "full", 2),
    ],
)
def test_the_device_is_taken_from_the_configuration(strategy, devices, sharing, count):
    trainer = Namespace(strategy=strategy, devices=devices, num_nodes=1, precision=None, accelerator="gpu")
    trainer.update(Namespace(accumulate_grad_batches=2, gradient_clip_val=1.0))
    settings = Settings.taken(Namespace(trainer=trainer))
    assert (settings.sharing, settings.devices) == (sharing, count)
    assert (settings.precision, settings.accumulate, settings.clip, settings.gpu) == ("32-true", 2, True, True)
    assert (trainer.strategy, trainer.accelerator) == ("auto", "cpu")


@pytest.mark.slow
@pytest.mark.usefixtures("pretrained")
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_can_be_planned_without_its_data(path, depth_model):
    words = ["plan", "--config", str(path), "--data.crop=64", "--data.batch_size=1", "--memory=80", "--photo=96x64"]
    words += ["--data.stages=[]"]
    if "depth_model" in path.read_text():
        words += [f"--model.generator.init_args.depth_model={depth_model}"]
    main(words)
