"""The published sizes of generators, by the names that people use."""

from hdr_lightning.errors import InputError
from hdr_lightning.generators.base import Generator
from hdr_lightning.generators.darkir import DarkIR
from hdr_lightning.generators.nafnet import NAFNet
from hdr_lightning.generators.restormer import Restormer
from hdr_lightning.generators.retinexformer import RetinexFormer

PUBLISHED: dict[str, tuple[type[Generator], dict[str, int]]] = {
    "Restormer": (Restormer, {}),
    "NAFNet-32": (NAFNet, {"width": 32}),
    "NAFNet-64": (NAFNet, {"width": 64}),
    "DarkIR-m": (DarkIR, {"width": 32}),
    "DarkIR-l": (DarkIR, {"width": 64}),
    "RetinexFormer": (RetinexFormer, {}),
}


def published(name: str) -> Generator:
    """A generator at a published size, with the weights of its start.

    Raises:
        InputError: if there is none of that name.
    """
    if name not in PUBLISHED:
        raise InputError(f"there is no generator {name}: there are {', '.join(PUBLISHED)}")
    cls, arguments = PUBLISHED[name]
    return cls(**arguments)
