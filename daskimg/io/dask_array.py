"""Arrays as frames: `from_array`; the way back is ``s.img.to_dask_array()``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
from dask.highlevelgraph import HighLevelGraph

from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype, check_policy, is_picture_shape
from daskimg.column.storage import DTYPES, Uniform
from daskimg.io.shards import numbered
from daskimg.lazy.source import from_reader
from daskimg.words import READERS, known_as

__all__ = ["from_array"]

PART_BYTES = 32 * 2**20  # of a partition of a NumPy array


@known_as(READERS)
def from_array(x: Any, *, column: str = "image", on_error: str | None = None) -> dd.DataFrame:
    """A NumPy or Dask array as a frame of one column, a row for each item of its first axis.

    Parameters
    ----------
    x : array
        ``(N, H, W)`` or ``(N, H, W, 1|3|4)`` are pictures, other shapes tensors. Chunks along
        the first axis of a Dask array become partitions; other axes become one chunk.
    column : str
        The column's name.
    on_error : {"raise", "null"}, optional
        The column's error policy; None follows ``daskimg.on-error``.

    Returns
    -------
    dask.dataframe.DataFrame
        With one RangeIndex and known divisions where the lengths of chunks are known.

    Raises
    ------
    TypeError
        For what is no array, or one of objects or text.
    ValueError
        For an array with fewer than two axes.

    Examples
    --------
    >>> df = di.from_array(np.zeros((10, 4, 6, 3), "uint8"))
    >>> df.image.dtype, len(df)
    (image[uint8, 4x6x3], 10)
    >>> df.image.img.resize(2, 3).img.to_dask_array().shape
    (10, 2, 3, 3)
    """
    if not hasattr(x, "ndim") or not hasattr(x, "dtype"):
        raise TypeError(f"expected a NumPy or Dask array; got {type(x).__name__}")
    if x.ndim < 2:
        raise ValueError(f"an array of pictures is (N, H, W) or (N, H, W, C); got shape {x.shape}")
    native = np.dtype(x.dtype).newbyteorder("=")
    if native not in DTYPES:
        raise TypeError(f"pixels are numbers or booleans; got an array of {x.dtype}")
    shape = tuple(x.shape[1:])
    tensor = not is_picture_shape(shape)
    dtype = ImageDtype(native.name, shape, tensor=tensor, on_error=check_policy(on_error))
    if hasattr(x, "dask"):
        return _of_chunks(x, column, dtype)
    values = np.asarray(x)
    rows = max(1, PART_BYTES // max(1, math.prod(shape) * native.itemsize))
    starts = [*range(0, len(values), rows)] or [0]
    parts = [(start, values[start : start + rows]) for start in starts]
    meta = _rows((0, values[:0]), dtype, column)
    reader = _Chunks(dtype, column)
    return from_reader(
        reader,
        parts,
        meta=meta,
        divisions=[*starts, max(len(values) - 1, 0)],
        lengths=[len(part) for _, part in parts],
        label="from-array",
    )


class _Chunks:
    """Makes a partition of rows held in the graph."""

    def __init__(self, dtype: ImageDtype, column: str) -> None:
        self.dtype, self.column = dtype, column

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("daskimg.from_array", self.dtype.__dask_tokenize__(), self.column)

    def __call__(self, part: tuple[int, Any], columns: Sequence[str] | None = None) -> pd.DataFrame:
        frame = _rows(part, self.dtype, self.column)
        return frame if columns is None else frame[list(columns)]


def _rows(part: tuple[int, Any], dtype: ImageDtype, column: str) -> pd.DataFrame:
    start, values = part
    cells = ImageArray(
        dtype,
        np.ones(len(values), bool),
        Uniform(np.ascontiguousarray(values, dtype.cell_dtype)),
    )
    index = pd.RangeIndex(start, start + len(values))
    return pd.DataFrame({column: cells}, index=index, copy=False)


def _of_chunks(x: Any, column: str, dtype: ImageDtype) -> dd.DataFrame:
    x = x.rechunk({axis: -1 for axis in range(1, x.ndim)})
    lengths = x.chunks[0]
    known = not any(math.isnan(length) for length in lengths)
    divisions = numbered(len(lengths))
    if known:
        starts = np.cumsum([0, *lengths]).tolist()
        divisions = [*starts[:-1], max(starts[-1] - 1, 0)]
    blocks = x.to_delayed().ravel()
    make = dask.delayed(_rows, pure=True)
    parts = [
        make((start, block), dtype, column)
        for start, block in zip(divisions[:-1], blocks, strict=True)
    ]
    meta = _rows((0, np.empty((0, *dtype.shape), dtype.cell_dtype)), dtype, column)  # type: ignore[misc]
    # dd.from_delayed would do, but what is made of it cannot become an array again
    graph = dict(HighLevelGraph.merge(*(part.dask for part in parts)))
    keys = [part.key for part in parts]
    return dd.from_graph(graph, meta, tuple(divisions), keys, "from-array")
