"""Colour: modes, dtypes, normalisation, adjustments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from daskimg.kernels.pixels import (
    Pixels,
    check_pixels,
    drop_alpha,
    fitted,
    from_pil,
    give,
    mode_of,
    split_alpha,
    to_pil,
    white,
)

__all__ = [
    "MODES",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "astype",
    "convert",
    "equalize",
    "normalize",
    "to_uint8",
]

MODES = ("L", "RGB", "RGBA", "LA", "I;16", "F")


def convert(pixels: Pixels, mode: str) -> Pixels:
    """Convert to another mode by Pillow's formulas.

    Colour becomes grey by ITU-R BT.601-7 luma, ``0.299 R + 0.587 G + 0.114 B``. Alpha is dropped,
    or added opaque. The dtype changes as by `astype`: 16 bits become 8 by a division by 257 with
    rounding (Pillow clips), 8 become 16 by the multiplication, ``F`` keeps the values.

    Parameters
    ----------
    pixels : ndarray
    mode : {"L", "RGB", "RGBA", "LA", "I;16", "F"}

    Returns
    -------
    ndarray
        uint8, of ``I;16`` uint16, of ``F`` float32. The input itself when it has the mode.

    Raises
    ------
    ValueError
        For an unknown mode, or pixels that have none.

    Examples
    --------
    >>> convert(np.full((1, 1, 3), [255, 0, 0], np.uint8), "L")
    array([[76]], dtype=uint8)
    >>> convert(np.array([[65535]], np.uint16), "L")
    array([[255]], dtype=uint8)
    """
    if mode not in MODES:
        raise ValueError(f"expected a mode out of {', '.join(MODES)}, got {mode!r}")
    check_pixels(pixels)
    if mode == "RGB" and pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3:
        return pixels
    if mode in ("I;16", "F"):
        dtype = np.dtype(np.uint16 if mode == "I;16" else np.float32)
        if mode == "I;16" and pixels.dtype != np.uint8:
            pixels = astype(pixels, dtype)  # by the white of all channels
        grey = drop_alpha(pixels)
        if grey.ndim == 3:
            mode_of(grey)  # raises for what is no picture
            grey = convert(grey, "L") if grey.dtype == np.uint8 else _weighed(grey)
        return astype(grey, dtype)
    eight = to_uint8(pixels)
    if mode_of(eight) == mode:
        return eight[:, :, 0] if mode == "L" and eight.ndim == 3 else eight
    return from_pil(to_pil(eight).convert(mode))


def to_uint8(pixels: Pixels) -> Pixels:
    """`pixels` as 8 bits; see `astype`."""
    return astype(pixels, np.uint8)


def astype(pixels: Pixels, dtype: npt.DTypeLike) -> Pixels:
    """The same picture in another dtype: black stays black and white white.

    To floats, and to integers but uint8 and uint16, values stay as they are (floats rounded, what
    the dtype cannot hold clipped); to uint8 and uint16 they are scaled from the white they have
    (see `pixels.white`) to 255 and 65535, rounded and clipped (not a number: 0). What would round
    to 0 and 1 is scaled to 255. To bool, what is not 0 is true.

    Parameters
    ----------
    pixels : ndarray
    dtype : dtype

    Returns
    -------
    ndarray
        The input itself when it has the dtype.

    Examples
    --------
    >>> astype(np.array([[-1.0, 0.6, 300.0]], np.float32), "uint8")
    array([[  0,   1, 255]], dtype=uint8)
    >>> astype(np.array([[0.0, 0.6, 1.0]], np.float32), "uint8")
    array([[  0, 153, 255]], dtype=uint8)
    """
    source, target = pixels.dtype, np.dtype(dtype)
    if source == target:
        return pixels
    if target.kind == "b":
        return fitted(pixels != 0, target)
    if source == np.uint16 and target == np.uint8:
        scaled: npt.NDArray[np.uint32] = (pixels + np.uint32(128)) // np.uint32(257)
        return scaled.astype(np.uint8)
    if source == np.uint8 and target == np.uint16:
        return pixels.astype(target) * np.uint16(257)
    if target.kind == "f":
        return fitted(pixels, target)
    old = white(pixels)
    new = {"u1": 255, "u2": 65535}.get(target.str[1:], max(old, 255))
    if old == new:
        return fitted(pixels, target)
    return fitted(pixels * np.promote_types(source, np.float32).type(new / old), target)


def normalize(
    pixels: Pixels,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    out: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """``(pixels / white - mean) / std`` as float32; see `pixels.white`.

    Parameters
    ----------
    pixels : ndarray
    mean, std : float or sequence of float
        One for all channels or one for each.
    out : ndarray, optional
        A float32 array of the shape of `pixels` to write into, of any strides.

    Returns
    -------
    ndarray
        `out` where given.

    Raises
    ------
    ValueError
        When the numbers do not match the channels, or a `std` is not above zero.

    References
    ----------
    torchvision.transforms.ToTensor followed by Normalize.

    Examples
    --------
    >>> normalize(np.array([[0, 255]], np.uint8), mean=0.5, std=0.5)
    array([[-1.,  1.]], dtype=float32)
    """
    channels = 1 if check_pixels(pixels).ndim == 2 else pixels.shape[2]
    means, stds = (_per_channel(name, v, channels) for name, v in (("mean", mean), ("std", std)))
    if min(stds) <= 0:
        raise ValueError(f"expected a std above 0, got {std!r}")
    top = white(pixels)
    result = np.empty(pixels.shape, np.float32) if out is None else out
    if result.shape != pixels.shape or result.dtype != np.float32:
        return give(normalize(pixels, mean, std), result)
    scales = np.array([1 / (top * s) for s in stds], np.float32)
    shifts = np.array([m / s for m, s in zip(means, stds, strict=True)], np.float32)
    if result.flags.carray and pixels.flags.c_contiguous:
        width = math.prod(pixels.shape[1:])  # whole rows at once: the fastest way over HWC
        rows = result.reshape(-1, width)
        scales, shifts = (np.tile(v, width // channels) for v in (scales, shifts))
        np.multiply(pixels.reshape(-1, width), scales, out=rows, casting="unsafe")
        rows -= shifts
        return result
    planes = result if result.ndim == 3 else result[:, :, None]
    for n in range(channels):
        source = pixels[:, :, n] if pixels.ndim == 3 else pixels
        np.multiply(source, scales[n], out=planes[:, :, n], casting="unsafe")
        planes[:, :, n] -= shifts[n]
    return result


def adjust_brightness(pixels: Pixels, factor: float) -> Pixels:
    """Blend with black: 0 is black, 1 the picture, 2 twice as bright.

    References
    ----------
    torchvision.transforms.functional.adjust_brightness: ``clip(factor * pixels)``.

    Examples
    --------
    >>> adjust_brightness(np.array([[100, 200]], np.uint8), 1.5)
    array([[150, 255]], dtype=uint8)
    """
    return _blend(pixels, 0.0, _factor(factor))


def adjust_contrast(pixels: Pixels, factor: float) -> Pixels:
    """Blend with the mean of the grey picture: 0 is plain grey, 1 the picture.

    References
    ----------
    torchvision.transforms.functional.adjust_contrast:
    ``clip(factor * pixels + (1 - factor) * mean(grey(pixels)))``.

    Examples
    --------
    >>> adjust_contrast(np.array([[100, 200]], np.uint8), 0.5)
    array([[125, 175]], dtype=uint8)
    """
    return _blend(pixels, float(_grey(pixels).mean(dtype=np.float64)), _factor(factor))


def adjust_saturation(pixels: Pixels, factor: float) -> Pixels:
    """Blend with the grey picture: 0 is grey, 1 the picture, 2 twice as colourful.

    References
    ----------
    torchvision.transforms.functional.adjust_saturation:
    ``clip(factor * pixels + (1 - factor) * grey(pixels))``.

    Examples
    --------
    >>> adjust_saturation(np.full((1, 1, 3), [255, 0, 0], np.uint8), 0)
    array([[[76, 76, 76]]], dtype=uint8)
    """
    if drop_alpha(check_pixels(pixels)).ndim == 2:
        _factor(factor)
        return pixels
    return _blend(pixels, _grey(pixels)[:, :, None], _factor(factor))


def adjust_hue(pixels: Pixels, factor: float) -> Pixels:
    """Turn the hue by `factor` of the colour circle, -0.5 to 0.5.

    References
    ----------
    torchvision.transforms.functional.adjust_hue on tensors: RGB to HSV, ``h + factor`` modulo 1,
    and back.

    Raises
    ------
    ValueError
        For a factor outside -0.5 to 0.5.

    Examples
    --------
    >>> adjust_hue(np.full((1, 1, 3), [255, 0, 0], np.uint8), 0.5)
    array([[[  0, 255, 255]]], dtype=uint8)
    """
    if not -0.5 <= factor <= 0.5:
        raise ValueError(f"expected a hue factor from -0.5 to 0.5, got {factor!r}")
    color, alpha = split_alpha(check_pixels(pixels))
    if color.ndim == 2 or color.shape[2] == 1 or not factor:
        return pixels
    top = np.float32(white(pixels))
    red, green, blue = (color[:, :, n].astype(np.float32) / top for n in range(3))
    value = np.maximum(np.maximum(red, green), blue)
    span = value - np.minimum(np.minimum(red, green), blue)
    per_span = 1 / np.where(span == 0, np.float32(1), span)
    hue = np.where(
        value == red,
        (green - blue) * per_span,
        np.where(value == green, 2 + (blue - red) * per_span, 4 + (red - green) * per_span),
    )  # in sixths of the circle
    hue += np.float32(6 * factor)
    hue -= 6 * np.floor(hue / 6)
    # whole numbers go back as torchvision's convert_image_dtype does: floor(x * 255.999)
    full = top + np.float32(0.999) if pixels.dtype.kind in "iu" else top
    turned = np.empty(color.shape, np.float32)
    for n, phase in enumerate((5, 3, 1)):  # each channel is the value, less the span far from it
        far = hue + np.float32(phase)
        far -= 6 * (far >= 6).astype(np.float32)
        np.minimum(far, 4 - far, out=far)
        turned[:, :, n] = (value - span * np.clip(far, 0, 1, out=far)) * full
    return _like(pixels, turned, alpha)


def equalize(pixels: Pixels) -> Pixels:
    """Equalise the histogram of each colour channel.

    References
    ----------
    PIL.ImageOps.equalize; 16 bits over 65,536 values, without its whole step, which is 0 of most
    pictures there; other dtypes in 8 bits as torchvision's.

    Examples
    --------
    >>> equalize(np.array([[10, 20, 30]] * 255, np.uint8))[0]
    array([  0, 128, 255], dtype=uint8)
    """
    if pixels.dtype not in (np.uint8, np.uint16):
        scale = np.float32(white(pixels) / 255)
        eight = split_alpha(to_uint8(pixels))[0]
        return _like(pixels, equalize(eight) * scale, split_alpha(pixels)[1])
    top = np.iinfo(pixels.dtype).max
    result = np.array(check_pixels(pixels))
    color = split_alpha(result)[0]
    for plane in [color] if color.ndim == 2 else np.moveaxis(color, 2, 0):
        counts = np.bincount(plane.ravel(), minlength=top + 1)
        spread = int(plane.size - counts[counts > 0][-1])
        before = np.cumsum(counts) - counts
        step = spread // top
        if pixels.dtype == np.uint16 and spread:
            plane[...] = (
                ((before * top + spread // 2) // spread).clip(0, top).astype(np.uint16)[plane]
            )
        elif step:
            plane[...] = np.minimum((step // 2 + before) // step, top).astype(pixels.dtype)[plane]
    return result


def _factor(factor: float) -> float:
    if not factor >= 0:
        raise ValueError(f"expected a factor of 0 or above, got {factor!r}")
    return float(factor)


def _grey(pixels: Pixels) -> Pixels:
    """torchvision's rgb_to_grayscale: of whole numbers the floor."""
    color = drop_alpha(check_pixels(pixels))
    if color.ndim == 2:
        return color
    red, green, blue = np.moveaxis(color.astype(np.float32), 2, 0)
    grey: Pixels = 0.2989 * red + 0.587 * green + 0.114 * blue
    return grey if color.dtype.kind in "bf" else grey.astype(color.dtype)


