"""Costs against the figures of the papers, and against what can be counted by hand."""

import math

import pytest
import torch
from torch import nn

from hdr_lightning.evaluation.cost import count_macs, count_parameters, measure_cost, measure_peak, sum_costs
from hdr_lightning.evaluation.timing import alternate
from hdr_lightning.generators import DarkIR, Generator, NAFNet, RetinexFormer
from hdr_lightning.generators.published import published

CPU = torch.device("cpu")

TINY = {"width": 4, "encoder_blocks": (1,), "middle_blocks": 1, "decoder_blocks": (1,)}

GOPRO = {"encoder_blocks": (1, 1, 1, 28), "middle_blocks": 1, "decoder_blocks": (1, 1, 1, 1)}


@pytest.mark.parametrize(
    ("make", "gmacs", "source"),
    [
        (lambda: NAFNet(width=32, **GOPRO), 16, "NAFNet, ECCV 2022"),
        (lambda: NAFNet(width=64, **GOPRO), 65, "NAFNet, ECCV 2022"),
        (lambda: DarkIR(), 7.25, "DarkIR, CVPR 2025, DarkIR-m"),
        (lambda: DarkIR(width=64), 27.19, "DarkIR, CVPR 2025, DarkIR-l"),
        (lambda: RetinexFormer(), 15.57, "RetinexFormer, ICCV 2023"),
        (lambda: published("Restormer"), 140.99, "Restormer, CVPR 2022; 140 in the paper of NAFNet"),
    ],
)
def test_macs_are_those_of_the_papers(make, gmacs, source):
    """At 256 px; papers count with tools that leave out products of the attention, or add norms and gates."""
    counted = count_macs(make().eval(), (1, 3, 256, 256)) / 1e9
    assert counted == pytest.approx(gmacs, rel=0.06), source


def test_the_convolutions_of_the_published_restormer_are_all_that_its_paper_counts():
    pytest.importorskip("spandrel_extra_arches")
    from torch.utils.flop_counter import FlopCounterMode

    from hdr_lightning.benchmark import published_network

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        published_network(published("Restormer")).to("meta")(torch.empty(1, 3, 256, 256, device="meta"))
    kinds = {str(operator): flops / 2e9 for operator, flops in counter.get_flop_counts()["Global"].items()}
    assert kinds["aten.convolution"] == pytest.approx(140.99, abs=0.01)


def test_macs_of_a_convolution_and_of_a_transform_are_those_by_hand():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1)
            self.depthwise = nn.Conv2d(8, 8, 5, padding=2, groups=8)

        def forward(self, image):
            x = self.depthwise(self.conv(image))
            return torch.fft.irfft2(torch.fft.rfft2(x), s=x.shape[-2:])

    pixels = 16 * 32
    by_hand = pixels * (3 * 8 * 9 + 8 * 25) + 2 * 8 * 1.25 * pixels * math.log2(pixels)
    assert count_macs(Net().eval(), (2, 3, 16, 32)) == round(2 * by_hand)


def test_macs_are_of_whole_pictures_and_grow_with_their_pixels():
    net = NAFNet(**TINY).eval()
    small, large = count_macs(net, (1, 3, 64, 64), net.stride), count_macs(net, (1, 3, 2048, 2048), net.stride)
    assert large / small == pytest.approx(1024, rel=1e-3)  # tiles would add their borders
    assert count_macs(net, (1, 3, 63, 63), net.stride) == small


def test_counting_leaves_the_network_as_it_was():
    net = NAFNet(**TINY).eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    count_macs(net, (1, 3, 16, 16))
    assert all(value.device == CPU and value.equal(before[name]) for name, value in net.state_dict().items())


