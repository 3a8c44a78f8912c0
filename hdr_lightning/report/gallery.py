"""Pictures of an evaluation, taken while the photos pass at their full size."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jaxtyping import Float
from PIL import Image
from torch import Tensor, distributed

from hdr_lightning.data.files import to_pixels, writing
from hdr_lightning.errors import InputError
from hdr_lightning.evaluation.results import SOURCE
from hdr_lightning.metrics import gather
from hdr_lightning.report.pictures import Window, difference_map, histogram, marked, thumbnail, worst_window

FILE = "pictures.json"

WINDOW = 192
"""Side in pixels of the windows that are shown at full size."""


@dataclass(frozen=True)
class Crop:
    """The window of a photo in which an output is furthest from the target; pictures by what they show."""

    window: Window
    source: str
    target: str
    output: str


@dataclass
class Shot:
    """What is kept of a photo; pictures are paths from the folder of the evaluation.

    Attributes:
        name: of the photo.
        width: of the photo in pixels.
        height: of the photo in pixels.
        source: picture of the untouched photo.
        target: picture of what it should become; empty where that is not known.
        outputs: pictures by contender.
        differences: maps of output - target by contender.
        crops: the worst window by contender.
        histograms: of luminance by contender; the source is `SOURCE`, the target the empty name.
    """

    name: str
    width: int
    height: int
    source: str
    target: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    differences: dict[str, str] = field(default_factory=dict)
    crops: dict[str, Crop] = field(default_factory=dict)
    histograms: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Shot":
        """From what `asdict` makes of one."""
        crops = {name: Crop(**{**crop, "window": Window(*crop["window"])}) for name, crop in content["crops"].items()}
        return cls(**{**content, "crops": crops})


class Gallery:
    """Keeps of every photo what the report shows of it, in a folder.

    Args:
        folder: of the evaluation; pictures go to `pictures/` in it.
        height: of its pictures, at most, in pixels.
        shown: how many photos the page shows: those that gain least and most, half and half.
    """

    def __init__(self, folder: Path, height: int = 640, shown: int = 24) -> None:
        self.folder = folder
        self.height = height
        self.shown = shown
        self.shots: list[Shot] = []

    def add(
        self,
        name: str,
        source: Float[Tensor, "3 h w"],
        target: Float[Tensor, "3 h w"] | None,
        outputs: Mapping[str, Float[Tensor, "3 h w"]],
    ) -> None:
        """Keep a photo.

        Args:
            name: of the photo.
            source: the untouched photo.
            target: what it should become, where that is known.
            outputs: by contender, what it became; not clamped, and perhaps not finite.

        Raises:
            InputError: if a picture cannot be written.
        """
        rank = distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0
        stem = f"{rank}_{len(self.shots):05d}"
        shot = Shot(name, source.shape[-1], source.shape[-2], self._small(f"{stem}_source", source))
        shot.histograms[SOURCE] = histogram(source)
        if target is not None:
            shot.target = self._small(f"{stem}_target", target)
            shot.histograms[""] = histogram(target)
        for number, (contender, output) in enumerate(outputs.items()):
            if contender == SOURCE:
                continue
            shot.outputs[contender] = self._small(f"{stem}_{number}", output)
            shot.histograms[contender] = histogram(output)
            if target is not None:
                shot.differences[contender] = self._save(
                    f"{stem}_{number}_difference", difference_map(output, target, self.height // 2)
                )
                shot.crops[contender] = self._crop(f"{stem}_{number}", source, target, output)
        self.shots.append(shot)

    def gather(self) -> None:
        """Bring the photos of all processes together; to be called on each."""
        self.shots = gather(self.shots)

    def save(self) -> None:
        """Write down what there is, for `read`.

        Raises:
            InputError: if it cannot be written.
        """
        content = {"height": self.height, "shown": self.shown, "shots": [asdict(shot) for shot in self.shots]}
        with writing(self.folder / FILE) as temporary:
            temporary.write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Gallery":
        """Read what `save` wrote.

        Raises:
            InputError: if there is none, or it is none.
        """
        path = folder / FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            gallery = cls(folder, content["height"], content["shown"])
            gallery.shots = [Shot.of(each) for each in content["shots"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: expected what `evaluate` or `test` wrote there ({error})") from None
        return gallery

    def _small(self, stem: str, image: Float[Tensor, "3 h w"]) -> str:
        return self._save(stem, marked(image, thumbnail(to_pixels(image.nan_to_num(0)), self.height)))

    def _crop(self, stem: str, source: Tensor, target: Tensor, output: Tensor) -> Crop:
        window = worst_window(output, target, WINDOW)

        def cut(what: str, image: Tensor) -> str:
            part = image[:, window.top : window.top + window.side, window.left : window.left + window.side]
            whole = Image.fromarray(to_pixels(part.nan_to_num(0)))
            return self._save(f"{stem}_crop_{what}", marked(part, whole))

        return Crop(window, cut("source", source), cut("target", target), cut("output", output))

    def _save(self, stem: str, picture: Image.Image) -> str:
        path = f"pictures/{stem}.webp"
        with writing(self.folder / path) as temporary:
            picture.save(temporary, format="WEBP", quality=84, method=3)
        return path
