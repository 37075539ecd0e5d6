"""The pandas extension array behind an image column."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pandas.api.extensions import no_default
from pandas.api.indexers import check_array_indexer

from daskimg.column import cells as c
from daskimg.column import text
from daskimg.column.arrow import ImageArrowType, from_arrow, from_values, to_arrow
from daskimg.column.compare import ByContent
from daskimg.column.dtype import ImageDtype
from daskimg.column.held import Mask
from daskimg.column.image import Image
from daskimg.column.json import JsonArray
from daskimg.column.storage import Ragged, Uniform, mixed
from daskimg.column.text import Text
from daskimg.compat import nulled
from daskimg.transport import fetch

__all__ = ["ImageArray"]


class ImageArray(ByContent):
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
        self.path: Text = text.of(path)
        self.error: Text = text.of(error)

    @classmethod
    def empty(cls, n: int, dtype: ImageDtype) -> ImageArray:
        """`n` missing cells."""
        return cls(dtype, np.zeros(n, bool), c.lay_out([None] * n, dtype))

    # -- construction ---------------------------------------------------------------------
    @classmethod
    def _from_sequence(
        cls, scalars: Any, *, dtype: ImageDtype | str | None = None, copy: bool = False
    ) -> ImageArray:
        wanted: Any = ImageDtype("infer") if dtype is None else pd.api.types.pandas_dtype(dtype)
        scalars = getattr(scalars, "array", scalars)  # of a Series, an Index
        kept: ImageArray
        if isinstance(scalars, cls):
            kept = scalars.astype(wanted, copy=copy)
            return kept
        if (made := from_values(scalars, wanted)) is not None:
            kept = cls(*made).astype(wanted, copy=False)
            return kept
        cells = [c.as_image(cell, wanted.tensor) for cell in scalars]
        if wanted.cells == "infer":
            # json may hold other kinds in each partition; Dask asks what objects are by none
            empty = not isinstance(scalars, list | tuple) and not len(cells)
            unknown = empty or isinstance(scalars, JsonArray)
            wanted = wanted.derive("mixed" if unknown else c.infer(cells))
        return cls.of(cells, wanted)

    @classmethod
    def from_arrow(cls, array: pa.Array | pa.ChunkedArray, dtype: ImageDtype) -> ImageArray:
        """The column of an Arrow array of ours, of paths, of bytes, or of structs of these."""
        if isinstance(array, pa.ChunkedArray):
            parts = [cls(*from_arrow(chunk, dtype)) for chunk in array.chunks]
            return cls._concat_same_type(parts) if parts else cls.empty(0, dtype)
        return cls(*from_arrow(array, dtype))

    @classmethod
    def of(cls, cells: Sequence[Image | None], dtype: ImageDtype) -> ImageArray:
        """A column of `dtype` from scalars; each is checked against it.

        Raises
        ------
        TypeError
            When a cell holds something else (pixels for a column of files, another shape).
        """
        contents = [None if x is None or x.failed else c.check(x, dtype) for x in cells]
        return cls(
            c.kept_to(dtype, cells),
            np.array([content is not None for content in contents], bool),
            c.lay_out(contents, dtype),
            [None if x is None else x.path for x in cells],
            [None if x is None else x.error for x in cells],
        )

    @classmethod
    def _from_factorized(cls, values: Any, original: ImageArray) -> ImageArray:
        return cls._from_sequence(values, dtype=original.dtype)

    @classmethod
    def _from_scalars(cls, scalars: Any, *, dtype: Any) -> ImageArray:
        if not all(x is pd.NA or isinstance(x, dtype.type) for x in scalars):
            raise ValueError(f"not cells of {dtype}")
        return cls._from_sequence(scalars, dtype=dtype)

    # -- what pandas asks -----------------------------------------------------------------
    def _scalar(self, i: int, path: str | None, error: str | None) -> Any:
        content: Any = None
        if self.valid[i] and self.data is not None:
            content = self.data.content(i)
            if isinstance(content, memoryview):
                content = content.tobytes()
            elif content is not None:
                content = content.view()
                content.flags.writeable = False
        elif not self.valid[i] and (error is None or self.dtype.tensor):
            return pd.NA
        if self.dtype.tensor:
            return content
        return Image(content, path, error, fetch.recall(self.dtype.source))

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, tuple):
            axes = [one for one in item if one is not Ellipsis]
            item = axes[0] if len(axes) == 1 else item
        item = check_array_indexer(self, item)
        if isinstance(item, int | np.integer):
            i = range(len(self))[item] if -len(self) <= item < len(self) else None
            if i is None:
                raise IndexError(f"index {item} is out of bounds for axis 0 with size {len(self)}")
            path, error = (None if t is None else t[i].as_py() for t in (self.path, self.error))
            return self._scalar(i, path, error)
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
        view = ImageArray(self.dtype, self.valid[rows], data, cut(self.path), cut(self.error))
        view._readonly = self._readonly
        return view

    def _take(self, index: npt.NDArray[np.int64], missing: Mask | None = None) -> ImageArray:
        return ImageArray(
            self.dtype,
            self.valid[index] if missing is None else self.valid[index] & ~missing,
            None if self.data is None else self.data.take(index, missing),
            text.take(self.path, index, missing),
            text.take(self.error, index, missing),
        )

    def take(self, indices: Any, *, allow_fill: bool = False, fill_value: Any = None) -> ImageArray:
        """Rows at `indices`; with `allow_fill`, -1 is a missing cell (or `fill_value`)."""
        index = np.asarray(indices, np.int64)
        n = len(self)
        outside = index[(index >= n) | ((index < -n) & (not allow_fill))]
        if len(outside):
            if n == 0:
                raise IndexError("cannot do a non-empty take from an empty axes.")
            raise IndexError(f"index {outside[0]} is out of bounds for axis 0 with size {n}")
        if not allow_fill:
            return self._take(np.where(index < 0, index + n, index))
        if len(index) and index.min() < -1:
            raise ValueError(f"rows to take are -1 or above; got {index.min()}")
        missing = index == -1
        if not missing.any():
            return self._take(index)
        if n == 0:
            taken = ImageArray.empty(len(index), self.dtype)
        else:
            taken = self._take(np.where(missing, 0, index), missing)
        if not c.is_missing(fill_value):
            taken[missing] = fill_value
        return taken

    def __setitem__(self, key: Any, value: Any) -> None:
        # Buffers are replaced, never written: they may be shared with slices, Arrow tables, tasks
        if self._readonly:
            raise ValueError("Cannot modify read-only array")
        key = check_array_indexer(self, key)
        rows = np.atleast_1d(np.arange(len(self), dtype=np.int64)[key])
        one = isinstance(key, int | np.integer)
        new = None if c.is_missing(value) else self._cells_for(value, len(rows), one)
        if new is not None and len(new) != len(rows):
            raise ValueError(f"cannot set {len(rows)} rows from {len(new)} cells")
        order = np.arange(len(self), dtype=np.int64)
        order[rows] = len(self) + np.arange(len(rows))
        path, error = (None, None) if new is None else (new.path, new.error)
        valid = self.valid.copy()
        valid[rows] = False if new is None else new.valid
        if self.data is not None:
            data: Any = None if new is None else new.data
            self.data = self.data.put(rows, data)
        self.valid = valid
        self.path = text.put(self.path, order, path, len(rows))
        self.error = text.put(self.error, order, error, len(rows))

    def _cells_for(self, value: Any, n: int, one: bool) -> ImageArray:
        """`value` as cells for `n` rows: one of them repeated, or as many as it holds."""
        if isinstance(value, np.ndarray) and value.dtype != object:
            axes = 3 if self.dtype.shape is None else len(self.dtype.shape)
            # (a row of numbers is no picture: NaN of other columns may come here)
            repeat = value.ndim <= axes and (self.dtype.tensor or value.ndim != 1)
        else:
            repeat = isinstance(value, Image | str | os.PathLike | bytes) or not hasattr(
                value, "__len__"
            )
        if one and not repeat:
            raise ValueError(f"setting one cell with a sequence: {type(value).__name__}")
        new = self.admitted([value] if repeat else value)
        return new._take(np.zeros(n, np.int64)) if len(new) == 1 != n else new

    def admitted(self, values: Any) -> ImageArray:
        """`values` as cells of this column, which opens no path of theirs that was not opened."""
        dtype = self.dtype.derive(self.dtype.cells, self.dtype.shape, source=None)
        return ImageArray._from_sequence(values, dtype=dtype)._kept_home(self.dtype)

    def __iter__(self) -> Iterator[Any]:
        nothing = [None] * len(self)
        paths = nothing if self.path is None else self.path.to_pylist()
        errors = nothing if self.error is None else self.error.to_pylist()
        return (self._scalar(i, paths[i], errors[i]) for i in range(len(self)))

    def _values_for_json(self) -> npt.NDArray[Any]:
        return np.asarray(self.astype(str) if self.dtype.cells == "file" else self, object)

    def copy(self) -> ImageArray:
        """An array whose cells can be set without changing this one; of a slice, these rows alone.

        Other pixels are shared: setting a cell makes new buffers and leaves the old ones alone.
        """
        data = None if self.data is None else self.data.apart()
        path, error = text.compact(self.path), text.compact(self.error)
        return ImageArray(self.dtype, self.valid.copy(), data, path, error)

    def apart(self) -> ImageArray:
        """An array whose cells can be set without changing this one, on the same memory."""
        return ImageArray(self.dtype, self.valid, self.data, self.path, self.error)

    @classmethod
    def _concat_same_type(cls, to_concat: Sequence[ImageArray]) -> ImageArray:
        if len(to_concat) == 1:
            return to_concat[0].apart()
        dtype = to_concat[0].dtype._get_common_dtype([part.dtype for part in to_concat])
        if dtype is None:
            raise TypeError(f"cannot concatenate {', '.join(str(p.dtype) for p in to_concat)}")
        to_concat = [part._kept_home(dtype) for part in to_concat]
        data: Any = None
        if all(isinstance(part.data, Uniform) for part in to_concat) and dtype.shape is not None:
            data = Uniform.concat([part.data for part in to_concat])  # type: ignore[misc]
        elif dtype.cells == "mixed":
            data = Ragged.concat([mixed(part.data, part.valid) for part in to_concat])
        elif dtype.cells != "file":
            data = Ragged.concat([part.as_ragged() for part in to_concat])
        return cls(
            dtype,
            np.concatenate([part.valid for part in to_concat]),
            data,
            text.concat([(part.path, len(part)) for part in to_concat]),
            text.concat([(part.error, len(part)) for part in to_concat]),
        )

    def _kept_home(self, dtype: ImageDtype) -> ImageArray:
        """The same, to be part of a column of `dtype`: it opens no path that it did not before."""
        refused = c.refused(self, dtype)
        if not refused:
            return self
        reasons = [None] * len(self) if self.error is None else self.error.to_pylist()
        for i, reason in refused.items():
            reasons[i] = reason
        rows, valid = [*refused], self.valid.copy()
        valid[rows] = False
        data = None if self.data is None else self.as_ragged().blank(rows)
        return ImageArray(self.dtype, valid, data, self.path, reasons)

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """Another kind of cell where no picture need be read: else use ``.img``.

        Columns of pixels convert to other names of what they hold (``image[uint8]`` to
        ``image[pixels]``, to ``image[uint16]``, to ``tensor[uint8]``) where no value changes; to
        ``object`` gives scalars, to ``str`` the paths of a file column.

        Raises
        ------
        TypeError
            When pictures would have to be read, decoded or encoded, or do not fit.
        """
        dtype = pd.api.types.pandas_dtype(dtype)
        if isinstance(dtype, ImageDtype):
            return self._as_kind(dtype, copy)
        named = isinstance(dtype, np.dtype) and dtype.kind == "U"  # what `str` is before pandas 3
        if named or isinstance(dtype, pd.StringDtype):
            words: Any = self.path
            if self.dtype.cells != "file":
                words = pa.array([None if x is pd.NA else str(x) for x in self], pa.large_string())
            elif words is None:
                words = pa.nulls(len(self), pa.large_string())
            else:
                words = nulled(words, pa.array(~self.valid))
            if named:
                return words.to_numpy(zero_copy_only=False)
            return dtype.__from_arrow__(words)
        return super().astype(dtype, copy=copy)

    def _as_kind(self, dtype: ImageDtype, copy: bool) -> ImageArray:
        mine = self.dtype
        same = dtype.cells == "infer" or dtype == mine
        target = (mine if same else dtype).derive(
            mine.cells if same else dtype.cells,
            mine.shape if same else dtype.shape,
            on_error=dtype.on_error or mine.on_error,
            source=dtype.source or mine.source,
            mode=dtype.mode or mine.mode,
            root=dtype.root or mine.root,
        )
        if same:
            if not copy and target.to_json() == mine.to_json():
                return self
            data = self.data
        else:
            data = c.recast(self, target)
        return ImageArray(target, self.valid.copy(), data, self.path, self.error)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        self.refuse_numbers(dtype)
        if copy is False:
            raise ValueError("cells of an image column are objects made on demand: copy them")
        out = np.empty(len(self), object)
        for i, cell in enumerate(self):
            out[i] = cell
        return out if dtype is None else out.astype(dtype, copy=False)

    def to_numpy(
        self, dtype: Any = None, copy: bool = False, na_value: Any = no_default
    ) -> npt.NDArray[Any]:
        """An object array of scalars; ``.img.to_numpy()`` gives the pixels as one array."""
        out = self.__array__(object)
        if na_value is not no_default:
            for i in np.flatnonzero(self.isna()):
                out[i] = na_value
        return out if dtype is None else out.astype(dtype, copy=False)

    def _formatter(self, boxed: bool = False) -> Callable[[Any], str]:
        return lambda cell: c.label(cell, boxed)

    # -- leaving the process --------------------------------------------------------------
    def tight(self) -> ImageArray:
        """The same rows in buffers that hold no others: views where they are contiguous."""
        return ImageArray(
            self.dtype,
            np.ascontiguousarray(self.valid),
            None if self.data is None else self.data.tight(),
            text.compact(self.path),
            text.compact(self.error),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        rows = self.tight()
        return ImageArray, (rows.dtype, rows.valid, rows.data, rows.path, rows.error)

    def __arrow_array__(self, type: pa.DataType | None = None) -> pa.Array:
        wanted = type.to_pandas_dtype() if isinstance(type, ImageArrowType) else self.dtype
        return to_arrow(self if wanted == self.dtype else self.astype(wanted))