def test_the_peak_is_that_of_the_fullest_moment():
    net = nn.Sequential(nn.Linear(64, 256, bias=False), nn.ReLU(), nn.Linear(256, 8, bias=False))
    rows = torch.rand(100, 64)
    with torch.inference_mode():
        peak = measure_peak(lambda: net(rows), net, CPU)
    weights = 64 * 256 + 256 * 8
    assert peak == 4 * (weights + 100 * 64 + 2 * 100 * 256)  # before and behind the ReLU


def test_the_cost_of_a_network_is_told():
    net = NAFNet(**TINY).eval()
    cost = measure_cost(net, CPU, (48, 64))
    assert cost.parameters == sum(p.numel() for p in net.parameters()) == count_parameters(net)
    assert cost.macs == count_macs(net, (1, 3, 48, 64))
    assert cost.size == (48, 64)
    assert cost.seconds > 0
    assert cost.peak_bytes > 4 * (cost.parameters + 3 * 48 * 64)
    assert "thread" in cost.device


def test_what_shows_no_weights_has_no_cost():
    class Opaque(Generator):
        def __init__(self):
            super().__init__()
            self.place = nn.Parameter(torch.empty(0))

        def forward(self, image):
            return image

    assert measure_cost(Opaque().eval(), CPU) is None


def test_calls_take_turns_after_they_have_settled():
    order, slow = [], iter([0.2, 0.1, *[0.01] * 20])
    import time

    def settling():
        order.append("a")
        time.sleep(next(slow))
        return torch.zeros(1)

    def steady():
        order.append("b")
        time.sleep(0.005)
        return torch.zeros(1)

    times = alternate({"a": settling, "b": steady}, 4, CPU)
    assert order[-8:] == ["a", "b"] * 4
    assert order.count("a") >= 4 + 3  # a slow start is not among the times
    assert times["a"].low <= times["a"].median <= times["a"].high < 0.1
    assert times["a"].cpu < times["a"].median  # it slept


def test_quartiles_are_those_of_numpy():
    import numpy as np

    from hdr_lightning.evaluation.timing import _summarise

    walls = [3.0, 1.0, 7.0, 2.0, 9.0]
    timing = _summarise([(wall, 1.0) for wall in walls])
    assert [timing.low, timing.median, timing.high] == list(np.quantile(walls, (0.25, 0.5, 0.75)))
    assert _summarise([(4.0, 1.0)])[:3] == (4.0, 4.0, 4.0)


@pytest.mark.gpu
def test_costs_on_a_gpu_are_those_of_its_allocator_and_events():
    device = torch.device("cuda")
    net = NAFNet(**TINY).eval().to(device)
    other = torch.empty(2**26, device=device)  # what else lies there is not counted
    cost = measure_cost(net, device, (256, 256))
    assert 4 * cost.parameters < cost.peak_bytes < other.nbytes
    assert cost.macs == count_macs(net.cpu(), (1, 3, 256, 256))
    matrix = torch.rand(4096, 4096, device=device)
    timing = alternate({"product": lambda: matrix @ matrix}, 5, device)["product"]
    assert 0 < timing.median < 1
    assert timing.median > 4096**3 * 2 / 5e15  # it was waited for


def test_an_average_costs_the_sum_and_remembers_one_pass_at_a_time():
    """As the ledger counts it where both networks lie in memory and pass one after the other."""
    nets = [NAFNet(**TINY).eval(), NAFNet(**{**TINY, "width": 8}).eval()]
    costs = [measure_cost(net, CPU, (48, 64)) for net in nets]
    both = nn.ModuleList(nets)
    image = torch.rand(1, 3, 48, 64)
    with torch.inference_mode():
        peak = measure_peak(lambda: [net(image) for net in nets][1], both, CPU)
    found = sum_costs(costs, 8)
    assert found.parameters == count_parameters(both)
    assert found.macs == 8 * sum(cost.macs for cost in costs)
    assert found.seconds == pytest.approx(8 * sum(cost.seconds for cost in costs))
    assert found.peak_bytes == pytest.approx(peak, rel=0.1)
    assert sum_costs(costs[:1]) == costs[0]
