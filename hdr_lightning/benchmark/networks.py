"""What is measured: generators of the package, trained ones, and the published code with the same weights."""

import importlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from hdr_lightning.errors import InputError
from hdr_lightning.evaluation.cost import has_weights
from hdr_lightning.exports.reading import load_model
from hdr_lightning.generators import Generator
from hdr_lightning.generators.published import PUBLISHED, published

SHORT = {"NAFNet": "NAFNet-32", "DarkIR": "DarkIR-m"}
"""Classes by themselves mean the size of their defaults."""


@dataclass(frozen=True)
class Measured:
    """A generator with its name, and the published code with its weights where that is installed."""

    name: str
    ours: Generator
    published: nn.Module | None


def networks(names: Sequence[str], peers: Mapping[str, str], modules: Sequence[str]) -> list[Measured]:
    """Make or load what is measured.

    Args:
        names: generators at a published size, or checkpoints, folders of runs, or exports.
        peers: published classes by name, `module:class`.
        modules: Python modules to import first, for generators of your own in checkpoints.

    Raises:
        InputError: if there is none of a name, a peer is for nothing that is measured, or it cannot be imported.
    """
    strange = set(peers) - set(names)
    if strange:
        raise InputError(f"--peers names {', '.join(sorted(strange))}, which is not among --names {', '.join(names)}")
    found = []
    for name in names:
        ours = _random(name) if name in PUBLISHED or name in SHORT else _load(name, modules)
        theirs = published_network(ours, peers.get(name)) if has_weights(ours) else None
        found.append(Measured(name, ours, theirs))
    return found


def _random(name: str) -> Generator:
    torch.manual_seed(0)
    generator = published(SHORT.get(name, name)).eval()
    with torch.no_grad():
        for parameter in generator.parameters():  # published starts hide half of a net behind zeros
            parameter.add_(0.02 * torch.randn_like(parameter))
    return generator


def _load(name: str, modules: Sequence[str]) -> Generator:
    if not Path(name).exists():
        raise InputError(
            f"there is no generator {name}, and no such file or folder: give one, or a name of {', '.join(PUBLISHED)}"
        )
    return load_model(Path(name), modules).eval()


def published_network(generator: Generator, peer: str | None = None) -> nn.Module | None:
    """The published code with the weights of a generator: a class that is named, or what spandrel makes of the names.

    Returns:
        The network in evaluation mode, or nothing where it is not installed.
    """
    if peer is not None:
        module, _, name = peer.partition(":")
        try:
            network: nn.Module = getattr(importlib.import_module(module), name)()
        except (ImportError, AttributeError) as error:
            raise InputError(f"the peer {peer} cannot be imported ({error}): expected module:class") from None
        network.load_state_dict(generator.state_dict())
        return network.eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they use of torch is theirs
            import spandrel
            import spandrel_extra_arches
    except ImportError:  # pip install 'hdr-lightning[benchmark]'
        return None
    spandrel_extra_arches.install(ignore_duplicates=True)
    try:
        loaded = spandrel.ModelLoader("cpu").load_from_state_dict(dict(generator.state_dict()))
    except spandrel.UnsupportedModelError:
        return None
    return loaded.model.eval()
