"""Pictures to look at: contact sheets."""

from __future__ import annotations

import html
import io
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from daskimg.column.image import Image
from daskimg.errors import reason_of
from daskimg.kernels import color

__all__ = ["ContactSheet", "contact_sheet"]

SIDE, GAP, LINE = 160, 8, 16  # pixels of a picture's cell, between cells, of a line of text


class ContactSheet(PIL.Image.Image):
    """A Pillow image of many pictures; a gallery in a notebook."""

    gallery: str = ""

    def _repr_html_(self) -> str:
        return self.gallery


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
    if columns < 1:
        raise ValueError(f"columns is 1 or more; got {columns}")
    columns = max(1, min(columns, len(cells)))
    rows = -(-len(cells) // columns)
    step = SIDE + GAP, SIDE + GAP + (LINE if labels is not None else 0)
    size = (columns * step[0] + GAP, max(rows, 1) * step[1] + GAP)
    sheet = PIL.Image.new("RGB", size, "white")
    figures = []
    for n, cell in enumerate(cells):
        left, top = n % columns * step[0] + GAP, n // columns * step[1] + GAP
        small, reason = _thumbnail(cell)
        if small is not None:
            place = (left + (SIDE - small.width) // 2, top + (SIDE - small.height) // 2)
            sheet.paste(small, place)
        else:
            _note(sheet, left, top, reason)
        label = "" if labels is None else str(labels[n])
        if label:
            _text(sheet, (left, top + SIDE), label, 26)
        figures.append(_figure(small, reason, label))
    sheet.__class__ = ContactSheet
    sheet.gallery = (  # type: ignore[attr-defined]
        f'<div style="display:grid;grid-template-columns:repeat({columns},{SIDE}px);gap:{GAP}px">'
        f"{''.join(figures)}</div>"
    )
    return sheet  # type: ignore[return-value]


def _thumbnail(cell: Any) -> tuple[PIL.Image.Image | None, str]:
    if not isinstance(cell, Image):
        return None, "missing"
    if cell.failed:
        return None, cell.error or ""
    try:
        picture = cell.to_pil()
    except Exception as error:
        return None, cell.error or reason_of("decode", error)
    if picture.mode in ("I;16", "I", "F"):
        picture = PIL.Image.fromarray(color.to_uint8(np.asarray(picture)))
    picture.thumbnail((SIDE, SIDE))
    return picture.convert("RGB"), ""


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


def _figure(small: PIL.Image.Image | None, reason: str, label: str) -> str:
    inner = f'<div style="color:#c33;font-size:11px">{html.escape(reason)}</div>'
    if small is not None:
        out = io.BytesIO()
        small.save(out, "jpeg", quality=85)
        inner = f'<img src="data:image/jpeg;base64,{b64encode(out.getvalue()).decode()}">'
    caption = f'<figcaption style="font-size:12px">{html.escape(label)}</figcaption>'
    return f'<figure style="margin:0;text-align:center">{inner}{caption if label else ""}</figure>'
