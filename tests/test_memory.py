import warnings

import pytest
import torch

from hdr_lightning import generators
from hdr_lightning.benchmark import kept_bytes
from hdr_lightning.ledger import AsOnGPU, Ledger, emptied, without_memory
from hdr_lightning.losses import L1, VGG, CompositeLoss, Saturation, WindowL1
from hdr_lightning.memory import (
    blank_pair,
    measure_evaluation,
    measure_step,
    split_precision,
)
from hdr_lightning.task import EnhancementTask

SMALL = {
    "Restormer": {"dim": 8, "num_blocks": (1, 1, 1, 1), "num_refinement_blocks": 1},
    "NAFNet": {"width": 8, "encoder_blocks": (1, 1), "middle_blocks": 1, "decoder_blocks": (1, 1)},
    "DarkIR": {"width": 8, "encoder_blocks": (1, 1), "decoder_blocks": (1, 1)},
    "RetinexFormer": {"n_feat": 8},
}

REMEMBERED = 3 * 4 + 3 + 4
"""Bytes that the loss keeps beside what autograd saves: the peak of three terms, whether each was finite, the total."""


def small_task(name, checkpointed=False):
    generator = getattr(generators, name)(**SMALL[name])
    generator.checkpoint_blocks(checkpointed)
    terms = {"l1": L1(), "window": WindowL1(weight=0.5), "saturation": Saturation(weight=0.3)}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Attribute")  # the task is built by hand
        return EnhancementTask(generator, CompositeLoss(terms))


def noise(task, batch=2, height=32, width=48):
    pair = blank_pair(task, batch, height, width)
    pair.source.uniform_()
    pair.target.uniform_()
    return pair


def by_hand(task, pair, precision):
    """A training step without the code under test, and what its forward pass gives."""
    dtype, mixed = split_precision(precision)
    with torch.autocast("cpu", dtype, enabled=mixed):
        prediction = task(pair.source)
        loss = task.loss(prediction, pair.target, pair.source).total
    task.zero_grad()
    loss.backward()
    return loss.detach()


CASES = [("NAFNet", False, "32-true"), *((name, True, "bf16-mixed") for name in SMALL)]


@pytest.mark.parametrize(("name", "checkpointed", "precision"), CASES)
def test_what_is_computed_without_memory_is_what_a_real_step_occupies(name, checkpointed, precision):
    task = small_task(name, checkpointed)
    real = measure_step(task, noise(task), precision)
    with without_memory(gpu=False):
        emptied(task)
        computed = measure_step(task, blank_pair(task, 2, 32, 48), precision)
    assert computed == real


@pytest.mark.parametrize(("name", "checkpointed", "precision"), CASES)
def test_kept_is_what_autograd_saves(name, checkpointed, precision):
    """Hooks of autograd see every tensor that it saves."""
    task = small_task(name, checkpointed)
    pair = noise(task)
    saved = kept_bytes(lambda: by_hand(task, pair, precision))
    assert measure_step(task, pair, precision).kept == saved + REMEMBERED


@pytest.mark.filterwarnings("ignore")  # of the profiler, about itself
@pytest.mark.parametrize(("name", "checkpointed"), [("NAFNet", False), ("Restormer", True)])
def test_the_peak_is_that_of_the_allocator(name, checkpointed):
    """The profiler sees each call of the allocator, those of operators for themselves too."""
    task = small_task(name, checkpointed)
    pair = noise(task, height=64, width=96)
    computed = measure_step(task, pair, "bf16-mixed")
    by_hand(task, pair, "bf16-mixed")
    rest = sum(computed.fullest[kind] for kind in ("optimiser", "batch", "weights"))
    rest += sum(parameter.nbytes for parameter in task.parameters())  # the gradients of the step before
    with torch.profiler.profile(profile_memory=True) as profile:
        by_hand(task, pair, "bf16-mixed")
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = torch.tensor([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]).cumsum(0)
    assert computed.peak == pytest.approx(int(live.max()) + rest, rel=0.1)


@pytest.mark.usefixtures("pretrained")
def test_frozen_networks_of_the_loss_are_weights():
    """VGG-19 up to conv3_4 has 2,325,568 values."""
    task = small_task("NAFNet")
    own = sum(parameter.nbytes for parameter in task.parameters())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Attribute")
        task = EnhancementTask(task.generator, CompositeLoss({"vgg": VGG(layers={"conv3_4": 1.0})}))
    with without_memory():
        emptied(task)
        steps = [measure_step(task, blank_pair(task, 1, 64, 64), "bf16-mixed", gpu=True) for _ in range(2)]
    assert steps[0] == steps[1]
    assert steps[0].fullest["weights"] == pytest.approx(own + 4 * 2_325_568, abs=1000)


def test_memory_is_counted_once_and_given_back():
    with Ledger() as ledger:
        ledger.kind = "activations"
        x = torch.zeros(10)
        view = x.view(2, 5)
        y = x + 1
        assert ledger.live == {"activations": 80}
        del x
        assert ledger.live.total() == 80  # the view holds it
        del view, y
        assert ledger.live.total() == 0
    assert ledger.peaks == {"activations": {"activations": 80}}


def test_twice_the_photos_keep_twice_as_much():
    sizes = []
    for batch in (1, 2):
        task = small_task("NAFNet")
        with without_memory():
            emptied(task)
            sizes.append(measure_step(task, blank_pair(task, batch, 64, 64)))
    assert sizes[1].kept == pytest.approx(2 * sizes[0].kept, rel=0.01)
    assert sizes[1].fullest["optimiser"] == sizes[0].fullest["optimiser"]


def test_accumulated_gradients_lie_beside_the_next_activations():
    peaks = []
    for accumulate in (1, 2):
        task = small_task("NAFNet")
        peaks.append(measure_step(task, noise(task), accumulate=accumulate).peak)
    weights = sum(parameter.nbytes for parameter in task.parameters())
    assert peaks[0] <= peaks[1] <= peaks[0] + 2 * weights


def test_evaluation_has_no_gradients_and_counts_metrics():
    task = small_task("NAFNet")
    real = measure_evaluation(task, noise(task, 1))
    assert any("metrics" in moment for moment in real.moments.values())
    assert not any("backward" in moment for moment in real.moments.values())
    with without_memory(gpu=False):
        emptied(task)
        assert measure_evaluation(task, blank_pair(task, 1, 32, 48)) == real


def test_a_gpu_normalises_in_float32_under_autocast():
    """The list of operators is that of the documentation of torch.amp."""
    x = torch.ones(1, 4, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16), AsOnGPU():
        assert torch.nn.functional.layer_norm(x, (4,)).dtype is torch.float32
        assert torch.nn.functional.gelu(x).dtype is torch.bfloat16
        assert not x.is_cpu
    assert x.is_cpu


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["Restormer", "NAFNet", "DarkIR", "RetinexFormer"])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_gpu_allocates_what_was_predicted(name, checkpointed):
    precision = "bf16-mixed"
    task = small_task(name, checkpointed)
    with without_memory():
        emptied(task)
        predicted = measure_step(task, blank_pair(task, 4, 512, 512), precision).peak
    task = small_task(name, checkpointed).cuda()
    pair = noise(task, 4, 512, 512)
    pair = pair._replace(source=pair.source.cuda(), target=pair.target.cuda())
    optimizer = task.optimizer(task.parameters())
    for _ in range(2):
        torch.cuda.reset_peak_memory_stats()
        with torch.autocast("cuda", torch.bfloat16):
            loss = task.loss(task(pair.source), pair.target, pair.source).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert predicted == pytest.approx(torch.cuda.max_memory_allocated(), rel=0.1)
