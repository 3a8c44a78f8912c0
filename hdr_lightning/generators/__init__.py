"""Networks from a source photo to an edited one, one file a paper."""

from hdr_lightning.generators.base import Generator, SideGenerator, edit
from hdr_lightning.generators.darkir import DarkIR
from hdr_lightning.generators.nafnet import NAFNet
from hdr_lightning.generators.restormer import Restormer
from hdr_lightning.generators.retinexformer import RetinexFormer
from hdr_lightning.generators.wrappers import ColorRefiner, FeatureGuided, GainConstrained, ZeroConvCopy

__all__ = [
    "ColorRefiner",
    "DarkIR",
    "FeatureGuided",
    "GainConstrained",
    "Generator",
    "NAFNet",
    "Restormer",
    "RetinexFormer",
    "SideGenerator",
    "ZeroConvCopy",
    "edit",
]
