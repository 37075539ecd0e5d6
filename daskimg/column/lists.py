"""Several pictures in a row: a column whose cells are lists of the cells of an image column."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.api.indexers import check_array_indexer

from daskimg.column import cells as c
from daskimg.column import text as t
from daskimg.column.array import ImageArray
from daskimg.column.arrow import to_arrow
from daskimg.column.compare import ByDigest
from daskimg.column.list_dtype import ImageListArrowType, ImageListDtype
from daskimg.column.storage import held_by
from daskimg.column.text import Text

__all__ = [
    "ImageListArray",
    "ImageListDtype",
    "failing_with_cells",
    "from_arrow_lists",
    "lists_of",
    "of_lists",
]

Mask = npt.NDArray[np.bool_]
Index = npt.NDArray[np.int64]


class ImageListArray(ByDigest):
    """Lists of cells: all cells in one image column, and where each row's end.

    Parameters
    ----------
    ends : (N + 1,) int64 array
        Row ``i`` holds the cells from ``ends[i]`` to ``ends[i + 1]``.
    valid : (N,) bool array
        False where a row is null. A null row that failed has one cell, which knows why.
    cells : ImageArray
    """

    _readonly = False  # (pandas 2 does not know of it)

    def __init__(self, ends: Index, valid: Mask, cells: ImageArray) -> None:
        self.ends, self.valid, self.cells = ends, valid, cells

    @classmethod
    def empty(cls, n: int, dtype: ImageListDtype) -> ImageListArray:
        """`n` missing rows."""
        nothing = np.zeros(n + 1, np.int64)
        return cls(nothing, np.zeros(n, bool), ImageArray.empty(0, dtype.item))

    @classmethod
    def of(cls, rows: Sequence[ImageArray | None], dtype: ImageListDtype) -> ImageListArray:
        """A column of the cells of each row, None where a row is missing."""
        parts = [row for row in rows if row is not None and len(row)]
        ends = np.cumsum([0, *(0 if row is None else len(row) for row in rows)], dtype=np.int64)
        cells = ImageArray._concat_same_type(parts or [ImageArray.empty(0, dtype.item)])
        return cls(ends, np.array([row is not None for row in rows], bool), cells)

    @classmethod
    def _from_sequence(cls, scalars: Any, *, dtype: Any = None, copy: bool = False) -> Any:
        wanted: Any = pd.api.types.pandas_dtype(dtype or "list[image]")
        if isinstance(scalars, cls):
            same = wanted.item.cells == "infer" or wanted == scalars.dtype
            kept = scalars.cells if same else scalars.cells.astype(wanted.item)
            return cls(scalars.ends, scalars.valid, kept)
        rows = [None if c.is_missing(row) else _as_list(row, wanted) for row in scalars]
        flat = [cell for row in rows for cell in row or ()]
        item = wanted.item
        if item.cells == "infer":
            item = item.derive(c.infer(flat))
        ends = np.cumsum([0, *(len(row or ()) for row in rows)], dtype=np.int64)
        valid = np.array([row is not None for row in rows], bool)
        return cls(ends, valid, ImageArray.of(flat, item))

    @property
    def dtype(self) -> ImageListDtype:
        """The column's dtype."""
        return ImageListDtype(self.cells.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes that this array holds."""
        return self.cells.nbytes + held_by(self.ends) + held_by(self.valid)

    @property
    def row_bytes(self) -> int:
        """Bytes of these rows alone."""
        return self.own.row_bytes + self.ends.nbytes + self.valid.nbytes

    @property
    def has_error(self) -> Mask:
        """Rows with a recorded reason."""
        return ~self.valid & (np.diff(self.ends) > 0)

    @property
    def error(self) -> Text:
        """Why each row failed."""
        return self._of_first(self.cells.error, ~self.has_error)

    @property
    def path(self) -> Text:
        """Where the first cell of each row came from."""
        return self._of_first(self.cells.path, np.diff(self.ends) == 0)

    def _of_first(self, words: Text, missing: Mask) -> Text:
        if words is None or missing.all():
            return None
        first = np.minimum(self.ends[:-1], len(self.cells) - 1)
        return t.take(words, first, missing)

    def __len__(self) -> int:
        return len(self.valid)

    def __getitem__(self, item: Any) -> Any:
        item = check_array_indexer(self, item)
        if isinstance(item, int | np.integer):
            row = range(len(self))[item]
            if not self.valid[row]:
                return pd.NA
            return list(self.cells[int(self.ends[row]) : int(self.ends[row + 1])])
        if isinstance(item, slice) and item.indices(len(self))[2] == 1:
            start, stop, _ = item.indices(len(self))
            stop = max(start, stop)
            part = ImageListArray(self.ends[start : stop + 1], self.valid[start:stop], self.cells)
            part._readonly = self._readonly
            return part
        return self._take(np.arange(len(self))[item])

    def __setitem__(self, key: Any, value: Any) -> None:
        if self._readonly:
            raise ValueError("Cannot modify read-only array")
        key = check_array_indexer(self, key)
        rows = np.atleast_1d(np.arange(len(self))[key])
        one = c.is_missing(value) or isinstance(key, int | np.integer)
        new = self._admitted([value] * len(rows) if one else value)
        if len(new) != len(rows):
            raise ValueError(f"cannot set {len(rows)} rows from {len(new)} lists")
        order = np.arange(len(self))
        order[rows] = len(self) + np.arange(len(rows))
        both = self._concat_same_type([self, new])._take(order)
        self.ends, self.valid, self.cells = both.ends, both.valid, both.cells

    def _admitted(self, rows: Any) -> ImageListArray:
        """`rows` as rows of this column; see `ImageArray.admitted`."""
        item = self.cells.dtype
        own = ImageListDtype(item.derive(item.cells, item.shape, source=None))
        new: ImageListArray = self._from_sequence(rows, dtype=own)
        return ImageListArray(new.ends, new.valid, self.cells.admitted(new.cells))

    def __eq__(self, other: Any) -> Any:
        if isinstance(other, pd.Series | pd.Index | pd.DataFrame):
            return NotImplemented
        if not isinstance(other, ImageListArray):
            is_column = isinstance(other, np.ndarray) and len(other) == len(self)
            other = self._from_sequence(other if is_column else [other] * len(self))
        pairs = zip(self.digests(), other.digests(), strict=True)
        return np.array([a is not None and a == b for a, b in pairs], bool)

    def isna(self) -> Mask:
        """True where a row is null: failed or missing."""
        return ~self.valid

    def copy(self) -> ImageListArray:
        """An array whose rows can be set without changing this one, of these rows alone."""
        ends = self.ends - self.ends[0]
        return ImageListArray(ends, self.valid.copy(), self.own.copy())

    def apart(self) -> ImageListArray:
        """An array whose rows can be set without changing this one, on the same memory."""
        return ImageListArray(self.ends, self.valid, self.cells)

    def _take(self, index: npt.NDArray[Any], missing: Mask | None = None) -> ImageListArray:
        length = np.diff(self.ends)[index]
        valid = self.valid[index]
        if missing is not None:
            length, valid = np.where(missing, 0, length), valid & ~missing
        ends = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
        flat = np.repeat(self.ends[index] - ends[:-1], length) + np.arange(ends[-1])
        return ImageListArray(ends, valid, self.cells._take(flat))

    def take(self, indices: Any, *, allow_fill: bool = False, fill_value: Any = None) -> Any:
        """Rows at `indices`; with `allow_fill`, -1 is a missing one (or `fill_value`)."""
        index = np.asarray(indices, np.int64)
        if not allow_fill:
            return self._take(np.arange(len(self))[index])
        missing = index == -1
        if (outside := index[(index < -1) | (index >= len(self))]).size:
            kind = ValueError if outside[0] < 0 else IndexError
            raise kind(f"rows to take are -1 to {len(self) - 1}; got {outside[0]}")
        if missing.all():
            taken = ImageListArray.empty(len(index), self.dtype)
        else:
            taken = self._take(np.where(missing, 0, index), missing)
        if missing.any() and not c.is_missing(fill_value):
            taken[missing] = [fill_value] * int(missing.sum())
        return taken

    @classmethod
    def _concat_same_type(cls, to_concat: Sequence[ImageListArray]) -> ImageListArray:
        parts = [part.own for part in to_concat]
        ends, end = [np.zeros(1, np.int64)], 0
        for part in to_concat:
            ends.append(part.ends[1:] - part.ends[0] + end)
            end += int(part.ends[-1] - part.ends[0])
        cells = ImageArray._concat_same_type(parts)
        return cls(np.concatenate(ends), np.concatenate([p.valid for p in to_concat]), cells)

    @property
    def own(self) -> ImageArray:
        """The cells of these rows, in order."""
        own: ImageArray = self.cells[int(self.ends[0]) : int(self.ends[-1])]
        return own

    def tight(self) -> ImageListArray:
        """The same rows in buffers that hold no others."""
        return ImageListArray(
            self.ends - self.ends[0], np.ascontiguousarray(self.valid), self.own.tight()
        )

    def __reduce__(self) -> tuple[Any, ...]:
        rows = self.tight()
        return ImageListArray, (rows.ends, rows.valid, rows.cells)

    def token(self) -> tuple[Any, ...]:
        """Plain arrays that tell the content of this array and of no other rows."""
        return self.ends - self.ends[0], np.ascontiguousarray(self.valid), self.own.token()

    def _explode(self) -> tuple[ImageArray, npt.NDArray[np.uint64]]:
        """A row for each picture; a null or empty list is one null cell."""
        length = np.diff(self.ends)
        rows = np.maximum(length, 1)
        # each row's cells, or a missing one
        ends = np.cumsum(rows)
        index = np.repeat(self.ends[:-1] - (ends - rows), rows) + np.arange(rows.sum())
        missing = np.repeat(length == 0, rows)
        index[missing] = -1
        cells = self.cells.take(index, allow_fill=True)
        return cells, rows.astype(np.uint64)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        out = np.empty(len(self), object)
        for i in range(len(self)):
            out[i] = self[i]
        return out

    def _formatter(self, boxed: bool = False) -> Any:
        def shown(row: Any) -> str:
            return str(row) if row is pd.NA else f"[{', '.join(c.label(x, boxed) for x in row)}]"

        return shown

    def digests(self) -> npt.NDArray[np.object_]:
        """Sixteen bytes for each row, equal where its cells are; None where it is null."""
        each = [bytes(16) if d is None else d for d in self.own.digests()]
        out = np.full(len(self), None, object)
        first = self.ends[0]
        for row in np.flatnonzero(self.valid):
            words = b"".join(each[self.ends[row] - first : self.ends[row + 1] - first])
            out[row] = hashlib.blake2b(words, digest_size=16).digest()
        return out

    def _values_for_argsort(self) -> npt.NDArray[Any]:
        raise TypeError(f"cells of {self.dtype} have no order")

    def __arrow_array__(self, type: pa.DataType | None = None) -> pa.Array:
        cells = to_arrow(self.own)
        return pa.ExtensionArray.from_storage(
            ImageListArrowType(self.dtype), lists_of(self, cells.storage, null_failed=False)
        )


def lists_of(rows: ImageListArray, values: pa.Array, null_failed: bool = True) -> pa.Array:
    """Arrow lists of `values`, one for each cell, as `rows` has them.

    Arrow's null lists are empty: with `null_failed` False a row that failed is a list of its one
    failed cell.
    """
    ends = rows.ends - rows.ends[0]
    valid = rows.valid if null_failed else rows.valid | rows.has_error
    mask = None if valid.all() else pa.array(~valid)
    return pa.LargeListArray.from_arrays(pa.array(ends), values, mask=mask)


def from_arrow_lists(array: pa.Array | pa.ChunkedArray, dtype: ImageListDtype) -> ImageListArray:
    """The column of an Arrow array that ``pa.array`` made of one, or of its lists."""
    chunks = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
    parts = [_of_lists(chunk, dtype) for chunk in chunks]
    return ImageListArray._concat_same_type(parts or [ImageListArray.empty(0, dtype)])


def _of_lists(chunk: pa.Array, dtype: ImageListDtype) -> ImageListArray:
    if isinstance(chunk.type, ImageListArrowType):
        dtype = chunk.type.to_pandas_dtype()
    lists = chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk
    return of_lists(lists, ImageArray.from_arrow(lists.flatten(), dtype.item))


def failing_with_cells(rows: ImageListArray) -> ImageListArray:
    """The same rows, of which those with a cell that failed have failed for its reason."""
    bad = np.flatnonzero(~rows.cells.valid & rows.cells.has_error)
    if not len(bad):
        return rows
    failed, first = np.unique(np.searchsorted(rows.ends, bad, "right") - 1, return_index=True)
    valid, kept = rows.valid.copy(), np.ones(len(rows.cells), bool)
    for row, cell in zip(failed, bad[first], strict=True):
        valid[row] = False
        kept[rows.ends[row] : rows.ends[row + 1]] = False
        kept[cell] = True
    ends = np.concatenate([[0], np.cumsum(kept)])[rows.ends]
    return ImageListArray(ends, valid, rows.cells[kept])


def of_lists(lists: pa.Array | pa.ChunkedArray, cells: ImageArray) -> ImageListArray:
    """Rows of Arrow lists, whose flat values are `cells`.

    A list of one failed cell is a row that failed.
    """
    length = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    ends = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    valid = lists.is_valid().to_numpy(zero_copy_only=False).copy()
    alone = np.flatnonzero(length == 1)
    lost = ~cells.valid & cells.has_error
    valid[alone[lost[ends[alone]]]] = False
    return ImageListArray(ends, valid, cells)


def _as_list(row: Any, dtype: ImageListDtype) -> list[Any]:
    if isinstance(row, list | tuple | ImageArray) or (
        isinstance(row, np.ndarray) and (row.dtype == object or row.ndim > 2 + dtype.item.tensor)
    ):
        return [c.as_image(cell, dtype.item.tensor) for cell in row]
    raise TypeError(f"a cell of {dtype} is a list of pictures; got {type(row).__name__}")
