"""Soft masks over a picture: where it is a window, a shadow, a midtone."""

from hdr_lightning.image.color import luminance
from hdr_lightning.image.types import Image, Plane


def bright_mask(image: Image, threshold: float = 0.75, softness: float = 0.05) -> Plane:
    """Mark bright regions, which in an interior are its windows and lamps.

    Args:
        image: pictures.
        threshold: luminance (Rec. 709, sRGB-encoded) where the mask is one half.
        softness: the luminance above the threshold where the mask reaches 0.73; smaller is a harder edge.

    Returns:
        A mask in [0, 1], a smooth (logistic) function of the luminance.
    """
    return ((luminance(image) - threshold) / softness).sigmoid()
