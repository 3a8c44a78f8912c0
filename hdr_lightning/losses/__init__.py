"""Losses composed of terms that check their own scale."""

from hdr_lightning.losses.color import Saturation
from hdr_lightning.losses.composite import CompositeLoss, Loss
from hdr_lightning.losses.pixel import L1
from hdr_lightning.losses.term import LossTerm
from hdr_lightning.losses.window import WindowL1

__all__ = ["L1", "CompositeLoss", "Loss", "LossTerm", "Saturation", "WindowL1"]
