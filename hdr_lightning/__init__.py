"""Learned photo enhancement: from unedited photographs to professionally edited, HDR-looking ones.

>>> import hdr_lightning
>>> enhancer = hdr_lightning.load("runs/demo")  # doctest: +SKIP
>>> enhancer("photo.jpg").save("enhanced.jpg")  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hdr_lightning.inference import Editing, Enhancer, load

__all__ = ["Editing", "Enhancer", "load"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what enhances when it is first asked for: torch takes seconds, and help and versions need none."""
    if name in __all__:
        from hdr_lightning import inference

        return getattr(inference, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
