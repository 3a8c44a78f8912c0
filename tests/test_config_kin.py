"""Configurations that differ in a few settings say in which, and in no others."""

import re
from functools import cache
from pathlib import Path

import pytest

from hdr_lightning.config import complete, written

CONFIGS = Path(__file__).parent.parent / "configs"
ROOTS = {"demo", "nafnet_small", "restormer_combined_512"}
KIN = re.compile(r"^# As configs/(\w+\.yaml), but for: (.+)$", re.MULTILINE)


@cache
def settings(name):
    return written(complete(CONFIGS / name))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_differs_from_its_kin_as_it_says(path):
    found = KIN.search(path.read_text(encoding="utf-8"))
    if path.stem in ROOTS:
        assert found is None
        return
    assert found is not None
    one, other = settings(found[1]), settings(path.name)
    keys = {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
    said = found[2].split(", ")
    assert all(any(f"{key}.".startswith(f"{name}.") for key in keys) for name in said)
    assert {key for key in keys if not any(f"{key}.".startswith(f"{name}.") for name in said)} == set()
