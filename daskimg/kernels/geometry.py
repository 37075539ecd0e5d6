"""Resize, crop, pad, flip, rotate. Sizes are (height, width)."""

from __future__ import annotations

import ctypes
import functools
import operator
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from daskimg.kernels.pixels import Pixels, check_pixels, fitted, from_pil, give, to_pil

__all__ = [
    "FITS",
    "RESAMPLES",
    "center_crop",
    "centred",
    "crop",
    "flip",
    "pad",
    "resize",
    "resize_shape",
    "rotate",
    "torch_module",
]

FITS = ("stretch", "contain", "cover", "pad")
RESAMPLES = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
_MIRROR = Image.Transpose.FLIP_LEFT_RIGHT


def resize_shape(
    h: int, w: int, height: int, width: int | None = None, fit: str = "stretch"
) -> tuple[int, int]:
    """The size that `resize` gives a picture of `h` x `w`.

    Raises
    ------
    ValueError
        For a size of zero or below, or an unknown `fit`.

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
        return height, max(1, round(w * height / h))
    return _scaled(h, w, height, width) if fit == "contain" else (height, width)


def resize(
    pixels: Pixels,
    height: int,
    width: int | None = None,
    fit: str = "stretch",
    resample: str = "bilinear",
    out: Pixels | None = None,
) -> Pixels:
    """Resize with antialiasing, as Pillow does.

    Parameters
    ----------
    pixels : ndarray
        Any dtype of 8 or 16 bits or floats, any number of channels.
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
    h, w = check_pixels(pixels).shape[:2]
    shape = resize_shape(h, w, height, width, fit)
    if resample not in RESAMPLES:
        raise ValueError(f"expected a resample out of {', '.join(RESAMPLES)}, got {resample!r}")
    image = RESAMPLES[resample]
    if fit == "cover" and width is not None:
        return give(_resize(pixels, shape, image, _cover_box(h, w, *shape), out), out)
    inner = _scaled(h, w, *shape) if fit == "pad" and width is not None else shape
    small = _resize(pixels, inner, image, None, out)
    if inner != shape:
        top, left = centred(shape, inner)
        small = pad(small, top, shape[1] - inner[1] - left, shape[0] - inner[0] - top, left)
    return give(small, out)


def crop(pixels: Pixels, top: int, left: int, height: int, width: int) -> Pixels:
    """The part of `height` x `width` whose corner is at `top`, `left`, as a view.

    Raises
    ------
    ValueError
        When it is empty or leaves the picture.

    Examples
    --------
    >>> crop(np.arange(12).reshape(3, 4), 1, 2, 2, 2)
    array([[ 6,  7],
           [10, 11]])
    """
    h, w = check_pixels(pixels).shape[:2]
    top, left, height, width = map(_whole, (top, left, height, width))
    if min(height, width) <= 0 or min(top, left) < 0 or top + height > h or left + width > w:
        raise ValueError(
            f"expected a crop inside the picture of {h} x {w}, got {height} x {width} "
            f"at top {top}, left {left}; pad() first or crop less"
        )
    return pixels[top : top + height, left : left + width]


def _whole(n: Any) -> int:
    """A column of whole numbers is one of floats once a join has left rows without."""
    return int(n) if isinstance(n, float) and n.is_integer() else operator.index(n)


def center_crop(pixels: Pixels, height: int, width: int) -> Pixels:
    """The middle of the picture; of an odd rest the larger half goes where torchvision puts it.

    Raises
    ------
    ValueError
        When the picture is smaller.

    Examples
    --------
    >>> center_crop(np.arange(12).reshape(3, 4), 1, 2)
    array([[5, 6]])
    """
    h, w = check_pixels(pixels).shape[:2]
    return crop(pixels, *centred((h, w), (height, width)), height, width)


def centred(outer: tuple[int, int], inner: tuple[int, int]) -> tuple[int, int]:
    """Top and left of `inner` in the middle of `outer`, rounded half to even as torchvision."""
    return round((outer[0] - inner[0]) / 2), round((outer[1] - inner[1]) / 2)


