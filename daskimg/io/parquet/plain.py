"""Parquet columns that hold no pictures, as pandas columns: the same dtypes in every partition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from daskimg.column.json import JsonDtype
from daskimg.engine.program import STRING
from daskimg.io.rows import JSON
from daskimg.transport.fetch import Source

__all__ = ["plain_frame"]

NULLABLE = {
    pa.bool_(): pd.BooleanDtype(),
    **{pa.int8(): pd.Int8Dtype(), pa.int16(): pd.Int16Dtype()},
    **{pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()},
    **{pa.uint8(): pd.UInt8Dtype(), pa.uint16(): pd.UInt16Dtype()},
    **{pa.uint32(): pd.UInt32Dtype(), pa.uint64(): pd.UInt64Dtype()},
}


def plain_frame(
    table: pa.Table, schema: pa.Schema, nullable: Sequence[str], home: Source
) -> pd.DataFrame:
    """A table as a frame, with the index that the schema tells.

    Parameters
    ----------
    table : pyarrow.Table
    schema : pyarrow.Schema
        Of the first file; others may have narrower numbers.
    nullable : sequence of str
        Columns that hold nulls in some file: whole numbers keep their dtype.
    home : Source
        With what pictures among lists and dicts are opened.
    """
    for place, stored in enumerate(table.schema):
        wanted = schema.field(stored.name).type
        if stored.type != wanted:
            table = table.set_column(place, stored.name, table.column(place).cast(wanted))
    table = table.replace_schema_metadata(schema.metadata)
    frame = table.to_pandas(types_mapper=_mapped)
    for name in nullable:
        kind = NULLABLE.get(schema.field(name).type)
        if kind is not None and name in frame and not _is_nullable(frame[name].dtype):
            mapper = {table.schema.field(name).type: kind}.get
            frame[name] = pd.array(table.column(name).to_pandas(types_mapper=mapper), dtype=kind)
    for name, dtype in frame.dtypes.items():
        if isinstance(dtype, pd.StringDtype) and dtype != STRING:
            frame[name] = frame[name].astype(STRING)
        if isinstance(dtype, JsonDtype):
            frame[name] = pd.Series(frame[name].array.kept_to(home), frame.index, copy=False)
    return frame


def _mapped(kind: pa.DataType) -> Any:
    """The pandas dtype of an Arrow type, where it is another than pyarrow's choice."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return STRING
    return JSON if pa.types.is_nested(kind) and _holds_json(kind) else None


def _holds_json(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return all(_holds_json(part.type) for part in kind)
    if pa.types.is_nested(kind) and hasattr(kind, "value_type"):
        return _holds_json(kind.value_type)
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string)
    others = (pa.types.is_large_string, pa.types.is_null, pa.types.is_binary)
    return any(test(kind) for test in (*tests, *others, pa.types.is_large_binary))


def _is_nullable(dtype: Any) -> bool:
    return isinstance(dtype, pd.api.extensions.ExtensionDtype)
