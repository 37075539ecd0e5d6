"""The one schema of several Parquet files, whose columns may have been written as other types."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from daskimg.io.parquet.tensors import plain_types, tensors_of
from daskimg.secrets import mask_url

__all__ = ["common_schema", "nulls", "schemas_of"]


def schemas_of(footers: Sequence[Any]) -> list[pa.Schema]:
    """The schema of each file, without types that other libraries registered."""
    return [plain_types(footer.schema.to_arrow_schema()) for footer in footers]


def common_schema(paths: Sequence[str], schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The columns of all files, each of a type that holds its values in any of them.

    Types are promoted as Arrow does it: whole numbers to wider ones and to fractions, text to
    ``large_string``, null to anything; dictionaries of other files' values to the values. A
    column that a file lacks is null in its rows.

    Raises
    ------
    ValueError
        When a column's types have nothing in common, a file has no such index, or two columns of
        one name; it names them.
    """
    first = schemas[0]
    fields = {field.name: field for field in first}
    whence = dict.fromkeys(fields, paths[0])
    index = _index_names(first)
    for path, schema in zip(paths, schemas, strict=True):
        if len({*schema.names}) < len(schema.names):
            raise ValueError(f"{mask_url(path)}: two columns have one name, of {schema.names}")
        if schema is first or schema.equals(first, check_metadata=True):
            continue
        for name in index - {*schema.names}:
            raise ValueError(
                f"{mask_url(path)}: the index column {name!r} is not there, and in "
                f"{mask_url(paths[0])} it is; read such files apart"
            )
        for field in schema:
            if field.name not in fields and field.name not in _index_names(schema):
                fields[field.name], whence[field.name] = field, path
            elif field.name in fields:
                known = fields[field.name]
                common = _common(known, field)
                if common is None:
                    raise ValueError(
                        f"{mask_url(path)}: the column {field.name!r} is {field.type}, and "
                        f"{known.type} in {mask_url(whence[field.name])}, and no type holds "
                        "both; read such files apart"
                    )
                fields[field.name] = common
    return pa.schema(fields.values(), metadata=_understood(first.metadata or {}, fields))


def _common(one: pa.Field, other: pa.Field) -> pa.Field | None:
    if one.type == other.type:
        return one
    mine, others = tensors_of(one), tensors_of(other)
    if mine is not None or others is not None:
        if pa.types.is_null(one.type) or pa.types.is_null(other.type):
            return other if mine is None else one
        same = mine is not None and others is not None and mine.value == others.value
        return one if same else None
    kinds = [
        kind.value_type if pa.types.is_dictionary(kind) else kind for kind in (one.type, other.type)
    ]
    try:
        schemas = [pa.schema([pa.field("", kind)]) for kind in kinds]
        common = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except pa.ArrowException:
        return None
    return one.with_type(common).with_nullable(True)


def _index_names(schema: pa.Schema) -> set[str]:
    told = json.loads((schema.metadata or {}).get(b"pandas", b"{}")).get("index_columns", [])
    return {name for name in told if isinstance(name, str)}


def _understood(metadata: dict[bytes, bytes], fields: dict[str, pa.Field]) -> dict[bytes, bytes]:
    """The metadata without pandas dtypes that nobody here knows, or that the values have not."""
    if b"pandas" not in metadata:
        return metadata
    told = json.loads(metadata[b"pandas"])
    for column in told.get("columns", ()):
        field = fields.get(column.get("field_name") or column.get("name"))
        category = column.get("pandas_type") == "categorical"
        if not _is_dtype(column.get("numpy_type")) or (
            category and not (field is not None and pa.types.is_dictionary(field.type))
        ):
            column.update(pandas_type="object", numpy_type="object", metadata=None)
    return {**metadata, b"pandas": json.dumps(told).encode()}


def _is_dtype(name: Any) -> bool:
    try:
        pd.api.types.pandas_dtype(name)
    except (TypeError, ValueError):
        return False
    return True


def nulls(n: int, kind: pa.DataType) -> pa.Array:
    """Nulls of a type, of an extension type too."""
    if not isinstance(kind, pa.BaseExtensionType):
        return pa.nulls(n, kind)
    return pa.ExtensionArray.from_storage(kind, pa.nulls(n, kind.storage_type))
