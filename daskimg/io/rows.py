"""Rows read one by one from a shard, as a frame whose dtypes were declared before."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from daskimg import metrics
from daskimg.column.array import ImageArray
from daskimg.column.cells import lay_out
from daskimg.column.dtype import ImageDtype
from daskimg.column.json import JsonDtype
from daskimg.engine import gauge
from daskimg.engine.ops import BYTES
from daskimg.engine.program import STRING
from daskimg.errors import ImageError, reason_of
from daskimg.secrets import mask_url
from daskimg.wanted import looking

__all__ = [
    "IMAGE",
    "JSON",
    "OBJECT",
    "Record",
    "failed",
    "meta_of",
    "parsed",
    "refuse",
    "to_frame",
]

IMAGE, JSON, OBJECT = ImageDtype("encoded"), JsonDtype(), np.dtype(object)


class Record(NamedTuple):
    """One row: its values by column, and where it was. A picture's is its content and its path.

    It failed as a whole (`error`), or some of its cells did (`lost`, by column). Each cell that is
    asked for fails by itself: what becomes of one does not depend on which others are asked for.
    """

    place: str
    values: Mapping[str, Any]
    error: str | None = None
    lost: Mapping[str, str] = {}


def failed(place: str, error: BaseException, **known: Any) -> Record:
    """A row that could not be read, but for the values that are known."""
    return Record(place, known, reason_of("read", error))


def parsed(
    place: str,
    value_of: Callable[[str], Any],
    columns: Iterable[str],
    known: Mapping[str, Any],
    faults: tuple[type[Exception], ...],
) -> Record:
    """A row of the values of some columns; those that raise one of `faults` are lost."""
    values, lost = dict(known), {}
    for name in columns:
        try:
            values[name] = value_of(name)
        except faults as error:
            lost[name] = reason_of("read", error)
    return Record(place, values, None, lost)


def refuse(record: Record, policy: str) -> Record:
    """`record` itself, unless something in it failed and may not.

    Raises
    ------
    ImageError
        Under the policy "raise".
    """
    reason = record.error or next(iter(record.lost.values()), None)
    if reason is not None and policy == "raise":
        raise ImageError(reason, record.place)
    return record


def meta_of(columns: Mapping[str, Any]) -> pd.DataFrame:
    """No rows of these columns."""
    return pd.DataFrame({name: pd.Series([], dtype=dtype) for name, dtype in columns.items()})


def to_frame(
    records: Iterable[Record],
    columns: Mapping[str, Any],
    start: int,
    policy: str,
    every: Mapping[str, Any],
) -> pd.DataFrame:
    """The rows as a frame; a column's values follow its dtype.

    Parameters
    ----------
    records : iterable of Record
    columns : mapping of str to dtype
    start : int
        The index of the first row.
    policy : str
        What is done of failures, "raise" or "null".
    every : mapping of str to dtype
        The columns there are, these among them.

    Raises
    ------
    ImageError
        Under the policy "raise".
    """
    rows = []
    with looking() as check:
        for record in records:
            check()
            rows.append(refuse(record, policy))
    _tell(rows, every)
    made = {name: _column(name, dtype, rows) for name, dtype in columns.items()}
    index = pd.RangeIndex(start, start + len(rows))
    return gauge.read(pd.DataFrame(made, index=index, copy=False))


def _tell(records: Sequence[Record], every: Mapping[str, Any]) -> None:
    """Warn of nulls whose reason no cell can hold, once, and count them for `stats`."""
    images = {name for name, dtype in every.items() if isinstance(dtype, ImageDtype)}
    untold = []
    for record in records:
        place = mask_url(record.place)
        if record.error and not images:
            untold.append(f"{place}: {record.error}: a row of nulls")
        for name in record.lost.keys() - images:
            untold.append(f"{place}: {record.lost[name]}: a null in {name!r}")
    if untold:
        more = f" (and {len(untold) - 1:,} more in this file)" if len(untold) > 1 else ""
        warnings.warn(untold[0] + more, stacklevel=3)
        metrics.tell({("read", "errors"): len(untold)})


def _column(name: str, dtype: Any, records: Sequence[Record]) -> Any:
    if isinstance(dtype, ImageDtype):
        return _cells(name, dtype, records)
    values = [record.values.get(name) for record in records]
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


def _cells(name: str, dtype: ImageDtype, records: Sequence[Record]) -> ImageArray:
    values = [record.values.get(name) for record in records]
    errors = [record.error or record.lost.get(name) for record in records]
    paths = [
        record.place if error else None if value is None else value[1]
        for value, record, error in zip(values, records, errors, strict=True)
    ]
    return ImageArray(
        dtype,
        np.array([value is not None for value in values], bool),
        lay_out([None if value is None else value[0] for value in values], dtype),
        paths,
        errors,
    )
