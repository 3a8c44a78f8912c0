"""Losses composed of terms that check their own scale."""

from hdr_lightning.losses.color import (
    CIEDE2000,
    HSV,
    ABChannels,
    ColorConsistency,
    ColorDirection,
    Diversity,
    Histogram,
    Lab,
    MultiScaleColor,
    Saturation,
)
from hdr_lightning.losses.composite import CompositeLoss, Loss
from hdr_lightning.losses.frequency import FFTAmplitude, FocalFrequency
from hdr_lightning.losses.perceptual import LPIPS, VGG, GramStyle
from hdr_lightning.losses.pixel import L1, MSE, Charbonnier, Huber
from hdr_lightning.losses.structure import MSSSIM, SSIM, IlluminationConsistency, SobelEdge, TotalVariation
from hdr_lightning.losses.term import LossTerm
from hdr_lightning.losses.weighting import Fixed, Normalised, Ramp, Uncertainty, Weighting
from hdr_lightning.losses.window import AdaptiveZones, BrightColor, DeltaAware, LuminanceAttention, WindowL1, ZoneL1

__all__ = [
    "CIEDE2000",
    "HSV",
    "L1",
    "LPIPS",
    "MSE",
    "MSSSIM",
    "SSIM",
    "VGG",
    "ABChannels",
    "AdaptiveZones",
    "BrightColor",
    "Charbonnier",
    "ColorConsistency",
    "ColorDirection",
    "CompositeLoss",
    "DeltaAware",
    "Diversity",
    "FFTAmplitude",
    "Fixed",
    "FocalFrequency",
    "GramStyle",
    "Histogram",
    "Huber",
    "IlluminationConsistency",
    "Lab",
    "Loss",
    "LossTerm",
    "LuminanceAttention",
    "MultiScaleColor",
    "Normalised",
    "Ramp",
    "Saturation",
    "SobelEdge",
    "TotalVariation",
    "Uncertainty",
    "Weighting",
    "WindowL1",
    "ZoneL1",
]