def pad(
    pixels: Pixels,
    top: int,
    right: int,
    bottom: int,
    left: int,
    fill: float | tuple[float, ...] = 0,
) -> Pixels:
    """Add a border.

    Parameters
    ----------
    pixels : ndarray
    top, right, bottom, left : int
        Pixels to add on each side.
    fill : number or tuple, default 0
        Their value, on the scale of the pixels, or one for each channel.

    Raises
    ------
    ValueError
        For a negative width, or a `fill` of another number of channels.

    Examples
    --------
    >>> pad(np.ones((1, 2), np.uint8), 1, 0, 0, 1, fill=9)
    array([[9, 9, 9],
           [9, 1, 1]], dtype=uint8)
    """
    h, w = check_pixels(pixels).shape[:2]
    if min(top, right, bottom, left) < 0:
        raise ValueError(
            f"expected borders of 0 or above, got top {top}, right {right}, bottom {bottom}, "
            f"left {left}; use crop() to take away"
        )
    out = np.empty((top + h + bottom, left + w + right, *pixels.shape[2:]), pixels.dtype)
    out[...] = _fill(pixels, fill)
    out[top : top + h, left : left + w] = pixels
    return out


def flip(pixels: Pixels, direction: str = "horizontal") -> Pixels:
    """Mirror left and right (``"horizontal"``) or top and bottom (``"vertical"``).

    Raises
    ------
    ValueError
        For another direction.

    Examples
    --------
    >>> flip(np.array([[1, 2], [3, 4]]), "horizontal")
    array([[2, 1],
           [4, 3]])
    """
    check_pixels(pixels)
    if direction == "vertical":
        return np.ascontiguousarray(pixels[::-1])
    if direction == "horizontal":
        if _pillow_holds(pixels):  # three times as fast as NumPy
            return _shaped(from_pil(to_pil(pixels).transpose(_MIRROR)), pixels)
        return np.ascontiguousarray(pixels[:, ::-1])
    raise ValueError(f"expected 'horizontal' or 'vertical', got {direction!r}")


def rotate(
    pixels: Pixels,
    degrees: float,
    expand: bool = False,
    fill: float | tuple[float, ...] = 0,
) -> Pixels:
    """Rotate counter-clockwise around the centre, each pixel the nearest one, as Pillow does.

    Parameters
    ----------
    pixels : ndarray
    degrees : float
    expand : bool, default False
        Enlarge the result so that it holds the whole picture.
    fill : number or tuple, default 0
        The value outside the picture, on its own scale, or one for each channel.

    Raises
    ------
    ValueError
        For a `fill` of another number of channels.

    Examples
    --------
    >>> rotate(np.array([[1, 2], [3, 4]], np.uint8), 90)
    array([[2, 4],
           [1, 3]], dtype=uint8)
    """
    values = _fill(pixels, fill)
    if _pillow_holds(pixels):
        image = to_pil(pixels)
        color = values if len(image.getbands()) > 1 else values[0]
        return _shaped(from_pil(image.rotate(degrees, expand=expand, fillcolor=color)), pixels)
    return _by_channel(
        pixels, lambda one, n: one.rotate(degrees, expand=expand, fillcolor=values[n])
    )


def _scaled(h: int, w: int, height: int, width: int) -> tuple[int, int]:
    """`h` x `w` scaled to fit inside `height` x `width`, rounded as PIL.ImageOps.contain."""
    if w * height > h * width:
        return max(1, round(h / w * width)), width
    return height, max(1, round(w / h * height))


