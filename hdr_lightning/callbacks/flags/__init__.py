"""Red flags: sicknesses of a training, each with a callback that sees it."""

from hdr_lightning.callbacks.flags.color_cast import ColorCast
from hdr_lightning.callbacks.flags.dead_rate import DeadRate
from hdr_lightning.callbacks.flags.flag import Flag, Sign
from hdr_lightning.callbacks.flags.frozen_validation import FrozenValidation
from hdr_lightning.callbacks.flags.gap import Gap
from hdr_lightning.callbacks.flags.gradient_size import GradientSize
from hdr_lightning.callbacks.flags.pinned import Pinned
from hdr_lightning.callbacks.flags.rising_loss import RisingLoss
from hdr_lightning.callbacks.flags.starved_device import StarvedDevice
from hdr_lightning.callbacks.flags.term_share import TermShare

FLAGS = (
    FrozenValidation,
    TermShare,
    GradientSize,
    RisingLoss,
    Gap,
    Pinned,
    ColorCast,
    DeadRate,
    StarvedDevice,
)
"""Those that every `fit` has."""

__all__ = [
    "FLAGS",
    "ColorCast",
    "DeadRate",
    "Flag",
    "FrozenValidation",
    "Gap",
    "GradientSize",
    "Pinned",
    "RisingLoss",
    "Sign",
    "StarvedDevice",
    "TermShare",
]
