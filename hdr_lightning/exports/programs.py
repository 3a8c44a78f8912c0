"""Graphs of `torch.export` (.pt2): PyTorch alone runs them."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass

from hdr_lightning.errors import InputError
from hdr_lightning.exports.archive import looked_through
from hdr_lightning.exports.facts import KEY, Facts, parse_facts
from hdr_lightning.generators import Generator


def write_program(program: ExportedProgram, facts: Facts, path: Path) -> None:
    """Write a graph with its facts."""
    torch.export.save(program, path, extra_files={KEY: facts.to_json()})


class ExportedGenerator(Generator):
    """A graph as a generator; padding is inside, so the stride is 1.

    Args:
        program: a graph of `graph.record`, on the CPU.
        facts: what it holds.
    """

    countable = False

    def __init__(self, program: ExportedProgram, facts: Facts) -> None:
        super().__init__()
        self.facts = facts
        self._program = program
        self._place(torch.device("cpu"))
        self.training = False

    def _place(self, device: torch.device) -> None:
        self._device = device
        self.module = self._program.module().requires_grad_(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "ExportedGenerator":
        """Move to a device, with the constants inside the graph."""
        device = fn(torch.empty(0)).device
        if device != self._device:
            self._program = move_to_device_pass(self._program, device)
            self._place(device)
        return self

    def train(self, mode: bool = True) -> "ExportedGenerator":
        if mode:
            raise InputError(f"an exported {self.facts.name} does not train: start from its checkpoint or safetensors")
        self.training = False
        return self

    def forward(self, image: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        return torch.cat([self.module(one[None])[1] for one in image])


def read_program(path: Path) -> ExportedGenerator:
    """Load a graph, without running anything that the file holds.

    Raises:
        InputError: if the file is missing, damaged, not ours, or holds what could run.
    """
    archive, extra = looked_through(path), {KEY: ""}
    try:
        program = torch.export.load(archive, extra_files=extra)
    except (
        RuntimeError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        AssertionError,
        json.JSONDecodeError,
    ) as error:
        raise InputError(f"{path}: is damaged, or of another version of PyTorch ({error})") from None
    return ExportedGenerator(program, parse_facts({key: text for key, text in extra.items() if text}, path))
