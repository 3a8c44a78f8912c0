"""Public data sets of pairs in the layouts in which their publishers ship them."""

import json
import re
from pathlib import Path
from typing import Literal, TypeVar

from hdr_lightning.data.files import PHOTO_SUFFIXES
from hdr_lightning.data.manifest import PairPaths, list_photos
from hdr_lightning.data.sources.base import PairSource, match, pair_of, photos_below, require_folder
from hdr_lightning.errors import InputError

T = TypeVar("T")

RAW = frozenset({".dng"})


class FiveK(PairSource):
    """MIT-Adobe FiveK: 5000 photos, each edited by five experts (Bychkovsky et al., CVPR 2011).

    Photos are matched by their number (`a0001-jmac_DSC1459.tif`, `a0001.jpg` and `0001.png` are photo 1). Two layouts:

    - exported: `input/` and `expert_a/` to `expert_e/` (or `expertA/`, or `tiff16_a/`), any format;
    - the archive: `tiff16_a/` to `tiff16_e/`, and `raw_photos/HQa1to700/photos/*.dng` and so on as sources, where
      RAW photos can be read. A RAW converter need not keep Lightroom's borders; where sizes differ, the check of the
      photos says so, and `input/` is to be exported from the archive's Lightroom catalogue.

    The publisher names no split. The usual one tests on the last 500, a4501 to a5000, and is the default here.

    Args:
        folder: the data set.
        expert: whose edits are the targets; C is the one that papers use.
        test_list: a file that names the test photos, one a line, or a JSON object or list of names (`testing.json`);
            without it those above 4500 are the test set.
    """

    def __init__(
        self, folder: Path, expert: Literal["a", "b", "c", "d", "e"] = "c", test_list: Path | None = None
    ) -> None:
        self.folder = folder
        self.expert = expert
        self.test_list = test_list

    def pairs(self) -> list[PairPaths]:
        require_folder(self.folder, "the FiveK data set")
        sources = self._sources()
        targets = self._targets()
        return match(
            photos_below(sources, RAW if sources.name == "raw_photos" else PHOTO_SUFFIXES),
            list_photos(targets),
            _fivek_number,
            self.folder,
            f"{sources} and {targets}",
        )

    def _sources(self) -> Path:
        exported, raw = self.folder / "input", self.folder / "raw_photos"
        if not exported.is_dir() and raw.is_dir():
            if not RAW <= PHOTO_SUFFIXES:
                raise InputError(
                    f"{raw} holds RAW photos (.dng), which cannot be read: export the collection "
                    f'"InputAsShotZeroed" of raw_photos/fivek.lrcat with Lightroom to {exported}'
                )
            return raw
        return require_folder(exported, "the unedited photos (or the archive's raw_photos/ beside it)")

    def _targets(self) -> Path:
        names = (f"expert_{self.expert}", f"expert{self.expert.upper()}", f"tiff16_{self.expert}")
        for name in names:
            if (self.folder / name).is_dir():
                return self.folder / name
        return require_folder(self.folder / names[0], f"the edits of expert {self.expert.upper()} (or {names[2]}/)")

    def published_test(self) -> list[str] | None:
        pairs = self.pairs()
        if self.test_list is None:
            chosen = [pair.name for pair in pairs if int(_fivek_number(pair.source)) > 4500]
            where = "none above a4500"
        else:
            numbers = {_fivek_number(Path(name)) for name in _names(self.test_list)}
            chosen = [pair.name for pair in pairs if _fivek_number(pair.source) in numbers]
            where = f"none of the {len(numbers)} in {self.test_list}"
        if not chosen:
            raise InputError(
                f"{self.folder} holds {len(pairs)} pairs, but {where}, which are the test set: set data.test"
            )
        return chosen


def _fivek_number(photo: Path) -> str:
    found = re.match(r"a?(\d{4})(?!\d)", photo.name)
    if found is None:
        raise InputError(f"{photo}: expected a name of FiveK, such as a0001-jmac_DSC1459.tif or a0001.jpg")
    return found[1]


def _names(path: Path) -> list[str]:
    if not path.is_file():
        raise InputError(f"{path}: there is no such list of test photos")
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() != ".json":
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: expected JSON, got {text[:60]!r} ({error.msg})") from None
    if not isinstance(rows, (dict, list)) or not all(isinstance(name, str) for name in rows):
        raise InputError(f"{path}: expected a JSON object keyed by names, or a list of names, got {text[:60]!r}")
    return list(rows)


