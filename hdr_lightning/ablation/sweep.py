"""An ablation as a sweep of W&B: the same grid or search, for `wandb sweep` and agents on any machine."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from hdr_lightning.ablation.space import Range
from hdr_lightning.data.files import writing
from hdr_lightning.errors import InputError
from hdr_lightning.run_config import changed

Parameters = dict[str, dict[str, Any]]
"""By key of the configuration, what W&B is to try."""


def sweep_parameters(
    variations: Mapping[str, Any], grid: Mapping[str, Sequence[Any]], search: Mapping[str, Range], seeds: Sequence[int]
) -> Parameters:
    """Say for W&B what an ablation tries.

    Raises:
        InputError: if a sweep cannot do that.
    """
    if variations:
        raise InputError(
            f"variations ({', '.join(variations)}) may set several keys at once, and a sweep tries each by itself: "
            "give a grid or a search"
        )
    if bool(grid) == bool(search):
        raise InputError("a sweep tries a grid or a search: give one of them")
    if search and len(seeds) > 1:
        raise InputError(f"a sweep trains a point that it proposes once: give one of the seeds {list(seeds)}")
    for key, values in grid.items():
        if None in values:
            raise InputError(f"{key}: a sweep cannot take a key out, which null does: give values")
    tried: Parameters = {key: {"values": list(values)} for key, values in grid.items()}
    tried |= {key: _range(space) for key, space in search.items()}
    return {**tried, "seed_everything": {"values": list(seeds)}}


def _range(space: Range) -> dict[str, Any]:
    if space.choices is not None:
        return {"values": list(space.choices)}
    if space.whole:
        ends = {"min": int(space.low), "max": int(space.high)}
        return {"distribution": "q_log_uniform_values", "q": 1, **ends} if space.log else ends
    return {
        "distribution": "log_uniform_values" if space.log else "uniform",
        "min": float(space.low),
        "max": float(space.high),
    }


def write_sweep(
    path: Path,
    config: Mapping[str, Any],
    parameters: Parameters,
    trials: int | None,
    metric: str,
    maximise: bool,
    prune: bool,
) -> Path:
    """Write the file of a sweep, and beside it the configuration of which it changes the parameters.

    Args:
        path: of the sweep.
        config: what is trained; with W&B as its logger, unless it has one.
        parameters: what is tried.
        trials: of a search; nothing says that it is a grid.
        metric: what is compared.
        maximise: whether more of it is better.
        prune: whether runs that do badly are given up (Hyperband).

    Returns:
        `path`.
    """
    base = path.with_name(f"{path.stem}_base.yaml")
    if not config.get("trainer", {}).get("logger"):
        config = changed(config, {"trainer.logger": {"class_path": "WandbLogger"}})
    sweep = {
        "name": path.stem,
        "method": "grid" if trials is None else "bayes",
        "metric": {"name": metric, "goal": "maximize" if maximise else "minimize"},
        "parameters": parameters,
        "command": ["${env}", "${interpreter}", "-m", "hdr_lightning", "fit", f"--config={base}", "${args}"],
        **({} if trials is None else {"run_cap": trials}),
        **({"early_terminate": {"type": "hyperband", "min_iter": 3}} if prune else {}),
    }
    for file, content in ((base, dict(config)), (path, sweep)):
        with writing(file) as temporary:
            temporary.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    print(f"for W&B: wandb sweep {path}")
    return path
