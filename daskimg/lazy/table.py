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

__all__ = ["Column", "Frame", "Table", "arrays_of", "as_pandas", "joined", "some_rows"]


@dataclass(frozen=True)
class Table:
    """A frame before pandas."""

    index: pd.Index
    arrays: dict[Any, Any]

    def __len__(self) -> int:
        return len(self.index)

    def pandas(self) -> pd.DataFrame:
        made = pd.DataFrame(dict(enumerate(self.arrays.values())), index=self.index, copy=False)
        made.columns = _names(tuple(self.arrays))
        return made


@dataclass(frozen=True)
class Column:
    """A series before pandas."""

    index: pd.Index
    array: Any
    name: Any

    def pandas(self) -> pd.Series:
        return pd.Series(self.array, index=self.index, name=self.name, copy=False)


Frame: TypeAlias = Table | pd.DataFrame


@functools.lru_cache(256)
def _names(columns: tuple[Any, ...]) -> pd.Index:
    return pd.Index(list(columns))


def as_pandas(value: Any) -> Any:
    """`value` as those know it who know pandas only."""
    return value.pandas() if isinstance(value, Table | Column) else value


def arrays_of(frame: Frame) -> Iterator[tuple[Any, Any]]:
    """The name and the array of each column."""
    if isinstance(frame, Table):
        return iter(frame.arrays.items())
    return ((name, frame.iloc[:, place].array) for place, name in enumerate(frame.columns))


def some_rows(frame: Frame, start: int, stop: int) -> Frame:
    """Rows from `start` to `stop`, as a view."""
    if stop - start == len(frame):
        return frame
    if isinstance(frame, Table):
        arrays = {name: array[start:stop] for name, array in frame.arrays.items()}
        return Table(frame.index[start:stop], arrays)
    return frame.iloc[start:stop]


def joined(frames: Sequence[Frame]) -> Frame:
    """The rows of all, one after the other: of one dtype each column, as in partitions.

    Examples
    --------
    >>> first = Table(pd.RangeIndex(2), {"n": np.array([1, 2])})
    >>> both = joined([first, Table(pd.RangeIndex(2, 3), {"n": np.array([3])})])
    >>> both.index, both.arrays
    (RangeIndex(start=0, stop=3, step=1), {'n': array([1, 2, 3])})
    """
    first, *rest = frames
    if not rest:
        return first
    if not all(isinstance(frame, Table) and _alike(first, frame) for frame in frames):
        return pd.concat([as_pandas(frame) for frame in frames])
    arrays = {name: _end_to_end([frame.arrays[name] for frame in frames]) for name in first.arrays}
    return Table(first.index.append([frame.index for frame in rest]), arrays)


def _alike(first: Any, other: Any) -> bool:
    """Whether two tables have the same columns, and nothing for pandas to reconcile."""
    return first.arrays.keys() == other.arrays.keys() and all(
        type(array) is type(other.arrays[name]) and array.dtype == other.arrays[name].dtype
        for name, array in first.arrays.items()
    )


def _end_to_end(arrays: list[Any]) -> Any:
    if isinstance(arrays[0], np.ndarray):
        return np.concatenate(arrays)
    return type(arrays[0])._concat_same_type(arrays)
