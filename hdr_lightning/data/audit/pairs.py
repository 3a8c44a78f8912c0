"""What can be wrong inside a pair."""

from collections.abc import Sequence

import numpy as np

from hdr_lightning.data.audit.examination import Examined
from hdr_lightning.data.audit.findings import Finding, Severity
from hdr_lightning.data.audit.photos import PhotoFacts
from hdr_lightning.data.audit.swapped import changes, find_swapped

FLAT = 2 / 255
"""A photo whose values differ by no more is of one colour."""

CUT_SHORT = ("truncated", "premature end", "stream too small", "the file ends before")
"""What decoders say of a file whose end is missing."""

MOSTLY = 0.6
"""Share of clipped pixels of a target from which on there is little to learn."""


def unusable(one: Examined, crop: int | None) -> Finding | None:
    """Say why a pair cannot be used at all, if so.

    Args:
        one: the pair.
        crop: side of the training crop in pixels, or nothing where whole photos are used.
    """
    pair = one.pair
    if one.source is None or one.target is None:
        return _unreadable(one)
    (width, height), (other, other_height) = (_size(one.source), _size(one.target))
    if (width, height) != (other, other_height):
        return Finding(
            "size",
            "error",
            (pair,),
            f"{pair.source} is {width} x {height} and its target {pair.target.name} {other} x {other_height}",
            "give both the same size" + _reason(one.source, one.target),
            leave_out=(pair,),
        )
    if crop is not None and min(height, width) < crop:
        return Finding(
            "too-small",
            "error",
            (pair,),
            f"{pair.source} is {width} x {height}, smaller than the crop of {crop}",
            f"set data.crop to {min(height, width)} or less",
            leave_out=(pair,),
        )
    return None


def _unreadable(one: Examined) -> Finding:
    kind = "unreadable"
    if "there is no such file" in one.problem:
        kind = "missing"
    elif any(words in one.problem.lower() for words in CUT_SHORT):
        kind = "truncated"
    text, _, remedy = one.problem.rpartition(": ")
    if kind == "missing":
        text, remedy = one.problem, "correct the manifest or add the file"
    return Finding(kind, "error", (one.pair,), text, remedy, leave_out=(one.pair,))


def _reason(source: PhotoFacts, target: PhotoFacts) -> str:
    """Why sizes may differ."""
    (width, height), (other, other_height) = _size(source), _size(target)
    if (width, height) == (other_height, other):
        return "; one of them is turned by 90 degrees"
    if abs(width * other_height / (height * other) - 1) < 0.01:
        return ""
    return f" (aspect ratios {width / height:.3f} and {other / other_height:.3f}: one of them is cropped)"


def _size(facts: PhotoFacts) -> tuple[int, int]:
    return facts.width, facts.height


def equal(one: Examined) -> Finding | None:
    """Say that the target is the source, if so."""
    if one.source is None or one.target is None or one.source.digest != one.target.digest:
        return None
    return Finding(
        "equal",
        "warning",
        (one.pair,),
        f"{one.pair.name}: the target equals the source",
        "nothing can be learned from it; check which file was edited, or leave the pair out",
        leave_out=(one.pair,),
    )


def flat(one: Examined) -> list[Finding]:
    """Find photos of one colour, and targets that are mostly clipped."""
    findings = []
    for path, facts in ((one.pair.source, one.source), (one.pair.target, one.target)):
        if facts is not None and facts.spread <= FLAT:
            colour = (
                "black" if facts.brightness < 0.05 else "white" if facts.brightness > 0.95 else "grey or one colour"
            )
            text = f"{path} is {colour} all over"
            remedy = "replace the photo or leave the pair out"
            findings.append(Finding("blank", "error", (one.pair,), text, remedy, leave_out=(one.pair,)))
    target = one.target
    if target is not None and not findings and max(target.bright, target.dark) > MOSTLY:
        share, end = (target.bright, "white") if target.bright > target.dark else (target.dark, "black")
        text = f"{one.pair.target}: {share:.0%} of the target is clipped to {end}"
        findings.append(Finding("clipped", "note", (one.pair,), text, "look at it", {"clipped_share": share}))
    return findings


