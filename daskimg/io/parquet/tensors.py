"""Arrow columns of tensors, whoever wrote them: what their type says, and their values.

=====================================  =========================================================
extension                              storage, and what its metadata tell
=====================================  =========================================================
arrow.fixed_shape_tensor               ``fixed_size_list<T>``; JSON: shape, permutation
arrow.variable_shape_tensor            ``struct<data: list<T>, shape: fixed_size_list<int32>>``;
                                       JSON: permutation, uniform_shape
ray.data.arrow_tensor, ..._v2          ``list<T>``, ``large_list<T>``; the shape
ray.data.arrow_variable_shaped_tensor  ``struct<data: large_list<T>, shape: list<int64>>``; the
                                       number of axes, if they have one
daft.super_extension                   ``fixed_size_list<T>``, or a struct of data and shape (of
                                       pictures: channel, height, width); JSON: the Daft type
datasets...Array2DExtensionType, 3D..  lists of lists of ``T``; JSON: the shape, of which the first
                                       number may be null, and the name of T
=====================================  =========================================================

Where nobody registered an extension type, its name and metadata stand in the field's metadata. Ray
writes its metadata as JSON or as a pickle of whole numbers.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from daskimg.column.dtype import ImageDtype, is_picture_shape
from daskimg.column.storage import CODES, Ragged, Uniform

__all__ = ["Tensors", "plain_types", "stored_as", "tensors_of", "unregistered", "values_of"]

ARROW_ANY = "arrow.variable_shape_tensor"
RAY_FIXED = ("ray.data.arrow_tensor", "ray.data.arrow_tensor_v2")
RAY_ANY = "ray.data.arrow_variable_shaped_tensor"
DAFT = "daft.super_extension"
HUGGING_FACE = re.compile(r"datasets\.features\.features\.Array[2-5]DExtensionType")
DAFT_CHANNELS = {
    **{"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "L16": 1, "LA16": 2, "RGB16": 3, "RGBA16": 4},
    **{"RGB32F": 3, "RGBA32F": 4},
}


class Tensors(NamedTuple):
    """What the type of a column of tensors says."""

    value: np.dtype[Any]
    stored: tuple[int | None, ...] | None  # the shape in memory; None: the number of axes varies
    order: tuple[int, ...] | None = None  # the axes in memory, as the tensor has them

    @property
    def shape(self) -> tuple[int | None, ...] | None:
        """The shape of each tensor, None for what differs."""
        if self.stored is None or self.order is None:
            return self.stored
        return tuple(self.stored[axis] for axis in self.order)

    @property
    def dtype(self) -> ImageDtype:
        """Of pictures, or of tensors."""
        shape = self.shape
        known = None if shape is None or None in shape else [int(n or 0) for n in shape]
        return ImageDtype(self.value.name, known, tensor=not is_picture_shape(shape or ()))

    def with_others(self, other: Tensors) -> Tensors:
        """What holds for the tensors of both columns."""
        one, two = self.shape, other.shape
        if one is None or two is None or len(one) != len(two):
            return Tensors(self.value, None)
        sizes = (a if a == b else None for a, b in zip(one, two, strict=True))
        return Tensors(self.value, tuple(sizes))


def tensors_of(field: pa.Field) -> Tensors | None:
    """What a field says of its tensors; None where it holds none (or none of numbers)."""
    kind = field.type
    if isinstance(kind, pa.BaseExtensionType):
        name, kind = kind.extension_name, kind.storage_type
        told = getattr(field.type, "__arrow_ext_serialize__", bytes)()
    else:
        known = field.metadata or {}
        name = known.get(b"ARROW:extension:name", b"").decode("utf-8", "replace")
        told = known.get(b"ARROW:extension:metadata", b"")
    if isinstance(field.type, pa.FixedShapeTensorType):
        order = field.type.permutation
        return _tensors(kind.value_type, field.type.shape, order)
    try:
        if name in RAY_FIXED:
            return _tensors(kind.value_type, _numbers(told))
        if name == RAY_ANY:
            axes = _numbers(told)
            return _tensors(_values_type(kind), None if axes is None else [None] * int(axes))
        if name == ARROW_ANY:
            known = _parameters(field.type) if told == b"" else json.loads(told)
            shape = known.get("uniform_shape") or [None] * kind.field("shape").type.list_size
            return _tensors(_values_type(kind), shape, known.get("permutation"))
        if HUGGING_FACE.fullmatch(name):
            shape = json.loads(told)[0]
            return _tensors(_leaf(kind, len(shape)), shape)
        if name == DAFT:
            return _of_daft(kind, json.loads(told)["datatype"])
    except (ValueError, TypeError, KeyError, AttributeError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"the column {field.name!r} is {name!r}, and its metadata {told[:80]!r} are not those "
            "of such a column"
        ) from error
    return None


def unregistered(field: pa.Field) -> pa.Field:
    """A field as it is where nobody registered its extension type.

    What a file holds does not depend on which other libraries a process has imported.
    """
    kind = field.type
    if not _is_foreign(kind):
        return field
    told = {
        b"ARROW:extension:name": kind.extension_name.encode(),
        b"ARROW:extension:metadata": kind.__arrow_ext_serialize__(),
    }
    return field.with_type(kind.storage_type).with_metadata({**(field.metadata or {}), **told})


def plain_types(schema: pa.Schema) -> pa.Schema:
    """A schema whose fields are all `unregistered`."""
    return pa.schema(map(unregistered, schema), metadata=schema.metadata)


def stored_as(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values of a column whose field is `unregistered`."""
    if not _is_foreign(values.type):
        return values
    return pa.chunked_array([one.storage for one in values.chunks], values.type.storage_type)


