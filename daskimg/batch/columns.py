"""A result column of a partition, filled batch by batch."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import PIL.Image

from daskimg.column.array import ImageArray
from daskimg.column.cells import as_image, check, exact, is_missing, kept_to, lay_out
from daskimg.column.dtype import ImageDtype
from daskimg.column.image import Image
from daskimg.column.json import JsonDtype
from daskimg.column.lists import ImageListArray, ImageListDtype
from daskimg.column.storage import Uniform
from daskimg.errors import quoted

__all__ = ["Column", "column_for"]

Rows = npt.NDArray[np.intp]
PICTURES = (bytes, PIL.Image.Image, Image)
Texts = Sequence[str | None] | None


def column_for(dtype: Any, n: int) -> Column:
    """An empty column of `n` rows and this dtype."""
    if isinstance(dtype, ImageDtype):
        return ImageColumn(dtype, n)
    if isinstance(dtype, ImageListDtype):
        return ImageListColumn(dtype, n)
    if isinstance(dtype, np.dtype) and dtype.kind in "biufmM":
        return NumberColumn(dtype, n)
    return Column(dtype, n)


class Column:
    """Values of any pandas dtype; what nobody put is null."""

    def __init__(self, dtype: Any, n: int) -> None:
        self.dtype = dtype
        self.filled = np.zeros(n, bool)
        self.kept = np.zeros(n, bool)
        self.source: str | None = None
        self._start(n)

    def _start(self, n: int) -> None:
        self.values = np.full(n, None, object)

    def put(self, rows: Rows, values: Any) -> None:
        """Values of `rows`, checked against the dtype.

        Raises
        ------
        TypeError, ValueError
            When they are of another kind, or do not fit.
        """
        try:
            cells = pd.array(_objects(values, self.dtype), dtype=self.dtype)
        except (TypeError, ValueError) as error:
            # (JSON holds most things)
            hint = "" if isinstance(self.dtype, JsonDtype) else "; give meta="
            raise TypeError(f"expected {self.dtype} values: {error}{hint}") from error
        for row, cell in zip(rows, cells, strict=True):
            self.values[row] = cell
        self.filled[rows] = True

    def keep(self, rows: Rows, name: str) -> None:
        """These rows are the cells of column `name` as they came."""
        self.source = name
        self.filled[rows] = self.kept[rows] = True

    def drop(self, rows: Rows) -> None:
        """These rows are null after all."""
        self.filled[rows] = self.kept[rows] = False

    def finish(self, part: pd.DataFrame, reasons: Texts, paths: Texts) -> Any:
        """The whole column of `part`'s rows.

        `reasons` and `paths` tell of each row why it is null, and where its picture came from.
        """
        made = self._array(reasons, paths)
        if self.source is None:
            return made
        both = pd.concat([pd.Series(made, copy=False), part[self.source]], ignore_index=True)
        rows = np.arange(len(made))
        return both.array.take(np.where(self.kept, rows + len(made), rows))

    def _array(self, reasons: Texts, paths: Texts) -> Any:
        self.values[~self.filled] = None
        return pd.array(self.values, dtype=self.dtype)


def _objects(values: Any, dtype: Any) -> Any:
    """Values to make an array of `dtype` from; text is never made of other things."""
    if isinstance(dtype, pd.StringDtype):
        wrong = [x for x in values if not isinstance(x, str) and not is_missing(x)]
        if wrong:
            raise TypeError(f"got {type(wrong[0]).__name__} {quoted(wrong[0])}")
        return [None if is_missing(x) else x for x in values]
    if isinstance(dtype, pd.BooleanDtype):
        return [None if is_missing(x) else x for x in values]
    return values


class NumberColumn(Column):
    """Values of a NumPy dtype."""

    def _start(self, n: int) -> None:
        self.values = np.zeros(n, self.dtype)

    def put(self, rows: Rows, values: Any) -> None:
        """Numbers of `rows`; they may become wider, never lose what they are."""
        wanted = self.dtype
        null = np.zeros(len(rows), bool)
        if not isinstance(values, np.ndarray):
            cells = list(values)
            null = np.array([is_missing(x) for x in cells], bool)
            fill: Any = np.nan if wanted.kind == "f" else np.zeros((), wanted)[()]
            given = np.asarray([fill if gone else x for x, gone in zip(cells, null, strict=True)])
        else:
            given = values
        times = wanted.kind in "mM"
        if times and given.dtype == object:
            given = _times(cells, wanted)
        if given.ndim != 1 or given.dtype.kind not in ("biufmM" if times else "biuf"):
            raise TypeError(f"expected {wanted} values, got {_told(values, given)}; give meta=")
        cast = given.astype(wanted) if times else exact(given, wanted)
        if cast is None:
            raise TypeError(f"expected {wanted} values; got {given.dtype} ones; give meta=")
        self.values[rows] = cast
        self.filled[rows] = ~null

    def _array(self, reasons: Texts, paths: Texts) -> Any:
        null = ~self.filled
        if null.any():
            if self.dtype.kind in "biu":
                room = "boolean" if self.dtype.kind == "b" else "Int64"
                raise ValueError(
                    f"{int(null.sum())} rows have no picture, and so no value, and {self.dtype} "
                    f'holds no null: give meta={{name: "{room}"}}, or drop these rows first'
                )
            self.values[null] = np.nan if self.dtype.kind == "f" else np.array("NaT", self.dtype)
        return self.values


def _times(cells: list[Any], wanted: np.dtype[Any]) -> npt.NDArray[Any]:
    """Dates or durations of Python's and pandas' classes, and nulls; other values as they are."""
    made: Any
    made, kind = (
        (pd.to_datetime, (datetime.date, np.datetime64))
        if wanted.kind == "M"
        else (pd.to_timedelta, (datetime.timedelta, np.timedelta64))
    )
    known = [None if is_missing(x) else x for x in cells]
    if all(x is None or isinstance(x, kind) for x in known):
        return np.asarray(pd.Series(made(known)))
    return np.asarray(cells, object)


def _told(values: Any, given: npt.NDArray[Any]) -> str:
    if given.ndim > 1:
        return f"an array of shape {given.shape}"
    return "a list of other things" if isinstance(values, list) else f"{given.dtype} ones"


class ImageColumn(Column):
    """Pictures, or tensors; a null cell keeps its reason."""

    dtype: ImageDtype

    def _start(self, n: int) -> None:
        self.uniform: Uniform | None = None
        self.cells: list[Any] = []
        self.paths: list[Image | None] = []  # cells that are to be opened
        if self.dtype.shape is not None and self.dtype.cell_dtype is not None:
            self.uniform = Uniform.empty(n, self.dtype.cell_dtype, self.dtype.shape)
        else:
            self.cells = [None] * n

    def put(self, rows: Rows, values: Any) -> None:
        """Arrays of `rows`: of the dtype's shape and number type, or that fit it."""
        whole = isinstance(values, np.ndarray) and self.uniform is not None
        if whole and values.shape[1:] == self.dtype.shape and values.dtype == self.dtype.cell_dtype:
            self.uniform.values[rows] = values  # type: ignore[union-attr]
            self.filled[rows] = True
            return
        for row, value in zip(rows, values, strict=True):
            if isinstance(value, list | tuple) and any(isinstance(x, PICTURES) for x in value):
                raise TypeError(
                    f"expected {self.dtype} values, got a list of pictures; give meta= "
                    '"list[image]" or "list[image[encoded]]", for explode()'
                )
            cell = as_image(value, self.dtype.tensor)
            content = None if cell is None else _content(cell, self.dtype)
            if isinstance(content, str):
                self.paths.append(cell)
            if content is not None and self.uniform is not None:
                self.uniform.values[row] = content
            elif self.uniform is None:
                self.cells[row] = content
            self.filled[row] = content is not None

    def _array(self, reasons: Texts, paths: Texts) -> Any:
        self._blank()
        data: Any = self.uniform
        if data is None and self.dtype.cells == "file":
            known = paths or self.cells
            paths = [b if a is None else a for a, b in zip(self.cells, known, strict=True)]
        elif data is None:
            data = lay_out(self.cells, self.dtype)
        dtype = kept_to(self.dtype, self.paths)
        return ImageArray(dtype, self.filled & ~self.kept, data, paths, reasons)

    def _blank(self) -> None:
        for row in np.flatnonzero(~self.filled | self.kept):
            if self.uniform is not None:
                self.uniform.values[row] = 0
            else:
                self.cells[row] = None