def headers(one: Examined) -> list[Finding]:
    """Find differences between the files of a pair that reading evens out, and one that it cannot."""
    if one.source is None or one.target is None:
        return []
    pair, findings = one.pair, []
    for kind, severity, ours, theirs, remedy in _differences(one.source, one.target):
        if ours != theirs:
            text = f"{pair.name}: the source has {ours}, its target {theirs}"
            findings.append(Finding(kind, severity, (pair,), text, remedy))
    return findings


def _differences(source: PhotoFacts, target: PhotoFacts) -> list[tuple[str, Severity, str, str, str]]:
    profiles = [facts.profile or "no colour profile" for facts in (source, target)]
    # sRGB is what a photo without a profile is taken for.
    plain = [not facts.profile or "sRGB" in facts.profile for facts in (source, target)]
    lost = "" in (source.profile, target.profile)
    severity: Severity = "note" if not lost else "warning"
    remedy = "nothing: both are converted to sRGB" if not lost else "embed the profile again if it was lost on export"
    grey = source.mode.startswith(GREY) != target.mode.startswith(GREY)
    rows: list[tuple[str, Severity, str, str, str]] = [
        (
            "depth",
            "warning" if grey else "note",
            source.mode,
            target.mode,
            "export both in colour" if grey else "nothing: both are read at their own depth",
        ),
        (
            "orientation",
            "note",
            f"orientation {source.orientation}",
            f"orientation {target.orientation}",
            "nothing: both are turned upright",
        ),
    ]
    return rows if all(plain) else [*rows, ("profile", severity, profiles[0], profiles[1], remedy)]


GREY = ("1", "L", "LA")
"""Beginnings of the modes without colour."""


def misaligned(one: Examined, tolerance: float) -> Finding | None:
    """Say how far the photos of a pair are apart, if so.

    Args:
        one: the pair.
        tolerance: displacement that is no finding, in pixels.
    """
    pair, shift = one.pair, one.alignment
    if one.unrelated:
        text = f"{pair.name}: no detail of the source is found in its target {pair.target.name}"
        return Finding("unrelated", "warning", (pair,), text, "check which target belongs to it", leave_out=(pair,))
    if shift is None or not (shift.mirror or shift.displacement > max(tolerance, shift.noise)):
        return None
    text = (
        f"{pair.name}: the target is {'mirrored and ' if shift.mirror else ''}displaced by {shift.displacement:.1f} px "
        f"(dx {shift.dx:+.1f} px, dy {shift.dy:+.1f} px, scale {shift.scale:.4f}, angle {shift.angle:+.2f} degrees; "
        f"{shift.features} features agree)"
    )
    figures = {
        "dx_px": shift.dx,
        "dy_px": shift.dy,
        "scale": shift.scale,
        "angle_degrees": shift.angle,
        "displacement_px": shift.displacement,
        "features": float(shift.features),
    }
    return Finding("misaligned", "warning", (pair,), text, "align the two or leave the pair out", figures, (pair,))


def swapped(pairs: Sequence[Examined]) -> list[Finding]:
    """Find pairs whose statistics change the other way than those of the rest."""
    sound = [
        (one.pair, changes(one.source, one.target))
        for one in pairs
        if one.source is not None and one.target is not None and one.source.digest != one.target.digest
    ]
    rows = find_swapped(np.array([row for _, row in sound]), [pair.group for pair, _ in sound])
    return [
        Finding(
            "swapped",
            "warning",
            (sound[row][0],),
            f"{sound[row][0].name}: brightness, contrast, saturation and clipping change the other way than in the "
            f"other pairs (odds {np.exp(-odds):.0f} to 1 that source and target are swapped)",
            'look at both; if they are swapped, exchange "src" and "tar"',
            {"log_odds": round(-odds, 2)},
            (sound[row][0],),
        )
        for row, odds in rows
    ]
