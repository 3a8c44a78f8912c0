"""The configuration of one run of several: a base, what is changed of it, and how long it trains."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace

from hdr_lightning.errors import InputError

Settings = Mapping[str, Any]
"""Values by the dotted keys of a configuration; null takes a key out, so that its default holds, or a loss has no such
term."""


@dataclass(frozen=True)
class Budget:
    """What every run may use, so that a comparison is fair; the base configuration's where nothing is given.

    Attributes:
        epochs: passes over the data.
        steps: of the optimiser.
        samples: crops that are seen.
        minutes: on the clock; the schedule of the rate still counts epochs.
    """

    epochs: int | None = None
    steps: int | None = None
    samples: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) > 1 or any(value <= 0 for value in given.values()):
            raise InputError(f"the budget is one of epochs, steps, samples and minutes, above 0: got {given}")

    def settings(self, config: Mapping[str, Any]) -> Settings:
        """What it changes of a configuration."""
        if self.epochs is not None:
            return {"trainer.max_epochs": self.epochs}
        if self.minutes is not None:
            seconds = round(60 * self.minutes)
            return {"trainer.max_time": {"seconds": seconds}}
        steps = self.steps
        if self.samples is not None:
            trainer, data = config.get("trainer", {}), config.get("data", {})
            devices, accumulate = trainer.get("devices", 1), trainer.get("accumulate_grad_batches", 1)
            if "batch_size" not in data or not isinstance(devices, int):
                raise InputError("a budget in samples needs data.batch_size, and a number of trainer.devices")
            steps = math.ceil(self.samples / (data["batch_size"] * accumulate * devices * trainer.get("num_nodes", 1)))
        return {} if steps is None else {"trainer.max_steps": steps, "trainer.max_epochs": -1}


def read_base(path: Path) -> dict[str, Any]:
    """Read the configuration that others start from.

    Raises:
        InputError: if it is none.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a configuration of `fit` ({error})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a configuration of `fit`, keys and values")
    return content


def changed(config: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """A copy of a configuration with other settings.

    >>> changed({"a": {"b": 1, "c": 2}}, {"a.b": None, "a.d.e": 3})
    {'a': {'c': 2, 'd': {'e': 3}}}

    Raises:
        InputError: if a key to take out is not there, or lies below a value, or a whole part would be replaced.
    """
    result = copy.deepcopy(dict(config))
    for key, value in settings.items():
        *parents, last = key.split(".")
        if not parents and isinstance(value, Mapping) and "class_path" not in value:
            raise InputError(f"{key}: give settings by their whole keys, such as {key}.{next(iter(value), 'crop')}")
        node = result
        for name in parents:
            if not isinstance(node.setdefault(name, {}), dict):
                raise InputError(f"{key}: {name} is {node[name]!r} in the base configuration, and has nothing below it")
            node = node[name]
        if value is not None:
            node[last] = copy.deepcopy(value)
        elif last in node:
            del node[last]
        else:
            raise InputError(
                f"{key} is to be taken out, and is not in the base configuration: there is {', '.join(node) or 'none'}"
            )
    return result


def plain(value: Any) -> Any:
    """A value as it stands in the file: the parser gives some classes that it names a form of its own."""
    if isinstance(value, Namespace):
        return plain(vars(value))
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


def flattened(config: Any, prefix: str = "") -> dict[str, Any]:
    """Values of a configuration by their dotted keys.

    >>> flattened({"a": {"b": 1, "c": {}}, "seeds": [1]})
    {'a.b': 1, 'a.c': {}, 'seeds': [1]}
    """
    if prefix and not (isinstance(config, Mapping) and config):
        return {prefix: config}
    return {
        key: value
        for name, part in config.items()
        for key, value in flattened(part, f"{prefix}.{name}".strip(".")).items()
    }
