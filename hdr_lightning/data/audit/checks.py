"""The short audit before training: every photo is opened once, and again only when it has changed."""

import warnings
from collections.abc import Sequence
from functools import partial

from hdr_lightning.data.audit.cache import FactCache
from hdr_lightning.data.audit.duplicates import equal_photos
from hdr_lightning.data.audit.examination import Examined, in_parallel, remembered
from hdr_lightning.data.audit.findings import TITLES, Finding
from hdr_lightning.data.audit.pairs import equal, flat, headers, swapped, unusable
from hdr_lightning.data.manifest import PairPaths
from hdr_lightning.errors import InputError
from hdr_lightning.progress import track

SHOWN = 5


def check_pairs(
    pairs: Sequence[PairPaths], crop: int | None, part: str = "training", degraded: bool = False
) -> list[Examined]:
    """Refuse what training would stumble over, and warn of what looks wrong.

    Args:
        pairs: pairs to be opened; photos that have not changed since an earlier check are not.
        crop: side of the training crop in pixels, or nothing where whole photos are used.
        part: what the pairs serve.
        degraded: whether sources are made of their targets on reading, and equal them in their files.

    Returns:
        What is known of the pairs.

    Raises:
        InputError: naming the photos that are missing, damaged, smaller than the crop or of another size than their
            partner; or if all targets equal their sources.
    """
    cache = FactCache([pair.source.parent for pair in pairs])
    results = in_parallel(partial(remembered, part=part, cache=cache), pairs)
    examined = list(track(results, "checking photos", len(pairs), "pair"))
    cache.save()
    findings = [finding for one in examined if (finding := unusable(one, crop)) is not None]
    if findings:
        more = f"\n  and {len(findings) - SHOWN} more" if len(findings) > SHOWN else ""
        shown = "\n  ".join(map(str, findings[:SHOWN]))
        raise InputError(f"{len(findings)} of {len(pairs)} pairs cannot be used:\n  {shown}{more}")
    if degraded:
        return examined
    _judge_equal([finding for one in examined if (finding := equal(one)) is not None], len(pairs))
    _warn([finding for one in examined for finding in [*flat(one), *headers(one)]] + swapped(examined))
    return examined


def _judge_equal(findings: Sequence[Finding], count: int) -> None:
    names = [finding.pairs[0].name for finding in findings]
    if names and len(names) == count:
        raise InputError(
            f"in all {count} pairs the target equals the source ({names[0]}, ...): "
            'there is nothing to learn; check "src" and "tar" of the manifest'
        )
    if names:
        warnings.warn(f"in {len(names)} of {count} pairs the target equals the source: {names[:SHOWN]}", stacklevel=3)


def _warn(findings: Sequence[Finding]) -> None:
    for kind, title in TITLES.items():
        names = [finding.pairs[0].name for finding in findings if finding.kind == kind and finding.severity != "note"]
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            warnings.warn(f"{title}: {', '.join(names[:SHOWN])}{more}; `hdr-lightning audit` shows them", stacklevel=3)


def refuse_equal_photos(pairs: Sequence[Examined]) -> None:
    """Refuse photos whose pixels are equal in two parts of the split, whatever their files.

    Raises:
        InputError: naming them.
    """
    leaks = [finding for finding in equal_photos(pairs) if finding.severity == "error"]
    if leaks:
        raise InputError(str(leaks[0]))
