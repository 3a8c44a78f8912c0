"""Metrics over photos, in evaluation."""

from hdr_lightning.metrics.photo_means import METRICS, PhotoMean, PhotoMeans, faults, gather, measure

__all__ = ["METRICS", "PhotoMean", "PhotoMeans", "faults", "gather", "measure"]