class LOLv1(PairSource):
    """LOL, 485 + 15 pairs of 600 x 400 (Wei et al., BMVC 2018): `low` and `high` below `our485` and `eval15`.

    `eval15` is the published test set. Known leak: `our485` holds photos of the test set of LOL v2 real, so what was
    trained on this set must not be tested on that one. Several pairs show one scene, and no list says which: validation
    photos may resemble training photos.

    Args:
        folder: the folder that holds `our485` and `eval15`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def pairs(self) -> list[PairPaths]:
        return _lol_part(self.folder, "our485", "low", "high") + _lol_part(self.folder, "eval15", "low", "high")

    def published_test(self) -> list[str] | None:
        return [pair.name for pair in _lol_part(self.folder, "eval15", "low", "high")]


class LOLv2(PairSource):
    """LOL v2, 689 + 100 captured and 900 + 100 synthetic pairs (Yang et al., TIP 2021).

    `Real_captured/Train/Low/low00001.png` with `Normal/normal00001.png`, `Synthetic/Train/Low` and `Normal` with equal
    names, and the same below `Test`, which is the published test set. Known leak: the training set of LOL v1 holds
    photos of the captured test set here. Several captured pairs show one scene, and no list says which.

    Args:
        folder: the folder that holds `Real_captured` and `Synthetic`.
        part: captured with a camera, or synthesised from normal photos.
    """

    def __init__(self, folder: Path, part: Literal["real", "synthetic"] = "real") -> None:
        self.folder = folder
        self.part = part

    def _read(self, split: str) -> list[PairPaths]:
        inside = {"real": "Real_captured", "synthetic": "Synthetic"}[self.part]
        return _lol_part(self.folder, f"{inside}/{split}", "Low", "Normal")

    def pairs(self) -> list[PairPaths]:
        return self._read("Train") + self._read("Test")

    def published_test(self) -> list[str] | None:
        return [pair.name for pair in self._read("Test")]


def _lol_part(root: Path, part: str, low: str, normal: str) -> list[PairPaths]:
    sources = require_folder(root / part / low, "dark photos of LOL")
    targets = require_folder(root / part / normal, "normally lit photos of LOL")
    return match(list_photos(sources), list_photos(targets), _lol_key, root, f"{sources} and {targets}")


def _lol_key(photo: Path) -> str:
    return re.sub(r"^(low|normal)(?=\d)", "", photo.stem)


Exposures = Literal["all", "under", "middle", "over"]
"""Which exposures of a scene are sources: all, the darkest, the middle one, the brightest."""


class SICE(PairSource):
    """SICE, 360 and 229 scenes of 3 to 18 exposures, each with a reference (Cai et al., TIP 2018).

    A part is a folder of numbered scenes (`1/1.JPG`, `1/2.JPG`, ...; the number rises with the exposure) and `Label/`
    (or `label/`) with the reference of scene N as `N.JPG`. Pairs of a scene are one group. No split is published;
    papers train on Part 1 and test on Part 2.

    Args:
        folder: one part, or the folder that holds several (`Dataset_Part1`, `Dataset_Part2`).
        exposures: which of a scene's exposures are sources.
    """

    def __init__(self, folder: Path, exposures: Exposures = "all") -> None:
        self.folder = folder
        self.exposures = exposures

    def pairs(self) -> list[PairPaths]:
        require_folder(self.folder, "the SICE data set")
        labels = sorted(path for path in self.folder.rglob("*") if path.name.lower() == "label" and path.is_dir())
        if not labels:
            raise InputError(
                f"{self.folder}: expected a folder Label/ with the references beside the numbered scenes, found none: "
                "set the folder to where Part 1 or Part 2 of SICE lies"
            )
        return [pair for label in labels for pair in self._part(label)]

    def _part(self, label: Path) -> list[PairPaths]:
        scenes = {path.name: path for path in label.parent.iterdir() if path.is_dir() and path.name.isdecimal()}
        references = {path.stem: path for path in list_photos(label)}
        for own, other, what in ((scenes, references, "reference"), (references, scenes, "folder of exposures")):
            alone = sorted(own.keys() - other.keys(), key=_number)
            if alone:
                raise InputError(
                    f"{own[alone[0]]} has no {what} ({len(alone)} of {len(own)} have none): expected scene N in "
                    f"{label.parent}/N and its reference as {label}/N.JPG"
                )
        return [
            pair_of(photo, references[name], self.folder, group=scenes[name].relative_to(self.folder).as_posix())
            for name in sorted(scenes, key=_number)
            for photo in choose(
                sorted(list_photos(scenes[name]), key=lambda photo: _number(photo.stem)), self.exposures
            )
        ]


def choose(rising: list[T], exposures: Exposures) -> list[T]:
    """Choose among the exposures of a scene, which are given from dark to bright."""
    middle = (len(rising) - 1) // 2
    return {
        "all": rising,
        "under": rising[:1],
        "middle": rising[middle : middle + 1],
        "over": rising[-1:],
    }[exposures]


def _number(name: str) -> tuple[int, str]:
    digits = re.search(r"\d+", name)
    return (int(digits[0]) if digits else -1, name)
