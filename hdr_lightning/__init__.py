"""Learned photo enhancement: from unedited photographs to professionally edited, HDR-looking ones."""

__version__ = "0.1.0"
