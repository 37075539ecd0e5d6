"""Resize pictures, JPEGs that were read at a part of their size too. Sizes are (height, width)."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from daskimg.kernels import color
from daskimg.kernels.geometry import centred, pad, turn
from daskimg.kernels.pixels import (
    Pixels,
    by_channel,
    check_pixels,
    check_room,
    from_pil,
    give,
    pillow_holds,
    shaped,
    to_pil,
)

__all__ = [
    "FITS",
    "RESAMPLES",
    "SKETCH",
    "SMOOTH",
    "Draft",
    "Size",
    "convert",
    "folded",
    "reduction",
    "resize",
    "resize_shape",
    "torch_module",
]

FITS = ("stretch", "contain", "cover", "pad")
SKETCH = "sketch"  # the fit of a size that `sketch` asks for
RESAMPLES = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
# Filters that make of a reduced picture what they make of the whole one: `benchmarks.scale`.
SMOOTH = ("bilinear", "bicubic", "lanczos")
# Of each side a reduced picture keeps three times the new one, and up to 256 pixels 64 more: what
# differs then from the full decode is 0.6 grey levels in the mean at most, by the table in
# benchmarks/RESULTS.md. In the mean of a few pixels rounding alone is more than that.
TIMES, MORE, UP_TO, LEAST = 3, 64, 256, 8
SCALES = (8, 4, 2)  # libjpeg reads other eighths too, later and worse

Box = tuple[float, float, float, float]  # left, top, right, bottom
Size = tuple[int, int | None, str]  # height, width and fit of a resize


class Draft(NamedTuple):
    """A picture on its way to a resize: as it is stored, and perhaps at a part of its size.

    A reduced picture has ``ceil(side / scale)`` pixels, the last of which may stand over the edge.
    """

    pixels: Pixels
    size: tuple[int, int]  # of the whole picture, as it is stored
    scale: int = 1
    orientation: int = 1  # by which it is to be turned

    @property
    def upright(self) -> tuple[int, int]:
        """The size of the whole picture as it is to be looked at."""
        return self.size[::-1] if self.orientation > 4 else self.size

    @property
    def nbytes(self) -> int:
        """Of the pixels that were read."""
        return self.pixels.nbytes


@functools.lru_cache(4096)  # pictures of a collection have few sizes
def reduction(height: int, width: int, sizes: tuple[Size, ...], orientation: int = 1) -> int:
    """By how much a JPEG of this size may be reduced for resizes to `sizes`: 1, 2, 4 or 8.

    They are the sizes of the picture as its `orientation` turns it.

    Examples
    --------
    >>> reduction(3000, 4000, ((224, 224, "stretch"),)), reduction(375, 500, ((224, 224, "cover"),))
    (4, 1)
    """
    if orientation > 4:
        height, width = width, height
    most = math.inf
    for size in sizes:
        if size[2] == SKETCH:
            most = min(most, folded(height, width, size[0]))
            continue
        _, new, box = _placed(height, width, *size)
        left, top, right, bottom = box or (0, 0, width, height)
        for side, of in zip(new, (bottom - top, right - left), strict=True):
            need = max(TIMES * side, min(TIMES * side + MORE, UP_TO))
            most = min(most, of / need if side >= LEAST else 1)
    return next((scale for scale in SCALES if scale <= most < math.inf), 1)


def convert(picture: Pixels | Draft, mode: str) -> Pixels | Draft:
    """As `color.convert`; a draft stays one."""
    if isinstance(picture, Draft):
        pixels = color.convert(picture.pixels, mode)
        return picture if pixels is picture.pixels else picture._replace(pixels=pixels)
    return color.convert(picture, mode)


def resize_shape(
    h: int, w: int, height: int, width: int | None = None, fit: str = "stretch"
) -> tuple[int, int]:
    """The size that `resize` gives a picture of `h` x `w`.

    Raises
    ------
    ValueError
        For a size of zero or below, or an unknown `fit`.
    TooManyPixelsError
        Where a long and narrow picture would become a very large one.

    Examples
    --------
    >>> resize_shape(300, 400, 224, 224, "contain"), resize_shape(300, 400, 150)
    ((168, 224), (150, 200))
    """
    if height <= 0 or (width is not None and width <= 0):
        raise ValueError(f"expected a size of 1 x 1 or above, got {height} x {width}")
    if fit not in FITS:
        raise ValueError(f"expected a fit out of {', '.join(FITS)}, got {fit!r}")
    if width is None:
        width = max(1, round(w * height / h))
        check_room(height, width, h * w, height * height)
        return height, width
    return _scaled(h, w, height, width) if fit == "contain" else (height, width)


def resize(
    picture: Pixels | Draft,
    height: int,
    width: int | None = None,
    fit: str = "stretch",
    resample: str = "bilinear",
    out: Pixels | None = None,
) -> Pixels:
    """Resize with antialiasing, as Pillow does.

    Parameters
    ----------
    picture : ndarray or Draft
        Any dtype of 8 or 16 bits or floats, any number of channels. What is not upright yet is
        turned when it is small.
    height : int
    width : int, optional
        None keeps the aspect.
    fit : {"stretch", "contain", "cover", "pad"}
        Each but contain gives exactly `height` x `width`: stretch changes the aspect, cover
        crops at the centre what is too much, pad adds zeros around. Contain fits inside. As
        ``resize``, ``contain``, ``fit`` and ``pad`` of Pillow.
    resample : {"bilinear", "nearest", "bicubic", "lanczos", "box", "hamming"}
        Pillow's filters.
    out : ndarray, optional
        An array of the right shape and dtype to resize into.

    Returns
    -------
    ndarray
        `out` where given.

    Raises
    ------
    ValueError
        For a size of zero or below, or an unknown `fit` or `resample`.

    Notes
    -----
    8-bit bilinear is done by PyTorch when that is installed: the same antialiased filter in
    a quarter of the time, within a fifth of a grey level of Pillow.

    Examples
    --------
    >>> resize(np.zeros((300, 400, 3), np.uint8), 224, 224).shape
    (224, 224, 3)
    """
    draft = picture if isinstance(picture, Draft) else Draft(picture, picture.shape[:2])
    check_pixels(draft.pixels)
    size = draft.size if draft.orientation < 5 else draft.upright
    shape, inner, box = _placed(*size, height, width, fit)
    if resample not in RESAMPLES:
        raise ValueError(f"expected a resample out of {', '.join(RESAMPLES)}, got {resample!r}")
    if draft.orientation == 1 and inner == shape:  # nothing to turn or to add
        made = _resize(draft, shape, RESAMPLES[resample], box, out)
        return made if made is out else give(made, out)
    new = inner
    if draft.orientation > 4:
        new, box = new[::-1], box and (box[1], box[0], box[3], box[2])
    small = turn(_resize(draft, new, RESAMPLES[resample], box), draft.orientation)
    if inner != shape:
        top, left = centred(shape, inner)
        small = pad(small, top, shape[1] - inner[1] - left, shape[0] - inner[0] - top, left)
    return give(small, out)


def folded(height: int, width: int, least: int) -> int:
    """By how much a sketch reduces a picture."""
    return 1 << max(min(height, width) // least, 1).bit_length() - 1


@functools.lru_cache(4096)
def _placed(
    h: int, w: int, height: int, width: int | None, fit: str
) -> tuple[tuple[int, int], tuple[int, int], Box | None]:
    """The size of the result, of what is resized in it, and the part of `h` x `w` that is."""
    shape = resize_shape(h, w, height, width, fit)
    if width is None or fit in ("stretch", "contain"):
        return shape, shape, None
    if fit == "pad":
        return shape, _scaled(h, w, *shape), None
    return shape, shape, _cover_box(h, w, *shape)


def _scaled(h: int, w: int, height: int, width: int) -> tuple[int, int]:
    """`h` x `w` scaled to fit inside `height` x `width`, rounded as PIL.ImageOps.contain."""
    if w * height > h * width:
        return max(1, round(h / w * width)), width
    return height, max(1, round(w / h * height))


def _cover_box(h: int, w: int, height: int, width: int) -> Box:
    """Left, top, right, bottom of the largest centred part of the aspect `height` x `width`."""
    part_h, part_w = (h, width / height * h) if w * height > h * width else (height / width * w, w)
    top, left = (h - part_h) / 2, (w - part_w) / 2
    return left, top, left + part_w, top + part_h


def _resize(
    draft: Draft,
    size: tuple[int, int],
    resample: Image.Resampling,
    box: Box | None = None,
    out: Pixels | None = None,
) -> Pixels:
    """Resize what lies in the `box` of the whole picture, None for all, to `size`.

    `out` is used where it can be, which `give` sees to.
    """
    pixels, scale = draft.pixels, draft.scale
    if size == pixels.shape[:2] and scale == 1:
        return pixels
    opaque = pixels.ndim == 2 or pixels.shape[2] in (1, 3)
    fast = resample is Image.Resampling.BILINEAR and opaque and pixels.dtype == np.uint8
    if fast:
        whole = _whole(draft.size, scale, size, box)
        if whole is not None and (torch := torch_module()) is not None:
            part, steps = whole
            return _resize_torch(torch, pixels if part is None else pixels[part], size, steps, out)
    edges = _part(draft.size, scale, box) if box or scale > 1 else None
    if resample is Image.Resampling.NEAREST:
        left, top, right, bottom = edges or (0, 0, *pixels.shape[1::-1])
        rows, columns = _samples(top, bottom, size[0]), _samples(left, right, size[1])
        return np.take(np.take(pixels, rows, 0), columns, 1)
    if pillow_holds(pixels):
        image = to_pil(pixels).resize(size[::-1], resample, edges)
        return shaped(from_pil(image), pixels)
    return by_channel(pixels, lambda one: one.resize(size[::-1], resample, edges))


@functools.lru_cache(256)
def _samples(first: float, last: float, n: int) -> npt.NDArray[np.intp]:
    """The middle pixels of `n` equal parts of a side, rounded on the way as by Pillow."""
    edges = np.array([first, last], np.float32)
    steps = np.full(n, float(edges[1] - edges[0]) / n)
    steps[0] = edges[0] + steps[0] / 2
    return np.add.accumulate(steps).astype(np.intp)


def _part(size: tuple[int, int], scale: int, box: Box | None) -> Box:
    """Of the pixels of a picture that was read at a `scale`, those that are resized."""
    left, top, right, bottom = box or (0, 0, *size[::-1])
    return left / scale, top / scale, right / scale, bottom / scale


@functools.lru_cache(4096)
def _whole(
    of: tuple[int, int], scale: int, size: tuple[int, int], box: Box | None
) -> tuple[tuple[slice, slice] | None, tuple[float | None, float | None]] | None:
    """The same as PyTorch is asked for it: whole pixels (None: all there are), and its scales.

    It cuts whole boxes only, and its filter does not look beyond their edges: near enough where
    that moves less than 1/32 of a new pixel, and edges are few. A reduced picture differs already.
    None where it is not near.
    """
    left, top, right, bottom = _part(of, scale, box)
    tall, wide = (bottom - top) / size[0], (right - left) / size[1]
    near = 32 if scale == 1 else 128
    if abs(left - round(left)) > wide / near or abs(top - round(top)) > tall / near:
        return None
    steps = (1 / tall, 1 / wide) if scale > 1 else (None, None)
    if box is None:
        return None, steps
    if min(size) < 32:
        return None
    last = math.ceil if scale > 1 else round  # what stands over the edge counts in part
    return (slice(round(top), last(bottom)), slice(round(left), last(right))), steps


@functools.cache
def torch_module() -> ModuleType | None:
    """PyTorch where it is installed: imported with the first picture that is resized."""
    try:
        import torch
    except ImportError:
        return None
    return torch


def _resize_torch(
    torch: Any,
    pixels: Pixels,
    size: tuple[int, int],
    steps: tuple[float | None, float | None],
    out: Pixels | None,
) -> Pixels:
    shape = (*size, *pixels.shape[2:])
    fits = out is not None and out.shape == shape and out.dtype == np.uint8 and out.flags.carray
    result = out if fits and out is not None else np.empty(shape, np.uint8)
    source: Pixels = np.ascontiguousarray(pixels)
    if not source.flags.writeable:  # PyTorch warns of such arrays, though it only reads here
        memory = (ctypes.c_uint8 * source.nbytes).from_address(source.ctypes.data)
        source = np.frombuffer(memoryview(memory), np.uint8).reshape(source.shape)
    batch, target = _channels_last(source), _channels_last(result)
    _resample(torch)(torch.from_numpy(batch), size, False, *steps, out=torch.from_numpy(target))
    return result


def _channels_last(pixels: Pixels) -> Pixels:
    """HWC is PyTorch's channels-last layout seen from another side: no copy.

    NumPy turns it: each call of PyTorch's hands over the interpreter, and waits to get it back.
    """
    return pixels[None].transpose(0, 3, 1, 2) if pixels.ndim == 3 else pixels[None, None]


@functools.cache
def _resample(torch: Any) -> Callable[..., Any]:
    # what interpolate(mode="bilinear", antialias=True) calls, which cannot write into an array
    found: Callable[..., Any] | None = getattr(torch._C._nn, "_upsample_bilinear2d_aa", None)
    return found or torch.ops.aten._upsample_bilinear2d_aa.out
