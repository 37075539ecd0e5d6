"""From any value to a cell, from cells to their layout, and what makes two cells equal."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from daskimg import config
from daskimg.column.dtype import ImageDtype
from daskimg.column.held import Held
from daskimg.column.image import Image, pixels_of
from daskimg.column.storage import Ragged, Uniform, mixed
from daskimg.errors import quoted, reason_of, shown
from daskimg.kernels.inline import as_base64, inline
from daskimg.secrets import mask_url
from daskimg.transport import fetch

__all__ = [
    "as_image",
    "check",
    "digest",
    "exact",
    "infer",
    "is_missing",
    "kept_to",
    "label",
    "lay_out",
    "place",
    "recast",
    "refused",
]

Array = npt.NDArray[Any]


def is_missing(value: Any) -> bool:
    """Whether `value` is one of the things pandas takes for a missing value."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def as_image(value: Any, tensor: bool = False) -> Image | None:
    """Any value that a user may put in a column, as a scalar; None for a missing one.

    Raises
    ------
    TypeError
        When it cannot be a cell.
    """
    if is_missing(value):
        return None
    if isinstance(value, Image):
        return value
    if hasattr(value, "as_py"):  # a scalar of Arrow
        return as_image(value.as_py(), tensor)
    if isinstance(value, str | os.PathLike):
        path = os.fspath(value)
        data = inline(path)
        return Image(path=path) if data is None else Image(data)
    if isinstance(value, Mapping) and value and value.keys() <= {"bytes", "path"}:
        return _of_parts(value.get("bytes"), value.get("path"))
    if isinstance(value, bytes | bytearray | memoryview):
        return Image(bytes(value))
    try:
        pixels = pixels_of(value)
    except ValueError:  # a ragged list
        pixels = np.empty((), object)
    if pixels.dtype.kind not in "biuf" or not pixels.ndim or (not tensor and pixels.ndim == 1):
        wanted = "an array" if tensor else "an (H, W) or (H, W, C) array, a picture, bytes, a path"
        if isinstance(value, Mapping):
            wanted += ", a dict of bytes and path"
        if pixels.dtype.kind in "OSU" and isinstance(value, list | tuple | np.ndarray):
            wanted += ' (several in a row: astype("list[image]"), or explode() before)'
        number = not pixels.ndim and pixels.dtype.kind in "biuf"
        hint = '; numbers have a dtype of their own, such as dtype="float64"' if number else ""
        raise TypeError(f"a cell is {wanted} or None; got {_described(value, pixels)}{hint}")
    return Image(pixels)


def _of_parts(data: Any, path: Any) -> Image | None:
    """What Hugging Face datasets hold: the bytes of a picture, its path, or both."""
    path = None if is_missing(path) or path == "" else os.fspath(path)
    if is_missing(data):
        return None if path is None else as_image(path)
    if isinstance(data, str):  # as JSON keeps bytes
        data = as_base64(data)
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f'"bytes" of a cell are bytes, or base64; got {shown(data)}')
    return Image(bytes(data), path)


def _described(value: Any, pixels: Array) -> str:
    if isinstance(value, np.ndarray | list | tuple):
        return f"{type(value).__name__} of {pixels.dtype}, shape {pixels.shape}"
    return shown(value)


def infer(cells: Iterable[Image | None]) -> str:
    """The kind that ``dtype="image"`` stands for: what the cells hold."""
    kinds = {kind_of(cell) for cell in cells if cell is not None and not cell.failed}
    return "mixed" if len(kinds) > 1 else kinds.pop() if kinds else "pixels"


def kind_of(cell: Image) -> str:
    """What a cell holds that is no failure."""
    if isinstance(cell.data, bytes):
        return "encoded"
    return "file" if cell.data is None else "pixels"


def check(cell: Image, dtype: ImageDtype) -> Any:
    """What `cell` holds, as a column of `dtype` keeps it.

    A cast may widen integers or change to floats; it changes no value but by digits of floats.

    Raises
    ------
    TypeError
        When `cell` does not fit `dtype`; the text says what to do.
    """
    data = cell.data
    if dtype.cells == "file" or (dtype.cells == "mixed" and data is None):
        if cell.path is None:
            hint = '; astype("image[encoded]") takes bytes' if isinstance(data, bytes) else ""
            raise TypeError(f"a cell of image[file] is a path; got {quoted(cell)}{hint}")
        return cell.path
    if dtype.cells == "mixed" and isinstance(data, bytes):
        return data
    if dtype.cells == "encoded":
        if not isinstance(data, bytes):
            hint = "read() it first" if data is None else "encode() it first"
            raise TypeError(f"a cell of image[encoded] is bytes; got {quoted(cell)}; .img.{hint}")
        return data
    if not isinstance(data, np.ndarray):
        raise TypeError(
            f"a cell of {dtype} is an array; got {quoted(cell)}; .img.decode() it first"
        )
    return fit(data, dtype)


def fit(pixels: Array, dtype: ImageDtype) -> Array:
    """`pixels` in the shape and NumPy dtype that every cell of `dtype` has."""
    if not dtype.tensor and not 2 <= pixels.ndim <= 3:
        raise TypeError(
            f"a cell of {dtype} is an (H, W) or (H, W, C) array; got shape {pixels.shape}"
        )
    if dtype.shape is not None and pixels.shape != dtype.shape:
        raise TypeError(f"a cell of {dtype} has shape {dtype.shape}; got {pixels.shape}")
    wanted = dtype.cell_dtype
    if wanted is None or pixels.dtype == wanted:
        return pixels
    cast = exact(pixels, wanted)
    if cast is None:
        raise TypeError(
            f"a cell of {dtype} is {wanted}; got {pixels.dtype} with values that do not fit: "
            f'.img.astype("{wanted}") scales pictures, pixels.round().astype("{wanted}") rounds'
        )
    return cast


