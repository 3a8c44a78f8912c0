"""An evaluation: what was measured of every photo, for everything that was compared; kept as one JSON file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hdr_lightning.errors import InputError

SOURCE = "source"
"""The name of the untouched sources among the contenders: what everything else has to beat."""


@dataclass(frozen=True)
class Measure:
    """How a number is called and read."""

    title: str
    digits: int
    better: Literal["higher", "lower"]


MEASURES: dict[str, Measure] = {
    "l1": Measure("L1", 4, "lower"),
    "psnr": Measure("PSNR (dB)", 2, "higher"),
    "ssim": Measure("SSIM", 4, "higher"),
    "ms_ssim": Measure("MS-SSIM", 4, "higher"),
    "lpips": Measure("LPIPS", 4, "lower"),
    "ciede2000": Measure("CIEDE2000", 2, "lower"),
    "niqe": Measure("NIQE", 2, "lower"),
    "l1_inside": Measure("L1, windows", 4, "lower"),
    "psnr_inside": Measure("PSNR, windows (dB)", 2, "higher"),
    "ciede2000_inside": Measure("CIEDE2000, windows", 2, "lower"),
    "l1_outside": Measure("L1, elsewhere", 4, "lower"),
    "psnr_outside": Measure("PSNR, elsewhere (dB)", 2, "higher"),
    "ciede2000_outside": Measure("CIEDE2000, elsewhere", 2, "lower"),
}
"""What may be measured of a photo, in the order of tables."""


@dataclass(frozen=True)
class Cost:
    """What a network costs.

    Attributes:
        parameters: how many.
        macs: multiplications with addition for a picture of `size`.
        seconds: median time for a picture of `size` on `device`.
        peak_bytes: largest memory that the tensors of such a pass occupy, weights among them.
        size: height and width in pixels.
        device: in words.
    """

    parameters: int
    macs: int
    seconds: float
    peak_bytes: int
    size: tuple[int, int]
    device: str


@dataclass(frozen=True)
class Contender:
    """One of the things that are compared.

    Attributes:
        name: a short one of its own; `SOURCE` for the untouched sources.
        origin: the checkpoint or folder, as it was given.
        generator: name of the network's class; empty for pictures made elsewhere.
        cost: of the network, where it was measured.
    """

    name: str
    origin: str = ""
    generator: str = ""
    cost: Cost | None = None


@dataclass(frozen=True)
class EvaluatedPhoto:
    """A photo of the evaluation: its name, group (a scene), and size in pixels."""

    name: str
    group: str
    width: int
    height: int


@dataclass
class Evaluation:
    """What was measured.

    Attributes:
        title: of the report.
        contenders: the untouched sources first.
        photos: in the order of the tables of values.
        values: by contender and measure, a number a photo; nothing where it could not be measured.
        faults: by contender, what is wrong with a photo that counts for nothing, by its name.
        config: the configuration that trained the first network, as YAML; empty if it is not known.
        facts: versions, machine, date, command: a line each.
    """

    title: str
    contenders: list[Contender]
    photos: list[EvaluatedPhoto]
    values: dict[str, dict[str, list[float | None]]]
    faults: dict[str, dict[str, str]] = field(default_factory=dict)
    config: str = ""
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def measures(self) -> list[str]:
        """Names of what was measured, in the order of tables."""
        found = {name for values in self.values.values() for name in values}
        return [name for name in MEASURES if name in found]

    def to_json(self) -> str:
        """As text, for `from_json`."""
        return json.dumps(asdict(self), indent=1, allow_nan=False)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Evaluation":
        """From what `asdict` makes of one, and JSON of that."""
        contenders = [Contender(**{**each, "cost": read_cost(each["cost"])}) for each in content["contenders"]]
        photos = [EvaluatedPhoto(**each) for each in content["photos"]]
        return cls(**{**content, "contenders": contenders, "photos": photos})

    @classmethod
    def from_json(cls, path: Path) -> "Evaluation":
        """Read an evaluation.

        Raises:
            InputError: if the file is none.
        """
        try:
            return cls.of(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: expected an evaluation.json that `evaluate` wrote ({error})") from None


def read_cost(content: Mapping[str, Any] | None) -> Cost | None:
    """From what `asdict` makes of one, and JSON of that."""
    if content is None:
        return None
    height, width = content["size"]
    return Cost(**{**content, "size": (height, width)})
