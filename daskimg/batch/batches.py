"""Rows of a frame as a batch: NumPy, pandas, Arrow, torch or cupy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from daskimg.column.array import ImageArray
from daskimg.column.storage import DTYPES, Ragged, Uniform
from daskimg.errors import quoted
from daskimg.lazy.bare import Frame, arrays_of, as_pandas

__all__ = ["FORMATS", "check_format", "pixels_of", "to_batch"]

_streams = threading.local()


def to_batch(rows: Frame, batch_format: str, device: str) -> Any:
    """`rows`, whose image columns hold pixels and no nulls, in a format of `FORMATS`."""
    return FORMATS[batch_format](rows, device)


def pixels_of(cells: ImageArray) -> Any:
    """Pixels of cells that are all valid: one ``(N, ...)`` array if of one shape, else a list."""
    data = cells.data
    if isinstance(data, Uniform):
        return _frozen(data.values)
    if not isinstance(data, Ragged) or data.shape is None or data.code is None:
        raise TypeError(f"a batch holds pixels; got {cells.dtype}")
    if len(data) and (data.shape == data.shape[0]).all() and (data.code == data.code[0]).all():
        flat = data.tight().buffer
        dtype, shape = DTYPES[data.code[0]], data.shape[0]
        if flat.ctypes.data % dtype.itemsize:
            flat = flat.copy()
        return _frozen(flat.view(dtype).reshape(len(data), *shape[shape >= 0]))
    return [_frozen(data.cell(i)) for i in range(len(data))]


def _frozen(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    view = values.view()
    view.flags.writeable = False
    return view


def _numpy(rows: Frame, device: str) -> dict[str, Any]:
    return {str(name): _column(array) for name, array in arrays_of(rows)}


def _column(array: Any) -> Any:
    if isinstance(array, ImageArray):
        return pixels_of(array)
    if isinstance(array, np.ndarray):
        if array.dtype == object:
            gone = np.fromiter((value is pd.NA for value in array), bool, len(array))
            if gone.any():
                array = array.copy()
                array[gone] = None
        return _frozen(array)
    if isinstance(array.dtype, np.dtype):
        return _frozen(array.to_numpy())
    null = np.asarray(array.isna(), bool)
    number = getattr(array.dtype, "numpy_dtype", np.dtype(object))  # of nullable, Arrow numbers
    if number.kind in "biuf" and not null.any():
        return _frozen(array.to_numpy(number))
    if number.kind in "iuf":
        return _frozen(array.to_numpy(np.float64, na_value=np.nan))
    values = np.array(array, object)
    values[null] = None
    return _frozen(values)


def _pandas(rows: Frame, device: str) -> pd.DataFrame:
    frame: pd.DataFrame = as_pandas(rows)
    return frame


def _arrow(rows: Frame, device: str) -> pa.Table:
    columns = {}
    for name, array in arrays_of(rows):
        values = pixels_of(array) if isinstance(array, ImageArray) else None
        if isinstance(values, np.ndarray) and values.dtype.kind in "iuf" and len(values):
            columns[str(name)] = pa.FixedShapeTensorArray.from_numpy_ndarray(
                np.ascontiguousarray(values)
            )
        else:
            columns[str(name)] = pa.array(array, from_pandas=True)
    return pa.table(columns)


def _torch(rows: Frame, device: str) -> dict[str, Any]:
    import torch

    cuda = device == "gpu" and torch.cuda.is_available()

    def tensor(values: Any) -> Any:
        if isinstance(values, list):
            return [tensor(value) for value in values]
        if values.dtype.kind not in "biuf":
            return values.tolist()
        # a copy: models work in place, and the rows stay what they are
        made = torch.from_numpy(np.array(values))
        return _on_gpu(made) if cuda else made

    return {name: tensor(values) for name, values in _numpy(rows, device).items()}


def _on_gpu(tensor: Any) -> Any:
    """A copy on the GPU, made on a stream of its own beside the model's work."""
    import torch

    if not hasattr(_streams, "copy"):
        _streams.copy = torch.cuda.Stream()
    with torch.cuda.stream(_streams.copy):
        copied = tensor.pin_memory().to("cuda", non_blocking=True)
    _streams.copy.synchronize()  # (this is the thread that makes batches ahead)
    # its memory is not given away before the model is through with it
    copied.record_stream(torch.cuda.default_stream())
    return copied


def _cupy(rows: Frame, device: str) -> dict[str, Any]:
    try:
        import cupy
    except ImportError as error:
        raise ImportError(
            'batch_format="cupy" needs cupy where the stage runs: pip install cupy-cuda13x; '
            'or use batch_format="torch"'
        ) from error

    def array(values: Any) -> Any:
        if isinstance(values, list):
            return [array(value) for value in values]
        return cupy.asarray(values) if values.dtype.kind in "biuf" else values.tolist()

    return {name: array(values) for name, values in _numpy(rows, device).items()}


FORMATS: dict[str, Callable[[Frame, str], Any]] = {
    "numpy": _numpy,
    "pandas": _pandas,
    "arrow": _arrow,
    "torch": _torch,
    "cupy": _cupy,
}
# what others call them
_KNOWN_AS = {
    **dict.fromkeys(("np", "array", "default"), "numpy"),
    **dict.fromkeys(("pd", "dataframe"), "pandas"),
    **dict.fromkeys(("pa", "pyarrow", "table"), "arrow"),
    **dict.fromkeys(("pt", "pytorch", "tensor"), "torch"),
    "cp": "cupy",
}


def check_format(name: Any) -> None:
    """Raise for a batch format that there is not."""
    if name in FORMATS:
        return
    word = str(name).lower()
    ours = _KNOWN_AS.get(word, word if word in FORMATS else None)
    hint = f', which is "{ours}" here' if ours else ""
    if word in ("tf", "tensorflow"):
        hint = ": df.img.to_tf() gives TensorFlow's tensors"
    raise ValueError(f"batch_format is one of {', '.join(FORMATS)}; got {quoted(name)}{hint}")
