"""Draw the figures of docs/losses.md: python docs/losses_figures.py PAIRS.jsonl (real pairs, an edit each)."""

import sys
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from hdr_lightning import losses
from hdr_lightning.data.files import read_photo, to_tensor
from hdr_lightning.data.manifest import read_pairs
from hdr_lightning.image.color import hue_direction
from hdr_lightning.image.similarity import ms_ssim
from hdr_lightning.losses import CompositeLoss
from hdr_lightning.losses.check import check_loss, measure_terms, rescaling
from hdr_lightning.losses.composite import Seen

HERE = Path(__file__).parent / "losses"


def pairs(manifest: Path, number: int = 4, side: int = 256) -> list[Seen]:
    """What a generator makes before it is trained: the source, nearly."""
    found = []
    torch.manual_seed(0)
    for paths in read_pairs(manifest)[:: max(1, len(read_pairs(manifest)) // number)][:number]:
        source, target = (
            to_tensor(read_photo(each).pixels)[None, :, :side, :side] for each in (paths.source, paths.target)
        )
        found.append(Seen(source + 0.02 * torch.randn_like(source), target, source))
    return found


def shares(manifest: Path) -> None:
    """Eight terms as they were, and after the guard has rescaled the one out of scale."""
    terms: dict[str, losses.LossTerm] = {
        "l1": losses.L1(),
        "window": losses.WindowL1(weight=0.5),
        "lab": losses.Lab(scale=1.0, ceiling=1000),
        "edge": losses.SobelEdge(weight=0.5),
        "ssim": losses.SSIM(weight=0.1),
        "frequency": losses.FFTAmplitude(weight=0.5),
        "saturation": losses.Saturation(weight=0.3),
        "histogram": losses.Histogram(weight=0.5),
    }
    loss, own = CompositeLoss(terms), pairs(manifest)
    before = check_loss(loss, own)
    lab = next(term for term in before.terms if term.name == "lab")
    loss.rescale("lab", rescaling(lab.value, sum(t.value for t in before.terms) - lab.value, lab.meant))
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axes, check, title in zip(
        figure.subplots(1, 2, sharey=True), (before, check_loss(loss, own)), ("as configured", "rescaled"), strict=True
    ):
        places = range(len(check.terms))
        axes.barh([y - 0.2 for y in places], [t.share for t in check.terms], 0.38, label="of the value")
        axes.barh([y + 0.2 for y in places], [t.gradient_share for t in check.terms], 0.38, label="of the gradient")
        axes.axvline(0.9, color="#c03d3e", linewidth=1, linestyle="--")
        axes.set(xlim=(0, 1), yticks=list(places), title=f"share of each term, {title}")
        axes.set_yticklabels([t.name for t in check.terms])
    axes.invert_yaxis()
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(HERE / "scale.png", dpi=110)


def conflict(manifest: Path) -> None:
    """Cosines between terms that pull apart: the edit, the source, and no edges at all."""

    class KeepSource(losses.LossTerm):
        def measure(self, prediction: torch.Tensor, target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
            return (prediction - source).abs().mean()

    loss = CompositeLoss(
        {"l1": losses.L1(), "edge": losses.SobelEdge(), "tv": losses.TotalVariation(), "keep": KeepSource()}
    )
    own = [each._replace(prediction=(each.source + each.target) / 2) for each in pairs(manifest)]
    cosines = torch.stack([measure_terms(loss, each).cosines for each in own]).mean(dim=0)
    figure = Figure(figsize=(4.4, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(cosines, cmap="RdBu", vmin=-1, vmax=1)
    names = list(loss.terms)
    axes.set(xticks=range(4), yticks=range(4), xticklabels=names, yticklabels=names, title="cosine of the gradients")
    for row in range(4):
        for column in range(4):
            color = "white" if abs(cosines[row, column]) > 0.6 else "black"
            axes.text(column, row, f"{cosines[row, column]:.2f}", ha="center", va="center", color=color)
    figure.savefig(HERE / "conflict.png", dpi=110)


def curves() -> None:
    """What broke on a single number: hue at red, MS-SSIM of inverted pictures, the logarithm of a variance."""
    figure = Figure(figsize=(11, 3.1), layout="constrained")
    hue, similarity, variance = figure.subplots(1, 3)
    _hue(hue)
    _similarity(similarity)
    spread = torch.logspace(-9, 1, 100)
    variance.semilogx(spread, -spread.log(), label="-log(var), no bound")
    variance.semilogx(spread, 1 / (spread + 1), label="1 / (var + 1)")
    variance.set(xlabel="variance of the colours", title="diversity")
    for axes in (hue, similarity, variance):
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(HERE / "curves.png", dpi=110)


def _hue(axes: Axes) -> None:
    degrees = torch.linspace(-30, 30, 241)
    angle = torch.deg2rad(degrees)
    green, blue = angle.clamp(min=0) / torch.pi * 3, (-angle).clamp(min=0) / torch.pi * 3
    colors = torch.stack((torch.ones_like(angle), green, blue))[:, None]
    red = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
    circular = (hue_direction(colors) - hue_direction(red)).square().sum(dim=0)[0] / 4
    axes.plot(degrees, degrees.remainder(360) / 360, label="difference of numbers")
    axes.plot(degrees, circular, label="on the circle")
    axes.set(xlabel="hue beside red, degrees", title="distance to red")


def _similarity(axes: Axes) -> None:
    torch.manual_seed(0)
    target = torch.rand(1, 3, 192, 192)
    mixes = torch.linspace(0, 1, 41)
    plain, ours = [], []
    for mix in mixes:
        picture = mix * target + (1 - mix) * (1 - target)
        plain.append(
            multiscale_structural_similarity_index_measure(picture, target, data_range=1.0, normalize=None).item()
        )
        ours.append(ms_ssim(picture, target).item())
    axes.plot(mixes, ours, label="here")
    axes.plot(mixes, plain, "--", label="plain form: NaN where it ends")
    axes.set(xlabel="from inverted (0) to equal (1)", title="MS-SSIM")


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    shares(Path(sys.argv[1]))
    conflict(Path(sys.argv[1]))
    curves()