def _is_foreign(kind: pa.DataType) -> bool:
    """Whether a type is a class in Python of another library."""
    return isinstance(kind, pa.ExtensionType) and not kind.extension_name.startswith("daskimg.")


def _leaf(kind: pa.DataType, depth: int) -> pa.DataType:
    return kind if depth == 0 else _leaf(kind.value_type, depth - 1)


def _parameters(kind: pa.DataType) -> dict[str, Any]:
    """Those of a type that pyarrow knows and shows only as text."""
    told = re.findall(r"(permutation|uniform_shape)=(\[[\d,nul]*\])", str(kind))
    return {key: json.loads(text) for key, text in told}


def _of_daft(kind: pa.DataType, told: Any) -> Tensors | None:
    what: str
    known: Any
    what, known = next(iter(told.items())) if isinstance(told, dict) else ("", "")
    if what in ("FixedShapeTensor", "Embedding"):
        shape = known[1] if what == "FixedShapeTensor" else [known[1]]
        return _tensors(kind.value_type, shape)
    if what == "FixedShapeImage":
        return _tensors(kind.value_type, [*known[1:], DAFT_CHANNELS[known[0]]])
    if what == "Image":
        return _tensors(_values_type(kind), [None, None, DAFT_CHANNELS.get(str(known))])
    return _tensors(_values_type(kind), None) if what == "Tensor" else None


def _tensors(value: pa.DataType, shape: Any, order: Any = None) -> Tensors | None:
    dtype = np.dtype(value.to_pandas_dtype())
    if dtype not in CODES:
        return None
    stored = None if shape is None else tuple(None if n is None else int(n) for n in shape)
    return Tensors(dtype, stored, None if order is None else tuple(map(int, order)))


def _values_type(kind: pa.DataType) -> pa.DataType:
    return kind.field("data").type.value_type


