"""Measures of many small pictures at once.

A kernel of a few microseconds is lost in the calls around it, and NumPy and Pillow hand the
interpreter to another thread in each: here a call takes a block of pictures. The values are those
of `measure`; hashes are of frequencies of means of blocks, where `hashes` asks Pillow's Lanczos.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from daskimg.kernels import hashes, measure

__all__ = ["measured"]

BLOCK = 64  # pictures that are measured at a time: a few megabytes
WAVES = 10  # frequencies of a side
FINE = np.maximum(*np.indices((WAVES, WAVES))) >= 6  # 64 of them
Grey = npt.NDArray[np.uint8]
Values = dict[str, npt.NDArray[Any]]


def measured(pictures: npt.NDArray[np.uint8]) -> Values:
    """What is measured of the light, blur, colours and likeness of pictures.

    Parameters
    ----------
    pictures : ndarray
        RGB, ``(N, H, W, 3)`` uint8.

    Returns
    -------
    dict of str to ndarray
        ``(N,)`` each: brightness, contrast, p1, p5, p99 (percentiles), entropy, blurriness;
        colorfulness (of every other row and column); phash, and fine, the signs of 64 finer
        frequencies (of 6 to 9 half waves down or across): what is saved once more keeps them,
        another photograph of the same has others.

    Examples
    --------
    >>> found = measured(np.full((2, 8, 8, 3), 7, np.uint8))
    >>> found["brightness"], found["colorfulness"]
    (array([7., 7.]), array([0., 0.]))
    """
    starts = range(0, max(len(pictures), 1), BLOCK)
    blocks = [pictures[n : n + BLOCK] for n in starts]
    parts = [_of_grey(_luma(one)) | {"colorfulness": _colours(one)} for one in blocks]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _luma(pictures: npt.NDArray[np.uint8]) -> Grey:
    n, height, width, _ = pictures.shape
    if not n:
        return np.zeros((0, height, width), np.uint8)
    return measure.luma(pictures.reshape(n * height, width, 3)).reshape(n, height, width)


def _of_grey(grey: Grey) -> Values:
    each = [measure.histogram(one) for one in grey]
    counts = np.array(each, np.float64).reshape(len(grey), 256)
    moments = np.array([measure.moments_of(one) for one in counts]).reshape(len(grey), 2)
    phash, fine = _hashes(grey)
    return {
        "brightness": moments[:, 0],
        "contrast": moments[:, 1],
        **{f"p{share}": measure.percentile_of(counts, share) for share in (1, 5, 99)},
        "entropy": measure.entropy_of(counts),
        "blurriness": measure.blurriness_of(grey),
        "phash": phash,
        "fine": fine,
    }


def _colours(pictures: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    some = pictures[:, ::2, ::2]
    n, height, width, _ = some.shape
    planes = np.moveaxis(some, -1, 0).astype(np.int16, order="C")
    red, green, blue = planes.reshape(3, n, height * width)
    moments = [_moments(one) for one in (red - green, red + green - 2 * blue)]
    (mean_rg, std_rg), (mean_yb, std_yb) = moments
    return np.asarray(measure.colorfulness_of(mean_rg, std_rg, mean_yb, std_yb))


def _moments(values: npt.NDArray[np.int16]) -> tuple[Any, Any]:
    """Mean and standard deviation of each row."""
    numbers = values.astype(np.float64)
    mean = numbers.mean(-1)
    numbers -= mean[:, None]
    return mean, np.sqrt(np.einsum("ni,ni->n", numbers, numbers) / numbers.shape[1])


def _hashes(grey: Grey) -> tuple[Any, Any]:
    """By cosines over the means of 32 x 32 blocks, one product with a matrix for each side.

    Not by BLAS, which would start threads of its own beside those of the run.
    """
    n, height, width = grey.shape
    if height % 32 == width % 32 == 0:  # means of whole pixels, whose scale does not matter
        tall = grey.reshape(n, 32, height // 32, width).sum(2, np.uint32)
        few = width // 32
        grey = sum((tall[..., place::few] for place in range(1, few)), tall[..., ::few])
        height = width = 32
    across = np.einsum("nhw,kw->nhk", grey.astype(np.float32), _waves(width))
    waves = np.einsum("nhk,jh->njk", across, _waves(height))
    fine = waves[:, FINE].reshape(-1, 8, 8) > 0
    return hashes.packed(hashes.above_median(waves[:, :8, :8])), hashes.packed(fine)


@functools.lru_cache(256)
def _waves(side: int) -> npt.NDArray[np.float32]:
    """``(10, side)``: cosines over the means of 32 equal parts of a side."""
    edges, pixels = np.linspace(0, side, 33), np.arange(side)
    shared = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    means = np.maximum(shared, 0) * (32 / side)
    return np.asarray(hashes.cosines(WAVES) @ means, np.float32)
