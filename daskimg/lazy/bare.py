"""Rows and columns as bare arrays, before pandas makes a frame or a series of them.

A pandas object costs more than a small picture does. What is made and used within the library
stays a `Table`; a `Frame` is either.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from dask.dataframe.dispatch import concat
from pandas.arrays import NumpyExtensionArray

from daskimg.column.array import ImageArray
from daskimg.column.lists import ImageListArray

__all__ = [
    "Column",
    "Frame",
    "Table",
    "apart",
    "array_of",
    "arrays_of",
    "as_pandas",
    "joined",
    "rows_at",
    "some_rows",
]


@dataclass(frozen=True)
class Table:
    """A frame before pandas. Several may hold one array, one of them twice; pandas gets its own."""

    index: pd.Index
    arrays: dict[Any, Any]

    def __len__(self) -> int:
        return len(self.index)

    def pandas(self) -> pd.DataFrame:
        own = {place: apart(array) for place, array in enumerate(self.arrays.values())}
        made = pd.DataFrame(own, index=self.index, copy=False)
        names = tuple(self.arrays)
        # 0, 0.0 and False are one key; and a user may name what is given
        made.columns = _names(names, tuple(map(type, names))).view()
        return made


@dataclass(frozen=True)
class Column:
    """A series before pandas, which gets an array of its own."""

    index: pd.Index
    array: Any
    name: Any

    def __len__(self) -> int:
        return len(self.index)

    def pandas(self) -> pd.Series:
        return pd.Series(apart(self.array), index=self.index, name=self.name, copy=False)


Frame: TypeAlias = Table | pd.DataFrame


@functools.lru_cache(256)
def _names(columns: tuple[Any, ...], kinds: tuple[type, ...]) -> pd.Index:
    return pd.Index(list(columns))


def apart(array: Any) -> Any:
    """An array that can be set without changing this one; pictures stay where they are."""
    return array.apart() if isinstance(array, ImageArray | ImageListArray) else array.copy()


def as_pandas(value: Any) -> Any:
    """`value` as those know it who know pandas only."""
    return value.pandas() if isinstance(value, Table | Column) else value


def arrays_of(frame: Frame) -> Iterator[tuple[Any, Any]]:
    """The name and the array of each column, NumPy's own where pandas has wrapped it."""
    if isinstance(frame, Table):
        columns: Iterator[tuple[Any, Any]] = iter(frame.arrays.items())
    else:
        columns = ((name, frame.iloc[:, place].array) for place, name in enumerate(frame.columns))
    return ((name, _unwrapped(array)) for name, array in columns)


def _unwrapped(array: Any) -> Any:
    return array.to_numpy() if type(array) is NumpyExtensionArray else array


def some_rows(frame: Frame, start: int, stop: int) -> Frame:
    """Rows from `start` to `stop`, as a view."""
    if stop - start == len(frame):
        return frame
    if isinstance(frame, Table):
        arrays = {name: array[start:stop] for name, array in frame.arrays.items()}
        return Table(frame.index[start:stop], arrays)
    return frame.iloc[start:stop]


def rows_at(value: Any, places: Any) -> Any:
    """The rows at some places, of anything that has rows."""
    if isinstance(value, Table):
        arrays = {name: _at(array, places) for name, array in value.arrays.items()}
        return Table(value.index[places], arrays)
    if isinstance(value, Column):
        return Column(value.index[places], _at(value.array, places), value.name)
    return value[places] if isinstance(value, pd.Index) else value.iloc[places]


def _at(array: Any, places: Any) -> Any:
    return array[places] if isinstance(array, np.ndarray) else array.take(places)


def array_of(column: Any) -> Any:
    """The array of a column."""
    return _unwrapped(column.array) if isinstance(column, Column | pd.Series) else column


def joined(parts: Sequence[Any]) -> Any:
    """The rows of all parts of a frame or of a series, one after the other.

    Examples
    --------
    >>> first = Table(pd.RangeIndex(2), {"n": np.array([1, 2])})
    >>> both = joined([first, Table(pd.RangeIndex(2, 3), {"n": np.array([3])})])
    >>> both.index, both.arrays
    (RangeIndex(start=0, stop=3, step=1), {'n': array([1, 2, 3])})
    """
    first, *rest = [part for part in parts if len(part)] or parts[:1]
    if not rest:
        return first
    if not isinstance(first, Table | Column) or not all(_alike(first, part) for part in rest):
        return concat([as_pandas(part) for part in (first, *rest)])
    index = first.index.append([part.index for part in rest])
    if isinstance(first, Column):
        return Column(index, _end_to_end([first.array, *(part.array for part in rest)]), first.name)
    columns = {name: [array] for name, array in first.arrays.items()}
    for part in rest:
        for name, array in part.arrays.items():
            columns[name].append(array)
    return Table(index, {name: _end_to_end(arrays) for name, arrays in columns.items()})


def _alike(first: Any, other: Any) -> bool:
    """Whether there is nothing for pandas to reconcile."""
    if type(first) is not type(other) or not _same_kind(first.index, other.index):
        return False
    if isinstance(first, Column):
        return _same_kind(first.array, other.array)
    return list(first.arrays) == list(other.arrays) and all(
        _same_kind(array, other.arrays[name]) for name, array in first.arrays.items()
    )


def _same_kind(array: Any, other: Any) -> bool:
    return type(array) is type(other) and bool(array.dtype == other.dtype)


def _end_to_end(arrays: list[Any]) -> Any:
    if isinstance(arrays[0], np.ndarray):
        return np.concatenate(arrays)
    return type(arrays[0])._concat_same_type(arrays)
