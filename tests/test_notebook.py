"""Pandas frames in a notebook: pictures where there are some to hand, text in all else."""

from __future__ import annotations

import re
from types import SimpleNamespace

import dask
import numpy as np
import pandas as pd
import pytest
from IPython.core.formatters import DisplayFormatter

import daskimg as di
from daskimg import notebook
from daskimg.column import image
from daskimg.notebook import MOST, as_html, load_ipython_extension
from daskimg.testing import make_images
from daskimg.transport import fetch

EVIL = "<script>alert(1)</script>"
GREY = np.full((40, 300), 128, "uint8")


@pytest.fixture
def frame(tmp_path):
    """Three good files, two broken, one missing cell; text that looks like HTML."""
    make_images(tmp_path, 3, size=(60, 90), broken=2)
    (tmp_path / "script.png").write_bytes(f"{EVIL} is no picture".encode())
    df = di.read_images(tmp_path, on_error="null").compute()
    table = pd.concat([df.image, pd.Series([None], dtype=df.image.dtype)], ignore_index=True)
    return pd.DataFrame({"note": EVIL, "image": table})


def cells_of(text: str) -> list[str]:
    """What stands in the cells of a table of one picture a row."""
    return re.findall(r"<td>(.*?)</td>", text, re.S)[1::2]


def test_a_frame(frame):
    shown = cells_of(as_html(frame))
    assert len(shown) == len(frame)
    for cell, good in zip(shown, frame.image.img.check().isna(), strict=True):
        assert ("<img" in cell) == (good and cell != "&lt;NA&gt;")
    assert "UnidentifiedImageError" in "".join(shown)
    assert EVIL not in as_html(frame)
    assert "<img" not in frame.to_string() + repr(frame) + frame.to_html()


def test_what_failed_before(frame):
    decoded = frame.assign(image=frame.image.img.decode("RGB"))
    shown = cells_of(as_html(decoded))
    assert sum("<img" in cell for cell in shown) == 3
    assert sum("UnidentifiedImageError" in cell for cell in shown) == decoded.image.img.failed.sum()


def test_a_column(frame):
    text = as_html(frame.image)
    assert text.count("<img") == 3
    assert "Name: image, Length: 7, dtype: image[file]" in text
    assert "Length: 2, dtype: image[pixels]" in as_html(pd.Series([GREY, None], dtype="image"))


def test_several_pictures_a_row():
    crops = pd.Series([[GREY, GREY], [], None], dtype="list[image]")
    text = as_html(crops.to_frame("crops"))
    assert text.count("<img") == 2


def test_names_that_stand_twice():
    cells = pd.Series([GREY], dtype="image")
    frame = pd.concat([cells, pd.Series(["<b>"]), cells], axis=1)
    frame.columns = ["a", "a", "a"]
    text = as_html(frame)
    assert text.count("<img") == 2
    assert "&lt;b&gt;" in text


def test_no_more_is_opened_than_is_shown(tmp_path, monkeypatch):
    make_images(tmp_path, 1)
    (path,) = tmp_path.iterdir()
    opened = []
    read = image.Image.thumbnail
    monkeypatch.setattr(
        image.Image, "thumbnail", lambda self, *how: opened.append(1) or read(self, *how)
    )
    many = di.images(pd.Series([str(path)] * 5000)).to_frame("image").assign(n=range(5000))
    text = as_html(many)
    assert text.count("<img") == len(opened) == pd.get_option("display.min_rows")
    assert "5000 rows x 2 columns".replace("x", "\N{MULTIPLICATION SIGN}") in text
    opened.clear()
    wide = pd.concat([many.image.head(40)] * 3, axis=1)
    assert as_html(wide).count("<img") == len(opened) == MOST
    assert as_html(wide).count(path.name) >= 120  # by name where not by picture


def test_nothing_is_fetched_without_being_asked(monkeypatch):
    def never(*args, **how):
        raise AssertionError("fetched")

    monkeypatch.setattr(fetch, "read_bytes", never)
    far = di.images(pd.Series(["s3://bucket/a.jpg", "https://x.org/b.jpg?sig=geheim", None]))
    text = as_html(far)
    assert "a.jpg" in text
    assert "<img" not in text
    assert "geheim" not in text
    assert "not fetched" in far.iloc[0]._repr_html_()
    assert "geheim" not in far.iloc[1]._repr_html_()
    assert far.iloc[0]._repr_png_() is None


