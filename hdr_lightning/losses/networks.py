"""Pretrained networks whose features terms compare: found on this machine, or fetched, and never trained."""

import socket
import urllib.error
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from hdr_lightning.errors import InputError
from hdr_lightning.tensors import read_safely

Network = Literal["vgg19", "vgg16", "alexnet", "squeezenet1_1"]

FILES: dict[str, str] = {
    "vgg19": "vgg19-dcbb9e9d.pth",
    "vgg16": "vgg16-397923af.pth",
    "alexnet": "alexnet-owt-7be5be79.pth",
    "squeezenet1_1": "squeezenet1_1-b8a52dc0.pth",
}
"""Names of torchvision's weights; each ends in the start of its SHA-256."""

ORIGIN = "https://download.pytorch.org/models"

WAIT = 20.0
"""Seconds after which a server that does not answer is given up."""

Module = TypeVar("Module", bound=nn.Module)


def fetch_weights(networks: Sequence[Network] = ("vgg19", "squeezenet1_1"), folder: Path | None = None) -> list[Path]:
    """Download the weights of networks for perceptual terms, to be used where there is no internet.

    Args:
        networks: which; VGG and GramStyle need vgg19, LPIPS needs vgg16, alexnet or squeezenet1_1.
        folder: where they go; torch's own if nothing is given. Copy it to `$TORCH_HOME/hub/checkpoints` of the node.

    Returns:
        The files; those that were there already are left alone.

    Raises:
        InputError: if one cannot be fetched.
    """
    paths = [_fetch(name, folder) for name in networks]
    for path in paths:
        print(path)
    return paths


def _fetch(network: str, folder: Path | None = None) -> Path:
    folder = folder or Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / FILES[network]
    if path.is_file():
        return path
    expected = path.stem.rpartition("-")[2]
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(WAIT)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Written beside its place and renamed, after its hash was checked.
        torch.hub.download_url_to_file(f"{ORIGIN}/{path.name}", str(path), expected)
    except (OSError, urllib.error.URLError, RuntimeError) as error:
        raise InputError(
            f"the weights of {network} are not at {path} and cannot be fetched ({error}): on a machine with internet "
            f"run `hdr-lightning fetch-weights --networks=[{network}] --folder=FOLDER` and copy {path.name} to "
            f"{path.parent}, or set TORCH_HOME, or give a file as the term's `weights`"
        ) from None
    finally:
        socket.setdefaulttimeout(before)
    return path


def read_features(network: Network, file: Path | None) -> dict[str, Tensor]:
    """Read the convolutional weights of a network, by torchvision's names.

    Args:
        network: which.
        file: where they are; if nothing is given, torch's folder for downloads, or the internet.

    Raises:
        InputError: if there are none, or the file is damaged.
    """
    content = read_safely(file or _fetch(network), f"no weights of {network}", "torchvision's, or a file like it")
    found = content.items() if isinstance(content, dict) else ()
    return {name: value for name, value in found if name.startswith("features.") and isinstance(value, Tensor)}


def fill(module: Module, weights: dict[str, Tensor], network: str) -> Module:
    """Put weights into a module, and freeze it.

    Raises:
        InputError: if they do not fit.
    """
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"these are not the weights of {network}: {str(error).splitlines()[-1].strip()}") from None
    return module.requires_grad_(False).eval()


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Import a package of the extra `perceptual`, whose own warnings a user can do nothing about.

    Raises:
        InputError: if it is not installed.
    """
    if find_spec(name) is None:
        raise InputError(f"perceptual terms need {name}: pip install 'hdr-lightning[perceptual]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Frozen:
    """A network outside of the modules: its weights are neither trained, nor sent to other ranks, nor saved.

    Args:
        make: makes it, at its first use: a checkpoint whose loss has it enhances photos without it.
    """

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        self._make = make

    @cached_property
    def _network(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):  # filled from a file, whatever it starts with
            return self._make()

    def __call__(self, x: Tensor, *more: Tensor) -> Any:
        function = self._network
        if any(parameter.device != x.device for parameter in function.parameters()):
            function.to(x.device)
        return function(x, *more)
