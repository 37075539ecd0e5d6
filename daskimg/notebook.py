"""Image columns in notebooks: pandas frames and columns show pictures where IPython shows them.

pandas writes its table, cut to the rows and columns it shows, with a mark for each picture; then
the marks are replaced. Where nobody looks nothing is opened, and what stands in a store on the
network only when somebody asks for it (``.img.show()``). In a terminal a repr stays text.
"""

from __future__ import annotations

import html
import re
import secrets
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd

from daskimg.column import cells
from daskimg.column.dtype import ImageDtype
from daskimg.column.html import figure
from daskimg.column.image import LARGEST, Image
from daskimg.column.list_dtype import ImageListDtype
from daskimg.show import small

__all__ = ["as_html", "load_ipython_extension", "register"]

SIDE = 96  # pixels of a thumbnail
MOST = 60  # pictures that are opened for one output: the rows that pandas shows
Shower = Callable[[Any], "str | None"]


class _Marks:
    """What stands in a table until the pictures do: no data can know it."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.secret = secrets.token_hex(8)
        self.left = MOST

    def put(self, row: Any) -> str:
        """A mark for a cell, or for a list of them."""
        self.rows.append(row)
        return f"{self.secret}-{len(self.rows) - 1}-"

    def replaced(self, text: str) -> str:
        """With pictures instead of marks."""
        return re.sub(rf"{self.secret}-(\d+)-", lambda m: self._row(self.rows[int(m[1])]), text)

    def _row(self, row: Any) -> str:
        if isinstance(row, list):
            return f'<div style="display:flex;gap:4px">{"".join(map(self._cell, row))}</div>'
        return self._cell(row)

    def _cell(self, cell: Any) -> str:
        shown = isinstance(cell, Image) and (cell.failed or (cell.at_hand and self.left > 0))
        if not shown:
            return html.escape(cells.label(cell, True))
        if not cell.failed:
            self.left -= 1
        picture, reason = small(cell, SIDE, LARGEST)
        return figure(picture, reason, title=cells.label(cell, False))


def as_html(data: Any, otherwise: Shower | None = None) -> str | None:
    """A pandas frame or column as a table with pictures, as far as a notebook shows it.

    Parameters
    ----------
    data : DataFrame or Series
    otherwise : callable, optional
        What shows one without image columns; pandas does by default.

    Returns
    -------
    str, optional
        None for what is shown as text.

    Examples
    --------
    >>> as_html(pictures).count("<img")
    2
    >>> as_html(pd.Series([1])) is None
    True
    """
    frame = data.to_frame("" if data.name is None else data.name) if data.ndim == 1 else data
    marks = _Marks()
    formatters = [marks.put if _of_pictures(dtype) else None for dtype in frame.dtypes]
    if not any(formatters) or not pd.get_option("display.notebook_repr_html"):
        if otherwise is not None:
            return otherwise(data)
        return data._repr_html_() if data.ndim == 2 else None
    most = pd.get_option("display.max_rows") or len(frame)
    if len(frame) > most:
        most = pd.get_option("display.min_rows") or most
    with pd.option_context("display.max_colwidth", None):
        text = frame.to_html(
            notebook=True,
            formatters=formatters,
            max_rows=most,
            max_cols=pd.get_option("display.max_columns"),
            show_dimensions=data.ndim == 2 and pd.get_option("display.show_dimensions"),
        )
    if data.ndim == 1:
        name = "" if data.name is None else f"Name: {data.name}, "
        text += f"<p>{html.escape(f'{name}Length: {len(data):,}, dtype: {data.dtype}')}</p>"
    return marks.replaced(text)


def _of_pictures(dtype: Any) -> bool:
    return isinstance(dtype, ImageListDtype) or (isinstance(dtype, ImageDtype) and not dtype.tensor)


def load_ipython_extension(shell: Any) -> None:
    """Show pictures in an IPython shell: for ``%load_ext daskimg``.

    ``import daskimg`` does it where a shell is running.
    """
    formatter = shell.display_formatter.formatters["text/html"]
    for kind in (pd.DataFrame, pd.Series):
        before = formatter.for_type(kind)
        if getattr(before, "func", None) is not as_html:
            formatter.for_type(kind, partial(as_html, otherwise=before))


def register() -> None:
    """Show pictures where IPython is running."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is not None:
        load_ipython_extension(shell)
