"""Rows of Parquet files that cannot be read, or not all of them: failed rows with a reason."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from daskimg.column.array import ImageArray
from daskimg.column.cells import lay_out
from daskimg.column.lists import ImageListArray
from daskimg.errors import reason_of
from daskimg.io.parquet import scan
from daskimg.io.parquet.cells import decode_column
from daskimg.io.parquet.common_schema import nulls
from daskimg.io.parquet.reader import Reader
from daskimg.io.parquet.scan import DamagedError, Rows

__all__ = ["lost_file", "salvaged"]

Keys = Mapping[str, tuple[Any, Any]]


def salvaged(reader: Reader, rows: Rows, names: list[str], keys: Keys) -> pd.DataFrame:
    """A partition of which something is damaged: what can be read of each row group."""
    groups = [rows._replace(groups=(group,)) for group in rows.groups]
    return pd.concat([_group(reader, group, names, keys) for group in groups])


def _group(reader: Reader, rows: Rows, names: list[str], keys: Keys) -> pd.DataFrame:
    try:
        table, numbers = reader.table(rows, names, keys)
        return reader.frame(table, numbers, tuple(keys.items()), rows.path)[names]
    except DamagedError:
        pass
    (group,) = rows.groups
    found: dict[str, pa.ChunkedArray] = {}
    lost: dict[str, str] = {}
    with scan.opened(rows.path, reader.source) as file:
        kept = np.arange(file.metadata.row_group(group.number).num_rows)
        if reader.dnf is not None:
            with suppress(DamagedError):  # else nobody knows which of them pass
                kept = reader.passing(rows.path, file, group.number, keys)
        for name in reader.stored(names):
            try:
                table = scan.read_group(rows.path, file, group.number, [reader.schema.field(name)])
                found[name] = table.column(name).take(pa.array(kept))
            except DamagedError as error:
                lost[name] = reason_of("read", error)
    for column in reader.images:
        if column.name in names and not {*column.parts} & {*lost}:
            try:
                with scan.telling(rows.path):
                    parts = [reader.schema.field(part) for part in column.parts]
                    cells = [found[part.name] for part in parts]
                    decode_column(column, pa.table(cells, schema=pa.schema(parts)))
            except DamagedError as error:
                lost[column.name] = reason_of("read", error)
    numbers = group.start + kept
    return _without(reader, rows.path, numbers, found, lost, keys)[names]


def lost_file(reader: Reader, rows: Rows, names: list[str], keys: Keys) -> pd.DataFrame:
    """The one row that stands for a file that cannot be read."""
    lost = dict.fromkeys(reader.schema.names, str(rows.error))
    numbers = np.array([rows.groups[0].start])
    return _without(reader, rows.path, numbers, {}, lost, keys)[names]


def _without(
    reader: Reader,
    path: str,
    numbers: Any,
    found: Mapping[str, pa.ChunkedArray],
    lost: Mapping[str, str],
    keys: Keys,
) -> pd.DataFrame:
    """Rows without the columns that are lost: their pictures failed, other values are null."""
    n = len(numbers)
    pictures = {part for column in reader.images for part in column.parts}
    for name in [*lost] if not pictures & {*lost} else ():  # no column can hold the reason
        warnings.warn(f"{lost[name]}: {n} rows without {name!r}", stacklevel=2)
    columns = [
        nulls(n, field.type) if field.name in lost or field.name not in found else found[field.name]
        for field in reader.schema
    ]
    table = pa.Table.from_arrays(columns, schema=reader.schema)
    frame = reader.frame(table, numbers, tuple(keys.items()), path)
    for column in reader.images:
        why = next((lost[part] for part in column.parts if part in lost), None)
        if why is not None:
            empty = lay_out([None] * n, column.dtype)
            nothing = np.zeros(n, bool)
            cells = ImageArray(column.dtype, nothing, empty, [path] * n, [why] * n)
            rows = ImageListArray(np.arange(n + 1), nothing, cells) if column.lists else cells
            frame[column.name] = rows
    return frame
