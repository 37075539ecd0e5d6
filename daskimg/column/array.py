"""The pandas extension array behind an image column."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pandas.api.extensions import ExtensionArray
from pandas.api.indexers import check_array_indexer

from daskimg import fetch
from daskimg.column import storage as st
from daskimg.column.dtype import ImageDtype
from daskimg.column.image import Image, pixels_of
from daskimg.column.storage import Ragged, Text, Uniform

__all__ = ["ImageArray"]

Mask = npt.NDArray[np.bool_]


class ImageArray(ExtensionArray):
    """Cells of an image column as a struct of arrays.

    Parameters
    ----------
    dtype : ImageDtype
    valid : (N,) bool array
        False where a cell is null (failed or missing).
    data : Ragged, Uniform or None
        Pixels or bytes; None for a column of files.
    path, error : sequence of str or None
        Where each cell came from, and why it failed. A valid cell with an error was decoded in
        part.

    See Also
    --------
    ImageDtype : what the cells hold.
    """

    def __init__(
        self,
        dtype: ImageDtype,
        valid: Mask,
        data: Ragged | Uniform | None,
        path: Sequence[str | None] | Text = None,
        error: Sequence[str | None] | Text = None,
    ) -> None:
        self._dtype = dtype
        self.valid = valid
        self.data = data
        self.path: Text = st.text(path)
        self.error: Text = st.text(error)

    @classmethod
    def empty(cls, n: int, dtype: ImageDtype) -> ImageArray:
        """`n` missing cells."""
        if dtype.cells == "file":
            data: Ragged | Uniform | None = None
        elif dtype.cells == "encoded":
            data = Ragged.of_bytes([None] * n)
        elif dtype.shape is not None and dtype.cell_dtype is not None:
            data = Uniform.empty(n, dtype.cell_dtype, dtype.shape)
        else:
            data = Ragged.of_arrays([None] * n)
        return cls(dtype, np.zeros(n, bool), data)

    # -- construction ---------------------------------------------------------------------
    @classmethod
    def _from_sequence(
        cls, scalars: Any, *, dtype: ImageDtype | str | None = None, copy: bool = False
    ) -> ImageArray:
        wanted = ImageDtype("infer") if dtype is None else pd.api.types.pandas_dtype(dtype)
        if isinstance(scalars, cls) and wanted.cells in ("infer", scalars.dtype.cells):
            if wanted.shape in (None, scalars.dtype.shape):
                return scalars.copy() if copy else scalars
        if isinstance(scalars, np.ndarray) and scalars.ndim > 1:
            scalars = list(scalars)
        cells = [_as_image(cell, wanted.tensor) for cell in scalars]
        if wanted.cells == "infer":
            wanted = ImageDtype(
                next((_kind(cell) for cell in cells if cell is not None), "pixels"),
                on_error=wanted.on_error,
                source=wanted.source,
            )
        return cls.of(cells, wanted)

    @classmethod
    def of(cls, cells: Sequence[Image | None], dtype: ImageDtype) -> ImageArray:
        """A column of `dtype` from scalars; each is checked against it.

        Raises
        ------
        TypeError
            When a cell holds something else (pixels for a column of files, another shape).
        """
        path = [None if cell is None else cell.path for cell in cells]
        error = [None if cell is None else cell.error for cell in cells]
        if dtype.cells == "file":
            # a file cell is its path: pixels and bytes of the scalar are not kept
            valid = np.array(
                [p is not None and e is None for p, e in zip(path, error, strict=True)]
            )
            for cell in cells:
                if cell is not None and cell.path is None and not cell.failed:
                    raise TypeError(f"a cell of image[file] is a path; got {cell!r}")
            return cls(dtype, valid.astype(bool), None, path, error)
        contents = [
            None if cell is None or cell.failed else _content(cell, dtype) for cell in cells
        ]
        valid = np.array([content is not None for content in contents], bool)
        data: Ragged | Uniform
        if dtype.cells == "encoded":
            data = Ragged.of_bytes(contents)
        elif dtype.shape is not None and dtype.cell_dtype is not None:
            data = Uniform.empty(len(cells), dtype.cell_dtype, dtype.shape)
            for i, content in enumerate(contents):
                if content is not None:
                    data.values[i] = content
        else:
            data = Ragged.of_arrays(contents)
        return cls(dtype, valid, data, path, error)

    @classmethod
    def _from_factorized(cls, values: Any, original: ImageArray) -> ImageArray:
        return cls._from_sequence(values, dtype=original.dtype)

    @classmethod
    def _from_scalars(cls, scalars: Any, *, dtype: Any) -> ImageArray:
        if not all(scalar is pd.NA or isinstance(scalar, Image) for scalar in scalars):
            raise ValueError("not image scalars")
        return cls._from_sequence(scalars, dtype=dtype)

    # -- what pandas asks -----------------------------------------------------------------
    @property
    def dtype(self) -> ImageDtype:
        """The column's dtype."""
        return self._dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the rows of this array (of a slice: of the slice)."""
        data = 0 if self.data is None else self.data.nbytes
        return data + self.valid.nbytes + st.text_nbytes(self.path) + st.text_nbytes(self.error)

    def __len__(self) -> int:
        return len(self.valid)

    def _scalar(self, i: int) -> Any:
        if i < 0:
            i += len(self)
        if not 0 <= i < len(self):
            raise IndexError(f"row {i} is out of bounds for a column of {len(self)} rows")
        error = None if self.error is None else self.error[i].as_py()
        content: Any = None
        if self.valid[i] and self.data is not None:
            content = self.data.cell(i)
            if self.dtype.cells == "encoded":
                content = content.tobytes()
            else:
                content = content.view()
                content.flags.writeable = False
        elif not self.valid[i] and (error is None or self.dtype.tensor):
            return pd.NA
        if self.dtype.tensor:
            return content
        path = None if self.path is None else self.path[i].as_py()
        return Image(content, path, error, fetch.recall(self.dtype.source))

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, tuple) and len(item) == 2 and item[0] is Ellipsis:
            item = item[1]
        item = check_array_indexer(self, item)
        if isinstance(item, (int, np.integer)):
            return self._scalar(int(item))
        if isinstance(item, slice):
            start, stop, step = item.indices(len(self))
            if step == 1:
                return self._slice(start, max(stop, start))
        return self._take(np.arange(len(self), dtype=np.int64)[item])

    def _slice(self, start: int, stop: int) -> ImageArray:
        def cut(words: Text) -> Text:
            return None if words is None else words.slice(start, stop - start)

        rows = slice(start, stop)
        data = None if self.data is None else self.data[rows]
        return ImageArray(self.dtype, self.valid[rows], data, cut(self.path), cut(self.error))

    def _take(self, index: npt.NDArray[np.int64]) -> ImageArray:
        return ImageArray(
            self.dtype,
            self.valid[index],
            None if self.data is None else self.data.take(index),
            st.take_text(self.path, index),
            st.take_text(self.error, index),
        )

    def take(self, indices: Any, *, allow_fill: bool = False, fill_value: Any = None) -> ImageArray:
        """Rows at `indices`; with `allow_fill`, -1 is a missing cell (or `fill_value`)."""
        index = np.asarray(indices, np.int64)
        n = len(self)
        if not allow_fill:
            if len(index) and n == 0:
                raise IndexError("cannot do a non-empty take from an empty axes.")
            if len(index) and (index.min() < -n or index.max() >= n):
                raise IndexError(f"row out of bounds for a column of {n} rows")
            return self._take(np.where(index < 0, index + n, index))
        if len(index) and index.min() < -1:
            raise ValueError(f"rows to take are -1 or above; got {index.min()}")
        if len(index) and index.max() >= n:
            raise IndexError(f"row out of bounds for a column of {n} rows")
        missing = index == -1
        if not missing.any():
            return self._take(index)
        if n == 0:
            return ImageArray.empty(len(index), self.dtype)
        safe = np.where(missing, 0, index)
        data = None if self.data is None else self.data.take(safe)
        if isinstance(data, Ragged):
            data = Ragged(
                data.buffer, data.start, np.where(missing, 0, data.length), data.shape, data.code
            )
        elif isinstance(data, Uniform):
            data.values[missing] = 0
        taken = ImageArray(
            self.dtype,
            self.valid[safe] & ~missing,
            data,
            st.take_text(self.path, safe, missing),
            st.take_text(self.error, safe, missing),
        )
        if not (fill_value is None or fill_value is pd.NA or _is_nan(fill_value)):
            taken[missing] = fill_value
        return taken

    def __setitem__(self, key: Any, value: Any) -> None:
        if getattr(self, "_readonly", False):
            raise ValueError("Cannot modify read-only array")
        key = check_array_indexer(self, key)
        rows = np.atleast_1d(np.arange(len(self), dtype=np.int64)[key])
        one = (
            value is None
            or value is pd.NA
            or _is_nan(value)
            or isinstance(value, Image | str | bytes)
        )
        if one or (isinstance(value, np.ndarray) and value.dtype != object):
            value = [value] * len(rows)
        new = ImageArray._from_sequence(value, dtype=self.dtype)
        if len(new) == 1 != len(rows):
            new = new._take(np.zeros(len(rows), np.int64))
        if len(new) != len(rows):
            raise ValueError(f"cannot set {len(rows)} rows from {len(new)} cells")
        order = np.arange(len(self), dtype=np.int64)
        order[rows] = len(self) + np.arange(len(new))
        merged = ImageArray._concat_same_type([self, new])._take(order)
        self.valid, self.data = merged.valid, merged.data
        self.path, self.error = merged.path, merged.error

    def __iter__(self) -> Iterator[Any]:
        return (self._scalar(i) for i in range(len(self)))

    def isna(self) -> Mask:
        """True where a cell is null: failed or missing."""
        return ~self.valid

    def copy(self) -> ImageArray:
        """A copy whose cells can be set without changing this one; pixels are never mutated."""
        data = self.data
        if isinstance(data, Uniform):
            data = Uniform(data.values.copy())
        return ImageArray(self.dtype, self.valid.copy(), data, self.path, self.error)

    @classmethod
    def _concat_same_type(cls, to_concat: Sequence[ImageArray]) -> ImageArray:
        if len(to_concat) == 1:
            return to_concat[0]
        dtype = to_concat[0].dtype._get_common_dtype([part.dtype for part in to_concat])
        if dtype is None:
            raise TypeError(f"cannot concatenate {', '.join(str(p.dtype) for p in to_concat)}")
        data: Any = None
        if all(isinstance(part.data, Uniform) for part in to_concat) and dtype.shape is not None:
            data = Uniform.concat([part.data for part in to_concat])  # type: ignore[misc]
        elif dtype.cells != "file":
            data = Ragged.concat([part.as_ragged() for part in to_concat])
        return cls(
            dtype,
            np.concatenate([part.valid for part in to_concat]),
            data,
            st.concat_text([(part.path, len(part)) for part in to_concat]),
            st.concat_text([(part.error, len(part)) for part in to_concat]),
        )

    def as_ragged(self) -> Ragged:
        """The cells in one flat buffer, whatever the layout."""
        if isinstance(self.data, Ragged):
            return self.data
        if self.data is None:
            raise TypeError("a column of files holds no bytes; read() them first")
        values = np.ascontiguousarray(self.data.values)
        n, shape = len(values), values.shape[1:]
        size = np.full((n, max(3, len(shape))), -1, np.int32)
        size[:, : len(shape)] = shape
        step = values.nbytes // n if n else 0
        return Ragged(
            values.reshape(-1).view(np.uint8) if values.size else np.empty(0, np.uint8),
            np.arange(n, dtype=np.int64) * step,
            np.where(self.valid, step, 0).astype(np.int64),
            size,
            np.full(n, st.CODES[values.dtype], np.uint8),
        )

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """Another kind of cell where no picture need be read: else use ``.img``.

        ``image[file]`` and ``image[pixels]`` columns convert to other names of what they hold
        (``image[uint8]``); to ``object`` gives scalars, to ``str`` the paths of a file column.
        """
        dtype = pd.api.types.pandas_dtype(dtype)
        if isinstance(dtype, ImageDtype):
            if dtype == self.dtype or dtype.cells == "infer":
                target = self.dtype.derive(
                    self.dtype.cells,
                    self.dtype.shape,
                    on_error=dtype.on_error or self.dtype.on_error,
                    source=dtype.source or self.dtype.source,
                )
                kept = self.copy() if copy else self
                return ImageArray(target, kept.valid, kept.data, kept.path, kept.error)
            if dtype.holds_pixels != self.dtype.holds_pixels or not dtype.holds_pixels:
                raise TypeError(
                    f"astype does not read or decode: {self.dtype} to {dtype}; use .img.read() for "
                    "encoded bytes, .img.decode() for pixels"
                )
            return ImageArray.of([_as_image(cell, self.dtype.tensor) for cell in self], dtype)
        if isinstance(dtype, pd.StringDtype):
            if self.dtype.cells == "file":
                paths = pa.nulls(len(self), pa.large_string()) if self.path is None else self.path
                return pd.array(paths.to_pylist(), dtype=dtype)
            return pd.array([None if c is pd.NA else str(c) for c in self], dtype=dtype)
        return super().astype(dtype, copy=copy)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        out = np.empty(len(self), object)
        for i, cell in enumerate(self):
            out[i] = cell
        return out if dtype is None or dtype == object else out.astype(dtype)

    def _formatter(self, boxed: bool = False) -> Callable[[Any], str]:
        def show(cell: Any) -> str:
            if isinstance(cell, np.ndarray):
                return f"<{'x'.join(map(str, cell.shape))} {cell.dtype}>"
            if isinstance(cell, Image) and boxed:
                if cell.data is None and cell.path is not None and not cell.failed:
                    return os.path.basename(fetch.mask_url(cell.path))
                if isinstance(cell.data, np.ndarray):
                    return f"<{'x'.join(map(str, cell.data.shape))}>"
            return str(cell)

        return show

    # -- comparison and hashing -----------------------------------------------------------
    def __eq__(self, other: Any) -> Any:
        if isinstance(other, pd.Series | pd.Index | pd.DataFrame):
            return NotImplemented
        if not isinstance(other, ImageArray | list | np.ndarray) or (
            isinstance(other, np.ndarray) and other.dtype != object
        ):
            other = [other] * len(self)
        if len(other) != len(self):
            raise ValueError(f"Lengths must match: {len(self)} and {len(other)} rows")
        return np.array([_same(a, b) for a, b in zip(self, other, strict=True)], bool)

    def __ne__(self, other: Any) -> Any:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else ~equal

    def equals(self, other: object) -> bool:
        """Same dtype, same cells, nulls in the same rows."""
        if (
            not isinstance(other, ImageArray)
            or self.dtype != other.dtype
            or len(self) != len(other)
        ):
            return False
        both = self.isna() & other.isna()
        return bool(np.array_equal(self.isna(), other.isna()) and ((self == other) | both).all())

    def _values_for_factorize(self) -> tuple[npt.NDArray[Any], Any]:
        # pictures are told apart by content; hashing needs something hashable
        cells = [None if c is pd.NA else _hashable(c) for c in self]
        out = np.empty(len(cells), object)
        out[:] = cells
        return out, None

    def factorize(self, use_na_sentinel: bool = True) -> tuple[npt.NDArray[np.intp], ImageArray]:
        """Codes of equal cells, and one cell of each."""
        codes, uniques = pd.factorize(
            self._values_for_factorize()[0], use_na_sentinel=use_na_sentinel
        )
        first = np.full(len(uniques), -1, np.int64)
        for row in range(len(self) - 1, -1, -1):
            if codes[row] >= 0:
                first[codes[row]] = row
        return codes, self._take(first)

    def _hash_pandas_object(
        self, *, encoding: str, hash_key: str, categorize: bool
    ) -> npt.NDArray[np.uint64]:
        texts = [repr(cell) for cell in self._values_for_factorize()[0]]
        values = np.array(texts, object)
        return pd.util.hash_array(
            values, encoding=encoding, hash_key=hash_key, categorize=categorize
        )

    # -- leaving the process --------------------------------------------------------------
    def compact(self) -> ImageArray:
        """The same rows holding no memory of the array they were sliced from."""
        return ImageArray(
            self.dtype,
            np.ascontiguousarray(self.valid),
            None if self.data is None else self.data.compact(),
            st.compact_text(self.path),
            st.compact_text(self.error),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        c = self.compact()
        return ImageArray, (c.dtype, c.valid, c.data, c.path, c.error)

    def __arrow_array__(self, type: pa.DataType | None = None) -> pa.Array:
        from daskimg.column.arrow import to_arrow

        return to_arrow(self)

    # -- what the library asks ------------------------------------------------------------
    @property
    def has_path(self) -> Mask:
        """Rows whose path is known."""
        return _present(self.path, len(self))

    @property
    def has_error(self) -> Mask:
        """Rows with a recorded reason."""
        return _present(self.error, len(self))

    def token(self) -> tuple[Any, ...]:
        """Plain arrays that tell the content of this array and of no other rows."""
        c = self.compact()
        text = [None if t is None else t.to_numpy(zero_copy_only=False) for t in (c.path, c.error)]
        data: Any = None
        if isinstance(c.data, Uniform):
            data = c.data.values
        elif c.data is not None:
            data = (c.data.buffer, c.data.length, c.data.shape, c.data.code)
        return (c.dtype.__dask_tokenize__(), c.valid, data, *text)


def _present(words: Text, n: int) -> Mask:
    if words is None:
        return np.zeros(n, bool)
    present: Mask = words.is_valid().to_numpy(zero_copy_only=False)
    return present


def _is_nan(value: Any) -> bool:
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def _as_image(cell: Any, tensor: bool) -> Image | None:
    """Any value that a user may put in a column, as a scalar."""
    if cell is None or cell is pd.NA or _is_nan(cell):
        return None
    if isinstance(cell, Image):
        return cell
    if isinstance(cell, str | os.PathLike):
        return Image(path=os.fspath(cell))
    if isinstance(cell, bytes | bytearray | memoryview):
        return Image(bytes(cell))
    pixels = pixels_of(cell)
    if pixels.dtype == object or (not tensor and not 2 <= pixels.ndim <= 3):
        wanted = "an array" if tensor else "an (H, W) or (H, W, C) array, a picture, bytes, a path"
        raise TypeError(
            f"a cell is {wanted} or None; got {type(cell).__name__} of shape {pixels.shape}"
        )
    return Image(pixels)


def _kind(cell: Image) -> str:
    if isinstance(cell.data, bytes):
        return "encoded"
    return "file" if cell.data is None and not cell.failed else "pixels"


def _content(cell: Image, dtype: ImageDtype) -> Any:
    """What `cell` holds, as a column of `dtype` keeps it."""
    if dtype.cells == "encoded":
        if not isinstance(cell.data, bytes):
            raise TypeError(f"a cell of image[encoded] is bytes; got {cell!r}")
        return cell.data
    pixels = cell.data
    if not isinstance(pixels, np.ndarray):
        raise TypeError(f"a cell of {dtype} is an array; got {cell!r}; decode it first")
    if dtype.cell_dtype is not None and pixels.dtype != dtype.cell_dtype:
        if not np.can_cast(pixels.dtype, dtype.cell_dtype, "same_kind"):
            raise TypeError(f"a cell of {dtype} is {dtype.cells}; got {pixels.dtype}")
        pixels = pixels.astype(dtype.cell_dtype)
    if dtype.shape is not None and pixels.shape != dtype.shape:
        raise TypeError(f"a cell of {dtype} has shape {dtype.shape}; got {pixels.shape}")
    return pixels


def _hashable(cell: Any) -> Any:
    if isinstance(cell, np.ndarray):
        return (cell.shape, str(cell.dtype), cell.tobytes())
    return cell


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Image) and isinstance(b, Image):
        return a.data is not None and a == b or (a.path is not None and a == b and not a.failed)
    a = a.data if isinstance(a, Image) else a
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return bool(a.shape == b.shape and np.array_equal(a, b))
    return isinstance(a, bytes) and a == b
