"""Crop, pad, flip, rotate, turn upright. Sizes are (height, width)."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from PIL import Image

from daskimg.kernels.pixels import (
    Pixels,
    by_place,
    check_pixels,
    check_room,
    fitted,
    from_pil,
    pillow_holds,
    shaped,
    to_pil,
)

__all__ = [
    "center_crop",
    "centred",
    "crop",
    "flip",
    "pad",
    "rotate",
    "turn",
]

# What an EXIF orientation asks for.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


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
    top, right, bottom, left = map(_whole, (top, right, bottom, left))
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
        return turn(pixels, 2)
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
    TooManyPixelsError
        Where a long and narrow picture would become a very large one.

    Examples
    --------
    >>> rotate(np.array([[1, 2], [3, 4]], np.uint8), 90)
    array([[2, 4],
           [1, 3]], dtype=uint8)
    """
    values = _fill(pixels, fill)
    if expand:
        h, w = pixels.shape[:2]
        cos, sin = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
        check_room(round(h * cos + w * sin), round(w * cos + h * sin), h * w)
    if pillow_holds(pixels):
        image = to_pil(pixels)
        color = values if len(image.getbands()) > 1 else values[0]
        return shaped(from_pil(image.rotate(degrees, expand=expand, fillcolor=color)), pixels)
    return by_place(pixels, lambda one: one.rotate(degrees, expand=expand, fillcolor=-1), values)


def turn(pixels: Pixels, orientation: int) -> Pixels:
    """The picture upright, as an EXIF orientation of 1 to 8 says.

    References
    ----------
    CIPA DC-008 (EXIF 2.3), 4.6.4, tag 0x0112.

    Examples
    --------
    >>> turn(np.array([[1, 2], [3, 4]], np.uint8), 6)
    array([[3, 1],
           [4, 2]], dtype=uint8)
    """
    if orientation == 1:
        return pixels
    if pillow_holds(pixels):  # by blocks: several times as fast as NumPy
        return shaped(from_pil(to_pil(pixels).transpose(_TURNS[orientation])), pixels)
    if orientation > 4:
        pixels = pixels.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(pixels[::rows, ::columns])


def _fill(pixels: Pixels, fill: float | tuple[float, ...]) -> tuple[float, ...]:
    channels = 1 if check_pixels(pixels).ndim == 2 else pixels.shape[2]
    values = tuple(fill) if isinstance(fill, (tuple, list)) else (fill,) * channels
    if len(values) != channels:
        raise ValueError(f"expected a fill of {channels} channels, got {fill!r}")
    return tuple(fitted(np.asarray(values, np.float64), pixels.dtype).tolist())
