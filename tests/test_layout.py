"""The tree keeps its order: imports go one way, private Dask stays in one file."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "daskimg"
FILES = sorted(PACKAGE.rglob("*.py"))
NAME_OF = {
    path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in FILES
}
# pandas asks a dtype for its array class, and an array for its dtype: one import has to be late.
FORCED = {
    ("daskimg.column.dtype", "daskimg.column.array"),
    ("daskimg.column.list_dtype", "daskimg.column.lists"),
}
LONGEST = 400  # lines of a file


@functools.cache
def imported(path: Path) -> list[str]:
    """What a file imports anywhere in it, as the names of modules and of what is in them."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def modules(path: Path) -> set[str]:
    """The files of the package that a file imports."""
    known = {*NAME_OF.values()}
    found = set()
    for name in imported(path):
        if name.partition(".")[0] == "daskimg":
            found.add(name if name in known else name.rpartition(".")[0])
    return found


def architecture() -> list[tuple[str, ...]]:
    """The rows of the tree in docs/architecture.md, from the bottom up, as names of modules."""
    (block,) = re.findall(r"^## ARCHITECTURE$.*?^```$\n(.*?)^```$", PAGE, re.M | re.S)
    rows, inside = [], "daskimg"
    for line in block.splitlines()[1:]:
        entries = re.match(r"( {2}| {4})((?:[\w]+(?:\.py|/) *)+)(?: |$)", line)
        if entries is None:
            assert line.startswith(" " * 20), f"no row of the tree: {line!r}"
            continue
        names = [entry.removesuffix("/").removesuffix(".py") for entry in entries[2].split()]
        if entries[1] == "  ":
            inside = "daskimg"
        rows.append(tuple(f"{inside}.{name}" for name in names))
        if names == ["io"]:
            inside = "daskimg.io"
    return rows


PAGE = (ROOT / "docs" / "architecture.md").read_text()
ROWS = architecture()
LEVEL = {name: n for n, row in enumerate(ROWS) for name in row}


def room_of(module: str) -> str:
    """The row of the tree that a module stands in: the deepest."""
    while module not in LEVEL:
        module = module.rpartition(".")[0]
    return module


def test_the_page_draws_the_tree_as_it_is():
    entries = {
        NAME_OF.get(path, ".".join(path.relative_to(ROOT).parts))
        for folder in (PACKAGE, PACKAGE / "io")
        for path in folder.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert {*LEVEL} == entries - {"daskimg", "daskimg.io"} | {"daskimg.io"}


def test_imports_go_up_the_tree():
    wrong = []
    for path in FILES:
        if NAME_OF[path] in ("daskimg", "daskimg.io"):
            continue  # hold together what is in them
        here = room_of(NAME_OF[path])
        for name in modules(path):
            if (room := room_of(name)) != here and LEVEL[room] >= LEVEL[here]:
                wrong.append((NAME_OF[path], name))
    assert wrong == []


def test_no_circles():
    graph = {NAME_OF[path]: modules(path) for path in FILES}
    for here, there in FORCED:
        graph[here].discard(there)
    # what imports nothing that is left goes; what stays is in a circle, or imports one
    while free := {name for name, others in graph.items() if not others & {*graph} - {name}}:
        graph = {name: others for name, others in graph.items() if name not in free}
    assert graph == {}


def test_files_are_short():
    lines = {NAME_OF[path]: len(path.read_text().splitlines()) for path in FILES}
    assert {name: n for name, n in lines.items() if n > LONGEST} == {}


def test_private_dask_is_in_one_file():
    private = ("dask.dataframe.dask_expr", "dask._", "distributed._")
    users = {NAME_OF[path] for path in FILES for name in imported(path) if name.startswith(private)}
    assert users <= {"daskimg.lazy.expr"}


def lines_of(path: Path) -> list[str]:
    """The code of a file, without imports, docstrings, comments and signatures."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body = body[1:]
        node.body = [one for one in body if not isinstance(one, ast.Import | ast.ImportFrom)]
        if isinstance(node, ast.FunctionDef):
            node.args, node.returns = ast.arguments([], [], None, [], [], None, []), None
    return [line.strip() for line in ast.unparse(tree).splitlines() if line.strip()]


def test_no_eight_lines_stand_twice():
    places: dict[tuple[str, ...], list[str]] = {}
    for path in FILES:
        lines = lines_of(path)
        for n in range(len(lines) - 7):
            places.setdefault(tuple(lines[n : n + 8]), []).append(f"{path.name}: {lines[n]}")
    assert [found for found in places.values() if len(found) > 1] == []


def test_tests_mirror_the_rooms():
    folders = [path.parent for path in (ROOT / "tests").rglob("__init__.py")]
    rooms = {path.relative_to(ROOT / "tests") for path in folders} - {Path()}
    across = {Path("safety"), Path("examples")}  # what all rooms have to keep to
    assert [room for room in rooms - across if not (PACKAGE / room).is_dir()] == []


@pytest.mark.parametrize("part", ["kernels", "column", "transport", "guard"])
def test_lower_rooms_need_no_dask(part):
    files = sorted((PACKAGE / part).rglob("*.py"))
    assert files
    wrong = {p.name: n for p in files for n in imported(p) if n.split(".")[0] == "dask"}
    assert wrong == {}


def test_import_is_light():
    heavy = ["torch", "distributed", "matplotlib", "sqlalchemy"]
    code = f"import sys, daskimg; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
