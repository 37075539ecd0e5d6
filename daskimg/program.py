"""Image programs: what is to be done to each picture of a column, as plain data.

An op on an image column is a row of `OPS`: a kernel, what it needs, and the dtype it makes. A
`Program` is the steps from a source column's cell to one value per row; two programs over one
source share their common first steps. Building a program runs no kernel and reads no file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from dask.tokenize import tokenize

from daskimg import config, fetch
from daskimg.column.dtype import ImageDtype, check_policy
from daskimg.kernels import codec, color, filters, geometry, measure

__all__ = ["OPS", "Function", "Op", "Program", "Row", "Step", "build", "cells_of", "policy_of"]

STRING = pd.StringDtype("pyarrow")
BYTES = pd.ArrowDtype(pa.large_binary())
INT, HASH = pd.Int64Dtype(), pd.UInt64Dtype()
FLOAT, BOOL = np.dtype("float64"), np.dtype("bool")

HEADER = ("height", "width", "channels", "mode", "format", "nbytes")
RECORDS = ("error", "failed", "check", "blame")


@dataclass(frozen=True)
class Row:
    """Marks a parameter that has a value per row: the n-th of the row-wise arguments."""

    slot: int


class Function:
    """A user's function as a parameter: equal, and named, by what it does."""

    def __init__(self, func: Callable[..., Any], token: str | None = None) -> None:
        if not callable(func):
            raise TypeError(f"expected a function of an array; got {func!r}")
        self.func, self.token = func, token or str(tokenize(func))

    def __call__(self, *args: Any) -> Any:
        return self.func(*args)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Function) and self.token == other.token

    def __hash__(self) -> int:
        return hash(self.token)

    def __repr__(self) -> str:
        return getattr(self.func, "__name__", repr(self.func))

    def __reduce__(self) -> tuple[Any, ...]:
        return Function, (self.func, self.token)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return ("daskimg.Function", self.token)