def _cover_box(h: int, w: int, height: int, width: int) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the largest centred part of the aspect `height` x `width`."""
    part_h, part_w = (h, width / height * h) if w * height > h * width else (height / width * w, w)
    top, left = (h - part_h) / 2, (w - part_w) / 2
    return left, top, left + part_w, top + part_h


def _resize(
    pixels: Pixels,
    size: tuple[int, int],
    resample: Image.Resampling,
    box: tuple[float, float, float, float] | None = None,
    out: Pixels | None = None,
) -> Pixels:
    """Resize what lies in the `box` (left, top, right, bottom), None for all, to `size`.

    `out` is used where it can be, which `give` sees to.
    """
    h, w = pixels.shape[:2]
    if size == (h, w):
        return pixels
    opaque = pixels.ndim == 2 or pixels.shape[2] in (1, 3)
    if resample is Image.Resampling.BILINEAR and opaque and pixels.dtype == np.uint8:
        if box is None and (torch := torch_module()) is not None:
            return _resize_torch(torch, pixels, size, out)
        left, top, right, bottom = box or (0, 0, w, h)
        # PyTorch cuts whole boxes only, and its filter does not look beyond their edges: near
        # enough where that moves less than 1/16 of a new pixel, and edges are few
        slack_y, slack_x = (bottom - top) / size[0] / 16, (right - left) / size[1] / 16
        whole = abs(left - round(left)) <= slack_x and abs(top - round(top)) <= slack_y
        whole = whole and (box is None or min(size) >= 32)
        if whole and (torch := torch_module()) is not None:
            part = pixels[round(top) : round(bottom), round(left) : round(right)]
            return _resize_torch(torch, part, size, out)
    if _pillow_holds(pixels):
        image = to_pil(pixels).resize(size[::-1], resample, box)
        return _shaped(from_pil(image), pixels)
    return _by_channel(pixels, lambda one, n: one.resize(size[::-1], resample, box))


@functools.cache
def torch_module() -> ModuleType | None:
    """PyTorch where it is installed: imported with the first picture that is resized."""
    try:
        import torch
    except ImportError:
        return None
    return torch


def _resize_torch(torch: Any, pixels: Pixels, size: tuple[int, int], out: Pixels | None) -> Pixels:
    shape = (*size, *pixels.shape[2:])
    fits = out is not None and out.shape == shape and out.dtype == np.uint8 and out.flags.carray
    result = out if fits and out is not None else np.empty(shape, np.uint8)
    pixels = np.ascontiguousarray(pixels)
    if not pixels.flags.writeable:  # PyTorch warns of such arrays, though it only reads here
        memory = (ctypes.c_uint8 * pixels.nbytes).from_address(pixels.ctypes.data)
        source: Pixels = np.frombuffer(memoryview(memory), np.uint8).reshape(pixels.shape)
    else:
        source = pixels
    batch, target = (torch.from_numpy(_channels_last(array)) for array in (source, result))
    _resample(torch)(batch, size, False, None, None, out=target)
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


def _pillow_holds(pixels: Pixels) -> bool:
    return pixels.dtype == np.uint8 and (pixels.ndim == 2 or pixels.shape[2] <= 4)


def _by_channel(pixels: Pixels, change: Callable[[Image.Image, int], Image.Image]) -> Pixels:
    """Apply `change` to each channel as 32 bits, and go back to the dtype of `pixels`."""
    planes = pixels if pixels.ndim == 3 else pixels[:, :, None]
    # floats hold integers up to 24 bits; Pillow has 32-bit integers, with a sign
    whole = pixels.dtype.kind in "iu" and pixels.dtype.itemsize > 2
    whole = whole and planes.min() >= -(2**31) and planes.max() < 2**31
    wide = np.int32 if whole else np.float32
    changed = [
        np.asarray(change(Image.fromarray(np.ascontiguousarray(planes[:, :, n], wide)), n))
        for n in range(planes.shape[2])
    ]
    return fitted(np.stack(changed, axis=2) if pixels.ndim == 3 else changed[0], pixels.dtype)


def _fill(pixels: Pixels, fill: float | tuple[float, ...]) -> tuple[float, ...]:
    channels = 1 if check_pixels(pixels).ndim == 2 else pixels.shape[2]
    values = tuple(fill) if isinstance(fill, (tuple, list)) else (fill,) * channels
    if len(values) != channels:
        raise ValueError(f"expected a fill of {channels} channels, got {fill!r}")
    return tuple(fitted(np.asarray(values, np.float64), pixels.dtype).tolist())


def _shaped(result: Pixels, like: Pixels) -> Pixels:
    """`result` with the channel axis of `like`, which Pillow drops of a single one."""
    return result[:, :, None] if like.ndim == 3 and result.ndim == 2 else result
