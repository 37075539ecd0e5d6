"""Image columns in Parquet as this and other programs write them: found, and read."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from daskimg.column.array import ImageArray
from daskimg.column.arrow import ImageArrowType
from daskimg.column.dtype import ImageDtype
from daskimg.column.lists import ImageListArray, of_lists
from daskimg.column.storage import PATH, Ragged, Uniform
from daskimg.errors import quoted
from daskimg.io.parquet.schema import HF_KEY, KEY, Column, told
from daskimg.io.parquet.tensors import Tensors, tensors_of, values_of
from daskimg.kernels.inline import as_base64

__all__ = ["decode_column", "recognise"]

STORED = {"bytes": "data"}  # of Hugging Face's structs
_OF_STRUCT = (
    ". {0!r} is a struct: leave it out of image_columns, and make pictures of a field of it with "
    "di.images(df.{0}.map(lambda row: row[field], meta=(field, object)))"
)


def recognise(
    schema: pa.Schema,
    schemas: Sequence[pa.Schema],
    named: Iterable[str] | None,
    kinds: Mapping[str, str],
) -> tuple[Column, ...]:
    """The image columns of files: ours, Hugging Face's, tensors of Arrow and Ray, those named.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of all files together.
    schemas : sequence of pyarrow.Schema
        Of each file.
    named : iterable of str, optional
        Columns of bytes, or of paths, that are pictures. An empty one: only ours are.
    kinds : mapping of str to str
        Of structs of bytes and path: "encoded", "file" (no row holds bytes) or "mixed".

    Raises
    ------
    ValueError
        When a named column is not there, or holds neither bytes nor strings.
    """
    wanted = None if named is None else [named] if isinstance(named, str) else list(named)
    found: dict[str, Column] = {}
    for one in schemas:
        for name, entry in told(one, KEY).get("columns", {}).items():
            if name in schema.names:
                known = _of_entry(name, entry)
                found[name] = _together(found.get(name, known), known)
    for name in wanted or ():
        if name not in schema.names:
            there = f"there are {schema.names}{_inside(name, schema)}"
            raise ValueError(f"no column {quoted(name)} in the file; {there}")
        if name not in found:
            dtype, lists = _named(schema.field(name), kinds)
            found[name] = Column(name, dtype, lists=lists)
    features = told(schema, HF_KEY).get("info", {}).get("features", {})
    for field in schema:
        if field.name not in found and (wanted is None or field.name in wanted):
            implied = None if _is_other(features.get(field.name)) else _implied(field, kinds)
            if implied is not None:
                found[field.name] = Column(field.name, implied[0], lists=implied[1])
    return tuple(_of_all(column, schemas) for column in found.values())


def _of_entry(name: str, entry: Mapping[str, Any]) -> Column:
    dtype = ImageDtype.from_json(json.dumps(entry["dtype"]))
    more = entry.get("kinds", False), entry.get("list", False)
    return Column(name, dtype, entry["path"], entry["error"], *more)


def _together(one: Column, other: Column) -> Column:
    """A column that some files have as `one` and others as `other`."""
    dtype = one.dtype._get_common_dtype([one.dtype, other.dtype]) or one.dtype
    return replace(
        one,
        dtype=dtype,
        path=one.path or other.path,
        error=one.error or other.error,
        kinds=one.kinds or other.kinds,
    )


def _is_other(feature: Any) -> bool:
    """Whether Hugging Face's features say that a struct of bytes and path is no picture's."""
    while isinstance(feature, dict) and "feature" in feature:
        feature = feature["feature"]
    return isinstance(feature, dict) and feature.get("_type") in ("Audio", "Video", "Pdf", "Nifti")


def _of_all(column: Column, schemas: Sequence[pa.Schema]) -> Column:
    """The column in all files: of no one shape where the files' tensors differ."""
    dtype = column.dtype
    if dtype.shape is None:
        return column
    there = [schema.field(column.name) for schema in schemas if column.name in schema.names]
    kinds = {tensors_of(field) for field in there} - {None}
    if len(kinds) < 2:
        return column
    common = functools.reduce(Tensors.with_others, filter(None, kinds)).dtype
    return replace(column, dtype=dtype.derive(dtype.cells, common.shape, tensor=common.tensor))


def _named(field: pa.Field, kinds: Mapping[str, str]) -> tuple[ImageDtype, bool]:
    found = _implied(field, kinds)
    kind = _plain(field.type)
    if found is None and _is_list(kind):
        inner = _named(pa.field(f"{field.name}[]", kind.value_type), kinds)
        if inner[1]:
            raise ValueError(
                f"image_columns: {field.name!r} holds lists of lists ({field.type}): leave it out "
                "and explode() it, then di.images() makes pictures of what is in it"
            )
        found = inner[0], True
    elif found is None and _is_bytes(kind):
        found = ImageDtype("encoded"), False
    elif found is None and _is_text(kind):
        found = ImageDtype("file"), False
    elif found is None and pa.types.is_struct(kind) and {*kind.names} <= {"bytes", "path"}:
        found = ImageDtype("encoded" if "bytes" in kind.names else "file"), False
    if found is None:
        raise ValueError(
            f"image_columns: {field.name!r} holds neither bytes nor paths but {field.type}"
            + (_OF_STRUCT.format(field.name) if pa.types.is_struct(kind) else "")
        )
    return found


