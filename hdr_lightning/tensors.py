"""Tensors from files of others, without running anything that the files contain."""

import pickle
import struct
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from hdr_lightning.errors import InputError

DAMAGED = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    AssertionError,
    TypeError,
    ArithmeticError,
    struct.error,
)
"""What torch raises on files that are no pickles, or cut off."""


def read_safely(path: Path, otherwise: str, expected: str) -> Any:
    """Read a `.safetensors` file or what `torch.save` wrote: tensors, numbers and text, and nothing that could run.

    Args:
        path: the file.
        otherwise: what it may be where it is not damaged, for the message.
        expected: what it should be, for the message.

    Raises:
        InputError: if the file is missing, damaged, or holds code.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that are refused anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file: expected {expected}") from None
    except (*DAMAGED, pickle.UnpicklingError, SafetensorError) as error:
        holds_code = isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error)
        reason = "it holds Python objects, which could run code" if holds_code else f"it is damaged or {otherwise}"
        raise InputError(f"{path}: refused, {reason}: expected {expected}") from None
