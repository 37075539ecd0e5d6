"""Small pictures that stand for large ones where measures are taken."""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

from daskimg.kernels.color import convert
from daskimg.kernels.geometry import turn
from daskimg.kernels.pixels import (
    Pixels,
    by_channel,
    check_pixels,
    from_pil,
    give,
    pillow_holds,
    to_pil,
)
from daskimg.kernels.resizing import Draft, folded

__all__ = ["glimpse", "sketch"]


def sketch(picture: Pixels | Draft, least: int) -> Pixels:
    """Reduce a picture by the largest power of two that leaves its shorter side `least` pixels.

    Each pixel is the mean of those it stands for; of a JPEG the decoder reduces by up to eight, as
    it does for `resize`. Alpha is reduced as the colours are, apart from them.

    Parameters
    ----------
    picture : ndarray or Draft
        Of any dtype, which is kept. What is not upright yet is turned when it is small.
    least : int

    Returns
    -------
    ndarray
        The picture itself where its shorter side is below twice `least`.

    Examples
    --------
    >>> sketch(np.zeros((300, 400, 3), np.uint8), 128).shape
    (150, 200, 3)
    """
    draft = picture if isinstance(picture, Draft) else Draft(picture, picture.shape[:2])
    pixels, left = check_pixels(draft.pixels), folded(*draft.size, least) // draft.scale
    if left > 1:
        if pillow_holds(pixels) and (pixels.ndim == 2 or pixels.shape[2] == 3):
            pixels = from_pil(to_pil(pixels).reduce(left))
        else:
            pixels = by_channel(pixels, lambda one: one.reduce(left))
    return turn(pixels, draft.orientation)


def glimpse(pixels: Pixels, side: int, out: Pixels | None = None) -> Pixels:
    """The colours of a picture (RGB), stretched to a square of `side` pixels; none grows.

    A pixel is the mean of two of each two pixels that it stands for, down and across (of four of
    four, ...): half of the time of Pillow's box filter, most of which goes to copies. A side that
    is shorter than `side` stays: the picture then lies in the upper left, beside zeros.

    Examples
    --------
    >>> found = glimpse(np.full((300, 100), 7, np.uint8), 128)
    >>> found.shape, int(found[:, :100].min()), int(found[:, 100:].max())
    ((128, 128, 3), 7, 0)
    """
    height, width = (min(of, side) for of in pixels.shape[:2])
    small = _means(_means(convert(pixels, "RGB"), height, 0), width, 1)
    if height == width == side:
        return give(small, out)
    square = np.empty((side, side, 3), np.uint8) if out is None else out
    square[:height, :width], square[height:], square[:, width:] = small, 0, 0
    return square


def _means(pixels: Pixels, n: int, axis: int) -> Pixels:
    """A side cut into `n` equal parts, each the mean of pixels that lie evenly over it."""
    if pixels.shape[axis] == n:
        return pixels
    parts = [np.take(pixels, places, axis) for places in _places(pixels.shape[axis], n)]
    up = axis > 0  # in turn: neither darker nor lighter in the mean
    while len(parts) > 1:
        parts = [_between(*pair, up) for pair in zip(parts[::2], parts[1::2], strict=True)]
        up = not up
    return parts[0]


@functools.lru_cache(256)
def _places(side: int, n: int) -> tuple[npt.NDArray[np.intp], ...]:
    """Of each of `n` parts of a side the middle of as many equal pieces as it has pixels, or more:
    a power of two."""
    pieces = 1 << math.ceil(math.log2(side / n))
    first = np.arange(n) * pieces
    return tuple(
        ((first + piece + 0.5) * side / (n * pieces)).astype(np.intp) for piece in range(pieces)
    )


def _between(one: Pixels, other: Pixels, up: bool) -> Pixels:
    """The mean of bytes, rounded up or down, in the memory of the first: none needs 16 bits."""
    halves = one ^ other
    np.right_shift(halves, 1, out=halves)
    if up:
        one |= other
        one -= halves
    else:
        one &= other
        one += halves
    return one
