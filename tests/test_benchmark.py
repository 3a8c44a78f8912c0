"""What the benchmark counts is true; what it times is printed, not asserted."""

import json

import pytest
import torch
from torch import nn

from hdr_lightning.benchmark import kept_bytes, published_network
from hdr_lightning.benchmark.networks import networks
from hdr_lightning.cli import main
from hdr_lightning.evaluation.cost import count_macs
from hdr_lightning.generators import NAFNet, Restormer, RetinexFormer

SMALL = ["--sizes=[32]", "--step_sizes=[32]", "--repeats=1", "--threads=[1]"]


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def table(text):
    lines = text.splitlines()
    head = cells(lines[0])
    return [dict(zip(head, cells(line), strict=True)) for line in lines[2:] if line.startswith("|")]


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
    main(["benchmark", "--names=[RetinexFormer]", *SMALL, f"--output={tmp_path / 'table.md'}"])
    text = (tmp_path / "table.md").read_text()
    rows = table(text)
    assert {(row["pass"], row["precision"]) for row in rows if row["code"] == "ours"} == {
        (what, precision) for what in ("forward", "step") for precision in ("fp32", "bf16")
    }
    assert {row["parameters (M)"] for row in rows} == {"1.61"}
    assert all((row["kept (MiB)"] != "") == (row["pass"] == "step") for row in rows)
    assert all((row["ours is faster"] != "") == (row["code"] == "published") for row in rows)
    for fact in ("date", "processor", "allocator", "torch"):
        assert f"- {fact}: " in text
    assert capsys.readouterr().out.startswith("| generator | code | pass |")


def test_published_code_gives_the_same_in_turns(tmp_path):
    pytest.importorskip("spandrel_extra_arches")
    words = ["--names=[RetinexFormer]", "--passes=[forward]", "--precisions=[bf16]"]
    (tmp_path / "out").mkdir()
    main(["benchmark", *words, *SMALL, f"--output={tmp_path / 'out' / 'x.json'}"])
    rows = json.loads((tmp_path / "out" / "x.json").read_text())["rows"]
    assert [(row["code"], row["case"]["precision"]) for row in rows] == [
        ("ours", "bf16"),
        ("published", "fp32"),
        ("published", "bf16"),
    ]
    for row in rows[1:]:
        assert row["difference"] < 0.05
        assert row["faster"] == pytest.approx(row["time"]["median"] / rows[0]["time"]["median"])


def test_the_json_says_all_that_figures_depend_on(tmp_path, checkpoint):
    output = tmp_path / "table.json"
    words = [f"--names=[{checkpoint},RetinexFormer]", "--passes=[forward]", "--precisions=[fp32]", "--batches=[1,3]"]
    main(["benchmark", *words, *SMALL, f"--output={output}"])
    content = json.loads(output.read_text())
    assert {"date", "processor", "allocator", "python", "torch", "hdr_lightning", "spandrel"} <= set(content["facts"])
    ours = [row for row in content["rows"] if row["code"] == "ours"]
    assert [(row["generator"], row["case"]["batch"]) for row in ours] == [
        (name, batch) for batch in (1, 3) for name in (str(checkpoint), "RetinexFormer")
    ]
    trained, _, three, _ = ours
    (loaded,) = networks([str(checkpoint)], {}, [])
    assert trained["macs"] == count_macs(loaded.ours, (1, 3, 32, 32), loaded.ours.stride)
    assert three["macs"] == 3 * trained["macs"]
    assert trained["parameters"] == sum(each.numel() for each in loaded.ours.parameters())
    assert trained["peak_bytes"] > 4 * trained["parameters"]
    assert three["photos_per_second"] == pytest.approx(3 / three["time"]["median"])
    assert three["megapixels_per_second"] == pytest.approx(3 * 32**2 / 1e6 / three["time"]["median"])
    assert three["time"]["low"] <= three["time"]["median"] <= three["time"]["high"]


def test_a_peer_is_a_class_that_is_named(tmp_path, monkeypatch):
    (tmp_path / "elsewhere.py").write_text("from hdr_lightning.generators import DarkIR as TheirNet\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    words = [
        "--names=[DarkIR]",
        "--passes=[forward]",
        "--precisions=[fp32]",
        '--peers={"DarkIR": "elsewhere:TheirNet"}',
    ]
    rows = table(main(["benchmark", *words, *SMALL]))
    assert [(row["generator"], row["code"], row["max difference"]) for row in rows] == [
        ("DarkIR", "ours", ""),
        ("DarkIR", "published", "0.0e+00"),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--names=[UNet]"], "there is no generator UNet"),
        (["--names=[RetinexFormer]", '--peers={"RetinexFormer": "nowhere:Net"}'], "cannot be imported"),
        (["--names=[RetinexFormer]", '--peers={"DarkIR": "x:y"}'], "not among --names"),
        (["--names=[RetinexFormer]", "--precisions=[fp16]"], "fp16 is for a GPU"),
        (["--names=[RetinexFormer]", "--sizes=[0]"], "1 or more"),
        (["--names=[RetinexFormer]", "--repeats=0"], "1 repeat or more"),
        (["--output=table.txt"], "ends in .md or .json"),
    ],
)
def test_what_cannot_be_measured_is_refused(capsys, words, message):
    with pytest.raises(SystemExit) as leave:
        main(["benchmark", *words])
    assert leave.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.gpu
def test_a_gpu_is_measured_in_half_precision():
    words = ["--names=[NAFNet]", "--precisions=[fp32,bf16,fp16]", "--devices=[cuda]", "--sizes=[128]"]
    rows = table(main(["benchmark", *words, "--step_sizes=[128]", "--repeats=3", "--threads=[1]"]))
    assert {row["precision"] for row in rows} == {"fp32", "bf16", "fp16"}
    assert all(float(row["peak (MiB)"]) > 0 for row in rows)


def test_guards_are_timed_piece_by_piece(capsys):
    share = main(["benchmark-guards", "--generator=RetinexFormer", "--size=32", "--repeats=2"])
    out = capsys.readouterr().out
    assert all(piece in out for piece in ("peaks of the terms", "look at the peaks", "shares and cosines", "**all**"))
    assert share > 0