def _weighed(color: Pixels) -> Pixels:
    """Luma of three channels, on their own scale."""
    wide = np.promote_types(color.dtype, np.float32)
    red, green, blue = (color[:, :, n].astype(wide) for n in range(3))
    grey: Pixels = 0.299 * red + 0.587 * green + 0.114 * blue
    return fitted(grey, color.dtype) if color.dtype.kind in "iu" else grey


def _blend(pixels: Pixels, other: float | Pixels, factor: float) -> Pixels:
    color, alpha = split_alpha(check_pixels(pixels))
    blended = color * np.float32(factor)
    if factor != 1:
        blended += np.asarray(other, np.float32) * np.float32(1 - factor)
    return _like(pixels, blended, alpha)


def _like(pixels: Pixels, color: Pixels, alpha: Pixels | None) -> Pixels:
    """`color` clipped to black and white, in the dtype and with the alpha of `pixels`."""
    most = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "iu" else np.inf
    np.clip(color, 0, min(white(pixels), most), out=color)
    result = np.empty(pixels.shape, pixels.dtype)
    split_alpha(result)[0][...] = color >= 0.5 if pixels.dtype.kind == "b" else color
    if alpha is not None:
        result[:, :, -1:] = alpha
    return result


def _per_channel(name: str, value: Any, channels: int) -> list[float]:
    values = [float(v) for v in value] if np.ndim(value) else [float(value)] * channels
    if len(values) != channels:
        raise ValueError(f"expected a {name} for each of {channels} channels, got {value!r}")
    return values