class Step(NamedTuple):
    """One step of a program. What happens when it fails is no part of what it computes."""

    name: str
    params: tuple[Any, ...] = ()
    on_error: str = "raise"

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two steps the same work."""
        return (self.name, self.params)


@dataclass(frozen=True)
class Program:
    """Steps from a cell to a value, and the dtype of the column of those values."""

    steps: tuple[Step, ...]
    dtype: Any

    @cached_property
    def label(self) -> str:
        """A name that equal programs share on every machine."""
        return str(tokenize(self))

    def then(self, other: Program, shift: int = 0) -> Program:
        """This program followed by `other`, whose row-wise arguments come after `shift` others."""
        moved = other.renumber(lambda row: Row(row.slot + shift))
        return Program(self.steps + moved.steps, other.dtype)

    def renumber(self, place: Callable[[Row], Row]) -> Program:
        """The same program with its row-wise arguments elsewhere."""

        def put(value: Any) -> Any:
            return place(value) if isinstance(value, Row) else value

        steps = tuple(step._replace(params=tuple(map(put, step.params))) for step in self.steps)
        return Program(steps, self.dtype)

    def recording(self, record: str | None = None) -> Program:
        """The same work under the policy "null", with `record` (``"blame"``) as its result."""
        steps = tuple(step._replace(on_error="null") for step in self.steps)
        if record is None:
            return Program(steps, self.dtype)
        return Program((*steps, Step(record, (), "null")), OPS[record].result(self.dtype))

    @property
    def raises(self) -> bool:
        """Whether a failing row ends the run."""
        return any(step.on_error == "raise" for step in self.steps)

    @property
    def decodes(self) -> bool:
        """Whether it makes pixels (or reads all bytes) of a file: not so for header fields."""
        return any(
            step.name in ("fetch", "decode") or step.name in PIXEL_OPS for step in self.steps
        )

    @property
    def needs_source(self) -> bool:
        """Whether it is more than a view of its source column."""
        return bool(self.steps)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        dtype = self.dtype
        declared = dtype.__dask_tokenize__() if isinstance(dtype, ImageDtype) else str(dtype)
        return ("daskimg.Program", tuple(tuple(step) for step in self.steps), declared)

    def __getstate__(self) -> dict[str, Any]:
        return {"steps": self.steps, "dtype": self.dtype, "label": self.label}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def cells_of(mode: str) -> str:
    """The dtype of pixels of a colour mode.

    Raises
    ------
    ValueError
        For a mode that pictures are not decoded to; it lists those there are.

    Examples
    --------
    >>> cells_of("I;16")
    'uint16'
    """
    if mode not in color.MODES:
        raise ValueError(f"mode is one of {', '.join(color.MODES)}; got {mode!r}")
    return {"I;16": "uint16", "F": "float32"}.get(mode, "uint8")


# -- result dtypes: what a column of this op declares, from the column it is applied to --------
def fixed(dtype: Any) -> Callable[..., Any]:
    """An op whose result has this dtype, whatever it is applied to."""
    return lambda source, *params: dtype


def _same(source: ImageDtype, *params: Any) -> ImageDtype:
    return source


def _ragged(source: ImageDtype, *params: Any) -> ImageDtype:
    return source.derive(source.cells)


def _sized(source: ImageDtype, height: Any, width: Any) -> ImageDtype:
    """`source` with every picture `height` x `width`: one shape where the channels are known."""
    channels = source.channels
    if channels is None or source.cell_dtype is None or not _ints(height, width):
        return source.derive(source.cells)
    return source.derive(source.cells, (height, width, *([channels] if channels else [])))


def _ints(*values: Any) -> bool:
    return all(isinstance(v, int | np.integer) and not isinstance(v, bool) for v in values)


def _resized(source: ImageDtype, height: Any, width: Any, fit: str, *rest: Any) -> ImageDtype:
    if fit != "contain" and width is not None:
        return _sized(source, height, width)
    if source.shape is None:
        return source.derive(source.cells)
    h, w = geometry.resize_shape(source.shape[0], source.shape[1], height, width, fit)
    return _sized(source, h, w)


def _cropped(source: ImageDtype, top: Any, left: Any, height: Any, width: Any) -> ImageDtype:
    return _sized(source, height, width)


def _padded(
    source: ImageDtype, top: Any, right: Any, bottom: Any, left: Any, fill: Any
) -> ImageDtype:
    if source.shape is None or not _ints(top, right, bottom, left):
        return source.derive(source.cells)
    return _sized(source, source.shape[0] + top + bottom, source.shape[1] + left + right)


def _rotated(source: ImageDtype, degrees: Any, expand: bool, fill: Any) -> ImageDtype:
    return source.derive(source.cells) if expand else source


def _converted(source: ImageDtype, mode: str | None) -> ImageDtype:
    if mode is None:
        return source
    cells = cells_of(mode)
    kept = source.derive(cells, mode=mode)
    return kept if source.shape is None else _sized(kept, *source.shape[:2])


def _cast(source: ImageDtype, dtype: str) -> ImageDtype:
    return source.derive(dtype, source.shape)


def _pixels(source: ImageDtype, *params: Any) -> ImageDtype:
    return source.derive("pixels", mode=None)


def _encoded(source: ImageDtype, *params: Any) -> ImageDtype:
    return source.derive("encoded", mode=None)


def _edges(source: ImageDtype, *params: Any) -> ImageDtype:
    return _converted(_cast(source, "uint8"), "L")


def _float32(source: ImageDtype, *params: Any) -> ImageDtype:
    return _cast(source, "float32")


def _applied(source: ImageDtype, func: Any, dtype: Any) -> Any:
    return _pixels(source) if dtype is None else dtype


# -- steps over a cell that is not pixels yet ---------------------------------------------------
def _fetch(path: str, source: fetch.Source | None) -> bytes:
    return fetch.read_bytes(path, source, retries=config.get("retries"))


def _header(
    cell: Any, source: fetch.Source | None, orientation: bool, max_pixels: int | None
) -> codec.Header:
    if not isinstance(cell, str):
        return codec.read_header(cell, orientation=orientation, max_pixels=max_pixels)
    with fetch.open_head(cell, source, retries=config.get("retries")) as file:
        return codec.read_header(file, orientation=orientation, max_pixels=max_pixels)


def _decode(
    data: Any, truncated: bool, orientation: bool, max_pixels: int | None
) -> np.ndarray[Any, Any]:
    return codec.decode(data, orientation=orientation, max_pixels=max_pixels, truncated=truncated)


def _size(cell: Any, source: fetch.Source | None) -> int:
    if isinstance(cell, str):
        return fetch.size(cell, source, retries=config.get("retries"))
    return memoryview(cell).nbytes


def _encode(pixels: np.ndarray[Any, Any], file_format: str, quality: int) -> bytes:
    return codec.encode(pixels, file_format, quality)


def _apply(pixels: np.ndarray[Any, Any], func: Callable[..., Any], dtype: Any) -> Any:
    return func(pixels)


class Op(NamedTuple):
    """How to do one thing to a picture."""

    kernel: Callable[..., Any]
    result: Callable[..., Any]


PIXEL_OPS: dict[str, Op] = {
    "resize": Op(geometry.resize, _resized),
    "crop": Op(geometry.crop, _cropped),
    "center_crop": Op(geometry.center_crop, _sized),
    "pad": Op(geometry.pad, _padded),
    "flip": Op(geometry.flip, _same),
    "rotate": Op(geometry.rotate, _rotated),
    "convert": Op(color.convert, _converted),
    "astype": Op(color.astype, _cast),
    "normalize": Op(color.normalize, _float32),
    "adjust_brightness": Op(color.adjust_brightness, _same),
    "adjust_contrast": Op(color.adjust_contrast, _same),
    "adjust_saturation": Op(color.adjust_saturation, _same),
    "adjust_hue": Op(color.adjust_hue, _same),
    "equalize": Op(color.equalize, _same),
    "blur": Op(filters.blur, _same),
    "sharpen": Op(filters.sharpen, _same),
    "edges": Op(filters.edges, _edges),
    "apply": Op(_apply, _applied),
    "encode": Op(_encode, _encoded),
    "mean": Op(measure.mean, fixed(FLOAT)),
    "std": Op(measure.std, fixed(FLOAT)),
    "min": Op(measure.minimum, fixed(FLOAT)),
    "max": Op(measure.maximum, fixed(FLOAT)),
    "brightness": Op(measure.brightness, fixed(FLOAT)),
    "contrast": Op(measure.contrast, fixed(FLOAT)),
    "sharpness": Op(measure.sharpness, fixed(FLOAT)),
    "entropy": Op(measure.entropy, fixed(FLOAT)),
    "colorfulness": Op(measure.colorfulness, fixed(FLOAT)),
    "hash": Op(measure.image_hash, fixed(HASH)),
}

OPS: dict[str, Op] = {
    **PIXEL_OPS,
    "fetch": Op(_fetch, _encoded),
    "decode": Op(_decode, _pixels),
    "header": Op(_header, _same),
    "size": Op(_size, fixed(INT)),
    "header_height": Op(lambda head: head.height, fixed(INT)),
    "header_width": Op(lambda head: head.width, fixed(INT)),
    "header_channels": Op(lambda head: head.channels, fixed(INT)),
    "header_mode": Op(lambda head: head.mode, fixed(STRING)),
    "header_format": Op(lambda head: head.format, fixed(STRING)),
    # the same questions asked of pixels
    "height": Op(lambda pixels: pixels.shape[0], fixed(INT)),
    "width": Op(lambda pixels: pixels.shape[1], fixed(INT)),
    "channels": Op(lambda pixels: 1 if pixels.ndim == 2 else pixels.shape[2], fixed(INT)),
    "mode": Op(codec.mode_of, fixed(STRING)),
    "format": Op(lambda pixels: None, fixed(STRING)),
    "nbytes": Op(lambda pixels: pixels.nbytes, fixed(INT)),
    # what is known of a cell without looking into it
    "path": Op(lambda cell: None, fixed(STRING)),
    "error": Op(lambda cell: None, fixed(STRING)),
    "failed": Op(lambda cell: False, fixed(BOOL)),
    "check": Op(lambda cell: None, fixed(STRING)),
    "blame": Op(lambda cell: None, fixed(STRING)),
}


# -- building -----------------------------------------------------------------------------------
def policy_of(dtype: ImageDtype) -> str:
    """The error policy of a column: its own, else the setting's."""
    return dtype.on_error or check_policy(config.get("on-error")) or "raise"


