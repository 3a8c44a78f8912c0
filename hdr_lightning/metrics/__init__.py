"""Metrics over photos, in evaluation."""

from hdr_lightning.metrics.photo_means import METRICS, PhotoMean, PhotoMeans, faults, gather, measure
from hdr_lightning.metrics.thorough import THOROUGH, measure_thoroughly

__all__ = ["METRICS", "THOROUGH", "PhotoMean", "PhotoMeans", "faults", "gather", "measure", "measure_thoroughly"]
