"""Modes of pixel arrays, and the way to and from Pillow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from daskimg.errors import TooManyPixelsError

__all__ = [
    "MAX_PIXELS",
    "Pixels",
    "by_channel",
    "by_place",
    "check_pixels",
    "check_room",
    "drop_alpha",
    "fitted",
    "from_pil",
    "give",
    "mode_of",
    "pillow_holds",
    "shaped",
    "split_alpha",
    "to_pil",
    "white",
]

Pixels = npt.NDArray[Any]

_CHANNELS = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_GREY = {"u1": "L", "u2": "I;16", "b1": "1"}  # else all floats are F and all integers I
_INT32 = np.iinfo(np.int32)
MAX_PIXELS = 178_956_970  # of a picture, where nothing else is said


def check_room(height: int, width: int, *usual: int) -> None:
    """Refuse a result that the odd shape of a picture makes large, where nobody asked for that.

    Parameters
    ----------
    height, width : int
        Of the result.
    usual : int
        Pixels that were there or were asked for; four times as many are no bomb.
    """
    pixels = height * width
    if pixels > max(MAX_PIXELS, *(4 * n for n in usual)):
        raise TooManyPixelsError(
            f"the result would have {height:,} x {width:,} = {pixels:,} pixels, as the picture is "
            "long and narrow; crop() it first, or give both sides"
        )


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
    8-bit ones; one channel of any float is ``F``, of integers but uint8 and uint16 ``I``.

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
    kind = pixels.dtype.kind
    if channels not in _CHANNELS or kind not in "biuf":
        raise ValueError(
            "expected numbers as pixels, of 1 to 4 channels, "
            f"got {pixels.dtype} of shape {pixels.shape}; use astype() or apply() first"
        )
    if channels > 1:
        return _CHANNELS[channels]
    return _GREY.get(pixels.dtype.str[1:]) or ("F" if kind == "f" else "I")


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
    if mode == "F":
        pixels = pixels.astype(np.float32, copy=False)
    elif mode == "I":
        if pixels.min() < _INT32.min or pixels.max() > _INT32.max:
            raise ValueError(f"Pillow holds integers of 32 bits with a sign, got {pixels.dtype}")
        pixels = pixels.astype(np.int32, copy=False)
    return Image.fromarray(np.ascontiguousarray(pixels))


def from_pil(image: Image.Image) -> Pixels:
    """The pixels of a Pillow image, in native byte order; its mode must be one of ours."""
    pixels: Pixels = np.asarray(image)
    return pixels if pixels.dtype.isnative else pixels.astype(pixels.dtype.newbyteorder("="))


def white(pixels: Pixels) -> int:
    """The value of white in a picture; black is 0.

    255 of uint8, 65535 of uint16, 1 of booleans. Floats hold any of the three, and other integers
    255 or 65535: it is the smallest that no value exceeds twofold, for a filter may overshoot.

    Examples
    --------
    >>> white(np.array([[0.2, 1.1]])), white(np.array([[0.2, 200.0]])), white(np.array([[4000]]))
    (1, 255, 65535)
    """
    kind = pixels.dtype.kind
    if kind == "b" or pixels.dtype in (np.uint8, np.uint16):
        return {"b1": 1, "u1": 255}.get(pixels.dtype.str[1:], 65535)
    known = np.isfinite(pixels) if kind == "f" else True
    most = float(np.max(pixels, where=known, initial=0))
    if most <= 2 and kind == "f":
        return 1
    return 255 if most <= 510 else 65535


def fitted(values: Pixels, dtype: np.dtype[Any]) -> Pixels:
    """`values`, on the scale of `dtype` already, in that dtype and nothing wrapped around.

    What is finite is clipped to the range, for integers floats are rounded first (not a number: 0);
    true is what is half or more.

    Examples
    --------
    >>> fitted(np.array([-1.0, 0.6, 300.0]), np.dtype(np.uint8))
    array([  0,   1, 255], dtype=uint8)
    """
    if dtype.kind == "b":
        return values if values.dtype == dtype else values >= 0.5
    if np.can_cast(values.dtype, dtype):
        return values.astype(dtype, copy=False)
    if dtype.kind == "f":
        most = np.finfo(dtype).max
        return np.where(np.isinf(values), values, np.clip(values, -most, most)).astype(dtype)
    limits = np.iinfo(dtype)
    if values.dtype.kind != "f":
        own = np.iinfo(values.dtype)
        ends = max(limits.min, own.min), min(limits.max, own.max)
        return np.clip(values, *ends).astype(dtype)
    values = np.nan_to_num(np.rint(values, dtype=np.promote_types(values.dtype, np.float32)))
    if dtype.itemsize <= 2:
        return np.clip(values, limits.min, limits.max).astype(dtype)
    # the largest float below what the dtype cannot hold
    top = np.nextafter(float(limits.max) + (dtype.itemsize < 8), 0)
    return np.clip(values.astype(np.float64), limits.min, top).astype(dtype)


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


def pillow_holds(pixels: Pixels) -> bool:
    """Whether a Pillow image can have these very pixels."""
    return pixels.dtype == np.uint8 and (pixels.ndim == 2 or pixels.shape[2] <= 4)


def by_place(
    pixels: Pixels, change: Callable[[Image.Image], Image.Image], fill: Sequence[float] = (0,)
) -> Pixels:
    """Apply `change`, which only moves pixels: any values stay what they are.

    `fill` stands, one for each channel, where `change` has put -1.
    """
    h, w = pixels.shape[:2]
    index = np.asarray(change(Image.fromarray(np.arange(h * w, dtype=np.int32).reshape(h, w))))
    moved: Pixels = pixels.reshape(h * w, *pixels.shape[2:])[index]
    moved[index < 0] = fill
    return moved


def by_channel(pixels: Pixels, change: Callable[[Image.Image], Image.Image]) -> Pixels:
    """Apply `change` to each channel as 32 bits, and go back to the dtype of `pixels`."""
    planes = pixels if pixels.ndim == 3 else pixels[:, :, None]
    # floats hold integers up to 24 bits; Pillow has 32-bit integers, with a sign
    whole = pixels.dtype.kind in "iu" and pixels.dtype.itemsize > 2
    whole = whole and planes.min() >= -(2**31) and planes.max() < 2**31
    wide = np.int32 if whole else np.float32
    changed = [
        np.asarray(change(Image.fromarray(np.ascontiguousarray(planes[:, :, n], wide))))
        for n in range(planes.shape[2])
    ]
    return fitted(np.stack(changed, axis=2) if pixels.ndim == 3 else changed[0], pixels.dtype)


def shaped(result: Pixels, like: Pixels) -> Pixels:
    """`result` with the channel axis of `like`, which Pillow drops of a single one."""
    return result[:, :, None] if like.ndim == 3 and result.ndim == 2 else result