def _inside(name: str, schema: pa.Schema) -> str:
    """What to do where `name` is a place in a struct."""
    top = name.partition(".")[0]
    if top not in schema.names or not pa.types.is_struct(schema.field(top).type):
        return ""
    return _OF_STRUCT.format(top)


def _implied(field: pa.Field, kinds: Mapping[str, str]) -> tuple[ImageDtype, bool] | None:
    """What a column is by its type alone, and whether it is one of lists."""
    kind = field.type
    if isinstance(kind, ImageArrowType):
        return kind.to_pandas_dtype(), False
    tensors = tensors_of(field)
    if tensors is not None:
        return tensors.dtype, False
    if _is_list(kind):
        inner = _implied(pa.field(field.name, kind.value_type), kinds)
        return None if inner is None or inner[1] or inner[0].holds_pixels else (inner[0], True)
    if pa.types.is_struct(kind) and {*kind.names} == {"bytes", "path"}:
        if _is_bytes(kind.field("bytes").type) and _is_text(kind.field("path").type):
            return ImageDtype(kinds.get(field.name, "encoded")), False
    return None


def _is_bytes(kind: pa.DataType) -> bool:
    return kind in (pa.binary(), pa.large_binary(), pa.binary_view()) or (
        pa.types.is_fixed_size_binary(kind)
    )


def _is_text(kind: pa.DataType) -> bool:
    return kind in (pa.string(), pa.large_string(), pa.string_view(), pa.null())


def _is_list(kind: pa.DataType) -> bool:
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(kind) for test in tests)


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of a dictionary's values."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def decode_column(
    column: Column, table: pa.Table, folder: str | None = None
) -> ImageArray | ImageListArray:
    """An image column of a table that was read; relative paths are those below `folder`."""
    own = table.column(column.name)
    if column.lists:
        parts = {part: _items(table.column(part)) for part in column.parts}
        flat = _cells(replace(column, lists=False), pa.table(parts))
        return of_lists(own, _below(flat, folder))
    return _below(_cells(column, table), folder)


def _below(cells: ImageArray, folder: str | None) -> ImageArray:
    """The cells, of which relative paths of files are those below a folder.

    Nothing is looked at but the text: a path that climbs out of the store is refused where it is
    to be opened (`Source.for_cell`), like any other.
    """
    if folder is None or cells.path is None or not cells.dtype.holds_paths:
        return cells
    relative = pc.match_substring_regex(cells.path, r"^[^/\\:][^\\:]*$")
    if isinstance(cells.data, Ragged) and cells.data.code is not None:
        relative = pc.and_(relative, pa.array(cells.data.code == PATH))
    inside = pc.replace_substring_regex(cells.path, r"^(\./+)+", "")
    start, nothing = (pa.scalar(word, pa.large_string()) for word in (folder, ""))
    joined = pc.binary_join_element_wise(start, inside, nothing)
    path = pc.if_else(relative, joined, cells.path)
    return ImageArray(cells.dtype, cells.valid, cells.data, path, cells.error)


def _items(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = lists.type.value_type
    return pa.chunked_array([chunk.flatten() for chunk in lists.chunks], kind)


def _cells(column: Column, table: pa.Table) -> ImageArray:
    own, dtype = table.column(column.name), column.dtype
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
    if pa.types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_decode()
    kind = chunk.type
    if isinstance(kind, ImageArrowType):
        cells = ImageArray.from_arrow(chunk, dtype)
        return ImageArray(dtype, cells.valid, cells.data, cells.path, cells.error)
    n = len(chunk)
    if pa.types.is_struct(kind):
        outer = chunk.is_valid().to_numpy(zero_copy_only=False)
        fields = {STORED.get(name, name): chunk.field(name) for name in kind.names}
        if "path" in fields:
            path = fields.pop("path").cast(pa.large_string())
        fields |= kinds
        fields = {name: fields[name] for name in ("data", "shape", "dtype") if name in fields}
        if "data" in fields and _is_text(fields["data"].type):  # as JSON keeps bytes
            words = fields["data"].to_pylist()
            fields["data"] = pa.array(
                [None if word is None else as_base64(word) for word in words], pa.large_binary()
            )
    else:
        outer = np.ones(n, bool)
        fields = {"data": chunk}
    if dtype.cells == "file":
        words = path if pa.types.is_struct(kind) else chunk.cast(pa.large_string())
        words = pa.nulls(n, pa.large_string()) if words is None else words
        valid = words.is_valid().to_numpy(zero_copy_only=False) & outer
        if error is not None:
            valid &= error.is_null().to_numpy(zero_copy_only=False)
        return ImageArray(dtype, valid, None, words, error)
    nothing = pa.nulls(n, pa.large_string())
    beside = {"path": nothing if path is None else path, "error": error or nothing}
    storage = pa.StructArray.from_arrays(
        [*fields.values(), *beside.values()], names=[*fields, *beside], mask=None
    )
    cells = ImageArray.from_arrow(
        storage, dtype.derive(dtype.cells) if dtype.holds_pixels else dtype
    )
    return ImageArray(dtype, cells.valid & outer, cells.data, cells.path, cells.error)
