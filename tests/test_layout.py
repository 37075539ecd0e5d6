"""The tree keeps its order: imports go one way, private Dask stays in one file."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "daskimg"
# From the bottom up; a module imports from its own level's package and from below.
LEVELS = [
    ("wanted", "secrets", "compat"),
    ("retry", "stores"),
    ("errors", "config", "metrics", "clients", "words"),
    ("limit", "kernels", "crashes"),
    ("source",),
    ("fetch", "isolate"),
    ("opening",),
    ("column",),
    ("lasting",),
    ("program",),
    ("ops",),
    ("sinks",),
    ("plan",),
    ("gauge",),
    ("onepass",),
    ("show",),
    ("accessor",),
    ("lazy",),
    ("io",),
    ("stage",),
    ("batch",),
    ("stream",),
    ("export", "monitor", "cluster"),
    ("frame",),
    ("testing",),
    ("__init__",),
]
LEVEL = {name: n for n, names in enumerate(LEVELS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path):
    here = part_of(path)
    wrong = []
    for name in imported(path):
        parts = name.split(".")
        if parts[0] != "daskimg" or len(parts) == 1:
            continue
        there = parts[1] if parts[1] in LEVEL else "__init__"
        below = LEVEL[there] < LEVEL[here] or there == here
        if not below:
            wrong.append(name)
    assert wrong == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_private_dask_is_in_one_file(path):
    private = ("dask.dataframe.dask_expr", "dask._", "distributed._")
    found = [name for name in imported(path) if name.startswith(private)]
    assert path.relative_to(PACKAGE).as_posix() == "lazy/expr.py" or found == []


@pytest.mark.parametrize("part", ["kernels", "column", "fetch", "source"])
def test_lower_parts_need_no_dask(part):
    files = [path for path in FILES if part_of(path) == part]
    assert files
    wrong = {p.name: n for p in files for n in imported(p) if n.split(".")[0] == "dask"}
    assert wrong == {}


def test_import_is_light():
    heavy = ["torch", "distributed", "matplotlib", "sqlalchemy"]
    code = f"import sys, daskimg; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
