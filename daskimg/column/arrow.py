"""Image columns as Arrow arrays: one extension type, its storage a struct without copies."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from daskimg.column import text
from daskimg.column.dtype import ImageDtype, policy_of
from daskimg.column.held import Held, Mask
from daskimg.column.storage import BYTES, DTYPES, KINDS, PATH, Ragged, Uniform, mixed
from daskimg.column.text import Text
from daskimg.compat import categories, nulled
from daskimg.errors import ImageError

__all__ = [
    "ImageArrowType",
    "dtype_from",
    "from_arrow",
    "from_values",
    "storage_type",
    "to_arrow",
]

# What makes an ImageArray: dtype, valid, data, path, error.
Parts: TypeAlias = tuple[ImageDtype, Mask, Ragged | Uniform | None, Text, Text]

_PLAIN = {
    **dict.fromkeys((pa.string(), pa.large_string(), pa.string_view(), pa.null()), "file"),
    **dict.fromkeys((pa.binary(), pa.large_binary(), pa.binary_view()), "encoded"),
}
UNKNOWN = len(KINDS)  # what a file says that a cell is, and nobody knows
SIZES = np.array([*(dtype.itemsize for dtype in DTYPES), 0, 0, 0])  # of a value, by its code
_TEXT = [("path", pa.large_string()), ("error", pa.large_string())]


def storage_type(dtype: ImageDtype) -> pa.DataType:
    """The struct that holds a column of `dtype`.

    ``data`` (bytes; absent for files), ``shape`` and ``dtype`` (only where cells differ; "bytes"
    and "path" are dtypes where they are of several kinds), and the ``path`` and ``error`` of each
    cell. A failed cell is a struct whose ``data`` is null.
    """
    fields: list[Any] = []
    if dtype.cells != "file":
        fields.append(("data", pa.large_binary()))
    if dtype.cells == "mixed" or (dtype.holds_pixels and dtype.shape is None):
        fields += [("shape", pa.list_(pa.int32())), ("dtype", pa.string())]
    if dtype.cells == "file":
        fields.append(("valid", pa.bool_()))
    return pa.struct(fields + _TEXT)


class ImageArrowType(pa.ExtensionType):  # type: ignore[misc]
    """The Arrow extension type ``daskimg.image``; its metadata is the pandas dtype."""

    def __init__(self, dtype: ImageDtype, storage: pa.DataType | None = None) -> None:
        self._dtype = dtype
        super().__init__(storage or storage_type(dtype), "daskimg.image")

    def __arrow_ext_serialize__(self) -> bytes:
        return self._dtype.to_json().encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, data: bytes) -> ImageArrowType:
        return cls(dtype_from(data), storage)

    def __eq__(self, other: object) -> bool:
        # pyarrow's own compares the storage only, the same for files of any policy, for every
        # shape of pixels; like the dtype's, this one leaves the policy out
        return (
            isinstance(other, ImageArrowType)
            and self._dtype == other._dtype
            and self.storage_type == other.storage_type
        )

    def __ne__(self, other: object) -> bool:  # pyarrow's would ask pyarrow's own ==
        return not self == other

    def __hash__(self) -> int:  # Dask looks Arrow types up in a set
        return hash((type(self), self._dtype))

    def __reduce__(self) -> tuple[Any, ...]:
        return ImageArrowType, (self._dtype, self.storage_type)

    def to_pandas_dtype(self) -> ImageDtype:
        """The dtype a pandas column of this type has."""
        return self._dtype


pa.register_extension_type(ImageArrowType(ImageDtype("file")))


def dtype_from(metadata: bytes) -> ImageDtype:
    """The dtype that the metadata of an extension type tells; it may come out of any file."""
    try:
        return ImageDtype.from_json(metadata.decode())
    except ValueError as error:
        raise pa.ArrowInvalid(str(error)) from error


def _binary(data: Ragged | Uniform, valid: Any) -> pa.Array:
    """Flat bytes as an Arrow column, on the same memory."""
    n = len(data)
    if isinstance(data, Uniform):
        values = np.ascontiguousarray(data.values)
        offsets = np.arange(n + 1, dtype=np.int64) * (values.nbytes // n if n else 0)
        flat = values.reshape(-1).view(np.uint8) if values.size else np.empty(0, np.uint8)
    else:
        data = data.tight()
        offsets = np.concatenate([[0], np.cumsum(data.length)]).astype(np.int64)
        flat = data.buffer
    bitmap = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), n, [bitmap, pa.py_buffer(offsets), pa.py_buffer(flat)]
    )


def to_arrow(array: Held) -> pa.ExtensionArray:
    """An Arrow extension array; pixels and bytes are not copied where they are contiguous."""
    n, dtype, valid = len(array), array.dtype, array.valid
    columns: list[pa.Array] = []
    data = array.data
    if data is None:
        columns.append(pa.array(valid))
    else:
        columns.append(_binary(data, valid))
        if isinstance(data, Ragged) and data.shape is not None and data.code is not None:
            counts = (data.shape >= 0).sum(axis=1)
            offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
            shape = pa.ListArray.from_arrays(offsets, pa.array(data.shape[data.shape >= 0]))
            columns += [shape, pa.array(KINDS).take(pa.array(data.code))]
    for words in (array.path, array.error):
        words = text.compact(words)
        columns.append(pa.nulls(n, pa.large_string()) if words is None else words)
    kind = storage_type(dtype)
    nothing = ~valid & ~array.has_error & ~array.has_path
    storage = pa.StructArray.from_arrays(
        columns, fields=list(kind), mask=pa.array(nothing) if nothing.any() else None
    )
    return pa.ExtensionArray.from_storage(ImageArrowType(dtype), storage)


def _ragged(storage: pa.StructArray, data: pa.LargeBinaryArray) -> Ragged:
    n = len(data)
    _, offsets_buffer, flat = data.buffers()
    offsets = (
        np.frombuffer(offsets_buffer, np.int64, n + 1, data.offset * 8)
        if n
        else np.zeros(1, np.int64)
    )
    size = 0 if flat is None else flat.size
    buffer = np.frombuffer(flat, np.uint8) if size else np.empty(0, np.uint8)
    start, length = offsets[:-1], np.diff(offsets)
    shapes = _field(storage, "shape")
    if shapes is None:
        return Ragged(buffer, start, length)
    counts = shapes.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    shape = np.full((n, max(3, counts.max(initial=0))), -1, np.int32)
    shape[np.arange(shape.shape[1]) < counts[:, None]] = shapes.flatten().to_numpy(
        zero_copy_only=False
    )
    names = _field(storage, "dtype").dictionary_encode()
    known = {name: code for code, name in enumerate(KINDS)}
    codes = np.array([known.get(name, UNKNOWN) for name in names.dictionary.to_pylist()] or [0])
    code = codes[names.indices.fill_null(0).to_numpy(zero_copy_only=False)].astype(np.uint8)
    return Ragged(buffer, start, length, shape, code)


def _whole(
    ragged: Ragged, valid: Mask, path: Text, error: Text, dtype: ImageDtype, policy: str
) -> tuple[Mask, Text]:
    """Which valid cells have as many bytes as their shape and dtype say; of others the reason.

    A file may hold others, whoever wrote it. Under the policy "raise" they raise.
    """
    if dtype.shape is not None and dtype.cell_dtype is not None:
        torn = ragged.length != math.prod(dtype.shape) * dtype.cell_dtype.itemsize
    elif ragged.shape is not None and ragged.code is not None:
        axes = (ragged.shape >= 0).sum(axis=1)
        size = SIZES[ragged.code] * np.where(ragged.shape < 0, 1.0, ragged.shape).prod(axis=1)
        torn = (ragged.length != size) | (axes < (1 if dtype.tensor else 2))
        torn = torn & (ragged.code < BYTES) | (ragged.code == UNKNOWN)
    else:
        return valid, error
    torn = valid & torn
    if not torn.any():
        return valid, error
    reasons = [None] * len(valid) if error is None else error.to_pylist()
    for i in np.flatnonzero(torn):
        reasons[i] = f"read: ValueError: {ragged.length[i]} bytes are not those of the cell's shape"
        if policy == "raise":
            raise ImageError(str(reasons[i]), None if path is None else path[i].as_py())
    return valid & ~torn, text.of(reasons)


def _field(storage: pa.Array, name: str) -> Any:
    """A field of the storage, None where it has no such field or is none but `data` itself."""
    if not pa.types.is_struct(storage.type) or storage.type.get_field_index(name) < 0:
        return None
    return storage.field(name)


def from_arrow(array: pa.Array, dtype: ImageDtype) -> Parts:
    """What an Arrow array holds that `to_arrow` made, whatever a writer cast it to.

    Plain strings are the paths of files, plain bytes encoded pictures, a struct of ``bytes`` and
    ``path`` is either, as Hugging Face has it.
    """
    policy = policy_of(dtype)  # the reader's, not the file's
    if isinstance(array.type, ImageArrowType):
        dtype = array.type.to_pandas_dtype()
    storage = array.storage if isinstance(array, pa.ExtensionArray) else array
    # field() of a masked struct keeps the nulls of the child alone: the struct's own come on top
    valid = storage.is_valid().to_numpy(zero_copy_only=False)
    path, error = (_text(_field(storage, name), valid) for name in ("path", "error"))
    if dtype.cells == "file":
        flags = _field(storage, "valid")
        if flags is None:  # paths alone
            words = storage if path is None else path
            return dtype, words.is_valid().to_numpy(zero_copy_only=False), None, words, None
        valid = valid & flags.fill_null(False).to_numpy(zero_copy_only=False)
        return dtype, valid, None, path, error
    data = _field(storage, "data")
    if data is None:
        data = _field(storage, "bytes")  # as Hugging Face names it
    if data is None:
        data = pa.nulls(len(storage)) if pa.types.is_struct(storage.type) else storage
    data = data.cast(pa.large_binary())
    held = data.is_valid().to_numpy(zero_copy_only=False)
    ragged = _ragged(storage, data)
    if dtype.cells == "mixed":
        kinds = _field(storage, "dtype")
        if kinds is None:  # of another program: what has no bytes, and a path, is a file
            paths = ~held & text.present(path, len(held)) & ~text.present(error, len(held))
        else:
            paths = pc.equal(kinds, "path").fill_null(False).to_numpy(zero_copy_only=False)
        valid, error = _whole(ragged, valid & (held | paths), path, error, dtype, policy)
        ragged = mixed(ragged if valid.all() else ragged.blank(~valid), valid)
        ragged.code[paths & valid] = PATH  # type: ignore[index]
        return dtype, valid, ragged, path, error
    valid, error = _whole(ragged, valid & held, path, error, dtype, policy)
    if dtype.shape is not None and dtype.cell_dtype is not None:
        uniform = _uniform(ragged, valid, dtype.cell_dtype, dtype.shape)
        return dtype, valid, uniform, path, error
    return dtype, valid, ragged if valid.all() else ragged.blank(~valid), path, error


def from_values(values: Any, dtype: ImageDtype) -> Parts | None:
    """What an array holds that Arrow understands: paths, bytes, our cells; None of others."""
    if isinstance(values, pd.Categorical):
        values = categories(values.dtype).array.take(values.codes, allow_fill=True)
    if not hasattr(values, "__arrow_array__"):
        return None
    words = pa.array(values, from_pandas=True)
    if isinstance(words, pa.ChunkedArray):
        words = words.combine_chunks()
    if pa.types.is_dictionary(words.type):
        words = words.dictionary_decode()
    kind = _PLAIN.get(words.type)
    if pa.types.is_struct(words.type) and {*words.type.names} <= {"bytes", "path"}:
        kind = "mixed"
    if isinstance(words.type, ImageArrowType):  # of an ArrowDtype column
        return from_arrow(words, dtype)
    if kind is None or (dtype.cells not in ("infer", kind, "mixed") and kind != "mixed"):
        return None
    return from_arrow(words, dtype.derive(kind))


def _text(words: pa.Array | None, valid: Any) -> Text:
    if words is None or words.null_count == len(words):
        return None
    words = words.cast(pa.large_string())
    return words if valid.all() else nulled(words, pa.array(~valid))


def _uniform(ragged: Ragged, valid: Any, cell: np.dtype[Any], shape: tuple[int, ...]) -> Uniform:
    n, size = len(ragged), int(np.prod(shape)) * cell.itemsize
    first = int(ragged.start[0]) if n else 0
    if n and bool(
        (ragged.start == first + size * np.arange(n)).all() and (ragged.length == size).all()
    ):
        flat = ragged.buffer[first : first + n * size]
        if flat.ctypes.data % cell.itemsize == 0:
            return Uniform(flat.view(cell).reshape(n, *shape))
    out = Uniform.empty(n, cell, shape)
    for i in np.flatnonzero(valid):
        flat = ragged.buffer[ragged.start[i] : ragged.start[i] + ragged.length[i]]
        out.values[i].reshape(-1).view(np.uint8)[:] = flat
    return out