def _content(cell: Image, dtype: ImageDtype) -> Any:
    """What a column of `dtype` keeps of a cell; None of a failure."""
    if cell.failed:
        return None
    try:
        return check(cell, dtype)
    except TypeError as error:
        raise TypeError(f"{error}; give meta=") from error


class ImageListColumn(Column):
    """Lists of pictures; each knows which file its row came from, a null row why it is one."""

    dtype: ImageListDtype

    def put(self, rows: Rows, values: Any) -> None:
        """Lists of pictures that fit the dtype, or None."""
        item = self.dtype.item
        for row, value in zip(rows, values, strict=True):
            if is_missing(value):
                continue
            if not isinstance(value, list | tuple | np.ndarray):
                raise TypeError(
                    f"expected a list of pictures of each row; got {type(value).__name__}; give "
                    "meta="
                )
            cells = [as_image(cell, item.tensor) for cell in value]
            for cell in cells:
                if cell is not None:
                    _content(cell, item)
            self.values[row] = cells
            self.filled[row] = True

    def _array(self, reasons: Texts, paths: Texts) -> Any:
        flat: list[Image | None] = []
        ends = [0]
        own = self.filled & ~self.kept
        for row in range(len(own)):
            path = None if paths is None else paths[row]
            if own[row]:
                flat += [_from(cell, path) for cell in self.values[row]]
            elif reasons is not None and reasons[row] is not None and not self.kept[row]:
                flat.append(Image(None, path, reasons[row]))
            ends.append(len(flat))
        cells = ImageArray.of(flat, self.dtype.item)
        return ImageListArray(np.array(ends, np.int64), own, cells)


def _from(cell: Image | None, path: str | None) -> Image | None:
    if cell is None or cell.path is not None or path is None:
        return cell
    return Image(cell.data, path, cell.error)
