"""What older releases of pandas and pyarrow lack, done here."""

from __future__ import annotations

import io
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["ParquetFile"]

REFUSED = "Expected all lists to be of size"
SCHEMA = b"\x0cARROW:schema"  # as a key of a footer: its length comes first


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
