"""What is measured of a photo: against its target, or by itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hdr_lightning.errors import InputError
from hdr_lightning.evaluation.perceptual import LPIPSNetwork, PerceptualDistance
from hdr_lightning.evaluation.results import MEASURES
from hdr_lightning.evaluation.table import Measured
from hdr_lightning.image.naturalness import NaturalModel, niqe
from hdr_lightning.image.similarity import SSIM_WINDOW
from hdr_lightning.metrics import THOROUGH, faults, measure_thoroughly
from hdr_lightning.metrics.naturalness import read_natural_model

Picture = Float[Tensor, "3 _ _"]


class Meter:
    """Measures pictures.

    Args:
        names: what is measured, of `MEASURES`.
        device: where.
        lpips: if it is among the names.
        natural: if NIQE is among them.
    """

    def __init__(
        self,
        names: Sequence[str],
        device: torch.device,
        lpips: PerceptualDistance | None = None,
        natural: NaturalModel | None = None,
    ) -> None:
        self.names = list(names)
        self.device = device
        self.lpips = lpips
        self.natural = natural

    @torch.inference_mode()
    def __call__(self, picture: Picture, target: Picture | None) -> Measured:
        """Measure a picture.

        Args:
            picture: not clamped, and perhaps not finite.
            target: what it should be; nothing where that is not known: then NIQE alone is measured.
        """
        wrong = unsound(picture, target)
        if wrong:
            return Measured({}, wrong)
        image = picture[None].to(self.device).clamp(0, 1)
        found: dict[str, float | None] = {}
        if target is not None:
            wanted = target[None].to(self.device)
            if any(name in THOROUGH for name in self.names):
                values = measure_thoroughly(image, wanted)
                row = torch.stack(list(values.values()))[:, 0].tolist()
                found.update(zip(values, row, strict=True))
            if self.lpips is not None:
                found["lpips"] = self.lpips(image, wanted)
        if self.natural is not None:
            found["niqe"] = niqe(image, self.natural)
        return Measured({name: found.get(name) for name in self.names})


def unsound(picture: Picture, target: Picture | None) -> str:
    """Say why a picture cannot be measured; nothing if it can."""
    if target is not None and picture.shape != target.shape:
        height, width = picture.shape[-2:]
        return f"it is {width} x {height} pixels, its target {target.shape[-1]} x {target.shape[-2]}"
    if min(picture.shape[-2:]) < SSIM_WINDOW:
        return f"it is smaller than {SSIM_WINDOW} x {SSIM_WINDOW} pixels"
    return faults(picture[None], {"mean": picture.mean()[None]}).get(0, "")


class Chosen(NamedTuple):
    """What is measured, and why other things are not.

    Attributes:
        meter: that measures it.
        facts: a line each, for the report.
    """

    meter: Meter
    facts: dict[str, str]


def choose_measures(
    names: Sequence[str],
    targets: bool,
    device: torch.device,
    network: LPIPSNetwork,
    weights: Path | None,
    parameters: Path | None,
) -> Chosen:
    """Decide what is measured.

    Args:
        names: what was asked for; all that is possible if nothing is given.
        targets: whether targets are known.
        device: where to compute.
        network: of LPIPS.
        weights: of that network.
        parameters: of NIQE.

    Raises:
        InputError: if what was asked for cannot be measured, or nothing can.
    """
    unknown = sorted(set(names) - MEASURES.keys())
    if unknown:
        raise InputError(f"--measures: there is no {', '.join(unknown)}; there are {', '.join(MEASURES)}")
    wanted = set(names) or set(MEASURES)
    facts: dict[str, str] = {}
    if not targets:
        without = sorted(set(names) - {"niqe"})
        if without:
            raise InputError(f"--measures: {', '.join(without)} need targets, and there are none: measure niqe")
        wanted = {"niqe"}
    natural = None
    if "niqe" in wanted and parameters is not None:
        natural = read_natural_model(parameters)
        facts["NIQE"] = f"parameters of {parameters.name}"
    elif "niqe" in names or not targets:
        raise InputError("NIQE needs --niqe FILE, the parameters of natural pictures: BasicSR's niqe_pris_params.npz")
    distance = None
    if "lpips" in wanted:
        try:
            distance = PerceptualDistance(network, weights, device)
            facts["LPIPS"] = f"{network}, {'weights of torchvision' if weights is None else weights.name}"
        except InputError as error:
            if "lpips" in names or weights is not None:
                raise
            facts["LPIPS"] = f"not measured: {error}"
    absent = {"niqe": natural is None, "lpips": distance is None}
    kept = [name for name in MEASURES if name in wanted and not absent.get(name, False)]
    return Chosen(Meter(kept, device, distance, natural), facts)
