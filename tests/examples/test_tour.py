"""The tour: the notebook is the tutorial, runs, and is seen as it is meant."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
import screenshots

ROOT = Path(__file__).resolve().parents[2]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
PICTURES = ROOT / "docs"

# Fifteen pictures or so that take a quarter of a second each.
PROGRESS = """
import time
from daskimg.monitor import line

shown, real = [], line.Line._show

def show(self, passed, *rest):
    shown.append(passed)
    real(self, passed, *rest)

def late(pixels):
    time.sleep(0.25)
    return pixels

line.Line._show = show
df.image.img.apply(late).img.mean().compute()
print(line._bar_class().__module__, len(set(shown)) > 2, shown == sorted(shown))
"""


def outputs(notebook, kind: str) -> str:
    """All that a notebook shows of a kind."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            found.append(output.get("data", {}).get(kind, ""))
            found.append(output.text if output.get("name") == kind else "")
    return "".join(found)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Run as by a reader: a line of progress, too."""
    notebook = screenshots.notebook_of(screenshots.TUTORIAL)
    notebook.cells.append(nbformat.v4.new_code_cell(PROGRESS))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CI", raising=False)
        return screenshots.run_notebook(notebook, tmp_path_factory.mktemp("tour"), "auto")


def test_the_notebook_is_the_tutorial():
    kept = nbformat.read(screenshots.TOUR, as_version=4)
    made = screenshots.notebook_of(screenshots.TUTORIAL)
    assert [cell.source for cell in kept.cells] == [cell.source for cell in made.cells]
    code = [cell for cell in kept.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    assert screenshots.TOUR.stat().st_size < 300_000


@pytest.mark.long
def test_it_runs(ran):
    tables = outputs(ran, "text/html")
    assert tables.count("<img") >= 20
    assert "UnidentifiedImageError" in tables  # what failed is told where a picture would be
    printed = outputs(ran, "stdout")
    assert "16 written" in printed
    assert "16 kept, 2 failed: 1 not an image, 1 truncated" in printed
    assert "JPEG (" in printed  # Pillow has read it
    assert sum(len(str(cell.get("outputs", ""))) for cell in ran.cells) < 300_000


@pytest.mark.long
def test_progress_in_a_notebook(ran):
    assert outputs(ran, "stdout").splitlines()[-1] == "tqdm.notebook True True"
    assert "16 kept, 2 failed" in outputs(ran, "stderr").splitlines()[-1]


@pytest.mark.long
@pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium chromium-driver")
def test_it_is_seen(ran, tmp_path):
    pytest.importorskip("selenium")
    from nbconvert import HTMLExporter

    page = tmp_path / "tour.html"
    page.write_text(HTMLExporter().from_notebook_node(ran)[0])
    with screenshots.chromium() as browser:
        browser.get(page.as_uri())
        sizes = browser.execute_script(
            "return [...document.querySelectorAll('td img, figure img')].map(e => e.naturalWidth)"
        )
    assert len(sizes) >= 20
    assert min(sizes) > 0


@pytest.mark.parametrize("name", ["notebook", "dashboard", "contact-sheet"])
def test_screenshots_are_small(name):
    path = PICTURES / f"{name}.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert 5_000 < path.stat().st_size < 100_000
