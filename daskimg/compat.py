"""What older releases of pandas and pyarrow lack, done here."""

from __future__ import annotations

import io
from base64 import b64encode
from functools import cache, cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["STR", "ParquetFile", "ParquetWriter", "cast", "categories", "nulled"]

# The dtype of a column of text: before pandas 3 there is no better one than Arrow's.
_OLD = int(pd.__version__.partition(".")[0]) < 3
STR: Any = pd.StringDtype("pyarrow") if _OLD else pd.api.types.pandas_dtype("str")
REFUSED = "Expected all lists to be of size"
SCHEMA = b"\x0cARROW:schema"  # as a key of a footer: its length comes first


def categories(kind: pd.CategoricalDtype) -> pd.Index:
    """The categories of `kind`, as text where they are text: before pandas 3 they are objects."""
    found = kind.categories
    return found.astype(STR) if pd.api.types.infer_dtype(found) == "string" else found


def nulled(values: pa.Array, where: pa.BooleanArray) -> pa.Array:
    """`values`, null `where` it is said (a null there says nothing).

    ``if_else`` with a scalar would do, but up to pyarrow 19 it makes zeros of the texts of a slice.
    """
    where = where.fill_null(False).to_numpy(zero_copy_only=False)
    return values.take(pa.array(np.arange(len(values)), mask=where))


def cast(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """`values` as `kind`; the fields of a struct by their names, which old pyarrow does not do."""
    if not pa.types.is_struct(kind) or not pa.types.is_struct(values.type):
        return values.cast(kind)
    names = [field.name for field in kind]
    if [field.name for field in values.type] == names or {*names} != {f.name for f in values.type}:
        return values.cast(kind)
    chunks = [
        pa.StructArray.from_arrays(
            [chunk.field(name) for name in names], names, mask=chunk.is_null()
        ).cast(kind)
        for chunk in values.chunks
    ]
    return pa.chunked_array(chunks, kind)


class ParquetFile(pq.ParquetFile):  # type: ignore[misc]
    """A Parquet file whose lists of fixed size may be missing, which pyarrow reads from 26 on.

    Older ones refuse a row group with such a cell. There the column is read as Parquet has it,
    lists of any size, by a footer that does not tell Arrow's types.
    """

    def __init__(self, source: Any, **options: Any) -> None:
        super().__init__(source, **options)
        self._opened = source, options

    def read_row_group(self, i: int, columns: list[str], **options: Any) -> pa.Table:
        """As pyarrow's own."""
        try:
            return super().read_row_group(i, columns, **options)
        except pa.ArrowInvalid as error:
            if REFUSED not in str(error):
                raise
        fields = [self.schema_arrow.field(name) for name in columns]
        lists = [field.name for field in fields if _holds_fixed(field.type)]
        others = [name for name in columns if name not in lists]
        table = super().read_row_group(i, others, **options)
        plain = self._untold.read_row_group(i, lists, **options)
        made = [
            pa.chunked_array([_told(c, f.type) for c in plain.column(f.name).chunks], f.type)
            if f.name in lists
            else table.column(f.name)
            for f in fields
        ]
        return pa.Table.from_arrays(made, schema=pa.schema(fields, self.schema_arrow.metadata))

    @cached_property
    def _untold(self) -> pq.ParquetFile:
        footer = io.BytesIO()
        self.metadata.write_metadata_file(footer)
        before, _, after = footer.getvalue().rpartition(SCHEMA)
        told = before + SCHEMA.lower() + after if before else after
        source, options = self._opened
        return pq.ParquetFile(source, metadata=pq.read_metadata(io.BytesIO(told)), **options)


class ParquetWriter(pq.ParquetWriter):  # type: ignore[misc]
    """Writes lists of fixed size that may be missing, which some versions of pyarrow refuse.

    There they go as Parquet has them, lists of any size, into a file that tells Arrow's types.
    """

    def __init__(self, where: Any, schema: pa.Schema, **options: Any) -> None:
        if _writes_missing() or not any(_is_fixed(field.type) for field in schema):
            super().__init__(where, schema, **options)
            return
        plain = pa.schema([field.with_type(_any_size(field.type)) for field in schema])
        super().__init__(where, plain, store_schema=False, **options)
        told = {**(schema.metadata or {}), b"ARROW:schema": b64encode(schema.serialize())}
        self.add_key_value_metadata(told)

    def write_table(self, table: pa.Table, *args: Any, **options: Any) -> None:
        """As pyarrow's own."""
        if table.schema.types != self.schema.types:
            columns = [
                pa.chunked_array([_as_lists(chunk) for chunk in column.chunks], kind)
                for column, kind in zip(table.columns, self.schema.types, strict=True)
            ]
            table = pa.Table.from_arrays(columns, schema=self.schema)
        super().write_table(table, *args, **options)


@cache
def _writes_missing() -> bool:
    gone = pa.array([False, True, False, True])
    cell = pa.FixedSizeListArray.from_arrays(pa.array(range(8)), 2, mask=gone)
    try:
        pq.write_table(pa.table({"cell": cell}), io.BytesIO())
    except pa.ArrowNotImplementedError:
        return False
    return True


def _is_fixed(kind: pa.DataType) -> bool:
    storage = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    return bool(pa.types.is_fixed_size_list(storage))


def _any_size(kind: pa.DataType) -> pa.DataType:
    storage = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    return pa.list_(storage.value_field) if _is_fixed(kind) else kind


def _as_lists(array: pa.Array) -> pa.Array:
    """Lists of fixed size as lists of any size; a missing one is empty."""
    if not _is_fixed(array.type):
        return array
    lists = array.storage if isinstance(array, pa.ExtensionArray) else array
    gone = lists.is_null().to_numpy(zero_copy_only=False)
    ends = np.concatenate([[0], np.cumsum(~gone * lists.type.list_size)]).astype(np.int32)
    starts = pa.array(ends, mask=np.append(gone, False)) if gone.any() else pa.array(ends)
    return pa.ListArray.from_arrays(starts, lists.flatten(), type=_any_size(array.type))


def _holds_fixed(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return _holds_fixed(kind.storage_type)
    if pa.types.is_struct(kind):
        return any(_holds_fixed(field.type) for field in kind)
    return bool(pa.types.is_fixed_size_list(kind))


def _told(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Lists of any size as what Arrow's types say that they are.

    Raises
    ------
    pa.ArrowInvalid
        When a list has not the size that it should have.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, _told(array, kind.storage_type))
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_struct(kind):
        children = [_told(array.field(field.name), field.type) for field in kind]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=pa.array(~valid))
    if not pa.types.is_fixed_size_list(kind):
        return array.cast(kind)
    size = kind.list_size
    sizes = array.value_lengths().drop_null().unique().to_pylist()
    if any(found != size for found in sizes):
        raise pa.ArrowInvalid(f"{REFUSED}={size} but one has size={max(sizes)}")
    values = _told(array.flatten(), kind.value_type)
    whole = pa.FixedSizeListArray.from_arrays(values, type=kind)
    return whole if valid.all() else whole.take(pa.array(np.cumsum(valid) - 1, mask=~valid))
