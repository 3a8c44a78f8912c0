"""Weights as safetensors, which others load, with what is needed to rebuild the network in the header."""

from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from hdr_lightning.errors import InputError
from hdr_lightning.exports.facts import KEY, Facts, parse_facts
from hdr_lightning.generators import Generator
from hdr_lightning.generators.loading import build_generator, fill_generator
from hdr_lightning.tensors import read_safely

WEIGHTS = "model.safetensors"
"""The weights in a folder that is an export."""


def write_weights(generator: Generator, facts: Facts, path: Path) -> None:
    """Write the weights under their published names, and beside them the facts as JSON."""
    weights = {name: value.detach().contiguous().clone() for name, value in generator.state_dict().items()}
    save_file(weights, path, metadata={KEY: facts.to_json(), "format": "pt"})
    path.with_suffix(".json").write_text(facts.to_json() + "\n", encoding="utf-8")


def read_weights(path: Path, modules: Sequence[str] = ()) -> Generator:
    """Rebuild a generator from the weights and the header of a `.safetensors` file.

    Args:
        path: the file.
        modules: Python modules to import first, for generators of your own.

    Raises:
        InputError: if the file is missing, damaged, not ours, or its generator is not known.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: is damaged or no safetensors file ({error})") from None
    if KEY not in metadata:
        raise InputError(
            f"{path}: holds weights and does not say of which network: start a training from them "
            "(--model.init_from), or export a checkpoint of ours"
        )
    facts = parse_facts(metadata, path)
    generator = build_generator(facts.generator, path, modules)
    return fill_generator(generator, read_safely(path, "no weights", "an export"), path)
