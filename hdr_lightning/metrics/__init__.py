"""Metrics over photos, in evaluation."""

from hdr_lightning.metrics.photo_means import METRICS, PhotoMeans, measure

__all__ = ["METRICS", "PhotoMeans", "measure"]
