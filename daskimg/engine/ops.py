"""The op table: what can be done to a picture, and what column that makes.

An op is a row of `OPS`: a kernel and the rule for its result's dtype. `build` makes the program
of an op on a column; it runs no kernel and reads no file.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from daskimg import config
from daskimg.column.cells import as_image, check, is_missing
from daskimg.column.dtype import ImageDtype, nullable, policy_of
from daskimg.engine import opening
from daskimg.engine.program import HEADER, STRING, Program, Step
from daskimg.errors import shown
from daskimg.kernels import augment, codec, color, digest, exif_tags, filters, geometry, measure
from daskimg.kernels.hashes import image_hash
from daskimg.kernels.resizing import convert, resize, resize_shape
from daskimg.kernels.sketches import glimpse, sketch
from daskimg.transport import fetch

__all__ = ["OPS", "Op", "build", "cells_of", "policy_of"]

_ANY = ImageDtype("pixels", tensor=True)
BYTES = pd.ArrowDtype(pa.large_binary())
INT, HASH = pd.Int64Dtype(), pd.UInt64Dtype()
FLOAT, BOOL = np.dtype("float64"), np.dtype("bool")
TAGGED = {"text": STRING, "whole": INT, "number": FLOAT, "time": np.dtype("datetime64[us]")}


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
    h, w = resize_shape(source.shape[0], source.shape[1], height, width, fit)
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


def _grey(source: ImageDtype, *params: Any) -> ImageDtype:
    return _converted(_cast(source, "uint8"), "L")


def _glimpsed(source: ImageDtype, side: int) -> ImageDtype:
    return _sized(_drawn(source), side, side)


def _float32(source: ImageDtype, *params: Any) -> ImageDtype:
    return _cast(source, "float32")


def _drawn(source: ImageDtype, *params: Any) -> ImageDtype:
    return _converted(_cast(source, "uint8"), "RGB")


def _random_crop(source: ImageDtype, key: Any, seed: int, epoch: int, *size: Any) -> ImageDtype:
    return _sized(source, *size[:2])


def _applied(source: ImageDtype, func: Any, dtype: Any) -> Any:
    if isinstance(dtype, ImageDtype) and dtype.on_error is None:
        return dtype.derive(dtype.cells, dtype.shape, on_error=source.on_error)
    if dtype is None:
        return _pixels(source)
    return nullable(dtype) if policy_of(source) == "null" else dtype


def _encode(pixels: Any, file_format: str, quality: int) -> Any:
    # of a column of several kinds that is read: what is bytes stays what it is
    if not isinstance(pixels, np.ndarray):
        return pixels
    return codec.encode(pixels, file_format, quality)


def _apply(pixels: np.ndarray[Any, Any], func: Callable[..., Any], dtype: Any) -> Any:
    pixels = pixels.view()
    pixels.flags.writeable = False  # the column's own memory, or what other steps read too
    return _fitting(func(pixels), dtype)


def _fitting(value: Any, dtype: Any) -> Any:
    """What a user's function returned for a cell, as a column of `dtype` keeps it."""
    if dtype is None or isinstance(dtype, ImageDtype):
        cell = as_image(value, dtype is None or dtype.tensor)
        if cell is None:
            raise TypeError(f"a function of apply returns {dtype or 'pixels'}; got {value!r}")
        return check(cell, dtype or _ANY)
    if is_missing(value):
        return None
    if not pd.api.types.is_numeric_dtype(dtype):
        return value
    if np.ndim(value):
        raise TypeError(f"expected one value of {dtype}; got {shown(value)}: pixels need none")
    if pd.api.types.is_integer_dtype(dtype) and int(value) != value:
        raise TypeError(f'{shown(value)} is no {dtype}: round() it, or give dtype="float64"')
    return int(value) if pd.api.types.is_integer_dtype(dtype) else float(value)