class _Numbers(pickle.Unpickler):
    """Reads pickled numbers and tuples of them; whatever would call anything is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no number")


def _numbers(told: bytes) -> Any:
    if told[:1] == b"\x80":  # a pickle, whose second protocol and later ones begin so
        return _Numbers(io.BytesIO(told)).load()
    return json.loads(told)


# -- values ---------------------------------------------------------------------------------------
def values_of(column: pa.Array, tensors: Tensors) -> tuple[Any, Uniform | Ragged]:
    """Which tensors of an Arrow array there are, and their values: no copy where memory fits.

    Raises
    ------
    ValueError
        When a tensor does not have as many values as its shape says.
    """
    storage = column.storage if isinstance(column, pa.ExtensionArray) else column
    valid = storage.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_struct(storage.type):
        return valid, _ragged(storage, valid, tensors)
    if pa.types.is_nested(storage.type.value_type):
        start, length, flat = _nested(storage, tensors.stored or ())
        if tensors.stored is not None and None in tensors.stored:
            rest = [int(n or 0) for n in tensors.stored[1:]]
            shape = np.full((len(valid), max(3, 1 + len(rest))), -1, np.int32)
            shape[valid, 1 : 1 + len(rest)] = rest
            shape[valid, 0] = length[valid] // max(1, math.prod(rest))
            return valid, _cells_of(valid, start, length, flat, shape)
    else:
        start, length, flat = _lists(storage)
    stored = [int(n or 0) for n in tensors.stored or ()]
    size = math.prod(stored)
    _check_sizes(length[valid], size)
    values = flat[start[0] : start[0] + len(start) * size] if len(start) else flat[:0]
    if not valid.all() and not pa.types.is_fixed_size_list(storage.type):
        values = np.zeros((len(start), size), flat.dtype)
        for row in np.flatnonzero(valid):
            values[row] = flat[start[row] : start[row] + size]
    values = values.reshape(len(start), *stored)
    if tensors.order is not None:
        values = values.transpose(0, *(axis + 1 for axis in tensors.order))
    return valid, Uniform(values)


def _ragged(storage: pa.StructArray, valid: Any, tensors: Tensors) -> Ragged:
    start, length, flat = _lists(storage.field("data"))
    shape = _shapes(storage, valid)
    _check_sizes(length[valid], np.where(shape < 0, 1, shape).prod(axis=1, dtype=np.int64)[valid])
    cells = _cells_of(valid, start, length, flat, shape)
    if tensors.order is None:
        return cells
    order = tensors.order
    return Ragged.of_cells(
        cells.cell(row).transpose(order) if valid[row] else None for row in range(len(valid))
    )


def _cells_of(valid: Any, start: Any, length: Any, flat: Any, shape: Any) -> Ragged:
    length = np.where(valid, length, 0)
    item = flat.dtype.itemsize
    code = np.where(valid, CODES[flat.dtype], 0).astype(np.uint8)
    bytes_of = flat.view(np.uint8) if flat.size else np.empty(0, np.uint8)
    return Ragged(bytes_of, start * item, length * item, shape, code)


def _nested(lists: pa.Array, shape: Sequence[int | None]) -> tuple[Any, Any, Any]:
    """Where the values of each list of lists start, how many there are, and all values."""
    ends, inner = _ends(lists), lists.values
    for size in shape[1:]:
        own = _ends(inner)
        lengths = np.diff(own)[ends[0] : ends[-1]]
        if (lengths != size).any():
            wrong = lengths[lengths != size][0]
            raise ValueError(f"a tensor holds a list of {wrong:,} values, where {size} belong")
        ends, inner = own[ends], inner.values
    if inner.null_count:
        raise ValueError("a tensor holds nulls among its values")
    return ends[:-1], np.diff(ends), inner.to_numpy(zero_copy_only=False)


def _ends(lists: pa.Array) -> Any:
    """Where each list ends in the values of all, and before it where the first one starts."""
    if not pa.types.is_fixed_size_list(lists.type):
        return lists.offsets.to_numpy().astype(np.int64)
    return (lists.offset + np.arange(len(lists) + 1, dtype=np.int64)) * lists.type.list_size


def _shapes(storage: pa.StructArray, valid: Any) -> Any:
    if storage.type.get_field_index("shape") < 0:  # a picture's
        sides = [storage.field(name).fill_null(0) for name in ("height", "width", "channel")]
        shape = np.stack([side.to_numpy(zero_copy_only=False) for side in sides], axis=1)
        return np.where(valid[:, None], shape.astype(np.int64), -1).astype(np.int32)
    first, axes, sizes = _lists(storage.field("shape"))
    width = max(3, axes[valid].max(initial=0))
    shape = np.full((len(valid), width), -1, np.int32)
    for axis in range(width):
        rows = valid & (axes > axis)
        shape[rows, axis] = sizes[first[rows] + axis]
    return shape


def _check_sizes(length: Any, size: Any) -> None:
    wrong = np.flatnonzero(length != size)
    if len(wrong):
        row = wrong[0]
        wanted = np.broadcast_to(size, length.shape)[row]
        raise ValueError(f"a tensor holds {length[row]:,} values, and its shape says {wanted:,}")


def _lists(lists: pa.Array) -> tuple[Any, Any, Any]:
    """Where each list starts, its length, and all values."""
    n, flat = len(lists), lists.values
    if pa.types.is_fixed_size_list(lists.type):
        size = lists.type.list_size
        start = (lists.offset + np.arange(n, dtype=np.int64)) * size
        length = np.full(n, size, np.int64)
    else:
        ends = lists.offsets.to_numpy().astype(np.int64)
        start, length = ends[:-1], np.diff(ends)
    # the items of a null are null themselves: what lies under them does not matter
    flat = pa.Array.from_buffers(
        flat.type, len(flat), [None, flat.buffers()[1]], offset=flat.offset
    )
    return start, length, flat.to_numpy(zero_copy_only=False)
