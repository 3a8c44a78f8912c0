"""What happens beside training: one verb each."""

from hdr_lightning.callbacks.count_openings import CountOpenings
from hdr_lightning.callbacks.effective_batch import EffectiveBatch
from hdr_lightning.callbacks.ema import EMA
from hdr_lightning.callbacks.exact_resume import ExactResume
from hdr_lightning.callbacks.gradient_guard import GradientGuard
from hdr_lightning.callbacks.init_report import InitReport
from hdr_lightning.callbacks.last_validation import LastValidation
from hdr_lightning.callbacks.line_progress import LineProgress
from hdr_lightning.callbacks.loss_check import CheckLoss
from hdr_lightning.callbacks.loss_shares import LossShares
from hdr_lightning.callbacks.monitored import MonitoredMetrics
from hdr_lightning.callbacks.photo_writer import PhotoWriter
from hdr_lightning.callbacks.previews import Previews
from hdr_lightning.callbacks.report import Report
from hdr_lightning.callbacks.roll_back import RollBack
from hdr_lightning.callbacks.save_points import SavePoints
from hdr_lightning.callbacks.scale_guard import ScaleGuard
from hdr_lightning.callbacks.speed import Speed
from hdr_lightning.callbacks.validation_table import ValidationTable

__all__ = [
    "EMA",
    "CheckLoss",
    "CountOpenings",
    "EffectiveBatch",
    "ExactResume",
    "GradientGuard",
    "InitReport",
    "LastValidation",
    "LineProgress",
    "LossShares",
    "MonitoredMetrics",
    "PhotoWriter",
    "Previews",
    "Report",
    "RollBack",
    "SavePoints",
    "ScaleGuard",
    "Speed",
    "ValidationTable",
]