def build(source: ImageDtype, name: str, *params: Any) -> Program:
    """The program of op `name` on a column of dtype `source`.

    Raises
    ------
    TypeError
        When the op does not apply to such cells (a tensor column has no brightness).
    """
    if source.tensor and name not in ("path", "error", "failed", "astype"):
        raise TypeError(
            f"{name} works on pictures; this column is {source}, an array of no picture"
        )
    policy = policy_of(source)
    source = source.derive(source.cells, source.shape, on_error=policy)
    if name in HEADER and not source.holds_pixels:
        steps = _header_steps(source, name, policy)
        return Program(steps, OPS[name].result(source))
    if name in ("path", "error", "failed"):
        return Program((Step(name, (), policy),), OPS[name].result(source))
    if name == "check":
        steps = () if source.holds_pixels else _opening(source, "null", True)
        return Program((*steps, Step("check", (), "null")), STRING)
    if name in ("read", "to_bytes"):
        return _reading(source, name, policy)
    steps, pixels = (), source
    if not source.holds_pixels:
        truncated = params[1] if name == "decode" else False
        steps, pixels = _opening(source, policy, True, truncated), _pixels(source)
    if name == "decode":
        mode = params[0]
        if mode is not None:
            steps = (*steps, Step("convert", (mode,), policy))
        return Program(steps, _converted(pixels, mode))
    op = OPS[name]
    return Program((*steps, Step(name, params, policy)), op.result(pixels, *params))


def _opening(
    source: ImageDtype, policy: str, decode: bool, truncated: bool = False
) -> tuple[Step, ...]:
    steps: tuple[Step, ...] = ()
    if source.cells == "file":
        steps = (Step("fetch", (fetch.recall(source.source),), policy),)
    if decode:
        steps = (*steps, Step("decode", (truncated, *config.settings()), policy))
    return steps


def _header_steps(source: ImageDtype, name: str, policy: str) -> tuple[Step, ...]:
    credentials = fetch.recall(source.source) if source.cells == "file" else None
    if name == "nbytes":
        return (Step("size", (credentials,), policy),)
    head = Step("header", (credentials, *config.settings()), policy)
    return (head, Step(f"header_{name}", (), policy))


def _reading(source: ImageDtype, name: str, policy: str) -> Program:
    if source.holds_pixels:
        if name == "read":
            raise TypeError(f"this column holds pixels ({source}), nothing to read; encode() it")
        steps: tuple[Step, ...] = (Step("encode", ("png", 90), policy),)
    else:
        steps = _opening(source, policy, False)
    return Program(steps, BYTES if name == "to_bytes" else _encoded(source))
