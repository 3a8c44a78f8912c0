"""A network from whatever file or folder holds one."""

from collections.abc import Sequence
from pathlib import Path

from hdr_lightning.generators import Generator
from hdr_lightning.generators.loading import find_checkpoint, load_generator


def load_model(path: Path, modules: Sequence[str] = ()) -> Generator:
    """Load a network from a checkpoint, the folder of a run, or an export, without running anything that a file holds.

    Args:
        path: what holds it.
        modules: Python modules to import first, for generators of your own in checkpoints.

    Raises:
        InputError: if it is none of these, or damaged.
    """
    return load_generator(find_checkpoint(path), modules)
