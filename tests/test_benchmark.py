"""What the benchmark counts is true; what it times is printed, not asserted."""

import pytest
import torch
from torch import nn

from hdr_lightning.benchmark import kept_bytes, published_network
from hdr_lightning.cli import main
from hdr_lightning.generators import NAFNet, Restormer, RetinexFormer


def test_kept_bytes_are_those_of_the_activations():
    layer = nn.Sequential(nn.Linear(64, 32, bias=False), nn.Sigmoid())
    image = torch.rand(10, 64)
    # The input for the weight of the linear layer, and the output of the sigmoid; no parameter.
    assert kept_bytes(lambda: layer(image)) == 4 * (10 * 64 + 10 * 32)


@pytest.mark.parametrize("generator", [NAFNet, Restormer, RetinexFormer])
def test_spandrel_computes_the_same_from_our_names(generator):
    pytest.importorskip("spandrel_extra_arches")
    torch.manual_seed(0)
    small = {Restormer: {"dim": 16, "num_blocks": (1, 1, 1, 1), "num_refinement_blocks": 1}}
    ours = generator(**small.get(generator, {})).eval()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        image = torch.rand(1, 3, 64, 64)
        assert (ours(image) - published_network(ours)(image)).abs().max() < 5e-6


def test_a_table_comes_out(tmp_path, capsys):
    words = ["--names=[RetinexFormer]", "--forward_size=32", "--step_size=32", "--repeats=1", "--threads=[1]"]
    main(["benchmark", *words, f"--output={tmp_path / 'table.md'}"])
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[0].startswith("| generator | pass |")
    assert {line.count("|") for line in lines} == {lines[0].count("|")}
    assert {tuple(line.split(" | ")[1:4:2]) for line in lines[2:]} == {
        (what, precision) for what in ("forward", "step") for precision in ("fp32", "bf16")
    }


def test_an_unknown_generator_is_refused(capsys):
    with pytest.raises(SystemExit) as leave:
        main(["benchmark", "--names=[UNet]"])
    assert leave.value.code == 2
    assert "there is no generator UNet" in capsys.readouterr().err


def test_guards_are_timed_piece_by_piece(capsys):
    share = main(["benchmark-guards", "--generator=RetinexFormer", "--size=32", "--repeats=2"])
    out = capsys.readouterr().out
    assert all(piece in out for piece in ("peaks of the terms", "look at the peaks", "shares and cosines", "**all**"))
    assert share > 0
