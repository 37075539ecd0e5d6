"""Pictures to look at: contact sheets, and the pictures at both ends of a measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from daskimg.column.html import figure
from daskimg.column.image import Image
from daskimg.errors import reason_of, whole
from daskimg.secrets import mask_url

__all__ = ["ContactSheet", "contact_sheet", "histogram", "small"]

SIDE, GAP, LINE = 160, 8, 16  # pixels of a picture's cell, between cells, of a line of text
CHART = 360, 360  # width and height of a histogram


class ContactSheet(PIL.Image.Image):
    """A Pillow image of many pictures; a gallery in a notebook."""

    gallery: str = ""

    def _repr_html_(self) -> str:
        return self.gallery

    def _repr_png_(self) -> None:  # (a JPEG, for those who take no HTML, is a third of it)
        return None


def contact_sheet(
    cells: Sequence[Any], columns: int = 4, labels: Sequence[Any] | None = None
) -> ContactSheet:
    """Thumbnails in rows, each with a label; a failed cell shows its reason.

    Parameters
    ----------
    cells : sequence of Image or NA
    columns : int
        Thumbnails in a row.
    labels : sequence, optional
        A text below each.

    Returns
    -------
    PIL.Image.Image

    Examples
    --------
    >>> contact_sheet([Image(np.zeros((40, 30), "uint8"))], labels=["black"]).size
    (176, 192)
    """
    columns = max(1, min(whole("columns", columns), len(cells)))
    rows = -(-len(cells) // columns)
    step = SIDE + GAP, SIDE + GAP + (LINE if labels is not None else 0)
    size = (columns * step[0] + GAP, max(rows, 1) * step[1] + GAP)
    sheet = PIL.Image.new("RGB", size, "white")
    figures = []
    for n, cell in enumerate(cells):
        left, top = n % columns * step[0] + GAP, n // columns * step[1] + GAP
        picture, reason = small(cell)
        if picture is not None:
            place = (left + (SIDE - picture.width) // 2, top + (SIDE - picture.height) // 2)
            sheet.paste(picture.convert("RGB"), place)
        else:
            _note(sheet, left, top, reason)
        label = "" if labels is None else str(labels[n])
        if label:
            _text(sheet, (left, top + SIDE), label, 26)
        figures.append(figure(picture, reason, label))
    style = f"display:grid;grid-template-columns:repeat({columns},{SIDE}px);gap:{GAP}px"
    style += ";text-align:center"
    return _sheet(sheet, f'<div style="{style}">{"".join(figures)}</div>')


def histogram(
    values: npt.NDArray[np.float64], low: Sequence[Any], high: Sequence[Any], title: str, bins: int
) -> ContactSheet:
    """How often which values are, between the pictures of the lowest and of the highest.

    Parameters
    ----------
    values : ndarray of float64
    low, high : sequence of (Image, float)
        Those at the ends, the outermost first.
    title : str
    bins : int

    Examples
    --------
    >>> grey = Image(np.zeros((9, 9), "uint8"))
    >>> histogram(np.arange(3.0), [(grey, 0.0)], [(grey, 2.0)], "mean of 3 pictures", 10).size
    (712, 360)
    """
    ends = [
        contact_sheet([cell for cell, _ in pairs], 2, [f"{value:.4g}" for _, value in pairs])
        for pairs in (low, high)
    ]
    chart = _chart(values, title, bins)
    width = sum(one.width for one in (*ends, chart))
    height = max(one.height for one in (*ends, chart))
    whole = PIL.Image.new("RGB", (width, height), "white")
    left = 0
    for one in (ends[0], chart, ends[1]):
        whole.paste(one, (left, 0))
        left += one.width
    parts = (ends[0].gallery, figure(chart), ends[1].gallery)
    return _sheet(whole, f'<div style="display:flex;gap:{GAP}px">{"".join(parts)}</div>')


def _chart(values: npt.NDArray[np.float64], title: str, bins: int) -> PIL.Image.Image:
    width, height = CHART
    chart = PIL.Image.new("RGB", CHART, "white")
    if len(values):
        counts, edges = np.histogram(values, bins)
        pen, tall = PIL.ImageDraw.Draw(chart), height - 3 * LINE
        floor = height - LINE - GAP
        for n, count in enumerate(counts):
            sides = [GAP + at * (width - 2 * GAP) // bins for at in (n, n + 1)]
            top = floor - round(count / counts.max() * tall)
            pen.rectangle((sides[0], top, max(sides[1] - 2, sides[0]), floor), fill="#2a7f62")
        last = f"{edges[-1]:.4g}"
        _text(chart, (GAP, floor + 2), f"{edges[0]:.4g}", 20)
        _text(chart, (width - GAP - 7 * len(last), floor + 2), last, 20)
    _text(chart, (GAP, 2), title, 60)
    return chart


def _sheet(sheet: PIL.Image.Image, gallery: str) -> ContactSheet:
    sheet.__class__ = ContactSheet
    sheet.gallery = gallery  # type: ignore[attr-defined]
    return sheet  # type: ignore[return-value]


def small(
    cell: Any, side: int = SIDE, most: int | None = None
) -> tuple[PIL.Image.Image | None, str]:
    """A picture for a cell, or why there is none; of files of `most` bytes."""
    if not isinstance(cell, Image):
        return None, "missing"
    if cell.failed:
        return None, mask_url(cell.error or "")
    try:
        return cell.thumbnail(side, most), ""
    except Exception as error:  # whatever it is: others are shown
        return None, mask_url(cell.error or reason_of("decode", error))


def _note(sheet: PIL.Image.Image, left: int, top: int, reason: str) -> None:
    pen = PIL.ImageDraw.Draw(sheet)
    pen.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), fill="#eee", outline="#c33")
    for n in range(min(8, -(-len(reason) // 24))):
        _text(sheet, (left + 6, top + 8 + n * LINE), reason[n * 24 : (n + 1) * 24], 24)


def _text(sheet: PIL.Image.Image, place: tuple[int, int], words: str, most: int) -> None:
    if len(words) > most:
        words = words[: most - 1] + "…"
    font = PIL.ImageFont.load_default(size=12)
    PIL.ImageDraw.Draw(sheet).text(place, words, fill="#333", font=font)
