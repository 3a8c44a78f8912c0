"""Photos in, enhanced photos out: what the command line, the Python interface, the demo and evaluations share."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Literal, NamedTuple, TypeVar, overload

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from hdr_lightning.errors import InputError
from hdr_lightning.exports.reading import load_model
from hdr_lightning.generators import Generator
from hdr_lightning.generators.loading import best_checkpoints
from hdr_lightning.inference.finishing import Picture, blend, running_mean, sharpen, turned_results
from hdr_lightning.inference.guard import refuse_absurd
from hdr_lightning.inference.kinds import edited_array, edited_file, edited_picture, edited_tensor
from hdr_lightning.inference.large import Passed, edit_large
from hdr_lightning.inference.settings import Editing

Device = Literal["auto", "cpu", "cuda", "mps"]

Array = TypeVar("Array", bound=NDArray[np.generic])


class Edited(NamedTuple):
    """An enhanced picture.

    Attributes:
        image: RGB, sRGB-encoded, on the CPU, clamped to [0, 1].
        passes: how it passed each network, without the pictures; with flips and turns, eight for each.
    """

    image: Float[Tensor, "3 h w"]
    passes: list[Passed]


class Enhancer:
    """Enhances photos with one network, or with the average of several. Threads may share it; they take turns.

    Args:
        models: the networks.
        device: where to compute.
        editing: how.

    Raises:
        InputError: if there is no network.
    """

    def __init__(self, models: Sequence[Generator], device: torch.device, editing: Editing = Editing()) -> None:  # noqa: B008 - immutable
        if not models:
            raise InputError("expected one network or more, got none")
        self.models = [model.eval().to(device) for model in models]
        self.device = device
        self.editing = editing
        self._turn = Lock()  # one picture at a time: the memory is counted on for it alone

    @property
    def passes(self) -> int:
        """How often a picture passes each network: eight times with flips and turns."""
        return 8 if self.editing.tta else 1

    def edit(self, image: Float[Tensor, "3 h w"]) -> Edited:
        """Enhance a picture.

        Args:
            image: RGB, sRGB-encoded, [0, 1].

        Raises:
            InputError: if it does not fit the memory, or the result cannot be an edit of it.
        """
        editing, passes = self.editing, list[Passed]()
        source = image[None].float().cpu()
        with torch.no_grad():
            with self._turn:
                count = len(self.models) * self.passes
                result = running_mean(self._results(source, passes), count)
            if editing.guard:
                refuse_absurd(result, source)
            result = result.nan_to_num(0, 1, 0)
            result = sharpen(blend(result, source, editing.strength), editing.sharpen)
            return Edited(result[0].clamp(0, 1), passes)

    def _results(self, source: Picture, passes: list[Passed]) -> Iterator[Picture]:
        for model in self.models:

            def pass_one(image: Picture, model: Generator = model) -> Picture:
                weights = next(model.parameters(), image)
                passed = edit_large(model, image.to(weights.dtype), self.device, self.editing)
                passes.append(passed._replace(image=passed.image.new_empty(1, 3, 0, 0)))
                return passed.image.float()

            if self.editing.tta:
                yield from turned_results(source, pass_one)
            else:
                yield pass_one(source)

    @overload
    def __call__(self, photo: str | Path, output: str | Path) -> Path: ...
    @overload
    def __call__(self, photo: str | Path, output: None = None) -> Image.Image: ...
    @overload
    def __call__(self, photo: Image.Image, output: None = None) -> Image.Image: ...
    @overload
    def __call__(self, photo: Array, output: None = None) -> Array: ...
    @overload
    def __call__(self, photo: Tensor, output: None = None) -> Tensor: ...
    def __call__(
        self, photo: object, output: str | Path | None = None
    ) -> Path | Image.Image | NDArray[np.generic] | Tensor:
        """Enhance a photo of any kind, and give back the same kind.

        Args:
            photo: one of these:

                - the path of a photo. With `output` it is written there, with its depth, EXIF, XMP, colour profile and
                  transparency, and its path comes back. Without, a Pillow image comes back, if it has 8 bits.
                - a Pillow image, RGB or grey, perhaps with transparency; its mode, size, EXIF and profile are kept.
                - an array, (height, width, 3) or (height, width): uint8, uint16, or floating point in [0, 1].
                - a tensor, (3, height, width) or (n, 3, height, width), floating point in [0, 1], on any device.
            output: file to write; for paths alone. An existing one is replaced.

        Raises:
            InputError: if it is none of these, cannot be read or written, does not fit the memory, or the result cannot
                be an edit of it.
        """

        def edit(image: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
            return self.edit(image).image

        if isinstance(photo, str | Path):
            return edited_file(Path(photo), None if output is None else Path(output), edit)
        if output is not None:
            raise InputError("output is for paths; save what comes back yourself")
        if isinstance(photo, Image.Image):
            return edited_picture(photo, edit)
        if isinstance(photo, np.ndarray):
            return edited_array(photo, edit)
        if isinstance(photo, Tensor):
            return edited_tensor(photo, edit)
        raise InputError(f"expected a path, a Pillow image, an array or a tensor, got {type(photo).__name__}")


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


def find_ensemble(paths: Sequence[Path] | Path) -> list[Path]:
    """Find the networks that paths mean together.

    Args:
        paths: what `load` takes; a folder means the best checkpoints of all runs below it, such as those of folds.

    Raises:
        InputError: if there is none.
    """
    found: list[Path] = []
    for path in [paths] if isinstance(paths, Path) else paths:
        found += sorted(best_checkpoints(path)) or [path]
    if not found:
        raise InputError("the ensemble names no checkpoint: give --ensemble=[A,B], or a folder of runs")
    return found


def choose_device(device: Device) -> torch.device:
    """The device of a name.

    Raises:
        InputError: if there is none.
    """
    if device != "auto":
        available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if not available.get(device):
            raise InputError(
                f"--device {device}: there is none on this machine; take auto, which is what there is, or one of "
                f"{', '.join(available)}"
            )
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
