"""The configuration that a run was trained with, and its data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from hdr_lightning.data.module import PairDataModule
from hdr_lightning.errors import InputError


def read_config(path: Path) -> dict[str, Any]:
    """Read a configuration as `fit` keeps it.

    Raises:
        InputError: if it is none.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path}: expected the config.yaml of a run ({error})") from None
    if not isinstance(content, dict) or not isinstance(content.get("data"), dict):
        raise InputError(f"{path}: expected the config.yaml of a run, which says what its data are")
    return content


def data_of_run(config: Path) -> PairDataModule:
    """The data of a run, of which nothing is opened yet.

    Args:
        config: `config.yaml` of the run.

    Raises:
        InputError: if it is none, or its data are no longer what can be used.
    """
    return data_of(read_config(config), config)


def data_of(content: Mapping[str, Any], where: Path) -> PairDataModule:
    """The data of a configuration, of which nothing is opened yet.

    Args:
        content: the configuration.
        where: it comes from, for messages.

    Raises:
        InputError: if they are none that can be used.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(PairDataModule, "data")
    try:
        data: PairDataModule = parser.instantiate(parser.parse_object({"data": content["data"]})).data
    except ArgumentError as error:
        raise InputError(f"{where}: the data of this configuration cannot be opened: {error}") from None
    return data
