"""Measure networks, and pictures made elsewhere, on photos: against the untouched sources and each other."""

import platform
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch

import hdr_lightning
from hdr_lightning.callbacks.count_openings import record_opening
from hdr_lightning.data.files import make_folder, writing_folder
from hdr_lightning.data.of_run import read_config
from hdr_lightning.errors import InputError, RunStopped
from hdr_lightning.evaluation.contenders import (
    Candidate,
    is_pictures,
    load_candidate,
    name_contenders,
)
from hdr_lightning.evaluation.cost import measure_cost, sum_costs
from hdr_lightning.evaluation.measuring import Meter, choose_measures
from hdr_lightning.evaluation.photos import Photos, held_out_photos, photos_of_pairs
from hdr_lightning.evaluation.results import SOURCE, Contender, Cost, Evaluation
from hdr_lightning.evaluation.running import run
from hdr_lightning.evaluation.table import tabulate
from hdr_lightning.evaluation.terminal import summary_text
from hdr_lightning.generators.loading import find_checkpoint
from hdr_lightning.inference import Editing, Enhancer, Method
from hdr_lightning.inference.enhancer import Device, choose_device
from hdr_lightning.report.dashboard import log_evaluation
from hdr_lightning.report.gallery import Gallery
from hdr_lightning.report.page import write_report


def evaluate(
    contenders: Sequence[Path],
    output: Path = Path("evaluation"),
    pairs: list[Path] | Path | None = None,
    held_out: Path | None = None,
    photos: int | None = None,
    measures: Sequence[str] = (),
    lpips: Literal["alex", "vgg", "squeeze"] = "alex",
    lpips_weights: Path | None = None,
    niqe: Path | None = None,
    cost: bool = False,
    device: Device = "auto",
    tta: bool = False,
    method: Method = "auto",
    memory: float | None = None,
    modules: Sequence[str] = (),
    wandb: str | None = None,
) -> Path:
    """Measure what networks make of photos, or what is in folders of pictures, and compare.

    A photo that cannot be measured is named, counted, and left out of every mean and comparison that it concerns.

    Args:
        contenders: checkpoints, folders of runs, exports, or folders of pictures that are called like the photos; each
            perhaps as NAME=PATH. The untouched sources always take part.
        output: folder for the report; a new one.
        pairs: manifest, or [sources, targets], two folders; or one folder of photos without targets, of which
            NIQE alone is measured. Without it, the photos that the first contender's run held out.
        held_out: config.yaml of a run, or its folder, whose held-out photos are measured; that is counted as `test` is.
        photos: how many, from the first; all if nothing is given.
        measures: what is measured, such as [psnr, lpips]; all that is possible if nothing is given.
        lpips: whose features LPIPS compares; alex agrees best with people.
        lpips_weights: a file of that network by torchvision's names; if nothing is given, torchvision's.
        niqe: parameters of NIQE, as BasicSR's niqe_pris_params.npz; without them it is not measured.
        cost: whether operations, time and memory of networks are measured, too.
        device: where to compute; auto takes a GPU if there is one.
        tta: whether the results of the eight flips and quarter turns are averaged.
        method: how a picture passes a network.
        memory: gigabytes to work in.
        modules: Python modules to import first, for generators of your own.
        wandb: project of Weights & Biases that the tables and the page are sent to as well.

    Returns:
        The folder, with evaluation.json, photos.csv, report.html and report.md.

    Raises:
        InputError: if a contender, the photos or an option cannot be used.
        RunStopped: if no photo could be measured.
    """
    if output.is_dir() and any(output.iterdir()):
        raise InputError(f"{output} is not empty: give another --output")
    if wandb is not None and find_spec("wandb") is None:
        raise InputError("W&B is not installed: pip install 'hdr-lightning[wandb]'")
    if photos is not None and photos < 1:
        raise InputError(f"--photos: expected 1 or more, got {photos}")
    named = name_contenders(contenders)
    listed = [pairs] if isinstance(pairs, Path) else pairs
    config = next((found for each in named if (found := config_of(each.path))), None)
    opened = None if pairs is not None and held_out is None else _held_out(held_out, listed, config)
    chosen = (photos_of_pairs(listed or ()) if opened is None else held_out_photos(opened)).first(photos)
    meter, facts = choose_measures(measures, chosen.targets, choose_device(device), lpips, lpips_weights, niqe)
    for measure, fact in facts.items():
        print(f"{measure}: {fact}")
    editing = Editing(method=method, memory=memory, tta=tta)
    candidates = {each.name: load_candidate(each, chosen.names, device, editing, modules) for each in named}
    make_folder(output.absolute().parent)
    if opened is not None:
        record_opening(_runs_of(opened), output.name, " ".join(str(each.path) for each in named))
    about = {**_origin(chosen, listed, opened), **facts}
    text = "" if config is None else config.read_text(encoding="utf-8")
    evaluation = assess(chosen, candidates, meter, output, about, text, cost, wandb)
    print(summary_text(evaluation))
    print(f"report: {output / 'report.html'}")
    return output


