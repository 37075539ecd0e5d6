"""A column of lists and dicts, as Python values here and JSON text in Arrow.

Columns of Python objects do not survive Dask: a shuffle turns their lists into arrays and gives
every dict the keys of all, and Parquet does not take them. Text keeps each cell what it is.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import PIL.Image
import pyarrow as pa
from pandas.api.extensions import (
    ExtensionArray,
    ExtensionDtype,
    no_default,
    register_extension_dtype,
)
from pandas.api.indexers import check_array_indexer

from daskimg.column.cells import is_missing
from daskimg.column.image import Image
from daskimg.transport import fetch

__all__ = ["JsonArray", "JsonDtype", "is_picture", "plain"]


BYTES, IMAGE = "daskimg.bytes", "daskimg.image"  # keys of what JSON has no word for
ALIKE = re.compile(r"~*daskimg\.")  # keys of others, which stand with a ~ more in the text


def plain(value: Any) -> Any:
    """`value` as JSON has it: lists, dicts with text for keys, str, bool, int, float, None.

    Tuples, sets and arrays become lists. Bytes stay bytes; a picture (a Pillow image, an array of
    three axes, of two where its numbers are those of pixels) is an `Image`.

    Raises
    ------
    TypeError
        For what is none of these.

    Examples
    --------
    >>> plain({"box": np.array([1, 2]), "score": np.float32(0.5)})
    {'box': [1, 2], 'score': 0.5}
    >>> plain([np.zeros((2, 3, 3), "uint8")])
    [<Image 2x3x3 uint8>]
    """
    if value is None or value is pd.NA or isinstance(value, str | bool | int | float):
        return None if value is pd.NA else value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Set):
        return sorted(plain(item) for item in value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Image):
        return value
    if isinstance(value, PIL.Image.Image) or (
        isinstance(value, np.ndarray) and is_picture(value.shape, value.dtype)
    ):
        return Image(value)
    if hasattr(value, "tolist"):  # NumPy, pandas, torch
        return plain(value.tolist())
    raise TypeError(
        "a column of lists and dicts holds what JSON does (str, bool, int, float, None in them), "
        f"bytes and pictures; got {type(value).__name__}"
    )


def _cell(value: Any) -> Any:
    """`value` as a column keeps it; None where it is missing."""
    return None if is_missing(value) else plain(value)


def is_picture(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether an array among other values is a picture."""
    if len(shape) == 2:  # boxes, keypoints and matrices are lists of lists
        return dtype in (np.uint8, np.uint16, np.bool_)
    return len(shape) == 3 and shape[2] in (1, 3, 4) and dtype.kind in "biuf"


def _packed(value: Any) -> dict[str, Any]:
    """Bytes and pictures as JSON can hold them."""
    if isinstance(value, bytes):
        return {BYTES: base64.b64encode(value).decode()}
    known = {"path": value.path, "error": value.error, "source": value.source}
    if isinstance(value.data, np.ndarray):
        pixels = np.ascontiguousarray(value.data)
        known |= {"shape": pixels.shape, "dtype": pixels.dtype.name}
        known["pixels"] = base64.b64encode(pixels.tobytes()).decode()
    elif value.data is not None:
        known["bytes"] = base64.b64encode(value.data).decode()
    return {IMAGE: {key: item for key, item in known.items() if item is not None}}


def _unpacked(value: dict[str, Any]) -> Any:
    """The inverse; what only looks like it, as a file may hold it, stays a dict."""
    if len(value) != 1 or not value.keys() & {BYTES, IMAGE}:
        return {k[1:] if k[:1] == "~" and ALIKE.match(k) else k: v for k, v in value.items()}
    try:
        if BYTES in value:
            return base64.b64decode(value[BYTES], validate=True)
        known = dict(value[IMAGE])
        data: Any = None
        if "pixels" in known:
            flat = np.frombuffer(base64.b64decode(known["pixels"]), np.dtype(known["dtype"]))
            data = flat.reshape(known["shape"])
        elif "bytes" in known:
            data = base64.b64decode(known["bytes"], validate=True)
        source = fetch.recall(known.get("source"))
        return Image(data, known.get("path"), known.get("error"), source)
    except (ValueError, TypeError, KeyError, OverflowError):
        return value


