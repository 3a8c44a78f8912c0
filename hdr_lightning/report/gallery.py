"""Pictures of an evaluation, taken while the photos pass at their full size."""

from collections.abc import Mapping
from pathlib import Path

from jaxtyping import Float
from torch import Tensor


class Gallery:
    """Keeps of every photo what the report shows of it, in a folder.

    Args:
        folder: of the evaluation; pictures go to `pictures/` in it.
        height: of its pictures, at most, in pixels.
    """

    def __init__(self, folder: Path, height: int = 640) -> None:
        self.folder = folder
        self.height = height

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
        """
        raise NotImplementedError
