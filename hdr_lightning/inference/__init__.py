"""What is done with a trained network: photos of any size and kind, enhanced and watched."""

from hdr_lightning.inference.enhancer import Enhancer, load
from hdr_lightning.inference.settings import Editing, Method

__all__ = ["Editing", "Enhancer", "Method", "load"]