def _alike(value: Any) -> bool:
    """Whether a dict in it has a key that looks like one of ours."""
    if isinstance(value, dict):
        return any(ALIKE.match(key) or _alike(item) for key, item in value.items())
    return isinstance(value, list) and any(map(_alike, value))


def _apart(value: Any) -> Any:
    """The same, whose keys are none of ours."""
    if isinstance(value, dict):
        return {f"~{k}" if ALIKE.match(k) else k: _apart(item) for k, item in value.items()}
    return [_apart(item) for item in value] if isinstance(value, list) else value


def _written(value: Any) -> str:
    text = json.dumps(value, default=_packed)
    if "daskimg." in text and _alike(value):
        text = json.dumps(_apart(value), default=_packed)
    return text


def _read(text: str) -> Any:
    return json.loads(text, object_hook=_unpacked if "daskimg." in text else None)


def _kept_to(value: Any, source: fetch.Source) -> Any:
    if isinstance(value, dict):
        return {key: _kept_to(item, source) for key, item in value.items()}
    if isinstance(value, list):
        return [_kept_to(item, source) for item in value]
    return value.kept_to(source) if isinstance(value, Image) else value


@register_extension_dtype
class JsonDtype(ExtensionDtype):
    """The dtype of lists and dicts: ``json``. In them are numbers, text, bytes and pictures.

    Examples
    --------
    >>> tags = pd.Series([["cat", "sofa"], []], dtype="json")
    >>> tags.explode().tolist()
    ['cat', 'sofa', <NA>]
    """

    na_value = pd.NA
    name = "json"
    type = object
    kind = "O"

    def __repr__(self) -> str:
        return self.name

    @classmethod
    def construct_array_type(cls) -> type[JsonArray]:  # type: ignore[valid-type]
        """The array class of this dtype."""
        return JsonArray

    def __from_arrow__(self, array: pa.Array | pa.ChunkedArray) -> JsonArray:
        chunks = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
        values: list[Any] = []
        for chunk in chunks:
            words = chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk
            if pa.types.is_string(words.type) or pa.types.is_large_string(words.type):
                values += [None if x is None else _read(x) for x in words.to_pylist()]
            else:
                values += words.to_pylist()
        return JsonArray._from_sequence(values)


