"""Random geometry and colour, the same for the same row whatever runs it.

Each function takes its random numbers from a generator that `rng_for` makes of a seed, an epoch
and the row's key, so no partition, worker or retry changes a picture.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import numpy as np

from daskimg.kernels import color, geometry, resizing
from daskimg.kernels.pixels import Pixels, check_pixels

__all__ = [
    "RANDOM",
    "color_jitter",
    "random_crop",
    "random_flip",
    "random_resized_crop",
    "random_rotation",
    "rng_for",
]

# By name: those that keep the size first.
RANDOM = ("random_flip", "random_rotation", "color_jitter", "random_crop", "random_resized_crop")
Range = float | Sequence[float]


def rng_for(seed: int, epoch: int, key: str | float) -> np.random.Generator:
    """The generator of one row: equal arguments give equal numbers, on every machine.

    Parameters
    ----------
    seed, epoch : int
    key : str, int or float
        What names the row: its path or its index. ``1`` and ``"1"`` are two keys, ``1.0`` is 1.

    Examples
    --------
    >>> rng_for(0, 0, "a.jpg").integers(1000) == rng_for(0, 0, "a.jpg").integers(1000)
    np.True_
    """
    part = isinstance(key, float | np.floating) and key % 1 > 0
    name = key if isinstance(key, str) else float(key) if part else int(key)
    text = f"{int(seed)}/{int(epoch)}/{name!r}".encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(text, digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def random_flip(pixels: Pixels, rng: np.random.Generator, p: float = 0.5) -> Pixels:
    """Mirror left and right with probability `p`.

    References
    ----------
    torchvision.transforms.RandomHorizontalFlip.

    Examples
    --------
    >>> random_flip(np.array([[1, 2]]), rng_for(0, 0, 0), p=1)
    array([[2, 1]])
    """
    if not 0 <= p <= 1:
        raise ValueError(f"expected a probability from 0 to 1, got {p!r}")
    return geometry.flip(pixels) if rng.random() < p else check_pixels(pixels)


def random_rotation(pixels: Pixels, rng: np.random.Generator, degrees: Range) -> Pixels:
    """Rotate by an angle drawn evenly from ``(-degrees, degrees)``, or from a pair.

    References
    ----------
    torchvision.transforms.RandomRotation; outside the picture is 0.

    Examples
    --------
    >>> random_rotation(np.array([[1, 2]], np.uint8), rng_for(0, 0, 0), 0)
    array([[1, 2]], dtype=uint8)
    """
    low, high = _interval("degrees", degrees, lambda d: (-d, d))
    return geometry.rotate(pixels, rng.uniform(low, high))


def random_crop(pixels: Pixels, rng: np.random.Generator, height: int, width: int) -> Pixels:
    """A part of `height` x `width`, each place as likely.

    Raises
    ------
    ValueError
        When the picture is smaller.

    References
    ----------
    torchvision.transforms.RandomCrop.

    Examples
    --------
    >>> random_crop(np.zeros((5, 5)), rng_for(0, 0, 0), 2, 3).shape
    (2, 3)
    """
    h, w = check_pixels(pixels).shape[:2]
    top = int(rng.integers(max(h - height, 0) + 1))
    left = int(rng.integers(max(w - width, 0) + 1))
    return geometry.crop(pixels, top, left, height, width)


def random_resized_crop(
    pixels: Pixels,
    rng: np.random.Generator,
    height: int,
    width: int,
    scale: Sequence[float] = (0.08, 1.0),
    ratio: Sequence[float] = (3 / 4, 4 / 3),
) -> Pixels:
    """A part of random size, place and aspect, resized to `height` x `width`.

    Parameters
    ----------
    pixels : ndarray
    rng : numpy.random.Generator
    height, width : int
    scale : tuple of float, default (0.08, 1.0)
        Least and greatest share of the area.
    ratio : tuple of float, default (3/4, 4/3)
        Least and greatest width to height, drawn evenly on a logarithmic scale.

    References
    ----------
    torchvision.transforms.RandomResizedCrop.get_params: ten attempts, then the largest part at
    the centre whose aspect is allowed. Szegedy et al., Going Deeper with Convolutions, 2015.

    Examples
    --------
    >>> random_resized_crop(np.zeros((50, 40), np.uint8), rng_for(0, 0, 0), 8, 8).shape
    (8, 8)
    """
    h, w = check_pixels(pixels).shape[:2]
    least, most = _interval("scale", scale, None)
    narrow, wide = _interval("ratio", ratio, None)
    if least <= 0 or narrow <= 0:
        raise ValueError(f"expected a scale and a ratio above 0, got {scale!r} and {ratio!r}")
    for _ in range(10):
        area = h * w * rng.uniform(least, most)
        aspect = math.exp(rng.uniform(math.log(narrow), math.log(wide)))
        part_w, part_h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < part_w <= w and 0 < part_h <= h:
            part = random_crop(pixels, rng, part_h, part_w)
            break
    else:
        part_w = min(w, max(1, round(h * wide)))
        part_h = min(h, max(1, round(w / narrow)))
        part = geometry.center_crop(pixels, part_h, part_w)
    return resizing.resize(part, height, width)


def color_jitter(
    pixels: Pixels,
    rng: np.random.Generator,
    brightness: Range = 0.0,
    contrast: Range = 0.0,
    saturation: Range = 0.0,
    hue: Range = 0.0,
) -> Pixels:
    """Change brightness, contrast, saturation and hue by random factors, in random order.

    Parameters
    ----------
    pixels : ndarray
    rng : numpy.random.Generator
    brightness, contrast, saturation : float or pair
        A factor from ``(max(0, 1 - x), 1 + x)``, or from the pair.
    hue : float or pair
        From ``(-x, x)``, at most half a turn, or from the pair.

    References
    ----------
    torchvision.transforms.ColorJitter.get_params.

    Examples
    --------
    >>> color_jitter(np.full((1, 1), 9, np.uint8), rng_for(0, 0, 0))
    array([[9]], dtype=uint8)
    """
    steps: list[tuple[Callable[[Pixels, float], Pixels], float, float]] = []
    for name, value, adjust in (
        ("brightness", brightness, color.adjust_brightness),
        ("contrast", contrast, color.adjust_contrast),
        ("saturation", saturation, color.adjust_saturation),
    ):
        low, high = _interval(name, value, lambda x: (max(0.0, 1 - x), 1 + x))
        if low < 0:
            raise ValueError(f"expected {name} of 0 or above, got {value!r}")
        steps.append((adjust, 1.0, rng.uniform(low, high)))
    low, high = _interval("hue", hue, lambda x: (-x, x))
    if low < -0.5 or high > 0.5:
        raise ValueError(f"expected a hue from -0.5 to 0.5, got {hue!r}")
    steps.append((color.adjust_hue, 0.0, rng.uniform(low, high)))
    for n in rng.permutation(len(steps)):
        adjust, neutral, factor = steps[n]
        if factor != neutral:
            pixels = adjust(pixels, factor)
    return check_pixels(pixels)


def _interval(
    name: str, value: Range, around: Callable[[float], tuple[float, float]] | None
) -> tuple[float, float]:
    """`value` as the ends of an interval; a single number stands for `around` it."""
    if not isinstance(value, Sequence):
        if around is None or value < 0:
            raise ValueError(f"expected {name} as a pair (low, high), got {value!r}")
        return around(float(value))
    if len(value) != 2 or value[0] > value[1]:
        raise ValueError(f"expected {name} as a pair (low, high), got {value!r}")
    return float(value[0]), float(value[1])
