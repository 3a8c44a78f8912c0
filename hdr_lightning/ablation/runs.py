"""What is known of a run of an ablation: its time, its best metric, and what it makes of its validation photos."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml
from jaxtyping import Float
from torch import Tensor

from hdr_lightning.data.files import content_hash, writing
from hdr_lightning.data.of_run import read_config
from hdr_lightning.errors import InputError
from hdr_lightning.evaluation.contenders import Network
from hdr_lightning.evaluation.cost import measure_cost
from hdr_lightning.evaluation.measuring import Meter
from hdr_lightning.evaluation.photos import validation_photos
from hdr_lightning.evaluation.results import MEASURES, SOURCE, Contender, Cost, Evaluation
from hdr_lightning.evaluation.running import run as measure
from hdr_lightning.evaluation.table import tabulate
from hdr_lightning.inference import Enhancer, load
from hdr_lightning.run_config import flattened, read_base
from hdr_lightning.run_folder import MAY_CHANGE
from hdr_lightning.run_process import Run, read_course

MEASURED = tuple(name for name in MEASURES if name not in ("lpips", "niqe"))
"""What is measured of every photo: all that needs no files of others."""

Costs = dict[str, Cost | None]
"""What generators cost, by their configuration: a loss costs nothing when photos are enhanced."""


def steps_of(run: Run) -> int | None:
    """Steps of a run that is finished; nothing for one that is not, or never began."""
    book = run.folder / run.name / "run.json"
    if not book.is_file():
        return None
    finished = json.loads(book.read_text(encoding="utf-8")).get("finished")
    return None if finished is None else int(finished["steps"])


def check_unchanged(run: Run) -> None:
    """Refuse to compare a finished run with others that another configuration, or another budget, would train.

    `fit` refuses it for a run that goes on.

    Raises:
        InputError: if model, data or how long it trains were others.
    """
    path = run.folder / f"{run.name}.yaml"
    if steps_of(run) is None or not path.is_file():
        return
    before, now = flattened(read_base(path)), flattened(yaml.safe_load(yaml.safe_dump(dict(run.config))))
    for key in sorted(before.keys() | now.keys()):
        told = key.startswith(("model.", "data.", "trainer.max_")) and not key.startswith(MAY_CHANGE)
        if told and before.get(key) != now.get(key):
            raise InputError(
                f"{run.folder.name}, {run.name} is finished, with another configuration ({key}: {before.get(key)} -> "
                f"{now.get(key)}): restore that, or take another --output"
            )


def best_value(run: Run, metric: str, maximise: bool) -> float:
    """The metric at its best; not a number where it was not measured."""
    course = [value for _, value in read_course(run.table, metric) if math.isfinite(value)]
    return (max if maximise else min)(course, default=math.nan)


def add_seconds(run: Run, seconds: float) -> None:
    """Note that a run was trained for so long, once more."""
    with writing(run.folder / f"{run.name}.time.json") as temporary:
        temporary.write_text(json.dumps({"seconds": (seconds_of(run) or 0.0) + seconds}), encoding="utf-8")


def seconds_of(run: Run) -> float | None:
    """How long a run was trained, in all its parts; nothing where nobody looked at the clock."""
    path = run.folder / f"{run.name}.time.json"
    return float(json.loads(path.read_text(encoding="utf-8"))["seconds"]) if path.is_file() else None


def load_run(run: Run) -> Enhancer:
    """The best network of a run, with the modules that its configuration names.

    Raises:
        InputError: if it is not there, or damaged.
    """
    name = _generator(read_config(run.folder / run.name / "config.yaml"))
    own = isinstance(name, Mapping) and not str(name.get("class_path", "")).startswith("hdr_lightning.")
    module = str(name["class_path"]).rpartition(".")[0] if own else ""
    return load(run.best, modules=[module] if module else [])


def measure_run(run: Run, costs: Costs) -> Evaluation:
    """Measure the best network of a run on its validation photos, the untouched sources beside it.

    What was measured of the same weights before is read.

    Args:
        run: a finished one.
        costs: of generators that are known; one more is added where it is not among them.

    Returns:
        The evaluation; the network bears the name of the run.

    Raises:
        InputError: if the checkpoint or the photos cannot be used.
    """
    path = run.folder / f"{run.name}.evaluation.json"
    facts = {"weights": content_hash(run.best), "measures": ", ".join(MEASURED)}
    config = run.folder / run.name / "config.yaml"
    generator = json.dumps(_generator(read_config(config)), sort_keys=True, default=str)
    if path.is_file():
        found = Evaluation.from_json(path)
        if found.facts == facts:
            entry = replace(found.contenders[1], origin=str(run.best))  # the folder may have been moved
            costs.setdefault(generator, entry.cost)
            return replace(found, contenders=[found.contenders[0], entry])
    print(f"measuring {run.folder.name}, {run.name}", flush=True)
    network = Network(load_run(run), str(run.best))
    model, device = network.enhancer.models[0], network.enhancer.device
    if generator not in costs:
        costs[generator] = measure_cost(model, device)
    rows = measure(validation_photos(config), {run.name: network}, Meter(MEASURED, device), _NoAlbum())
    entered = [Contender(SOURCE), Contender(run.name, str(run.best), type(model).__name__, costs[generator])]
    evaluation = tabulate(run.name, entered, MEASURED, rows, facts=facts)
    with writing(path) as temporary:
        temporary.write_text(evaluation.to_json(), encoding="utf-8")
    return evaluation


def _generator(config: Mapping[str, Any]) -> Any:
    return (config.get("model") or {}).get("generator")


class _NoAlbum:
    """Keeps no pictures."""

    def add(
        self,
        name: str,
        source: Float[Tensor, "3 _ _"],
        target: Float[Tensor, "3 _ _"] | None,
        outputs: Mapping[str, Float[Tensor, "3 _ _"]],
    ) -> None:
        """Forget a photo."""
