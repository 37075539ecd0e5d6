"""What a function returned, and which column that makes."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pyarrow as pa
from pandas.api.extensions import ExtensionArray

from daskimg.column.cells import as_image, infer, is_missing
from daskimg.column.dtype import ImageDtype, is_picture_shape, nullable
from daskimg.column.image import Image
from daskimg.column.json import JsonDtype, is_picture
from daskimg.column.lists import ImageListDtype
from daskimg.compat import categories
from daskimg.engine.ops import BYTES
from daskimg.engine.program import STRING
from daskimg.errors import quoted

__all__ = ["columns_of", "dtype_of", "dtypes_of", "plain", "unchanged", "with_room"]


def columns_of(result: Any) -> dict[str, Any]:
    """The columns of what a function returned, by name.

    Raises
    ------
    TypeError
        When it is no dict of columns, DataFrame or Arrow table.
    """
    if isinstance(result, pd.DataFrame):
        found = {name: result[name] for name in result.columns}
    elif isinstance(result, pa.Table | pa.RecordBatch):
        found = dict(zip(result.schema.names, result.columns, strict=True))
    elif isinstance(result, Mapping):
        found = dict(result)
    else:
        raise TypeError(
            "expected a dict of columns (arrays or lists with a value for each row), a DataFrame "
            f"or an Arrow table; got {type(result).__name__}"
        )
    wrong = [name for name in found if not isinstance(name, str)]
    if wrong:
        raise TypeError(f"expected text for the names of columns; got {quoted(wrong[0])}")
    return found


def plain(value: Any) -> Any:
    """A returned column as an array, an extension array or a list.

    Raises
    ------
    TypeError
        When it is no column of values.
    """
    if isinstance(value, pd.Series | pd.Index):
        value = value.array
    if isinstance(value, pa.ChunkedArray):
        value = value.combine_chunks()
    if isinstance(value, pa.FixedShapeTensorArray):
        return value.to_numpy_ndarray()
    if isinstance(value, pa.Array):
        value = pd.Series(value.to_pandas(), copy=False).array if _flat(value.type) else value
        return value if isinstance(value, ExtensionArray) else value.to_pylist()
    if isinstance(value, list | tuple):
        return [_item(item) for item in value]
    if isinstance(value, np.ma.MaskedArray) and value.ndim == 1:
        gone = np.ma.getmaskarray(value)
        return [None if null else x for x, null in zip(value.data, gone, strict=True)]
    value = _item(value)
    if isinstance(value, pd.arrays.NumpyExtensionArray):
        value = value.to_numpy()
    if isinstance(value, np.ndarray) and value.ndim:
        return [_item(item) for item in value] if value.dtype == object else value
    if isinstance(value, ExtensionArray):
        return value
    raise TypeError(
        f"expected an array or a list with a value for each row; got {type(value).__name__}"
    )


def _flat(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind))


def _item(value: Any) -> Any:
    """A tensor of torch or cupy, in lists and dicts too, as an array; of no axes as a number."""
    if isinstance(value, list | tuple):
        return [_item(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _item(item) for key, item in value.items()}
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        value = value.numpy()
    elif hasattr(value, "__cuda_array_interface__"):
        value = value.get()
    return value[()] if isinstance(value, np.ndarray) and not value.ndim else value


def unchanged(value: Any, given: Any) -> bool:
    """Whether a returned column is one of the batch, untouched."""
    if hasattr(given, "_version"):  # torch counts the changes in place
        return bool(value is given and given._version == 0)
    if isinstance(value, list) and isinstance(given, list | np.ndarray):
        pairs = zip(value, given, strict=False)
        return len(value) == len(given) and all(unchanged(a, b) for a, b in pairs)
    if isinstance(value, pa.ChunkedArray) and isinstance(given, pa.ChunkedArray):
        return len(value) == len(given) and _addresses(value) == _addresses(given)
    if isinstance(value, pd.Series) and isinstance(given, pd.Series):
        data = getattr(given.array, "data", None)
        return isinstance(given.dtype, ImageDtype) and getattr(value.array, "data", 0) is data
    if not (isinstance(value, np.ndarray) and isinstance(given, np.ndarray)):
        return False
    mine, theirs = value.__array_interface__, given.__array_interface__
    return all(mine[what] == theirs[what] for what in ("data", "shape", "typestr", "strides"))


def _addresses(column: pa.ChunkedArray) -> list[int]:
    return [b.address for chunk in column.chunks for b in chunk.buffers() if b is not None]


def dtype_of(values: Any, sizes: Sequence[tuple[int, int]] = ()) -> Any:
    """The dtype of the column that a returned column makes.

    Parameters
    ----------
    values : array, ExtensionArray or list
        As `plain` makes them.
    sizes : sequence of (height, width)
        Sizes of the batch's pictures that differ from batch to batch: a result of such a size
        follows them, and has no fixed shape.

    Raises
    ------
    TypeError
        For values of several kinds, or none.

    Examples
    --------
    >>> dtype_of(np.zeros((2, 8, 8, 3), "uint8")), dtype_of(np.zeros((2, 5), "float32"))
    (image[uint8, 8x8x3], tensor[float32, 5])
    >>> dtype_of(["cat", None]), dtype_of([["a", "b"], []]), dtype_of([1, 2])
    (<StringDtype(na_value=<NA>)>, json, dtype('int64'))
    """
    if isinstance(values, ExtensionArray):
        return _kept(values.dtype)
    if isinstance(values, list):
        return _of_list(values, sizes)
    if values.dtype.kind in "US":
        return STRING if values.dtype.kind == "U" else BYTES
    if values.dtype.kind not in "biufmM":
        raise TypeError(f"expected numbers, text, dates or pictures; got {values.dtype} values")
    if values.ndim == 1:
        return values.dtype
    shape = values.shape[1:]
    fixed = None if any(pair in sizes for pair in pairwise(shape)) else shape
    return ImageDtype(values.dtype.name, fixed, tensor=not is_picture_shape(shape))


def _kept(dtype: Any) -> Any:
    if isinstance(dtype, pd.CategoricalDtype):  # other batches have other categories
        dtype = categories(dtype).dtype
    return STRING if isinstance(dtype, pd.StringDtype) else dtype


def _of_list(values: list[Any], sizes: Sequence[tuple[int, int]]) -> Any:
    known = [value for value in values if not is_missing(value) or isinstance(value, float)]
    if not known:
        raise TypeError("every value of the rows tried first is null; give its dtype in meta=")
    if all(isinstance(value, str) for value in known):
        return STRING
    if all(isinstance(value, bytes) for value in known):
        return BYTES
    if all(isinstance(value, bool | int | float | np.generic) for value in known):
        return _of_scalars(known, len(known) < len(values))
    if all(isinstance(value, np.ndarray) for value in known):
        return _of_arrays(known, sizes)
    if all(isinstance(value, PIL.Image.Image | Image) for value in known):
        pictures = (x if isinstance(x, Image) else Image(x) for x in known)
        return ImageDtype(infer(pictures))
    if all(isinstance(value, datetime.date) for value in known):
        return pd.Series(pd.to_datetime(known)).dtype
    if all(isinstance(value, datetime.timedelta) for value in known):
        return pd.Series(pd.to_timedelta(known)).dtype
    if all(isinstance(value, list) for value in known):
        return _of_lists(known)
    if all(isinstance(value, list | set | frozenset | Mapping) for value in known):
        return JsonDtype()
    raise _mixed(known)


def _mixed(known: list[Any]) -> TypeError:
    names = sorted({type(value).__name__ for value in known})
    if len(names) > 1:
        what = f"expected values of one kind in a column; got a mix of {', '.join(names)}"
        return TypeError(what)
    return TypeError(
        "expected numbers of 64 bits, text, bytes, dates, durations, arrays, pictures, lists or "
        f"dicts; got {names[0]} {quoted(known[0])}: return one of these, or give its dtype in meta="
    )


def _of_lists(known: list[list[Any]]) -> Any:
    """Lists of pictures of one kind are their own; lists of anything else ``json``."""
    items = [item for value in known for item in value if not is_missing(item)]
    if not items or not all(
        isinstance(x, bytes | PIL.Image.Image | Image)
        or (isinstance(x, np.ndarray) and is_picture(x.shape, x.dtype))
        for x in items
    ):
        return JsonDtype()
    found = {infer([as_image(item)]) for item in items}
    return ImageListDtype(ImageDtype(found.pop())) if len(found) == 1 else JsonDtype()


def _of_scalars(known: list[Any], null: bool) -> Any:
    array = np.asarray(known)
    if array.dtype.kind not in "biufmM" or (
        array.dtype.kind != "b" and any(isinstance(value, bool | np.bool_) for value in known)
    ):
        raise _mixed(known)
    return nullable(array.dtype) if null else array.dtype


def _of_arrays(known: list[Any], sizes: Sequence[tuple[int, int]]) -> Any:
    pictures = [is_picture_shape(value.shape) for value in known]
    if all(pictures):
        return ImageDtype("pixels")
    if any(pictures):
        raise TypeError("expected values of one kind in a column; got pictures and other arrays")
    if len({(value.shape, value.dtype) for value in known}) == 1:
        return dtype_of(np.stack(known[:1]), sizes)
    return ImageDtype("pixels", tensor=True)


def with_room(dtype: Any, nulls: bool, policy: str | None) -> Any:
    """`dtype` with room for nulls where there may be some, and the error policy of pictures."""
    if isinstance(dtype, ImageDtype) and policy is not None:
        return dtype.derive(dtype.cells, dtype.shape, on_error=policy)
    if isinstance(dtype, ImageListDtype):
        return ImageListDtype(with_room(dtype.item, nulls, policy))
    return nullable(dtype) if nulls else dtype


def dtypes_of(meta: Any) -> dict[str, Any]:
    """The dtypes of `meta`, a dict of name to dtype or an empty frame.

    ``list`` and ``dict`` stand for ``json``, ``str`` for ``string[pyarrow]``, ``bytes`` for
    ``large_binary[pyarrow]``, ``"image"`` for ``image[pixels]``, also in ``"list[image]"``.

    Examples
    --------
    >>> dtypes_of({"boxes": list, "score": "float32"})
    {'boxes': json, 'score': dtype('float32')}
    """
    if isinstance(meta, pd.DataFrame):
        meta = dict(meta.dtypes)
    if not isinstance(meta, Mapping) or not all(isinstance(name, str) for name in meta):
        raise TypeError(
            f'meta is a dict of names to dtypes, {{"score": "float32"}}; got {quoted(meta)}'
        )
    named = {list: "json", dict: "json", object: "json", "object": "json", bytes: BYTES}
    found = {}
    for name, dtype in meta.items():
        try:
            dtype = _kept(pd.api.types.pandas_dtype(named.get(_hashable(dtype), dtype)))
        except TypeError as error:
            raise TypeError(f"meta: the dtype of {name!r}: {error}") from None
        if isinstance(dtype, ImageDtype) and dtype.cells == "infer":
            dtype = dtype.derive("pixels")
        if isinstance(dtype, ImageListDtype) and dtype.item.cells == "infer":
            dtype = ImageListDtype(dtype.item.derive("pixels"))
        found[name] = JsonDtype() if dtype == np.dtype(object) else dtype
    return found


def _hashable(dtype: Any) -> Any:
    return dtype if isinstance(dtype, type | str) else None
