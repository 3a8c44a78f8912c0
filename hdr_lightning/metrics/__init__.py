"""Metrics over photos, in evaluation."""

from hdr_lightning.metrics.photo_means import PhotoMeans, measure

__all__ = ["PhotoMeans", "measure"]
