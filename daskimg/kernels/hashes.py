"""Perceptual hashes: 64 bits that differ little where pictures look alike."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from daskimg.kernels.measure import luma
from daskimg.kernels.pixels import Pixels, to_pil

__all__ = ["above_median", "cosines", "image_hash", "packed"]


def image_hash(pixels: Pixels, kind: str = "phash") -> int:
    """A 64-bit perceptual hash: pictures that look alike differ in few bits.

    Parameters
    ----------
    pixels : ndarray
    kind : {"phash", "dhash", "ahash"}
        By the low frequencies of the cosine transform, by differences of neighbours, or by the
        average. The bits are those of the `imagehash` package, the first one highest.

    Returns
    -------
    int
        Unsigned.

    Raises
    ------
    ValueError
        For another kind.

    References
    ----------
    N. Krawetz, Looks Like It (2011), Kind of Like That (2013), hackerfactor.com.

    Examples
    --------
    >>> hex(image_hash(np.arange(81, dtype=np.uint8).reshape(9, 9), "dhash"))
    '0xffffffffffffffff'
    """
    grey = luma(pixels)
    if kind == "phash":
        waves, small = cosines(), _small(grey, 32, 32).astype(np.float64)
        low = np.einsum("ij,kj->ik", np.einsum("ij,jk->ik", waves, small), waves)
        bits = above_median(low)
    elif kind == "dhash":
        rows = _small(grey, 8, 9)
        bits = rows[:, 1:] > rows[:, :-1]
    elif kind == "ahash":
        square = _small(grey, 8, 8)
        bits = square > square.mean()
    else:
        raise ValueError(f"expected a hash out of phash, dhash, ahash, got {kind!r}")
    return int(packed(bits))


def above_median(low: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.bool_]:
    """Which of ``(..., 8, 8)`` frequencies are above the median of their 64."""
    order = np.sort(low.reshape(*low.shape[:-2], 64), -1)
    return low > ((order[..., 31] + order[..., 32]) / 2)[..., None, None]


def packed(bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    """``(..., 8, 8)`` bits as numbers, the first bit highest."""
    flat = np.ascontiguousarray(np.packbits(bits.reshape(*bits.shape[:-2], 64), -1))
    return flat.view(">u8")[..., 0].astype(np.uint64)


def _small(grey: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    if grey.shape == (height, width):
        return grey
    return np.asarray(to_pil(grey).resize((width, height), Image.Resampling.LANCZOS))


@functools.cache
def cosines(n: int = 8) -> npt.NDArray[np.float64]:
    """The first rows of the 32-point type-II cosine transform."""
    rows, points = np.arange(n)[:, None], np.arange(32)
    return 2 * np.cos(np.pi * rows * (2 * points + 1) / 64)
