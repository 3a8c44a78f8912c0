"""NIQE with the statistics of natural pictures from a file."""

import zipfile
from pathlib import Path

import numpy as np
import torch

from hdr_lightning.errors import InputError
from hdr_lightning.image.naturalness import FEATURES, NaturalModel

SHAPES = {"mu_pris_param": (1, FEATURES), "cov_pris_param": (FEATURES, FEATURES), "gaussian_window": (7, 7)}
"""Arrays of BasicSR's `niqe_pris_params.npz`."""


def read_natural_model(path: Path) -> NaturalModel:
    """Read what natural pictures are like.

    Args:
        path: a file of numpy arrays with the names and shapes of `SHAPES`.

    Raises:
        InputError: if it is none.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = [np.asarray(content[name], dtype=float) for name in SHAPES]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: expected parameters of NIQE as in BasicSR's niqe_pris_params.npz ({error}): give such a file"
        ) from None
    for (name, shape), array in zip(SHAPES.items(), arrays, strict=True):
        if array.shape != shape or not np.isfinite(array).all():
            raise InputError(f"{path}: expected finite numbers of shape {shape} as {name}, got {array.shape}")
    mean, covariance, window = map(torch.from_numpy, arrays)
    return NaturalModel(mean[0], covariance, window)