class JsonArray(ExtensionArray):
    """Cells that are lists, dicts or what stands in them.

    Parameters
    ----------
    values : (N,) object array
        JSON values, as `plain` makes them; None where a cell is missing.
    """

    _readonly = False  # (pandas 2 does not know of it)

    def __init__(self, values: npt.NDArray[np.object_]) -> None:
        self._values = values

    @classmethod
    def _from_sequence(cls, scalars: Any, *, dtype: Any = None, copy: bool = False) -> JsonArray:
        values = np.empty(len(scalars), object)
        for i, value in enumerate(scalars):
            values[i] = _cell(value)
        return cls(values)

    @classmethod
    def _from_factorized(cls, values: Any, original: JsonArray) -> JsonArray:
        return cls._from_sequence([_read(text) for text in values])

    @property
    def dtype(self) -> JsonDtype:
        """``json``."""
        return JsonDtype()

    @property
    def nbytes(self) -> int:
        """Bytes of the cells' text."""
        return sum(len(text) for text in self._texts() if text is not None)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, item: Any) -> Any:
        item = check_array_indexer(self, item)
        found = self._values[item]
        if isinstance(item, int | np.integer):
            return pd.NA if found is None else found
        part = JsonArray(found)
        part._readonly = self._readonly
        return part

    def __setitem__(self, key: Any, value: Any) -> None:
        if self._readonly:
            raise ValueError("Cannot modify read-only array")
        key = check_array_indexer(self, key)
        if isinstance(key, int | np.integer):
            self._values[key] = _cell(value)
            return
        n = len(self._values[key])
        one = isinstance(value, str | bytes | Mapping | Set) or not hasattr(value, "__len__")
        cells = [value] * n if one else value
        self._values[key] = JsonArray._from_sequence(cells)._values

    def __eq__(self, other: Any) -> Any:
        if isinstance(other, pd.Series | pd.Index | pd.DataFrame):
            return NotImplemented
        is_column = isinstance(other, ExtensionArray | np.ndarray)
        cells = other if is_column else [other] * len(self)
        pairs = zip(self, cells, strict=True)
        return np.array([a is not pd.NA and b is not pd.NA and a == b for a, b in pairs], bool)

    def kept_to(self, source: fetch.Source) -> JsonArray:
        """The same, whose pictures are opened where `source` allows it: what stood in a file."""
        values = np.empty(len(self), object)
        values[:] = [_kept_to(value, source) for value in self._values]
        return JsonArray(values)

    def isna(self) -> npt.NDArray[np.bool_]:
        """True where a cell is missing."""
        return np.array([value is None for value in self._values], bool)

    def copy(self) -> JsonArray:
        """An array whose cells can be set without changing this one."""
        return JsonArray(self._values.copy())

    def take(self, indices: Any, *, allow_fill: bool = False, fill_value: Any = None) -> JsonArray:
        """Rows at `indices`; with `allow_fill`, -1 is a missing cell (or `fill_value`)."""
        index = np.asarray(indices, np.intp)
        values = pd.api.extensions.take(self._values, index, allow_fill=allow_fill)
        taken = np.array(values, object)
        if allow_fill:  # (pandas takes None for NaN)
            for row in np.flatnonzero(index == -1):
                taken[row] = _cell(fill_value)
        return JsonArray(taken)

    @classmethod
    def _concat_same_type(cls, to_concat: Sequence[JsonArray]) -> JsonArray:
        return cls(np.concatenate([part._values for part in to_concat]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        # by itself NumPy makes lists of one length a second axis
        out = self._values.copy()
        out[self.isna()] = pd.NA
        return out if dtype is None else out.astype(dtype, copy=False)

    def to_numpy(
        self, dtype: Any = None, copy: bool = False, na_value: Any = no_default
    ) -> npt.NDArray[Any]:
        """An object array of the cells."""
        out = self.__array__()
        if na_value is not no_default:
            out[self.isna()] = na_value
        return out if dtype is None else out.astype(dtype, copy=False)

    def _texts(self) -> list[str | None]:
        return [None if x is None else _written(x) for x in self._values]

    def _values_for_factorize(self) -> tuple[npt.NDArray[Any], Any]:
        values = np.empty(len(self), object)
        values[:] = self._texts()
        return values, None

    def _values_for_argsort(self) -> npt.NDArray[Any]:
        texts, _ = self._values_for_factorize()
        return np.where(self.isna(), "", texts)

    def _hash_pandas_object(
        self, *, encoding: str, hash_key: str, categorize: bool
    ) -> npt.NDArray[np.uint64]:
        texts, _ = self._values_for_factorize()
        return pd.util.hash_array(texts, encoding, hash_key, categorize)

    def _explode(self) -> tuple[JsonArray, npt.NDArray[np.uint64]]:
        """A row for each item of a list; an empty list is a missing one."""
        rows = [value or [None] if isinstance(value, list) else [value] for value in self._values]
        items = [item for row in rows for item in row]
        return JsonArray._from_sequence(items), np.array([len(row) for row in rows], np.uint64)

    def __arrow_array__(self, type: pa.DataType | None = None) -> pa.Array:
        words = pa.array(self._texts(), pa.string())
        return pa.ExtensionArray.from_storage(pa.json_(pa.string()), words)
