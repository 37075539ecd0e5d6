"""Several pictures in a row: a column whose cells are lists of the cells of an image column."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pandas.api.extensions import ExtensionArray, ExtensionDtype, register_extension_dtype
from pandas.api.indexers import check_array_indexer

from daskimg.column import cells as c
from daskimg.column.array import ImageArray
from daskimg.column.arrow import ImageArrowType, from_arrow, to_arrow
from daskimg.column.dtype import ImageDtype

__all__ = ["ImageListArray", "ImageListDtype"]

Mask = npt.NDArray[np.bool_]
Index = npt.NDArray[np.int64]


@register_extension_dtype
class ImageListDtype(ExtensionDtype):
    """The dtype of lists of pictures: ``list[image[encoded]]``, ``list[image[pixels]]``, ...

    ``explode`` gives the image column, a row for each picture.

    Parameters
    ----------
    item : ImageDtype or str
        Of what is in the lists.

    Examples
    --------
    >>> crops = pd.Series([[np.zeros((2, 3), "uint8")] * 2, []], dtype="list[image]")
    >>> crops.dtype
    list[image[pixels]]
    >>> crops.explode().img.width.tolist()
    [3, 3, <NA>]
    """

    na_value = pd.NA

    def __init__(self, item: ImageDtype | str = "image[pixels]") -> None:
        dtype: Any = pd.api.types.pandas_dtype(item)
        if not isinstance(dtype, ImageDtype):
            raise TypeError(f"a list of pictures is of an image dtype; got {item!r}")
        self.item = dtype

    @property
    def type(self) -> Any:  # type: ignore[override]
        """``list``, the class of a cell."""
        return list

    @property
    def kind(self) -> Literal["O"]:
        """``"O"``, as pandas asks of a dtype whose cells are objects."""
        return "O"

    @property
    def name(self) -> str:  # type: ignore[override]
        """``list[image[encoded]]``."""
        return f"list[{self.item.name}]"

    def __repr__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return self.name == other
        return isinstance(other, ImageListDtype) and self.item == other.item

    def __hash__(self) -> int:
        return hash(("daskimg.ImageListDtype", self.name))

    @classmethod
    def construct_array_type(cls) -> Any:
        """The array class of this dtype."""
        return ImageListArray

    @classmethod
    def construct_from_string(cls, string: str) -> ImageListDtype:
        """Parse a dtype's name.

        Raises
        ------
        TypeError
            When `string` is not ``list[...]`` of the name of an image dtype.
        """
        if not isinstance(string, str):
            raise TypeError(f"'construct_from_string' expects a string, got {type(string)}")
        if not (string.startswith("list[") and string.endswith("]")):
            raise TypeError(f"Cannot construct a 'ImageListDtype' from '{string}'")
        return cls(ImageDtype.construct_from_string(string[5:-1]))

    def _get_common_dtype(self, dtypes: list[Any]) -> ImageListDtype | None:
        if not all(isinstance(dtype, ImageListDtype) for dtype in dtypes):
            return None
        item = self.item._get_common_dtype([dtype.item for dtype in dtypes])
        return None if item is None else ImageListDtype(item)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return "daskimg.ImageListDtype", self.item.__dask_tokenize__()

    def __from_arrow__(self, array: pa.Array | pa.ChunkedArray) -> ImageListArray:
        chunks = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
        parts = [_of_lists(chunk, self) for chunk in chunks]
        return ImageListArray._concat_same_type(parts or [ImageListArray.empty(0, self)])


class ImageListArray(ExtensionArray):
    """Lists of cells: all cells in one image column, and where each row's end.

    Parameters
    ----------
    ends : (N + 1,) int64 array
        Row ``i`` holds the cells from ``ends[i]`` to ``ends[i + 1]``.
    valid : (N,) bool array
        False where a row is null. A null row that failed has one cell, which knows why.
    cells : ImageArray
    """

    _readonly: bool

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
        """Bytes of the cells of these rows."""
        return self._own().nbytes + self.ends.nbytes + self.valid.nbytes

    @property
    def failed(self) -> Mask:
        """Which null rows know why."""
        return ~self.valid & (np.diff(self.ends) > 0)

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
            return ImageListArray(self.ends[start : stop + 1], self.valid[start:stop], self.cells)
        return self._take(np.arange(len(self))[item])

    def __setitem__(self, key: Any, value: Any) -> None:
        if self._readonly:
            raise ValueError("Cannot modify read-only array")
        key = check_array_indexer(self, key)
        rows = np.atleast_1d(np.arange(len(self))[key])
        one = c.is_missing(value) or isinstance(key, int | np.integer)
        new = self._from_sequence([value] * len(rows) if one else value, dtype=self.dtype)
        order = np.arange(len(self))
        order[rows] = len(self) + np.arange(len(rows))
        both = self._concat_same_type([self, new])._take(order)
        self.ends, self.valid, self.cells = both.ends, both.valid, both.cells

    def __eq__(self, other: Any) -> Any:
        if isinstance(other, pd.Series | pd.Index | pd.DataFrame):
            return NotImplemented
        if not isinstance(other, ImageListArray):
            is_column = isinstance(other, np.ndarray) and len(other) == len(self)
            other = self._from_sequence(other if is_column else [other] * len(self))
        pairs = zip(self._digests(), other._digests(), strict=True)
        return np.array([a is not None and a == b for a, b in pairs], bool)

    def isna(self) -> Mask:
        """True where a row is null: failed or missing."""
        return ~self.valid

    def copy(self) -> ImageListArray:
        """An array whose rows can be set without changing this one."""
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
        """Rows at `indices`; with `allow_fill`, -1 is a missing one."""
        index = np.asarray(indices, np.int64)
        if not allow_fill:
            return self._take(np.arange(len(self))[index])
        missing = index == -1
        if len(index) and (index.min() < -1 or index.max() >= len(self)):
            raise ValueError(f"rows to take are -1 to {len(self) - 1}; got {index}")
        if missing.all():
            return ImageListArray.empty(len(index), self.dtype)
        return self._take(np.where(missing, 0, index), missing)

    @classmethod
    def _concat_same_type(cls, to_concat: Sequence[ImageListArray]) -> ImageListArray:
        parts = [part._own() for part in to_concat]
        ends, end = [np.zeros(1, np.int64)], 0
        for part in to_concat:
            ends.append(part.ends[1:] - part.ends[0] + end)
            end += int(part.ends[-1] - part.ends[0])
        cells = ImageArray._concat_same_type(parts)
        return cls(np.concatenate(ends), np.concatenate([p.valid for p in to_concat]), cells)

    def _own(self) -> ImageArray:
        """The cells of these rows, in order."""
        own: ImageArray = self.cells[int(self.ends[0]) : int(self.ends[-1])]
        return own

    def tight(self) -> ImageListArray:
        """The same rows in buffers that hold no others."""
        return ImageListArray(
            self.ends - self.ends[0], np.ascontiguousarray(self.valid), self._own().tight()
        )

    def __reduce__(self) -> tuple[Any, ...]:
        rows = self.tight()
        return ImageListArray, (rows.ends, rows.valid, rows.cells)

    def token(self) -> tuple[Any, ...]:
        """Plain arrays that tell the content of this array and of no other rows."""
        return self.ends - self.ends[0], np.ascontiguousarray(self.valid), self._own().token()

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

    def _digests(self) -> npt.NDArray[np.object_]:
        """Sixteen bytes for each row, equal where its cells are; None where it is null."""
        each = [bytes(16) if d is None else d for d in self._own().digests()]
        out = np.full(len(self), None, object)
        first = self.ends[0]
        for row in np.flatnonzero(self.valid):
            words = b"".join(each[self.ends[row] - first : self.ends[row + 1] - first])
            out[row] = hashlib.blake2b(words, digest_size=16).digest()
        return out

    def _values_for_factorize(self) -> tuple[npt.NDArray[Any], Any]:
        return self._digests(), None

    def factorize(self, use_na_sentinel: bool = True) -> tuple[npt.NDArray[np.intp], Any]:
        """Codes of equal rows, and the first row of each."""
        codes, _ = pd.factorize(self._digests(), use_na_sentinel=use_na_sentinel)
        kinds, first = np.unique(codes, return_index=True)
        return codes, self._take(first[kinds >= 0])

    def duplicated(self, keep: Any = "first") -> Mask:
        """Which rows equal another one; null rows equal each other."""
        return pd.Index(self._digests()).duplicated(keep)

    def _values_for_argsort(self) -> npt.NDArray[Any]:
        raise TypeError(f"cells of {self.dtype} have no order")

    def _hash_pandas_object(
        self, *, encoding: str, hash_key: str, categorize: bool
    ) -> npt.NDArray[np.uint64]:
        words = b"".join(bytes(16) if d is None else d for d in self._digests())
        return np.frombuffer(words, np.uint64)[::2].copy()

    def __arrow_array__(self, type: pa.DataType | None = None) -> pa.Array:
        cells = to_arrow(self._own())
        return pa.ExtensionArray.from_storage(
            ImageListArrowType(self.dtype), lists_of(self, cells.storage, null_failed=False)
        )


def lists_of(rows: ImageListArray, values: pa.Array, null_failed: bool = True) -> pa.Array:
    """Arrow lists of `values`, one for each cell, as `rows` has them.

    Arrow's null lists are empty: with `null_failed` False a row that failed is a list of its one
    failed cell.
    """
    ends = rows.ends - rows.ends[0]
    valid = rows.valid if null_failed else rows.valid | rows.failed
    mask = None if valid.all() else pa.array(~valid)
    return pa.LargeListArray.from_arrays(pa.array(ends), values, mask=mask)


def _of_lists(chunk: pa.Array, dtype: ImageListDtype) -> ImageListArray:
    if isinstance(chunk.type, ImageListArrowType):
        dtype = chunk.type.to_pandas_dtype()
    lists = chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk
    rows = of_lists(lists, lambda values: from_arrow(values, dtype.item))
    length = np.diff(rows.ends)
    # a list of one failed cell is a row that failed
    first = np.minimum(rows.ends[:-1], max(len(rows.cells) - 1, 0))
    alone = rows.valid & (length == 1)
    if alone.any():
        cells = rows.cells
        lost = (~cells.valid & cells.has_error)[first]
        rows.valid = rows.valid & ~(alone & lost)
    return rows


def of_lists(lists: pa.Array, cells_of: Any) -> ImageListArray:
    """Rows of an Arrow array of lists; `cells_of` makes cells of all its values."""
    valid = lists.is_valid().to_numpy(zero_copy_only=False)
    length = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    ends = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    return ImageListArray(ends, valid, cells_of(lists.flatten()))


def _as_list(row: Any, dtype: ImageListDtype) -> list[Any]:
    if isinstance(row, list | tuple | ImageArray) or (
        isinstance(row, np.ndarray) and (row.dtype == object or row.ndim > 2 + dtype.item.tensor)
    ):
        return [c.as_image(cell, dtype.item.tensor) for cell in row]
    raise TypeError(f"a cell of {dtype} is a list of pictures; got {type(row).__name__}")


class ImageListArrowType(pa.ExtensionType):  # type: ignore[misc]
    """The Arrow extension type ``daskimg.images``; its metadata is the dtype of the items."""

    def __init__(self, dtype: ImageListDtype, storage: pa.DataType | None = None) -> None:
        self._dtype = dtype
        kind = storage or pa.large_list(ImageArrowType(dtype.item).storage_type)
        super().__init__(kind, "daskimg.images")

    def __arrow_ext_serialize__(self) -> bytes:
        return self._dtype.item.to_json().encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, data: bytes) -> ImageListArrowType:
        return cls(ImageListDtype(ImageDtype.from_json(data.decode())), storage)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ImageListArrowType)
            and self._dtype == other._dtype
            and self.storage_type == other.storage_type
        )

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:  # Dask looks Arrow types up in a set
        return hash((type(self), self._dtype))

    def __reduce__(self) -> tuple[Any, ...]:
        return ImageListArrowType, (self._dtype, self.storage_type)

    def to_pandas_dtype(self) -> ImageListDtype:
        """The dtype a pandas column of this type has."""
        return self._dtype


pa.register_extension_type(ImageListArrowType(ImageListDtype("image[file]")))
