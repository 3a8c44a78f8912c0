"""Networks from a source photo to an edited one, one file a paper."""

from hdr_lightning.generators.base import Generator
from hdr_lightning.generators.nafnet import NAFNet
from hdr_lightning.generators.restormer import Restormer

__all__ = ["Generator", "NAFNet", "Restormer"]
