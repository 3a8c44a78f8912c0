"""The verb `audit`: all checks of a data set, and what they found as a table, files and a page to look at."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hdr_lightning.data.audit.cache import FactCache
from hdr_lightning.data.audit.duplicates import equal_photos, group_leaks, similar_photos
from hdr_lightning.data.audit.examination import Examined, compared, in_parallel
from hdr_lightning.data.audit.findings import SEVERITIES, TITLES, Finding, worst_first
from hdr_lightning.data.audit.looks import Look
from hdr_lightning.data.audit.pairs import equal, flat, headers, misaligned, swapped, unusable
from hdr_lightning.data.audit.report import refuse_edited, write_json, write_page
from hdr_lightning.data.audit.store import LookStore
from hdr_lightning.data.files import content_hash, make_folder
from hdr_lightning.data.manifest import PairPaths, Pairs, read_pairs
from hdr_lightning.data.quarantine import write_quarantine
from hdr_lightning.data.split_file import count_folds, read_split
from hdr_lightning.data.splits import Fold, HeldOut, Split, split_pairs
from hdr_lightning.errors import InputError
from hdr_lightning.progress import track

SHOWN = 8

Parts = Sequence[tuple[str, Pairs]]
"""Names of the parts of a split, and their pairs."""


def audit(
    pairs: Sequence[Path],
    test: HeldOut = 5,
    validation: float = 0.1,
    split_seed: int = 0,
    folds: int = 0,
    fold: int | None = None,
    split: Path | None = None,
    output: Path = Path("audit"),
    tolerance: float = 2.0,
) -> Path:
    """Look for everything that is wrong with a data set, and write `audit.html`, `audit.json` and `quarantine.jsonl`.

    Args:
        pairs: a JSONL manifest, or a folder of sources and a folder of targets.
        test: what is held out, as in `data.test`: the first k pairs, a list of their "src", or a manifest of its own.
        validation: share of the remaining pairs that validate, as in `data.validation`; 0 audits all pairs as one set,
            without a split.
        split_seed: chooses which, as in `data.split_seed`.
        folds: divide the remaining pairs into so many parts instead, as in `data.folds`; each is a part of its own.
        fold: of these, or of those in the file `split`, the one that validates while the others train; without it all
            are audited against each other.
        split: a file of `hdr-lightning split` that says all this, as in `data.split`.
        output: folder of the report; an older report there is replaced, unless its `quarantine.jsonl` was edited.
        tolerance: how far the photos of a pair may be displaced against each other, in pixels.

    Returns:
        The page of the report.

    Raises:
        InputError: if the pairs cannot be read or split, or the report not be written; or, after everything is
            written, if there are errors.
    """
    if not tolerance >= 0:
        raise InputError(f"tolerance is to be 0 pixels or more, got {tolerance}")
    table = read_pairs(pairs[0] if len(pairs) == 1 else pairs)
    if split is None:
        parts = _split(table, test, validation, split_seed, folds, fold)
    else:
        parts = _read_split(table, split, fold)
    make_folder(output)
    quarantine, record = output / "quarantine.jsonl", output / "audit.json"
    refuse_edited(quarantine, record)
    findings = find_all(parts, tolerance)
    counts = {part: len(members) for part, members in parts}
    left_out = {pair: finding for finding in reversed(findings) for pair in finding.leave_out}
    write_quarantine(quarantine, {pair: finding.text for pair, finding in left_out.items()})
    write_json(record, findings, counts, content_hash(quarantine))
    page = output / "audit.html"
    write_page(page, findings, counts)
    print(summary(findings, counts))
    print(f"{page}" + (f"; --data.quarantine={quarantine} leaves out {len(left_out)} pairs" if left_out else ""))
    errors = sum(finding.severity == "error" for finding in findings)
    if errors:
        raise InputError(
            f"the audit found {errors} error{'s' * (errors > 1)}: see {page}, mend the data or leave pairs out"
        )
    return page


def _split(pairs: Pairs, test: HeldOut, validation: float, seed: int, folds: int, fold: int | None) -> Parts:
    if folds:
        numbers = range(max(folds, 1)) if fold is None else [fold]
        return _parts([split_pairs(pairs, test, Fold(number, folds), seed) for number in numbers])
    if fold is not None:
        raise InputError(f"fold is {fold}, and there are none: give folds, or a split that holds folds")
    if validation == 0:
        return _parts([Split(pairs, pairs[:0], pairs[:0], pairs[:0])])
    if not 0 < validation < 1:
        raise InputError(f"validation is to lie between 0 and 1, got {validation}")
    return _parts([split_pairs(pairs, test, validation, seed)])


def _read_split(pairs: Pairs, path: Path, fold: int | None) -> Parts:
    folds = count_folds(path)
    if fold is not None and not folds:
        raise InputError(f"fold is {fold}, and {path} holds no folds: leave out fold")
    numbers = range(max(folds, 1)) if fold is None else [fold]
    return _parts([read_split(path, pairs, number) for number in numbers])


def _parts(splits: Sequence[Split]) -> Parts:
    """The parts of one split, or the test set and the folds of several."""
    if len(splits) == 1:
        return splits[0].items()
    return [("test", splits[0].test), *((f"fold {number}", each.validation) for number, each in enumerate(splits))]


def find_all(parts: Parts, tolerance: float) -> list[Finding]:
    """Run all checks.

    Args:
        parts: which pair serves what; pairs in none are not looked at.
        tolerance: how far the photos of a pair may be displaced, in pixels.

    Returns:
        What was found, the worst first.
    """
    work = [(part, pair) for part, members in parts for pair in members]
    cache = FactCache([pair.source.parent for _, pair in work])
    findings: list[Finding] = []
    sound: list[Examined] = []
    everyone: list[Examined] = []
    with LookStore() as store:
        results = in_parallel(partial(_compare, cache=cache), work)
        for one, look in track(results, "examining pairs", len(work), "pair"):
            everyone.append(one)
            findings += _inside(one, tolerance)
            if look is not None:
                sound.append(one)
                store.append(look)
        cache.save()
        findings += swapped(sound)
        findings += group_leaks(everyone)
        findings += equal_photos(sound)
        findings += similar_photos(sound, store)
    return worst_first(findings)


def _compare(item: tuple[str, PairPaths], cache: FactCache) -> tuple[Examined, Look | None]:
    return compared(item[1], item[0], cache)


def _inside(one: Examined, tolerance: float) -> list[Finding]:
    """What is wrong inside a pair."""
    found = [unusable(one, None), equal(one), misaligned(one, tolerance), *flat(one), *headers(one)]
    return [finding for finding in found if finding is not None]


def summary(findings: Sequence[Finding], counts: dict[str, int]) -> str:
    """A table of kinds and severities, and the worst findings."""
    lines = ["pairs: " + ", ".join(f"{count} {part}" for part, count in counts.items())]
    if not findings:
        return "\n".join([*lines, "nothing was found"])
    number = Counter((finding.kind, finding.severity) for finding in findings)
    lines += ["", f"{'':<56}" + "".join(f"{severity + 's':>10}" for severity in SEVERITIES)]
    for kind, title in TITLES.items():
        row = [number[kind, severity] for severity in SEVERITIES]
        if any(row):
            lines.append(f"{title:<56}" + "".join(f"{count or '':>10}" for count in row))
    lines.append("")
    lines += [f"{finding.severity}: {finding}" for finding in findings[:SHOWN]]
    if len(findings) > SHOWN:
        lines.append(f"and {len(findings) - SHOWN} more")
    return "\n".join([*lines, ""])
