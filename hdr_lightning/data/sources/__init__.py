"""Data sets of pairs as their publishers ship them, brackets that make their own targets, and clean photos made bad."""

from hdr_lightning.data.sources.base import PairSource
from hdr_lightning.data.sources.brackets import ExposureBrackets
from hdr_lightning.data.sources.degradations import (
    DefocusBlur,
    Degradation,
    GaussianBlur,
    Grey,
    Jpeg,
    MotionBlur,
    OneOf,
    SensorNoise,
    Underexposure,
)
from hdr_lightning.data.sources.degraded import DegradedPhotos
from hdr_lightning.data.sources.published import SICE, FiveK, LOLv1, LOLv2

__all__ = [
    "SICE",
    "DefocusBlur",
    "Degradation",
    "DegradedPhotos",
    "ExposureBrackets",
    "FiveK",
    "GaussianBlur",
    "Grey",
    "Jpeg",
    "LOLv1",
    "LOLv2",
    "MotionBlur",
    "OneOf",
    "PairSource",
    "SensorNoise",
    "Underexposure",
]