def _random(name: str) -> Callable[..., Any]:
    """A kernel of `augment` with the generator of its row."""
    kernel = getattr(augment, name)

    def run(pixels: Any, key: Any, seed: int, epoch: int, *params: Any) -> Any:
        if key is None:
            raise ValueError(f"{name} is keyed by the row's path, and there is none; give key=")
        # each op of a row has numbers of its own
        return kernel(pixels, augment.rng_for(seed, epoch, f"{name} {key}"), *params)

    return run


class Op(NamedTuple):
    """How to do one thing to a picture.

    `kernel` takes the value of the step before and the parameters; where `out` is True, also
    ``out=``, an array to write into. `result` takes a column's dtype and the parameters.
    """

    kernel: Callable[..., Any]
    result: Callable[..., Any]
    out: bool = False


PIXEL_OPS: dict[str, Op] = {
    "resize": Op(resize, _resized, out=True),
    "sketch": Op(sketch, _ragged),
    "glimpse": Op(glimpse, _glimpsed, out=True),
    "crop": Op(geometry.crop, _cropped),
    "center_crop": Op(geometry.center_crop, _sized),
    "pad": Op(geometry.pad, _padded),
    "flip": Op(geometry.flip, _same),
    "rotate": Op(geometry.rotate, _rotated),
    "convert": Op(convert, _converted),
    "astype": Op(color.astype, _cast),
    "normalize": Op(color.normalize, _float32, out=True),
    "adjust_brightness": Op(color.adjust_brightness, _same),
    "adjust_contrast": Op(color.adjust_contrast, _same),
    "adjust_saturation": Op(color.adjust_saturation, _same),
    "adjust_hue": Op(color.adjust_hue, _same),
    "equalize": Op(color.equalize, _same),
    "blur": Op(filters.blur, _same),
    "sharpen": Op(filters.sharpen, _same),
    "edges": Op(filters.edges, _grey),
    "draw_boxes": Op(filters.draw_boxes, _drawn),
    "draw_mask": Op(filters.draw_mask, _drawn),
    **{one: Op(_random(one), _same) for one in augment.RANDOM[:3]},
    **{one: Op(_random(one), _random_crop) for one in augment.RANDOM[3:]},
    "apply": Op(_apply, _applied),
    "encode": Op(_encode, _encoded),
    "export": Op(opening.export, _encoded),
    # what several measures stand on, once for all of them
    "luma": Op(measure.luma, _grey),
    "levels": Op(measure.levels, _same),
    "moments": Op(measure.moments, _same),
    "moments_of": Op(measure.moments_of, _same),
    "first_moment": Op(operator.itemgetter(0), fixed(FLOAT)),
    "second_moment": Op(operator.itemgetter(1), fixed(FLOAT)),
    "min": Op(measure.minimum, fixed(FLOAT)),
    "max": Op(measure.maximum, fixed(FLOAT)),
    "sharpness": Op(measure.sharpness, fixed(FLOAT)),
    "entropy_of": Op(measure.entropy_of, fixed(FLOAT)),
    "blurriness": Op(measure.blurriness, fixed(FLOAT)),
    "percentile_of": Op(measure.percentile_of, fixed(FLOAT)),
    "transparency": Op(measure.transparency, fixed(FLOAT)),
    "colorfulness": Op(measure.colorfulness, fixed(FLOAT)),
    "hash": Op(image_hash, fixed(HASH)),
    "digest_pixels": Op(digest.of_pixels, fixed(STRING)),
}

# Measures that are several steps, so that they share the first ones.
STEPS = {
    "mean": ("moments", "first_moment"),
    "std": ("moments", "second_moment"),
    "brightness": ("luma", "levels", "moments_of", "first_moment"),
    "contrast": ("luma", "levels", "moments_of", "second_moment"),
    "entropy": ("luma", "levels", "entropy_of"),
    "percentile": ("luma", "levels", "percentile_of"),
    **{name: ("luma", name) for name in ("sharpness", "blurriness", "hash")},
}

