"""One number a picture, without a float copy of it.

Measures of light read the luma of a picture: ITU-R BT.601-7, 2.5.1, rounded to 8 bits as Pillow
does, on the 0-255 scale, whatever the dtype: see `color.astype`. `mean`, `std`, `minimum` and
`maximum` are of the values as they are, and of alpha too.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from daskimg.kernels.color import convert, to_uint8
from daskimg.kernels.pixels import (
    Pixels,
    check_pixels,
    drop_alpha,
    split_alpha,
    to_pil,
    white,
)

__all__ = [
    "blurriness",
    "blurriness_of",
    "brightness",
    "colorfulness",
    "colorfulness_of",
    "contrast",
    "entropy",
    "entropy_of",
    "histogram",
    "levels",
    "luma",
    "maximum",
    "mean",
    "minimum",
    "moments",
    "moments_of",
    "percentile",
    "percentile_of",
    "sharpness",
    "std",
    "transparency",
]

SEEN = 256  # pixels of the longer side at which blur is looked for
_WINDOW = 9  # pixels that are averaged to blur a picture once more
_BLOCK = 32_768  # values that are floats at a time: they stay in the cache
_LEVELS = np.arange(256.0)
Counts: TypeAlias = npt.NDArray[np.float64]


def mean(pixels: Pixels) -> float:
    """Mean over all channels, of the values as they are.

    Examples
    --------
    >>> mean(np.array([[1, 2], [3, 6]], np.uint8))
    3.0
    """
    return moments(pixels)[0]


def std(pixels: Pixels) -> float:
    """Standard deviation over all channels, as NumPy's (``ddof=0``).

    Examples
    --------
    >>> std(np.array([[1, 3]], np.uint16))
    1.0
    """
    return moments(pixels)[1]


def minimum(pixels: Pixels) -> float:
    """Smallest value of all channels.

    Examples
    --------
    >>> minimum(np.array([[1, 3]], np.uint16))
    1.0
    """
    return float(check_pixels(pixels).min())


def maximum(pixels: Pixels) -> float:
    """Largest value of all channels.

    Examples
    --------
    >>> maximum(np.array([[1, 3]], np.uint16))
    3.0
    """
    return float(check_pixels(pixels).max())


def luma(pixels: Pixels) -> npt.NDArray[np.uint8]:
    """The luma that the measures read: 8-bit, ``(H, W)``.

    Examples
    --------
    >>> luma(np.full((1, 1, 3), [255, 0, 0], np.uint8))
    array([[76]], dtype=uint8)
    """
    return convert(pixels, "L")


def levels(pixels: Pixels) -> Counts:
    """How often each of the 256 levels of luma occurs: what several measures stand on.

    Examples
    --------
    >>> levels(np.array([[3, 3, 0]], np.uint8))[:4].tolist()
    [1.0, 0.0, 0.0, 2.0]
    """
    return histogram(np.ascontiguousarray(luma(pixels)))


def brightness(pixels: Pixels) -> float:
    """Mean of luma.

    Examples
    --------
    >>> brightness(np.full((2, 2), 0.2, np.float32))
    51.0
    """
    return mean(luma(pixels))


def contrast(pixels: Pixels) -> float:
    """Standard deviation of luma.

    Examples
    --------
    >>> contrast(np.array([[0, 65535]], np.uint16))
    127.5
    """
    return std(luma(pixels))


def sharpness(pixels: Pixels) -> float:
    """Variance of the Laplacian of luma: a blurred picture has little.

    The 4-neighbour Laplacian, mirrored at the border without repeating it, as
    ``cv2.Laplacian(luma, cv2.CV_64F).var()``.

    References
    ----------
    Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy: a comparative study,
    ICPR 2000.

    Examples
    --------
    >>> sharpness(np.full((5, 5), 7, np.uint8))
    0.0
    """
    y = luma(pixels).astype(np.int16)
    laplacian = y * np.int16(-4)
    for source, result in (y, laplacian), (y.T, laplacian.T):
        if len(source) > 1:
            result[1:] += source[:-1]
            result[:-1] += source[1:]
            result[0] += source[1]
            result[-1] += source[-2]
        else:
            result += 2 * source
    return moments(laplacian)[1] ** 2


def blurriness(pixels: Pixels) -> float:
    """How blurred a picture is, 0 to 1, whatever its size and contrast; NaN for a flat one.

    What differences of neighbours lose when the picture is blurred once more: a blurred one has
    little to lose. Across and down, the larger; seen at 256 pixels of the longer side.

    References
    ----------
    Crete et al., The blur effect: perception and estimation with a new no-reference perceptual
    blur metric, SPIE 6492, 2007.

    Examples
    --------
    >>> checks = np.indices((40, 40)).sum(0) % 2 * np.uint8(255)
    >>> ramp = np.tile(np.arange(40, dtype=np.uint8), (40, 1))
    >>> blurriness(checks) < 0.2 < 0.6 < blurriness(ramp)
    True
    """
    grey = luma(pixels)
    if max(grey.shape) > SEEN:
        scale = SEEN / max(grey.shape)
        height, width = (max(1, round(side * scale)) for side in grey.shape)
        grey = np.asarray(to_pil(grey).resize((width, height), Image.Resampling.BOX))
    return float(blurriness_of(grey))


def blurriness_of(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """The same of ``(..., H, W)`` luma, as it is."""
    return np.fmax(_left(grey), _left(np.ascontiguousarray(grey.swapaxes(-1, -2))))


def _left(lines: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """The share of the differences of neighbouring lines that stays when they are blurred."""
    reach = _WINDOW // 2
    *many, height, width = lines.shape
    around = np.empty((*many, height + 2 * reach, width), np.int16)
    around[..., reach:-reach, :] = lines
    around[..., :reach, :], around[..., -reach:, :] = lines[..., :1, :], lines[..., -1:, :]
    sharp = around[..., reach + 1 : -reach, :] - around[..., reach : -reach - 1, :]
    # sums of windows beside each other differ by the two ends that they do not share
    blurred = around[..., _WINDOW:, :] - around[..., :-_WINDOW, :]
    for one in (sharp, blurred):
        np.abs(one, out=one)
    sharp *= np.int16(_WINDOW)
    total = sharp.sum((-1, -2), np.int32)  # of 65,536 numbers, 2,295 at most
    kept = np.minimum(sharp, blurred, out=blurred).sum((-1, -2), np.int32)
    nothing = np.full(total.shape, math.nan)
    return np.asarray(np.divide(kept, total, out=nothing, where=total > 0))


def percentile(pixels: Pixels, share: float) -> float:
    """The luma that `share` percent of the pixels do not exceed.

    Examples
    --------
    >>> percentile(np.arange(100, dtype=np.uint8).reshape(10, 10), 95)
    94.0
    """
    return float(percentile_of(levels(pixels), share))


def percentile_of(counts: Counts, share: float) -> Counts:
    """The same of `levels`, or of ``(..., 256)`` of them."""
    below = np.cumsum(counts, -1)
    wanted = np.maximum(1, below[..., -1:] * (share / 100))
    return np.asarray(np.sum(below < wanted, -1, np.float64))


def transparency(pixels: Pixels) -> float:
    """The share of the picture that alpha hides, 0 to 1.

    Examples
    --------
    >>> transparency(np.array([[[7, 255], [7, 0]]], np.uint8))
    0.5
    """
    alpha = split_alpha(check_pixels(pixels))[1]
    return 0.0 if alpha is None else 1.0 - float(alpha.mean(dtype=np.float64)) / white(pixels)


def entropy(pixels: Pixels) -> float:
    """Shannon entropy of the luma histogram, in bits.

    Examples
    --------
    >>> entropy(np.array([[0, 255]], np.uint8))
    1.0
    """
    return float(entropy_of(levels(pixels)))


def entropy_of(counts: Counts) -> Counts:
    """The same of `levels`, or of ``(..., 256)`` of them."""
    share = counts / counts.sum(-1, keepdims=True)
    logs = np.log2(share, out=np.zeros_like(share), where=share > 0)
    return np.asarray(np.abs(np.sum(share * logs, -1)))


def colorfulness(pixels: Pixels) -> float:
    """How colourful a picture is: 0 for grey, above 80 for a very colourful one.

    ``sqrt(std_rg^2 + std_yb^2) + 0.3 sqrt(mean_rg^2 + mean_yb^2)`` with ``rg = R - G`` and
    ``yb = (R + G) / 2 - B``, in 8 bits.

    References
    ----------
    Hasler and Suesstrunk, Measuring colourfulness in natural images, SPIE 5007, 2003.

    Examples
    --------
    >>> colorfulness(np.zeros((2, 2), np.uint8))
    0.0
    """
    eight = drop_alpha(to_uint8(check_pixels(pixels)))
    if eight.ndim == 2:
        return 0.0
    red, green, blue = (eight[:, :, n].astype(np.int16) for n in range(3))
    mean_rg, std_rg = moments(red - green)
    mean_yb, std_yb = moments(red + green - 2 * blue)  # twice yb: stays whole
    return float(colorfulness_of(mean_rg, std_rg, mean_yb, std_yb))


def colorfulness_of(mean_rg: Any, std_rg: Any, mean_yb: Any, std_yb: Any) -> Any:
    """The same of the moments of ``rg`` and of twice ``yb``."""
    return np.hypot(std_rg, std_yb / 2) + 0.3 * np.hypot(mean_rg, mean_yb / 2)


def moments(pixels: Pixels) -> tuple[float, float]:
    """Mean and standard deviation, from sums that are exact for whole numbers of up to 16 bits.

    Without matrix products: BLAS would start threads of its own beside those of the run.

    Examples
    --------
    >>> moments(np.array([[0, 2]], np.uint8))
    (1.0, 1.0)
    """
    flat = np.ascontiguousarray(check_pixels(pixels)).reshape(-1)
    count = flat.size
    if flat.dtype == np.uint8:
        # one call that leaves the interpreter to others, in two thirds of the time of NumPy's sums
        return moments_of(histogram(flat))
    whole = flat.dtype.kind in "iu" and flat.dtype.itemsize <= 2
    # around the first value others lose no digits to a large mean
    origin = 0.0 if whole else float(flat[0])
    total: float = 0
    squares: float = 0
    for start in range(0, count, _BLOCK):
        block = flat[start : start + _BLOCK].astype(np.float64)
        if origin:
            block -= origin
        sums = float(block.sum()), float(np.einsum("i,i->", block, block))
        total += int(sums[0]) if whole else sums[0]
        squares += int(sums[1]) if whole else sums[1]
    mean, deviation = _from_sums(count, total, squares)
    return origin + mean, deviation


def moments_of(counts: Counts) -> tuple[float, float]:
    """The same of `levels`."""
    total, squares = (int((counts * one).sum()) for one in (_LEVELS, _LEVELS**2))
    return _from_sums(int(counts.sum()), total, squares)


def _from_sums(count: int, total: float, squares: float) -> tuple[float, float]:
    variance = max(count * squares - total * total, 0) / (count * count)
    return total / count, math.sqrt(variance)


def histogram(pixels: npt.NDArray[np.uint8]) -> Counts:
    """How often each of the 256 levels occurs; Pillow counts a view of them."""
    image = Image.frombuffer("L", (pixels.size, 1), pixels, "raw", "L", 0, 1)
    return np.array(image.histogram(), np.float64)
