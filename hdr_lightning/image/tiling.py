"""Pictures of any size through functions that want certain sizes."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def run_padded(
    function: Callable[[Float[Tensor, "n c h w"]], Float[Tensor, "n o h w"]],
    image: Float[Tensor, "n c h w"],
    stride: int,
) -> Float[Tensor, "n o h w"]:
    """Apply a function that wants multiples of `stride` to pictures of any size.

    Rows below and columns on the right are added by reflection (by repeating the edge where a picture is too small
    to reflect) and cut from the result.

    Args:
        function: keeps height and width.
        image: pictures of any size.
        stride: what height and width given to `function` are multiples of.
    """
    height, width = image.shape[-2:]
    below, right = -height % stride, -width % stride
    if not below and not right:
        return function(image)
    mode = "reflect" if below < height and right < width else "replicate"
    padded = F.pad(image, (0, right, 0, below), mode=mode)
    return function(padded)[..., :height, :width]
