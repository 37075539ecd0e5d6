"""Small pictures that stand for large ones where measures are taken."""

from __future__ import annotations

import numpy as np

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
from daskimg.kernels.resizing import Draft, folded, resize

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

    A side that is shorter stays: the picture then lies in the upper left, beside zeros.

    Examples
    --------
    >>> found = glimpse(np.full((300, 100), 7, np.uint8), 128)
    >>> found.shape, int(found[:, :100].min()), int(found[:, 100:].max())
    ((128, 128, 3), 7, 0)
    """
    height, width = (min(of, side) for of in pixels.shape[:2])
    small = resize(convert(pixels, "RGB"), height, width, resample="box")
    if height == width == side:
        return give(small, out)
    square = np.empty((side, side, 3), np.uint8) if out is None else out
    square[:height, :width], square[height:], square[:, width:] = small, 0, 0
    return square
