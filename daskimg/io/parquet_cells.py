"""Image columns in Parquet as this and other programs write them: found, and read."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from daskimg.column.array import ImageArray
from daskimg.column.arrow import ImageArrowType, from_arrow
from daskimg.column.dtype import ImageDtype
from daskimg.column.storage import Uniform
from daskimg.io.parquet_schema import KEY, Column
from daskimg.io.tensors import Tensors, tensors_of, values_of

__all__ = ["decode_column", "recognise"]


def recognise(
    schemas: Sequence[pa.Schema], named: Iterable[str] | None, unread: frozenset[str] = frozenset()
) -> tuple[Column, ...]:
    """The image columns of files: ours, Hugging Face's, tensors of Arrow and Ray, those named.

    Parameters
    ----------
    schemas : sequence of pyarrow.Schema
        Of all files, alike but for the shapes of tensors.
    named : iterable of str, optional
        Columns of bytes, or of paths, that are pictures. An empty one: only ours are.
    unread : set of str
        Struct columns that hold no bytes in any row: files that were not embedded.

    Raises
    ------
    ValueError
        When a named column is not there, or holds neither bytes nor strings.
    """
    schema = schemas[0]
    wanted = None if named is None else [named] if isinstance(named, str) else list(named)
    found: dict[str, Column] = {}
    known = json.loads((schema.metadata or {}).get(KEY, b"{}")).get("columns", {})
    for name, entry in known.items():
        if name in schema.names:
            dtype = ImageDtype.from_json(json.dumps(entry["dtype"]))
            kinds = entry.get("kinds", False)
            found[name] = Column(name, dtype, entry["path"], entry["error"], kinds)
    for name in wanted or ():
        if name not in schema.names:
            raise ValueError(f"no column {name!r} in the file; there are {schema.names}")
        if name not in found:
            found[name] = Column(name, _named(schema.field(name), unread))
    for field in schema:
        if field.name not in found and (wanted is None or field.name in wanted):
            implied = _implied(field, unread)
            if implied is not None:
                found[field.name] = Column(field.name, implied)
    return tuple(_of_all(column, schemas) for column in found.values())


def _of_all(column: Column, schemas: Sequence[pa.Schema]) -> Column:
    """The column in all files: of no one shape where the files' tensors differ."""
    dtype = column.dtype
    if dtype.shape is None:
        return column
    kinds = {tensors_of(schema.field(column.name)) for schema in schemas}
    if len(kinds - {None}) < 2:
        return column
    common = functools.reduce(Tensors.with_others, filter(None, kinds)).dtype
    dtype = dtype.derive(dtype.cells, common.shape, tensor=common.tensor)
    return replace(column, dtype=dtype)


def _named(field: pa.Field, unread: frozenset[str]) -> ImageDtype:
    kind = field.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return ImageDtype("encoded")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return ImageDtype("file")
    dtype = _implied(field, unread)
    if dtype is None:
        raise ValueError(f"image_columns: {field.name!r} holds neither bytes nor paths but {kind}")
    return dtype


def _implied(field: pa.Field, unread: frozenset[str]) -> ImageDtype | None:
    kind = field.type
    if isinstance(kind, ImageArrowType):
        return kind.to_pandas_dtype()
    tensors = tensors_of(field)
    if tensors is not None:
        return tensors.dtype
    if pa.types.is_struct(kind) and {part.name for part in kind} == {"bytes", "path"}:
        data = kind.field("bytes").type
        if pa.types.is_binary(data) or pa.types.is_large_binary(data):
            return ImageDtype("file" if field.name in unread else "encoded")
    return None


def decode_column(column: Column, table: pa.Table, dtype: ImageDtype) -> ImageArray:
    """An image column of a table that was read, as `dtype`."""
    own = table.column(column.name)
    tensors = tensors_of(table.schema.field(column.name))
    parts, start = [], 0
    for chunk in own.chunks:
        beside = {
            what: _one(table.column(f"{column.name}.{what}").slice(start, len(chunk)))
            for what in column.beside
        }
        if tensors is not None and dtype.holds_pixels:
            parts.append(_tensor_cells(chunk, tensors, dtype, **beside))
        else:
            words = {what: beside.pop(what, None) for what in ("path", "error")}
            parts.append(_decode_chunk(chunk, dtype, **words, kinds=beside))
        start += len(chunk)
    return ImageArray._concat_same_type(parts) if parts else ImageArray.empty(0, dtype)


def _one(values: pa.ChunkedArray) -> Any:
    if pa.types.is_string(values.type):
        values = values.cast(pa.large_string())
    return values.combine_chunks()


def _tensor_cells(
    chunk: pa.Array, tensors: Tensors, dtype: ImageDtype, path: Any = None, error: Any = None
) -> ImageArray:
    valid, data = values_of(chunk, tensors)
    if isinstance(data, Uniform) and dtype.shape is None:
        return ImageArray(dtype, valid, data.ragged(valid), path, error)
    return ImageArray(dtype, valid, data, path, error)


def _decode_chunk(
    chunk: pa.Array, dtype: ImageDtype, path: Any, error: Any, kinds: dict[str, Any]
) -> ImageArray:
    kind = chunk.type
    if isinstance(kind, ImageArrowType):
        cells = from_arrow(chunk, dtype)
        return ImageArray(dtype, cells.valid, cells.data, cells.path, cells.error)
    n = len(chunk)
    if pa.types.is_struct(kind):
        outer = chunk.is_valid().to_numpy(zero_copy_only=False)
        if "bytes" not in [field.name for field in kind]:  # ragged pixels
            fields = {name: chunk.field(name) for name in ("data", "shape", "dtype")}
        else:
            path = chunk.field("path").cast(pa.large_string())
            fields = {"data": chunk.field("bytes"), **kinds}
    else:
        outer = np.ones(n, bool)
        fields = {"data": chunk}
    if dtype.cells == "file":
        words = path if pa.types.is_struct(kind) else chunk.cast(pa.large_string())
        valid = words.is_valid().to_numpy(zero_copy_only=False) & outer
        if error is not None:
            valid &= error.is_null().to_numpy(zero_copy_only=False)
        return ImageArray(dtype, valid, None, words, error)
    nothing = pa.nulls(n, pa.large_string())
    beside = {"path": nothing if path is None else path, "error": error or nothing}
    storage = pa.StructArray.from_arrays(
        [*fields.values(), *beside.values()], names=[*fields, *beside], mask=None
    )
    cells = from_arrow(storage, dtype.derive(dtype.cells) if dtype.holds_pixels else dtype)
    return ImageArray(dtype, cells.valid & outer, cells.data, cells.path, cells.error)
