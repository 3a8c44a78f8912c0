"""Imports run one way, from a higher floor to a lower one; rooms on one floor do not know each other."""

import ast
from pathlib import Path

import pytest

import hdr_lightning

PACKAGE = Path(hdr_lightning.__file__).parent

FLOORS = [
    {"drawing", "errors", "ledger", "progress"},
    {"credentials", "signals"},
    {"tensors"},  # files of weights, for generators and losses
    {"image"},
    {"features"},  # a generator may be guided by them
    {"data", "generators", "losses", "metrics", "schedule"},
    {"exports"},
    {"inference"},
    {"checkpoints", "evaluation", "run_config", "run_log", "sharding"},
    {"report"},
    {"dashboards", "run_folder", "run_process", "task"},
    {"callbacks", "memory"},
    {"configuration", "plan"},
    {
        "training",
        "demo",
        "enhance",
        "evaluate",
        "export",
        "benchmark",
        "benchmark_data",
        "benchmark_guards",
        "benchmark_memory",
        "benchmark_sizes",
    },
    {"ablation", "config", "crossvalidation"},
    {"ablate", "crossval", "reading"},
    {"cli"},
    {"quickstart"},
    {"__main__"},
]
"""From the ground up. `configuration` calls back to `cli` for the way in which errors are told."""

ALLOWED = {("configuration", "cli")}


def floor(room):
    return next(level for level, rooms in enumerate(FLOORS) if room in rooms)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module == "hdr_lightning":
            names = [f"hdr_lightning.{alias.name}" for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("hdr_lightning."))


def files():
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downwards(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for other in imports(path):
        if other not in ("__version__", room) and (room, other) not in ALLOWED:
            assert floor(other) < floor(room), f"{room} may not import {other}"


def test_image_needs_only_pixels():
    """The mathematics of pixels knows nothing of ours."""
    for path in (PACKAGE / "image").glob("*.py"):
        assert set(imports(path)) <= {"image"}


def test_every_room_has_a_floor():
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in files()}
    assert rooms <= set().union(*FLOORS)
