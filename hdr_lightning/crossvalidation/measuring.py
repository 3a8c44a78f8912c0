"""The networks of the folds, measured: each where it has not been, and all together where none has."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hdr_lightning.callbacks.count_openings import record_opening
from hdr_lightning.crossvalidation.folds import Fold
from hdr_lightning.crossvalidation.outcome import ENSEMBLE, UNSEEN
from hdr_lightning.crossvalidation.unseen import OutOfFold, join
from hdr_lightning.data.files import content_hash
from hdr_lightning.errors import InputError
from hdr_lightning.evaluate import assess
from hdr_lightning.evaluation.contenders import Candidate, Network
from hdr_lightning.evaluation.measuring import Chosen
from hdr_lightning.evaluation.photos import Photos, held_out_photos, validation_photos
from hdr_lightning.evaluation.results import Evaluation
from hdr_lightning.inference import Editing, Enhancer, load
from hdr_lightning.inference.enhancer import Device


class TrainedFolds:
    """The networks of all folds. What was measured of them once is read, not measured anew.

    Args:
        folds: of which every one is trained.
        folder: of the cross-validation.
        editing: how photos are edited.
        device: where.
        modules: Python modules to import first, for generators of your own.
        measures: what is measured.
        cost: whether operations, time and memory are, too.
    """

    def __init__(
        self,
        folds: Sequence[Fold],
        folder: Path,
        editing: Editing,
        device: Device,
        modules: Sequence[str],
        measures: Chosen,
        cost: bool,
    ) -> None:
        self.folds = list(folds)
        self.folder = folder
        self.networks = [load(fold.run.best, device, editing, modules) for fold in folds]
        self.meter = measures.meter
        self.cost = cost
        self.facts = {
            "networks": ", ".join(f"{fold.name} {content_hash(fold.run.best)[:12]}" for fold in folds),
            "edited": "flips and turns averaged" if editing.tta else "in one pass",
            "measures": ", ".join(measures.meter.names),
            **measures.facts,
        }

    def out_of_fold(self) -> Evaluation:
        """Measure every photo by the network that did not see it.

        Raises:
            InputError: if the report that is there is of other networks.
            RunStopped: if no photo could be measured.
        """
        parts = [validation_photos(fold.config) for fold in self.folds]
        unseen = OutOfFold(self.networks, [part.names for part in parts])
        return self._assess("out_of_fold", join(parts), {UNSEEN: unseen})

    def test(self) -> Evaluation:
        """Measure the held-out photos by every network and by the average of all; an opening is written down.

        Raises:
            InputError: if the report that is there is of other networks, or the photos are not what they were.
            RunStopped: if no photo could be measured.
        """
        first = self.networks[0]
        ensemble = Enhancer([model for each in self.networks for model in each.models], first.device, first.editing)
        paths = [str(fold.run.best) for fold in self.folds]
        candidates: dict[str, Candidate] = {ENSEMBLE: Network(ensemble, " and ".join(paths))}
        for fold, network in zip(self.folds, self.networks, strict=True):
            candidates[fold.name] = Network(network, str(fold.run.best))
        photos = held_out_photos(self.folds[0].config)
        if not (self.folder / "test").is_dir():
            record_opening(self.folder, "test", " ".join(paths))
        return self._assess("test", photos, candidates)

    def _assess(self, name: str, photos: Photos, candidates: Mapping[str, Candidate]) -> Evaluation:
        folder = self.folder / name
        if not folder.is_dir():
            config = self.folds[0].config.read_text(encoding="utf-8")
            return assess(photos, candidates, self.meter, folder, self.facts, config, self.cost)
        evaluation = Evaluation.from_json(folder / "evaluation.json")
        for key, value in self.facts.items():
            before = evaluation.facts.get(key)
            if before != value:
                raise InputError(f"{folder} has other {key} ({before}) than asked for now ({value}): move it away")
        return evaluation
