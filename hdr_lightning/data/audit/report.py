"""The report of an audit: JSON for programs, and one page that holds its pictures and works offline."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
from jinja2 import Environment, PackageLoader, StrictUndefined

from hdr_lightning.data.audit.findings import SEVERITIES, TITLES, Finding
from hdr_lightning.data.audit.photos import reduced
from hdr_lightning.data.files import content_hash, read_photo, writing
from hdr_lightning.errors import InputError
from hdr_lightning.progress import track

PICTURED = 200
"""Findings that are shown with pictures."""

PAIRS = 6
"""Pairs of a finding that are shown."""

SIDE = 280
"""Longer side of a picture on the page, in pixels."""


def refuse_edited(quarantine: Path, record: Path) -> None:
    """Refuse to replace a quarantine list that is not as an audit left it.

    Args:
        quarantine: the list, or where it will be.
        record: what `write_json` wrote beside it.

    Raises:
        InputError: if the list was edited, or comes from elsewhere.
    """
    if not quarantine.exists():
        return
    try:
        written = json.loads(record.read_text(encoding="utf-8"))["quarantine_sha256"]
    except (OSError, ValueError, KeyError, TypeError):  # none, or not of an audit: nothing says that it was not edited
        written = ""
    if content_hash(quarantine) != written:
        raise InputError(
            f"{quarantine} was edited since an audit wrote it: give another --output, or move the list elsewhere"
        )


def write_json(path: Path, findings: Sequence[Finding], counts: dict[str, int], quarantine: str) -> None:
    """Write all findings for programs, and the SHA-256 of the quarantine list.

    Raises:
        InputError: if the file cannot be written.
    """
    rows = [
        {
            "kind": finding.kind,
            "severity": finding.severity,
            "pairs": [pair.name for pair in finding.pairs],
            "text": finding.text,
            "remedy": finding.remedy,
            "figures": finding.figures,
            "leave_out": [pair.name for pair in finding.leave_out],
        }
        for finding in findings
    ]
    content = {"pairs": counts, "quarantine_sha256": quarantine, "findings": rows}
    with writing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")


def write_page(path: Path, findings: Sequence[Finding], counts: dict[str, int]) -> None:
    """Write a page with both photos of what was found.

    Raises:
        InputError: if the file cannot be written.
    """
    shown = {
        file for finding in findings[:PICTURED] for pair in finding.pairs[:PAIRS] for file in (pair.source, pair.target)
    }
    pictures = {str(file): _data_uri(file) for file in track(sorted(shown), "drawing the report", len(shown))}
    kinds = [kind for kind in TITLES if any(finding.kind == kind for finding in findings)]
    numbers = {kind: sum(finding.kind == kind for finding in findings) for kind in kinds}
    template = Environment(
        loader=PackageLoader("hdr_lightning.data.audit", "."), autoescape=True, undefined=StrictUndefined
    ).get_template("page.html.jinja")
    page = template.render(
        findings=findings,
        counts=counts,
        numbers=numbers,
        titles=TITLES,
        severities=SEVERITIES,
        pictures=pictures,
        pictured=PICTURED,
        most=PAIRS,
    )
    with writing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _data_uri(path: Path) -> str:
    """A small picture of a photo inside an address, or nothing where the photo cannot be read."""
    try:
        small = reduced(read_photo(path).pixels, SIDE)
    except InputError:  # it is why the pair is in the report
        return ""
    _, code = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
    return "data:image/jpeg;base64," + base64.b64encode(code.tobytes()).decode()
