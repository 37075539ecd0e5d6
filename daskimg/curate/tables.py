"""A function of tables: of a pandas one at once, of a Dask one partition by partition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from daskimg.lazy.nodes import numbered

__all__ = ["each", "empty", "like", "whole"]


def empty(columns: Mapping[str, Any]) -> pd.DataFrame:
    """No rows of these columns and dtypes."""
    return pd.DataFrame({name: pd.Series([], dtype=dtype) for name, dtype in columns.items()})


def like(frame: Any) -> pd.DataFrame:
    """No rows of a frame, pandas or Dask."""
    rows: pd.DataFrame = frame.iloc[:0] if isinstance(frame, pd.DataFrame) else frame._meta
    return rows


def each(table: Any, call: Callable[[pd.DataFrame], pd.DataFrame], meta: pd.DataFrame) -> Any:
    """`call` of each partition."""
    if isinstance(table, pd.DataFrame):
        return call(table)
    return table.map_partitions(call, meta=meta, enforce_metadata=False)


def whole(rows: Any, meta: pd.DataFrame) -> Any:
    """A Dask table that stands on several others, of which Dask takes no columns apart."""
    return numbered(rows, _as_it_is, meta)


def _as_it_is(part: pd.DataFrame, number: int) -> pd.DataFrame:
    return part