def exact(values: Array, dtype: np.dtype[Any]) -> Array | None:
    """Numbers in another dtype; None where one would become another but for digits of floats."""
    with np.errstate(invalid="ignore", over="ignore"):
        cast: Array = values.astype(dtype)
        if dtype.kind == values.dtype.kind == "f":
            lost = np.isinf(cast) & np.isfinite(values)
        else:
            lost = cast.astype(values.dtype) != values
    return None if lost.any() else cast


def kept_to(dtype: ImageDtype, cells: Iterable[Image | None]) -> ImageDtype:
    """`dtype`, which opens paths where their cells were to be opened, if it says nothing of that.

    What came out of data stays data, whatever it was kept in.
    """
    if dtype.source is not None or not dtype.holds_paths:
        return dtype
    handles = {x.source for x in cells if x is not None and x.data is None and not x.failed}
    handle = fetch.common(handles) if handles else None
    return dtype if handle is None else dtype.derive(dtype.cells, dtype.shape, source=handle)


def refused(cells: Held, dtype: ImageDtype) -> dict[int, str]:
    """Why paths that their own column does not open fail in one of `dtype`, which opens more."""
    own = fetch.recall(cells.dtype.source)
    paths = cells.path if cells.dtype.holds_paths else None
    if own is None or paths is None or cells.dtype.source == dtype.source:
        return {}
    own, found = own.allowing(config.allow_paths()), {}
    for i, path in enumerate(paths.to_pylist()):
        if cells.valid[i] and (cells.data is None or cells.data.content(i) is None):
            try:
                own.for_cell(path)
            except PermissionError as error:
                found[i] = reason_of("read", error)
    return found


def lay_out(contents: Sequence[Any], dtype: ImageDtype) -> Ragged | Uniform | None:
    """The layout of a column of `dtype`, of contents that `check` passed (None: a null cell)."""
    if dtype.cells == "file":
        return None
    if dtype.cells == "encoded":
        return Ragged.of_bytes(contents)
    if dtype.shape is None or dtype.cell_dtype is None:
        return Ragged.of_cells(contents)
    data = Uniform.empty(len(contents), dtype.cell_dtype, dtype.shape)
    for i, content in enumerate(contents):
        if content is not None:
            data.values[i] = content
    return data


def recast(array: Held, target: ImageDtype) -> Ragged | Uniform | None:
    """The cells of a column as a column of `target` keeps them.

    Raises
    ------
    TypeError
        When pictures would have to be read, decoded or encoded, or do not fit.
    """
    dtype, data, valid = array.dtype, array.data, array.valid
    if target.cells == "mixed" and not dtype.tensor:
        return mixed(data, valid)
    if dtype.cells == "mixed":
        cells = [cell if ok else None for cell, ok in zip(array, valid, strict=True)]
        held = {kind_of(x) for x in cells if x is not None}
        if target.holds_pixels or held <= {target.cells}:
            return lay_out([None if x is None else check(x, target) for x in cells], target)
    if data is None or not (target.holds_pixels and dtype.holds_pixels):
        raise TypeError(
            f"astype does not read or decode: {dtype} to {target}; use .img.read() for encoded "
            "bytes, .img.decode() for pixels, .img.encode() for bytes of pixels"
        )
    looser = target.shape is None and target.cells in ("pixels", dtype.cells)
    if looser and (target.tensor or not dtype.tensor):  # no cell need be looked at
        return data if isinstance(data, Ragged) else data.ragged(valid)
    return lay_out(
        [fit(data.cell(i), target) if valid[i] else None for i in range(len(data))], target
    )


def label(cell: Any, boxed: bool) -> str:
    """A scalar in a printed column; in a frame (`boxed`) a short one."""
    if isinstance(cell, np.ndarray):
        return f"<{'x'.join(map(str, cell.shape))} {cell.dtype}>"
    if isinstance(cell, Image) and boxed:
        if cell.data is None and cell.path is not None and not cell.failed:
            name = os.path.basename(mask_url(cell.path))
            return name if inline(cell.path) is None else f"<{len(cell.path)} characters>"
        if isinstance(cell.data, np.ndarray):
            return f"<{'x'.join(map(str, cell.data.shape))}>"
    return str(cell)


def place(cell: Image | None) -> tuple[int, bytes, bytes]:
    """Where a cell goes among others: paths by name, bytes and pixels by how they begin."""
    if cell is None or cell.failed:
        return 3, b"", b""
    start: bytes = (cell.path or "").encode("utf-8", "surrogateescape")
    if isinstance(cell.data, bytes):
        start = cell.data[:64]
    elif cell.data is not None:
        first = cell.data.reshape(-1)[:16]
        start = first.astype(first.dtype.newbyteorder(">")).tobytes()
    return ("file", "encoded", "pixels").index(kind_of(cell)), start, digest(cell) or b""


def digest(cell: Image | None) -> bytes | None:
    """Sixteen bytes that tell a cell's content (of a file cell: its path); None for a null one."""
    if cell is None or cell.failed:
        return None
    content = cell.data
    head = f"path {cell.path}" if content is None else "bytes"
    body: Any = content if isinstance(content, bytes) else b""
    if isinstance(content, np.ndarray):
        head, body = f"{content.dtype} {content.shape}", np.ascontiguousarray(content)
    summed = hashlib.blake2b(head.encode("utf-8", "surrogateescape") + b"\0", digest_size=16)
    summed.update(body)
    return summed.digest()