def assess(
    photos: Photos,
    candidates: Mapping[str, Candidate],
    meter: Meter,
    output: Path,
    facts: Mapping[str, str],
    config: str = "",
    cost: bool = False,
    wandb: str | None = None,
) -> Evaluation:
    """Measure what candidates make of photos, and write the report.

    Args:
        photos: which.
        candidates: by name; the untouched sources take part beside them.
        meter: measures.
        output: folder for the report; appears whole, or not at all.
        facts: lines for the report; versions, machine, date and command are added.
        config: the configuration of the first candidate's run.
        cost: whether operations, time and memory of networks are measured, too.
        wandb: project of Weights & Biases that the tables and the page are sent to as well.

    Raises:
        RunStopped: if no photo could be measured.
    """
    with writing_folder(output) as part:
        part.mkdir()
        gallery = Gallery(part)
        rows = list(run(photos, candidates, meter, gallery))
        entered = [Contender(SOURCE), *(_contender(name, each, cost) for name, each in candidates.items())]
        title = " and ".join(candidates)
        evaluation = tabulate(title, entered, meter.names, rows, config, {**facts, **circumstances()})
        if len(evaluation.faults.get(SOURCE, {})) == len(rows):
            raise RunStopped("none of the photos could be measured:\n" + summary_text(evaluation))
        write_report(evaluation, gallery, part)
        if wandb is not None:
            log_evaluation(evaluation, gallery, wandb, output.absolute())
    return evaluation


def config_of(path: Path) -> Path | None:
    """The configuration of the run that a checkpoint or folder belongs to; nothing where there is none."""
    if is_pictures(path):
        return None
    inside = path / "config.yaml"
    if inside.is_file():
        return inside
    try:
        beside = find_checkpoint(path).absolute().parent.parent / "config.yaml"
    except InputError:  # an export, or nothing: told when it is loaded
        return None
    return beside if beside.is_file() else None


def _held_out(given: Path | None, pairs: Sequence[Path] | None, config: Path | None) -> Path:
    """The configuration whose held-out photos are measured."""
    if given is not None and pairs is not None:
        raise InputError("--pairs and --held_out exclude each other: leave out one")
    if given is not None:
        found = config_of(given) if given.is_dir() else given
        if found is None:
            raise InputError(f"{given}: expected the config.yaml of a run, or the folder of a run")
        return found
    if config is None:
        raise InputError("no contender has a run with held-out photos: give --pairs, or --held_out CONFIG")
    return config


def _runs_of(config: Path) -> Path:
    """The folder of runs in which openings are counted: where `test` with this configuration counts them."""
    if (config.parent / "checkpoints").is_dir():
        return config.absolute().parent.parent
    root = (read_config(config).get("trainer") or {}).get("default_root_dir")
    runs = Path(str(root)) if root else Path("runs") / config.stem
    make_folder(runs)
    return runs


def _contender(name: str, candidate: Candidate, cost: bool) -> Contender:
    if candidate.enhancer is None:
        return Contender(name, candidate.origin)
    kinds = Counter(type(model).__name__ for model in candidate.enhancer.models)
    generator = " + ".join(f"{count} x {kind}" if count > 1 else kind for kind, count in kinds.items())
    return Contender(name, candidate.origin, generator, _cost(candidate.enhancer) if cost else None)


def _cost(enhancer: Enhancer) -> Cost | None:
    """What a picture costs, of all networks and all flips and turns."""
    costs = [measure_cost(model, enhancer.device) for model in enhancer.models]
    known = [each for each in costs if each is not None]
    return sum_costs(known, enhancer.passes) if len(known) == len(costs) else None


def _origin(photos: Photos, pairs: Sequence[Path] | None, opened: Path | None) -> dict[str, str]:
    origin = f"held out by {opened}" if opened is not None else " and ".join(map(str, pairs or ()))
    return {"photos": f"{len(photos)}, {origin}"}


def circumstances() -> dict[str, str]:
    """Versions, machine, date and command: lines for a report."""
    ours = {"evaluate", "ablate", "crossval"}.intersection(sys.argv[1:2])  # else a notebook, or a test
    command = {"command": " ".join(["hdr-lightning", *sys.argv[1:]])} if ours else {}
    return {
        "versions": f"hdr_lightning {hdr_lightning.__version__}, torch {torch.__version__}",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads of torch",
        "date": datetime.now(timezone.utc).isoformat(timespec="minutes"),
        **command,
    }
