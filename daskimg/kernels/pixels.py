"""Modes of pixel arrays, and the way to and from Pillow."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = [
    "Pixels",
    "check_pixels",
    "drop_alpha",
    "from_pil",
    "give",
    "mode_of",
    "split_alpha",
    "to_pil",
]

Pixels = npt.NDArray[Any]

_CHANNELS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_GREY = {
    np.dtype(np.uint8): "L",
    np.dtype(np.uint16): "I;16",
    np.dtype(np.float32): "F",
    np.dtype(bool): "1",
}


def check_pixels(pixels: Pixels) -> Pixels:
    """Return `pixels` when its shape is a picture's, ``(H, W)`` or ``(H, W, C)``.

    Raises
    ------
    ValueError
        For another number of axes, or a picture without pixels.
    """
    if pixels.ndim not in (2, 3) or not pixels.size:
        raise ValueError(f"expected pixels of shape (H, W) or (H, W, C), got shape {pixels.shape}")
    return pixels


def mode_of(pixels: Pixels) -> str:
    """The Pillow mode that names `pixels`.

    Arrays of three channels are ``RGB`` whatever their dtype, though Pillow itself has only
    8-bit ones.

    Raises
    ------
    ValueError
        For shapes or dtypes that are no picture.

    Examples
    --------
    >>> mode_of(np.zeros((2, 3, 4), np.uint8)), mode_of(np.zeros((2, 3), np.uint16))
    ('RGBA', 'I;16')
    """
    check_pixels(pixels)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    mode = _GREY.get(pixels.dtype) if channels == 1 else _CHANNELS.get(channels)
    if mode is None or pixels.dtype not in _GREY:
        raise ValueError(
            "expected uint8, uint16 or float32 pixels of 1 to 4 channels, "
            f"got {pixels.dtype} of shape {pixels.shape}; use astype() or apply() first"
        )
    return mode


def to_pil(pixels: Pixels) -> Image.Image:
    """`pixels` as a Pillow image, for the modes that Pillow has.

    Raises
    ------
    ValueError
        For arrays that no Pillow mode holds, such as 16-bit RGB.

    Examples
    --------
    >>> to_pil(np.zeros((2, 3), np.uint8)).size
    (3, 2)
    """
    mode = mode_of(pixels)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim == 3 and pixels.dtype != np.uint8:
        raise ValueError(
            f"Pillow holds {mode} of 8 bits only, got {pixels.dtype}; use astype('uint8')"
        )
    return Image.fromarray(np.ascontiguousarray(pixels))


def from_pil(image: Image.Image) -> Pixels:
    """The pixels of a Pillow image, in native byte order; its mode must be one of ours."""
    pixels: Pixels = np.asarray(image)
    return pixels if pixels.dtype.isnative else pixels.astype(pixels.dtype.newbyteorder("="))


def split_alpha(pixels: Pixels) -> tuple[Pixels, Pixels | None]:
    """The colour channels and the alpha channel (None without one), as views."""
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        return pixels[:, :, :-1], pixels[:, :, -1:]
    return pixels, None


def drop_alpha(pixels: Pixels) -> Pixels:
    """The colour channels; a single one loses its axis."""
    color = split_alpha(pixels)[0]
    return color[:, :, 0] if color.ndim == 3 and color.shape[2] == 1 else color


def give(pixels: Pixels, out: Pixels | None) -> Pixels:
    """Return `pixels`, in `out` where that is given.

    Raises
    ------
    ValueError
        When `out` is of another shape or dtype.
    """
    if out is None or out is pixels:
        return pixels
    if out.shape != pixels.shape or out.dtype != pixels.dtype:
        raise ValueError(
            f"the result is {pixels.dtype} of shape {pixels.shape}, "
            f"out is {out.dtype} of shape {out.shape}"
        )
    out[...] = pixels
    return out
