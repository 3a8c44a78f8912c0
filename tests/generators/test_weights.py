"""Weights from files as publishers wrap them, whole and in part."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from hdr_lightning.errors import InputError
from hdr_lightning.generators import NAFNet, Restormer, ZeroConvCopy
from hdr_lightning.generators.weights import load_weights, read_weights

SMALL = {"width": 4, "encoder_blocks": (1,), "middle_blocks": 1, "decoder_blocks": (1,)}


@pytest.fixture
def published():
    torch.manual_seed(1)
    net = NAFNet(**SMALL)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(std=0.2)
    return net


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


WRAPPINGS = {
    "bare": lambda weights: weights,
    "params": lambda weights: {"params": weights},
    "params_ema before params": lambda weights: {
        "params": {key: value * 0 for key, value in weights.items()},
        "params_ema": weights,
    },
    "state_dict with module": lambda weights: {
        "state_dict": {f"module.{k}": v for k, v in weights.items()},
        "epoch": 3,
    },
    "compiled": lambda weights: {f"_orig_mod.{key}": value for key, value in weights.items()},
    "compiled under DDP": lambda weights: {f"module._orig_mod.{key}": value for key, value in weights.items()},
    "a task of ours": lambda weights: {
        "state_dict": {f"generator.{k}": v for k, v in weights.items()} | {"means.sum": torch.zeros(1)},
        "hyper_parameters": {},
    },
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_wrappings(wrapping, published, tmp_path):
    path = tmp_path / "net.pth"
    torch.save(WRAPPINGS[wrapping](published.state_dict()), path)
    net = NAFNet(**SMALL)
    report = load_weights(net, path)
    assert equal(net, published)
    assert report.share == 1
    assert "100.00% of the values" in str(report)


def test_safetensors(published, tmp_path):
    save_file(published.state_dict(), tmp_path / "net.safetensors")
    net = NAFNet(**SMALL)
    load_weights(net, tmp_path / "net.safetensors")
    assert equal(net, published)


def test_more_planes_start_without_effect(published, tmp_path):
    torch.save(published.state_dict(), tmp_path / "net.pth")
    net = NAFNet(**SMALL, in_channels=6)
    report = load_weights(net, tmp_path / "net.pth")
    assert report.adapted == ["intro.weight"]
    image = torch.rand(1, 6, 16, 16)
    assert torch.allclose(net(image), published(image[:, :3]), atol=1e-5)


class TestInPart:
    def test_is_refused_unless_asked_for_and_changes_nothing(self, published, tmp_path):
        deeper = NAFNet(**{**SMALL, "middle_blocks": 2})
        before = {key: value.clone() for key, value in deeper.state_dict().items()}
        torch.save(published.state_dict(), tmp_path / "net.pth")
        with pytest.raises(InputError, match=r"(?s)100% of whose values.*missing from the file: middle_blks\.1"):
            load_weights(deeper, tmp_path / "net.pth")
        assert all(torch.equal(before[key], value) for key, value in deeper.state_dict().items())

    def test_is_reported(self, published, tmp_path):
        weights = published.state_dict()
        del weights["ending.bias"]
        weights["intro.weight"] = torch.zeros(9, 3, 3, 3)
        weights["extra.weight"] = torch.zeros(1)
        torch.save(weights, tmp_path / "net.pth")
        report = load_weights(NAFNet(**SMALL), tmp_path / "net.pth", least=0.5)
        assert list(report.missing) == ["ending.bias"]
        assert report.unexpected == ["extra.weight"]
        assert report.mismatched == {"intro.weight": (torch.Size((4, 3, 3, 3)), torch.Size((9, 3, 3, 3)))}
        values = sum(value.numel() for value in published.parameters())
        assert report.share == pytest.approx(1 - (3 + 4 * 27) / values)
        assert "(expected (4, 3, 3, 3), got (9, 3, 3, 3))" in str(report)

    def test_another_net_is_refused(self, published, tmp_path):
        torch.save(published.state_dict(), tmp_path / "net.pth")
        small = Restormer(dim=8, num_blocks=(1, 1, 1, 1), num_refinement_blocks=1)
        with pytest.raises(InputError, match="not the weights of this Restormer"):
            load_weights(small, tmp_path / "net.pth", least=0.01)


class Code:
    def __reduce__(self):
        return print, ("this must not run",)


class TestRefused:
    @pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
    def test_files_that_are_none(self, name, published, tmp_path):
        path = tmp_path / name
        with pytest.raises(InputError, match="there is no such file"):
            read_weights(path)
        path.write_text("no weights")
        with pytest.raises(InputError, match="damaged or holds no weights"):
            read_weights(path)
        if name.endswith("pth"):
            torch.save(published.state_dict(), path)
        else:
            save_file(published.state_dict(), path)
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(InputError, match="damaged or holds no weights"):
            read_weights(path)

    def test_code(self, tmp_path, capsys):
        for save in (torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2))):
            save({"params": Code()}, tmp_path / "net.pth")
            with pytest.raises(InputError, match="refused"):
                read_weights(tmp_path / "net.pth")
        assert "must not run" not in capsys.readouterr().out

    def test_files_without_names(self, tmp_path):
        torch.save([torch.zeros(3)], tmp_path / "net.pth")
        with pytest.raises(InputError, match="holds no weights by name"):
            read_weights(tmp_path / "net.pth")


def test_a_file_cut_off_anywhere_is_refused(published, tmp_path):
    """The format before torch 1.6, too, whose reader fails in many ways."""
    whole = tmp_path / "whole.pth"
    torch.save(published.state_dict(), whole, _use_new_zipfile_serialization=False)
    content = whole.read_bytes()
    for length in range(0, len(content), len(content) // 60):
        (tmp_path / "cut.pth").write_bytes(content[:length])
        with pytest.raises(InputError, match=r"cut\.pth: refused, it is damaged"):
            read_weights(tmp_path / "cut.pth")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x * torch.nan, "expected finite values"),
        (lambda x: x.to(torch.int8), "expected real numbers, got torch.int8"),
        (lambda x: x.to(torch.complex64), "expected real numbers, got torch.complex64"),
        (lambda x: x.to_sparse(), "expected real numbers, got .*sparse"),
    ],
)
def test_values_that_are_none_are_refused_and_change_nothing(spoil, message, published, tmp_path):
    weights = published.state_dict()
    torch.save(weights | {"intro.weight": spoil(weights["intro.weight"])}, tmp_path / "net.pth")
    net, same = (torch.manual_seed(0) and NAFNet(**SMALL) for _ in range(2))
    with pytest.raises(InputError, match=rf"intro\.weight: {message}"):
        load_weights(net, tmp_path / "net.pth")
    assert equal(net, same)


def test_odd_contents_are_refused(tmp_path):
    itself = {}
    itself["params"] = itself
    for content in ({0: torch.zeros(1)}, itself):
        torch.save(content, tmp_path / "odd.pth")
        with pytest.raises(InputError, match="holds no weights by name"):
            read_weights(tmp_path / "odd.pth")


@pytest.mark.parametrize("share", [0.0, -1.0, 2.0, float("nan")])
def test_a_share_that_is_none_is_refused(share, published, tmp_path):
    torch.save(published.state_dict(), tmp_path / "net.pth")
    with pytest.raises(InputError, match="above 0 and up to 1"):
        load_weights(NAFNet(**SMALL), tmp_path / "net.pth", share)


def test_a_wrapper_takes_its_own_weights_and_copies_those_of_others(published, tmp_path):
    torch.save(published.state_dict(), tmp_path / "net.pth")
    nested = ZeroConvCopy(ZeroConvCopy(NAFNet(**SMALL)))
    load_weights(nested, tmp_path / "net.pth")
    assert equal(nested.copy, nested.locked)
    assert equal(nested.copy.copy, published)
    with torch.no_grad():
        nested.last.bias.fill_(0.5)
    torch.save({"state_dict": {f"generator.{k}": v for k, v in nested.state_dict().items()}}, tmp_path / "own.ckpt")
    again = ZeroConvCopy(ZeroConvCopy(NAFNet(**SMALL)))
    assert load_weights(again, tmp_path / "own.ckpt").share == 1
    assert equal(again, nested)
