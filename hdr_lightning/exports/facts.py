"""What a network is, said in every file that holds one."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hdr_lightning import __version__
from hdr_lightning.errors import InputError

KEY = "hdr_lightning"
"""Under it, or under a file of this name, the facts stand in the metadata of a format."""

PREPROCESSING = (
    "photo: float32 RGB, sRGB-encoded, [0, 1], shape (1, 3, height, width). The weights alone want height and width "
    "that are multiples of the stride: pad below and on the right by reflection, or by repeating the edge where the "
    "photo is too small to reflect. Graphs (ONNX, torch.export) do this themselves"
)

POSTPROCESSING = (
    "cut to the height and width of the photo and clamp to [0, 1]. Graphs do this themselves: their first output is "
    "`enhanced`, their second `unclamped`"
)


@dataclass(frozen=True)
class Facts:
    """What a network is, where it comes from and how it is used.

    Attributes:
        generator: class path and arguments, as checkpoints name them.
        stride: height and width given to the weights are multiples of it.
        channels: planes that they take.
        license: of the weights, by its SPDX identifier; "other" where nobody said.
        training: figures of the run: epoch, steps, metrics on the validation photos.
        version: of this package.
        preprocessing: what comes before the weights.
        postprocessing: what comes behind.
    """

    generator: dict[str, Any]
    stride: int
    channels: int
    license: str = "other"
    training: dict[str, float] = field(default_factory=dict)
    version: str = __version__
    preprocessing: str = PREPROCESSING
    postprocessing: str = POSTPROCESSING

    @property
    def name(self) -> str:
        """The generator by the name of its class."""
        return str(self.generator["class_path"]).rpartition(".")[2]

    def to_json(self) -> str:
        """All of it as JSON."""
        return json.dumps(asdict(self), indent=2)


def parse_facts(metadata: Mapping[str, Any], path: Path) -> Facts:
    """Read the facts in the metadata of a file.

    Raises:
        InputError: if there are none, or they are not what `export` writes.
    """
    text = metadata.get(KEY)
    if text is None:
        raise InputError(f"{path}: was not written by `hdr-lightning export`: it does not say which network it holds")
    try:
        facts = Facts(**json.loads(text))
        sound = isinstance(facts.generator["class_path"], str) and min(facts.stride, facts.channels) >= 1
    except (ValueError, TypeError, KeyError):
        sound = False
    if not sound:
        raise InputError(f"{path}: what it says of its network cannot be read: export the checkpoint again")
    return facts
