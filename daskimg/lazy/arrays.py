"""A lazy image column as a Dask array."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from daskimg.column.dtype import ImageDtype
from daskimg.lazy.expr import RULES, new_collection
from daskimg.lazy.partitions import counted
from daskimg.lazy.source import row_counts
from daskimg.lazy.tree import decider

__all__ = ["dask_array"]


def dask_array(series: Any, lengths: bool | Sequence[int] | None, na_value: Any) -> Any:
    """Pixels of one shape as a Dask array, a chunk for each partition."""
    import dask.array as da

    dtype: ImageDtype = series.dtype
    if dtype.shape is None or dtype.cell_dtype is None:
        raise ValueError(
            f"an array has one shape, and {series.name!r} is {dtype}: use "
            '.img.decode("RGB").img.resize(height, width) first'
        )
    if lengths is True:
        lengths = _lengths(series)
    rows = [math.nan] * series.npartitions if lengths in (None, False) else list(lengths)  # type: ignore[arg-type]
    if len(rows) != series.npartitions:
        raise ValueError(f"lengths: {len(rows)} numbers for {series.npartitions} partitions")
    like = np.empty((0, *dtype.shape), dtype.cell_dtype)
    made = series.map_partitions(_pixels, na_value, meta=like)
    chunks = (tuple(rows), *((side,) for side in dtype.shape))
    return da.Array(made.dask, made.name, chunks, meta=like)


def _pixels(part: pd.Series, na_value: Any) -> Any:
    return part.img.to_numpy(na_value)


def _lengths(series: Any) -> list[int]:
    """Rows of each partition, running nothing but what decides which rows there are."""
    known = row_counts(series)
    if known is not None:
        return list(known)
    rows = new_collection(decider(series.expr)) if RULES else series
    if RULES and rows.ndim == 1:  # what chooses partitions goes below what leaves rows alone
        rows = new_collection(decider(rows.expr.simplify()))
    rows = counted(rows) if rows.ndim == 2 else rows
    lengths = rows.map_partitions(_count, meta=pd.Series([], dtype="int64"))
    found: list[int] = lengths.compute().tolist()
    return found


def _count(part: Any) -> pd.Series:
    return pd.Series([len(part)])
