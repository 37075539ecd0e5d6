"""Digests: equal for the same file, or for the same picture whatever holds it."""

from __future__ import annotations

import hashlib

import numpy as np

from daskimg.kernels.pixels import Pixels, check_pixels, split_alpha, white

__all__ = ["of_bytes", "of_pixels"]

SIZE = 16  # bytes: two of a billion files are the same by chance once in 10**20 collections


def of_bytes(data: bytes | memoryview) -> str:
    """BLAKE2b of a file's bytes, 128 bits as hexadecimal digits.

    Examples
    --------
    >>> of_bytes(b"a file")
    '62d858a31b210141798a8dd920899623'
    """
    if isinstance(data, np.ndarray):
        raise TypeError('this cell holds pixels, no file: digest("pixels") tells them')
    return hashlib.blake2b(data, digest_size=SIZE).hexdigest()


def of_pixels(pixels: Pixels) -> str:
    """BLAKE2b of what is seen: size, dtype and values.

    Grey in three channels is grey, and alpha that hides nothing is none.

    Examples
    --------
    >>> grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    >>> of_pixels(grey) == of_pixels(np.dstack([grey, grey, grey, np.full_like(grey, 255)]))
    True
    >>> of_pixels(grey) == of_pixels(grey.T)
    False
    """
    seen = check_pixels(pixels)
    if seen.ndim == 3:
        color, alpha = split_alpha(seen)
        if alpha is not None and (alpha == white(seen)).all():
            seen = color
        if seen.shape[2] == 1 or (seen.shape[2] == 3 and _grey(seen)):
            seen = seen[:, :, 0]
    told = hashlib.blake2b(f"{seen.shape} {seen.dtype.str}".encode(), digest_size=SIZE)
    told.update(np.ascontiguousarray(seen).view(np.uint8).data)
    return told.hexdigest()


def _grey(pixels: Pixels) -> bool:
    """Whether three channels are the same; of a coloured picture the first row tells."""
    parts = (pixels[:1], pixels)
    return all((part[:, :, 1:] == part[:, :, :1]).all() for part in parts)