OPS: dict[str, Op] = {
    **PIXEL_OPS,
    "fetch": Op(opening.fetch_bytes, _encoded),
    "decode": Op(opening.decode, _pixels),
    "header": Op(opening.header, _same),
    "size": Op(opening.size, fixed(INT)),
    "digest_bytes": Op(digest.of_bytes, fixed(STRING)),
    "exif": Op(opening.exif, fixed(STRING)),
    "exif_tag": Op(exif_tags.value_of, lambda source, tag: TAGGED[exif_tags.KINDS[tag]]),
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
    program, limit = _program(source, name, *params), config.max_errors()
    # a check fails nothing, it tells
    return program if limit is None or name == "check" else replace(program, max_errors=limit)


def _program(source: ImageDtype, name: str, *params: Any) -> Program:
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
    if name in ("read", "to_bytes", "embed"):
        return _reading(source, name, policy)
    if name == "exif":  # of one tag, or why there are none: it tells, and fails nothing
        how = (*_access(source), *config.settings()[1:], config.isolation())
        told = Step("exif_tag", params, "null") if params else Step("check", (), "null")
        return Program((Step(name, how, "null"), told), OPS[told.name].result(source, *params))
    if name == "digest_bytes":
        if source.holds_pixels:
            raise TypeError(f'this column holds pixels ({source}), no files: digest("pixels")')
        step = Step(name, (), policy)
        return Program((*_opening(source, policy, False), step), STRING)
    if name == "export":
        steps = () if source.holds_pixels else _opening(source, policy, False)
        step = Step("export", (*params, *config.settings(), config.isolation()), policy)
        return Program((*steps, step), _encoded(source))
    steps, pixels = (), source
    if not source.holds_pixels:
        truncated = params[1] if name == "decode" else False
        steps, pixels = _opening(source, policy, True, truncated), _pixels(source)
    if name == "decode":
        mode = params[0]
        if mode is not None:
            steps = (*steps, Step("convert", (mode,), policy))
        return Program(steps, _converted(pixels, mode))
    *shared, last = STEPS.get(name, (name,))
    steps = (*steps, *(Step(step, (), policy) for step in shared), Step(last, params, policy))
    return Program(steps, OPS[last].result(pixels, *params))


def _opening(
    source: ImageDtype, policy: str, decode: bool, truncated: bool = False
) -> tuple[Step, ...]:
    steps: tuple[Step, ...] = ()
    if source.holds_paths:
        limit = config.max_bytes()
        capped = () if limit is None else (limit,)
        steps = (Step("fetch", (*_access(source), *capped), policy),)
    if decode:
        how = (truncated, config.reduced_scale(), *config.settings(), config.isolation())
        steps = (*steps, Step("decode", how, policy))
    return steps


def _access(source: ImageDtype) -> tuple[fetch.Source | None, int]:
    """What fetching needs beside a path."""
    if not source.holds_paths:
        return None, 0
    known, allowed = fetch.recall(source.source), config.allow_paths()
    if allowed:
        known = (known or fetch.Source.default).allowing(allowed)
    return known, config.retries()


def _header_steps(source: ImageDtype, name: str, policy: str) -> tuple[Step, ...]:
    if name == "nbytes":
        return (Step("size", _access(source), policy),)
    how = (*_access(source), *config.settings(), config.isolation())
    head = Step("header", how, policy)
    return (head, Step(f"header_{name}", (), policy))


def _reading(source: ImageDtype, name: str, policy: str) -> Program:
    if source.holds_pixels:
        if name == "read":
            raise TypeError(f"this column holds pixels ({source}), nothing to read; encode() it")
        steps: tuple[Step, ...] = (Step("encode", ("png", 90), policy),)
    else:
        steps = _opening(source, policy, False)
        if source.cells == "mixed" and name == "embed":  # pixels stay pixels
            return Program(steps, source)
        if source.cells == "mixed":
            steps = (*steps, Step("encode", ("png", 90), policy))
    return Program(steps, BYTES if name == "to_bytes" else _encoded(source))
