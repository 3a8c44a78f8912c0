"""Shape, range and unit of pictures, said once and checked in the tests by jaxtyping and beartype."""

from typing import TypeAlias

from jaxtyping import Float
from torch import Tensor

Image: TypeAlias = Float[Tensor, "*n 3 h w"]
"""RGB, sRGB-encoded, [0, 1]. A prediction may leave the range; nothing else does."""

Plane: TypeAlias = Float[Tensor, "*n 1 h w"]
"""One value a pixel: a luminance, a mask, a weight."""
