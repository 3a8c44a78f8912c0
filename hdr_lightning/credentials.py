"""Keys and passwords, which belong into the environment: a configuration is saved, logged and shared."""

import re
from collections.abc import Iterator
from typing import Any

from jsonargparse import Namespace

from hdr_lightning.errors import InputError

NAME = re.compile(r"(api_?key|token|passw(or)?d|secret)$", re.IGNORECASE)
IN_ADDRESS = re.compile(r"^[\w+.-]+://[^/@]*:[^/@]+@")


def refuse_credentials(config: Any, name: str) -> None:
    """Look for credentials in a part of a configuration.

    Args:
        config: the part.
        name: its name, for the message.

    Raises:
        InputError: if there are some; the message does not repeat them.
    """
    for key, value in _texts(config, name):
        if NAME.search(key) or IN_ADDRESS.match(value):
            raise InputError(
                f"{key} holds a credential, and a configuration is saved and logged: leave it out, and give it by the "
                "environment (W&B: WANDB_API_KEY, or once `wandb login`; MLflow: MLFLOW_TRACKING_TOKEN, "
                "or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD)"
            )


def _texts(config: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(config, Namespace):
        config = config.as_dict()
    if isinstance(config, str) and config:
        yield name, config
    elif isinstance(config, dict):
        for key, value in config.items():
            yield from _texts(value, f"{name}.{key}")
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from _texts(value, name)
