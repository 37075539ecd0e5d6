"""The documentation: its blocks of Python run, and what it names is there."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from pathlib import Path

import pytest

import daskimg as di
from daskimg.accessor.color import ColorOps
from daskimg.accessor.geometry import GeometryOps
from daskimg.accessor.random import RandomOps

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
BLOCK = re.compile(r"^```python$\n(.*?)^```$", re.M | re.S)
INCLUDED = re.compile(r'^--8<-- "(?P<path>[^":]+)(?::(?P<part>\w+))?"$', re.M)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder `shop/` of which the pages speak, a broken picture in it."""
    for folder in ("examples", "examples/guide"):
        monkeypatch.syspath_prepend(str(ROOT / folder))
    monkeypatch.chdir(tmp_path)
    import made

    made.pictures("shop", broken=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_of_code_run(page: Path, shop: None) -> None:
    names: dict[str, object] = {"__name__": page.stem}
    for number, code in enumerate(BLOCK.findall(page.read_text()), start=1):
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(code, f"{page.name}, block {number}", "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_included_is_there(page: Path) -> None:
    for found in INCLUDED.finditer(page.read_text()):
        text = (ROOT / found["path"]).read_text()
        if found["part"]:
            assert f"--8<-- [start:{found['part']}]" in text
            assert f"--8<-- [end:{found['part']}]" in text


def test_the_guide_includes_every_program() -> None:
    programs = {path.stem for path in (ROOT / "examples" / "guide").glob("*.py")}
    text = (DOCS / "guide.md").read_text()
    assert {Path(found["path"]).stem for found in INCLUDED.finditer(text)} == programs


def test_the_api_page_has_every_public_name() -> None:
    told = {*re.findall(r"^::: daskimg\.(\w+)$", (DOCS / "api.md").read_text(), re.M)}
    assert {*di.__all__} - {"testing", "__version__"} <= told
    methods = {name for name in vars(di.FrameAccessor) if not name.startswith("_")}
    own = {"show", "hist", "errors"}
    functions = {*re.findall(r"^::: daskimg\..*\.(\w+)$", (DOCS / "api.md").read_text(), re.M)}
    assert methods - own <= functions


def test_the_pages_name_methods_that_there_are() -> None:
    text = (DOCS / "migration.md").read_text()
    right = [line.split(" | ")[-1] for line in text.splitlines() if line.startswith("| `")]
    of_image = {*re.findall(r"\bimage\.(?:img\.)?(\w+)", " ".join(right))}
    assert [n for n in of_image if not hasattr(di.ImageAccessor, n)] == []
    of_frame = {*re.findall(r"\bdf\.img\.(\w+)", " ".join(right))}
    assert [n for n in of_frame if not hasattr(di.FrameAccessor, n)] == []


def test_the_gallery_shows_what_every_op_makes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import gallery
    import PIL.Image

    gallery.main(str(tmp_path / "gallery.png"))
    with (
        PIL.Image.open(tmp_path / "gallery.png") as made,
        PIL.Image.open(DOCS / "gallery.png") as kept,
    ):
        assert made.size == kept.size
    assert (DOCS / "gallery.png").stat().st_size < 200_000
    made_of = (ROOT / "examples" / "gallery.py").read_text()
    ops = [name for part in (GeometryOps, ColorOps, RandomOps) for name in vars(part)]
    left_out = [name for name in ops if name[0] != "_" and f"image.{name}(" not in made_of]
    assert left_out == []
    sys.modules.pop("gallery")