def test_what_is_too_large_or_of_no_kind_to_be_shown(tmp_path, monkeypatch):
    make_images(tmp_path, 1)
    (path,) = tmp_path.iterdir()
    monkeypatch.setattr(notebook, "LARGEST", 10)
    monkeypatch.setattr(image, "LARGEST", 10)
    cells = di.images(pd.Series([str(path)]))
    assert "TooManyBytesError" in as_html(cells)
    assert "TooManyBytesError" in cells.iloc[0]._repr_html_()
    assert cells.iloc[0]._repr_png_() is None
    layers = pd.Series([np.zeros((4, 5, 7), "uint8"), GREY], dtype="image")
    text = as_html(layers)
    assert "up to 4 channels" in text
    assert text.count("<img") == 1
    gone = di.images(pd.Series([str(tmp_path / "gone.jpg")]))
    assert "FileNotFoundError" in as_html(gone)
    assert "FileNotFoundError" in gone.iloc[0]._repr_html_()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64", "bool", "int64"])
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 2), (4, 5, 3), (4, 5, 4)])
def test_pixels_of_every_kind(dtype, shape):
    cells = pd.Series([np.ones(shape, dtype)], dtype="image")
    assert as_html(cells).count("<img") == 1
    assert "<img" in cells.iloc[0]._repr_html_()
    assert cells.iloc[0]._repr_png_().startswith(b"\x89PNG")


def test_one_cell(frame, tmp_path):
    good, bad = frame.image[0], frame.image.img.decode()[5]
    text = good._repr_html_()
    assert "60x90 RGB, JPEG, " in text
    assert good.path in text
    assert max(good.thumbnail(30).size) == 30
    assert "<img" not in bad._repr_html_()
    assert "UnidentifiedImageError" in bad._repr_html_()
    assert "40x300 uint8" in di.Image(GREY)._repr_html_()
    evil = di.Image(GREY, path=f"/tmp/{EVIL}.png")
    assert EVIL not in evil._repr_html_()


def test_settings_hold_for_what_is_shown(frame):
    with dask.config.set({"daskimg.max-image-pixels": 100}):
        assert "<img" not in as_html(frame)
        assert "TooManyPixelsError" in frame.image[0]._repr_html_()
    with dask.config.set({"daskimg.formats": "png"}):
        assert as_html(frame).count("<img") == 1
    with dask.config.set({"daskimg.decode-processes": True}):
        assert frame.image[0]._repr_html_() == di.Image(path=frame.image[0].path)._repr_html_()


# -- IPython --------------------------------------------------------------------------------------
@pytest.fixture
def shell():
    return SimpleNamespace(display_formatter=DisplayFormatter())


def shown(shell, value) -> dict[str, str]:
    return shell.display_formatter.format(value)[0]


def test_in_ipython(shell, frame):
    load_ipython_extension(shell)
    load_ipython_extension(shell)  # twice is once
    assert shown(shell, frame)["text/html"].count("<img") == 3
    assert shown(shell, frame)["text/plain"] == repr(frame)
    assert shown(shell, frame.image)["text/html"].count("<img") == 3
    assert {*shown(shell, pd.Series([1]))} == {"text/plain"}
    plain = frame[["note"]]
    assert shown(shell, plain)["text/html"] == plain._repr_html_()
    with pd.option_context("display.notebook_repr_html", False):
        assert "text/html" not in shown(shell, frame)
    with pd.option_context("display.max_rows", None, "display.max_colwidth", 5):
        assert shown(shell, frame)["text/html"].count("<img") == 3


def test_what_others_have_chosen_stays(shell, frame):
    formatter = shell.display_formatter.formatters["text/html"]
    formatter.for_type(pd.DataFrame, lambda frame: "their own")
    load_ipython_extension(shell)
    assert shown(shell, frame[["note"]])["text/html"] == "their own"
    assert shown(shell, frame)["text/html"].count("<img") == 3


def test_all_columns_that_are_wider_than_the_screen(shell, frame):
    load_ipython_extension(shell)
    wide = pd.concat([frame] + [frame[["note"]]] * 40, axis=1)
    wide.columns = [f"c{n}" for n in range(42)]
    with pd.option_context("display.max_columns", 6):
        text = shown(shell, wide)["text/html"]
    assert text.count("<img") == 3
    assert EVIL not in text
    assert "..." in text
