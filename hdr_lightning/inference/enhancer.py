"""Photos in, enhanced photos out: what the command line, the Python interface, the demo and evaluations share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from hdr_lightning.errors import InputError
from hdr_lightning.exports.reading import load_model
from hdr_lightning.generators import Generator
from hdr_lightning.inference.large import Passed, edit_large
from hdr_lightning.inference.settings import Editing

Device = Literal["auto", "cpu", "cuda", "mps"]


class Edited(NamedTuple):
    """An enhanced picture.

    Attributes:
        image: RGB, sRGB-encoded, on the CPU, clamped to [0, 1].
        passes: how it passed each network.
    """

    image: Float[Tensor, "3 h w"]
    passes: list[Passed]


class Enhancer:
    """Enhances photos with one network, or with the average of several.

    Args:
        models: the networks.
        device: where to compute.
        editing: how.
    """

    def __init__(self, models: Sequence[Generator], device: torch.device, editing: Editing = Editing()) -> None:  # noqa: B008 - immutable
        self.models = [model.eval().to(device) for model in models]
        self.device = device
        self.editing = editing

    def edit(self, image: Float[Tensor, "3 h w"]) -> Edited:
        """Enhance a picture.

        Args:
            image: RGB, sRGB-encoded, [0, 1].

        Raises:
            InputError: if it does not fit the memory, or the result cannot be an edit of it.
        """
        passes = [edit_large(model, image[None], self.device, self.editing) for model in self.models]
        mean = torch.stack([each.image[0] for each in passes]).mean(dim=0)
        return Edited(mean.clamp(0, 1), passes)


def load(
    checkpoint: str | Path | Sequence[str | Path],
    device: Device = "auto",
    editing: Editing = Editing(),  # noqa: B008 - immutable
    modules: Sequence[str] = (),
) -> Enhancer:
    """Load what enhances photos.

    Args:
        checkpoint: a checkpoint, the folder of a run, or an export; several are averaged.
        device: where to compute; auto takes a GPU if there is one.
        editing: how.
        modules: Python modules to import first, for generators of your own.

    Raises:
        InputError: if there is none, it is damaged, or there is no such device.
    """
    paths = [checkpoint] if isinstance(checkpoint, str | Path) else checkpoint
    return Enhancer([load_model(Path(path), modules) for path in paths], choose_device(device), editing)


def choose_device(device: Device) -> torch.device:
    """The device of a name.

    Raises:
        InputError: if there is none.
    """
    if device != "auto":
        available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if not available[device]:
            raise InputError(f"--device {device}: there is none on this machine; --device auto takes what there is")
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
