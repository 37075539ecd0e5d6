"""The tour as a notebook, and the pictures of the README: made anew by one call.

    python examples/screenshots.py

`tour.ipynb` is docs/tutorial.md, run. The page of the dashboard and the notebook are looked at by a
headless Chromium; the contact sheet is a Pillow image. Chromium and its driver come from the
system (apt-get install chromium chromium-driver), all else with `make test`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from PIL import Image

HERE = Path(__file__).resolve().parent
TUTORIAL = HERE.parent / "docs" / "tutorial.md"
TOUR = HERE / "tour.ipynb"
BLOCK = re.compile(r"^```python$\n(.*?)^```$\n?", re.M | re.S)
COLOURS = 96  # of a screenshot: most of it is text
PATIENCE = 600.0  # seconds


def notebook_of(page: Path) -> nbformat.NotebookNode:
    """A page as a notebook: its blocks of Python are cells, the text between them too."""
    parts = BLOCK.split(page.read_text())
    cells = []
    for n, part in enumerate(parts):
        make = nbformat.v4.new_code_cell if n % 2 else nbformat.v4.new_markdown_cell
        if part.strip():
            cells.append(make(part.strip(), id=f"cell-{n}"))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def run_notebook(
    notebook: nbformat.NotebookNode, folder: Path, progress: str = "off"
) -> nbformat.NotebookNode:
    """A notebook with its outputs, run in a folder; with a line of progress or not.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
    """
    from nbclient import NotebookClient

    before = os.environ.get("PYTHONPATH")
    paths = [str(HERE), str(HERE.parent), *filter(None, [before])]
    given = {"PYTHONPATH": os.pathsep.join(paths), "DASK_DASKIMG__PROGRESS": progress}
    with _environment(**given):
        run = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, timeout=PATIENCE, resources=run, record_timing=False).execute()
    return notebook


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def chromium(size: tuple[int, int] = (1400, 1000)) -> Iterator[Any]:
    """A headless Chromium, driven by Selenium."""
    from selenium import webdriver

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
    if found is None:
        raise FileNotFoundError("no Chromium: apt-get install chromium chromium-driver")
    driver = shutil.which("chromedriver")
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = found
        width, height = size
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            f"--window-size={width},{height}",
            f"--user-data-dir={profile}",
        ):
            options.add_argument(argument)
        service = webdriver.ChromeService(executable_path=driver) if driver else None
        browser = webdriver.Chrome(options=options, service=service)
        try:
            yield browser
        finally:
            browser.quit()


def save(browser: Any, path: Path) -> None:
    """What a browser shows, in few colours."""
    browser.save_screenshot(str(path))
    with Image.open(path) as shot:
        small = shot.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def shoot_notebook(notebook: nbformat.NotebookNode, path: Path) -> None:
    """The first tables of the tour."""
    from nbconvert import HTMLExporter

    text, _ = HTMLExporter().from_notebook_node(notebook)
    with tempfile.TemporaryDirectory() as folder, chromium((900, 1000)) as browser:
        page = Path(folder, "tour.html")
        page.write_text(text)
        browser.get(page.as_uri())
        browser.execute_script("document.querySelectorAll('h2')[2].scrollIntoView()")
        save(browser, path)


def shoot_page(path: Path) -> None:
    """The dashboard's page, in the middle of a run."""
    from distributed import Client, LocalCluster
    from photographs import save_textures

    import daskimg as di

    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
        chromium((1200, 920)) as browser,
    ):
        train, _ = save_textures(Path(folder), each=150)
        for n, picture in enumerate(sorted(train.rglob("*.jpg"))[::120]):
            picture.write_bytes(picture.read_bytes()[: 900 * (n % 2)])
        df = di.read_images(train, on_error="null", files_per_partition=20)
        df = df.assign(sharp=df.image.img.sharpness(), grey=df.image.img.blur(4.0).img.mean())
        client.compute(df[["sharp", "grey"]]).result()  # the first run brings the page
        time.sleep(3)
        browser.get(f"http://127.0.0.1:{cluster.scheduler.http_server.port}/daskimg")
        again = [client.compute(df[["sharp", "grey"]] * n) for n in (2, 3)]
        for result in again:
            result.result()
        time.sleep(1)
        save(browser, path)


def shoot_sheet(path: Path) -> None:
    """A contact sheet of six photographs and their copies."""
    from photographs import save_photographs

    import daskimg as di

    with tempfile.TemporaryDirectory() as folder:
        df = di.read_images(save_photographs(Path(folder, "photographs")))
        df["name"] = df.path.str.rsplit("/", n=1).str[1]
        sheet = df.img.show(n=8, columns=4, label="name")
    sheet.convert("RGB").quantize(COLOURS).save(path, optimize=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=HERE.parent / "docs")
    parser.add_argument("--tour", type=Path, default=TOUR)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        tour = run_notebook(notebook_of(TUTORIAL), Path(folder))
    # what the outputs say of where it ran is nobody else's business
    asked.tour.write_text(nbformat.writes(tour).replace(f"{folder}/", "") + "\n")
    shoot_notebook(tour, asked.output / "notebook.png")
    shoot_page(asked.output / "dashboard.png")
    shoot_sheet(asked.output / "contact-sheet.png")


if __name__ == "__main__":
    sys.exit(main())
