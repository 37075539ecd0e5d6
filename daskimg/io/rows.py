"""Rows read one by one from a shard, as a frame whose dtypes were declared before."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from daskimg.column.array import ImageArray
from daskimg.column.cells import lay_out
from daskimg.column.dtype import ImageDtype
from daskimg.column.json import JsonDtype
from daskimg.errors import ImageError, reason_of
from daskimg.ops import BYTES
from daskimg.program import STRING

__all__ = ["IMAGE", "JSON", "OBJECT", "Record", "TypeOf", "failed", "kept", "meta_of", "to_frame"]

TypeOf = Any  # a column's dtype, as pandas has it
IMAGE, JSON, OBJECT = ImageDtype("encoded"), JsonDtype(), np.dtype(object)


class Record(NamedTuple):
    """One row: its values by column, and where it was. A picture's is its content and its path."""

    place: str
    values: Mapping[str, Any]
    error: str | None = None


def failed(place: str, error: BaseException, **known: Any) -> Record:
    """A row that could not be read, but for the values that are known."""
    return Record(place, known, reason_of("read", error))


def kept(record: Record, policy: str, columns: Iterable[TypeOf]) -> Record:
    """`record` itself, unless it failed and may not.

    Raises
    ------
    ImageError
        For a failed row under the policy "raise".
    """
    if record.error is not None:
        if policy == "raise":
            raise ImageError(record.error, record.place)
        if not any(isinstance(dtype, ImageDtype) for dtype in columns):
            # no column can hold the reason
            warnings.warn(f"{record.place}: {record.error}: a row of nulls", stacklevel=2)
    return record


def meta_of(columns: Mapping[str, TypeOf]) -> pd.DataFrame:
    """No rows of these columns."""
    return pd.DataFrame({name: pd.Series([], dtype=dtype) for name, dtype in columns.items()})


def to_frame(
    records: Sequence[Record], columns: Mapping[str, TypeOf], start: int = 0
) -> pd.DataFrame:
    """The rows as a frame; a column's values follow its dtype.

    Parameters
    ----------
    records : sequence of Record
    columns : mapping of str to dtype
    start : int
        The index of the first row.
    """
    made = {name: _column(name, dtype, records) for name, dtype in columns.items()}
    return pd.DataFrame(made, index=pd.RangeIndex(start, start + len(records)), copy=False)


def _column(name: str, dtype: TypeOf, records: Sequence[Record]) -> Any:
    values = [record.values.get(name) for record in records]
    if isinstance(dtype, ImageDtype):
        return _cells(values, dtype, records)
    if dtype == OBJECT:
        column = np.full(len(values), None, object)
        for row, value in enumerate(values):
            column[row] = value
        return column
    if dtype in (STRING, BYTES):
        kind = pa.large_string() if dtype == STRING else pa.large_binary()
        return dtype.__from_arrow__(pa.array(values, kind))
    if isinstance(dtype, np.dtype):  # floats
        return np.array([np.nan if value is None else value for value in values], dtype)
    return pd.array([pd.NA if value is None else value for value in values], dtype)


def _cells(values: list[Any], dtype: ImageDtype, records: Sequence[Record]) -> ImageArray:
    paths = [
        record.place if record.error else None if value is None else value[1]
        for value, record in zip(values, records, strict=True)
    ]
    return ImageArray(
        dtype,
        np.array([value is not None for value in values], bool),
        lay_out([None if value is None else value[0] for value in values], dtype),
        paths,
        [record.error for record in records],
    )
