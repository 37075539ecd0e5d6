"""Pictures to test with, and an assertion for image columns."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import PIL.Image
import PIL.ImageDraw

from daskimg.errors import brief, quoted
from daskimg.secrets import mask_url

__all__ = ["assert_images_equal", "make_images"]

Pixels = npt.NDArray[Any]
Size = tuple[int, int]


def make_images(
    folder: str | os.PathLike[str],
    n: int = 10,
    *,
    size: Size | tuple[Size, Size] = ((120, 160), (240, 320)),
    formats: Sequence[str] = ("jpeg", "png"),
    seed: int = 0,
    broken: int = 0,
) -> list[str]:
    """Write pictures that look like photographs to a decoder: gradients, shapes, noise.

    Parameters
    ----------
    folder : str or os.PathLike
        A local folder, made if need be.
    n : int
        How many good pictures: ``00000.jpg``, ``00001.png``, ...
    size : (height, width) or two of these
        The size of each, or the smallest and the largest.
    formats : sequence of str
        Pillow's names of formats, taken in turn.
    seed : int
        The same seed, size and formats write the same pixels.
    broken : int
        How many broken files besides, of four kinds in turn that their names tell:
        ``broken_00_empty.jpg``, ``broken_01_text.jpg``, ``broken_02_truncated.jpg`` (a good
        header, half its pixels) and ``broken_03_corrupt.png`` (a good header, damaged data).

    Returns
    -------
    list of str
        The absolute paths, sorted: the good ones first.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = make_images(folder, 3, size=(20, 30), broken=1)
    ...     [os.path.basename(path) for path in paths], PIL.Image.open(paths[0]).size
    (['00000.jpg', '00001.png', '00002.jpg', 'broken_00_empty.jpg'], (30, 20))
    """
    if not formats:
        raise ValueError('formats: expected at least one format, such as "jpeg"')
    place = Path(os.path.abspath(folder))
    place.mkdir(parents=True, exist_ok=True)
    smallest, largest = np.broadcast_to(np.asarray(size), (2, 2))
    paths = []

    def write(name: str, data: bytes) -> None:
        (place / name).write_bytes(data)
        paths.append(str(place / name))

    for i in range(n):
        rng = np.random.default_rng([seed, i])
        height, width = (int(side) for side in rng.integers(smallest, largest, endpoint=True))
        file_format = formats[i % len(formats)].lower().lstrip(".")
        extension = {"jpeg": "jpg"}.get(file_format, file_format)
        write(f"{i:05d}.{extension}", _encoded(_photo(rng, height, width), file_format))
    kinds = list(_BROKEN.items())
    for i in range(broken):
        kind, damage = kinds[i % len(kinds)]
        rng = np.random.default_rng([seed, n + i, 1])
        extension = "png" if kind == "corrupt" else "jpg"
        write(f"broken_{i:02d}_{kind}.{extension}", damage(_photo(rng, 120, 160)))
    return paths


def assert_images_equal(left: Any, right: Any, atol: float = 0, *, check_path: bool = True) -> None:
    """Raise an AssertionError that says where two image columns, or two pictures, differ.

    Pictures are equal when shape, dtype and every value are. A missing cell equals a missing
    one, a failed cell one that failed for the same reason.

    Parameters
    ----------
    left, right : Series, ImageArray, sequence of cells, or one picture
        A picture is an :class:`~daskimg.Image`, a Pillow image or an array of two or three
        axes; an array of four axes or of objects is a sequence of them. Dask collections are
        computed.
    atol : float
        The largest difference of two values that counts as equal.
    check_path : bool
        Compare paths too, where both cells have one.

    Examples
    --------
    >>> black = np.zeros((2, 2), "uint8")
    >>> assert_images_equal([black, None], [black, None])
    >>> assert_images_equal(black, black + 7, atol=5)
    Traceback (most recent call last):
    ...
    AssertionError: cell 0: 4 of 4 values differ by more than 5; the most at (0, 0): 0 and 7
    """
    __tracebackhide__ = True
    lefts, rights = _cells(left), _cells(right)
    if len(lefts) != len(rights):
        raise AssertionError(f"{len(lefts)} cells on the left, {len(rights)} on the right")
    for i, (one, other) in enumerate(zip(lefts, rights, strict=True)):
        difference = _difference(one, other, atol, check_path)
        if difference:
            path = getattr(one, "path", None)
            where = f" ({brief(mask_url(path))})" if path else ""
            raise AssertionError(f"cell {i}{where}: {difference}")


def _photo(rng: np.random.Generator, height: int, width: int) -> PIL.Image.Image:
    """An RGB picture: a smooth gradient, a few shapes, sensor noise."""
    coarse = PIL.Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    picture = coarse.resize((width, height), PIL.Image.Resampling.BICUBIC)
    draw = PIL.ImageDraw.Draw(picture)
    for _ in range(6):
        corners = rng.uniform(0, 1, (2, 2)) * (width, height)
        (x0, y0), (x1, y1) = np.sort(corners, axis=0)
        color = tuple(int(value) for value in rng.integers(0, 256, 3))
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x0, y0, x1, y1), fill=color)
    noisy = np.asarray(picture) + rng.normal(0, 6, (height, width, 3))
    return PIL.Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def _encoded(picture: PIL.Image.Image, file_format: str) -> bytes:
    out = io.BytesIO()
    picture.save(out, "jpeg" if file_format == "jpg" else file_format)
    return out.getvalue()


def _truncated(picture: PIL.Image.Image) -> bytes:
    data = _encoded(picture, "jpeg")
    return data[: len(data) // 2]


def _corrupt(picture: PIL.Image.Image) -> bytes:
    data = bytearray(_encoded(picture, "png"))
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    return bytes(data)


_BROKEN: dict[str, Callable[[PIL.Image.Image], bytes]] = {
    "empty": lambda picture: b"",
    "text": lambda picture: b"this is not a picture\n",
    "truncated": _truncated,
    "corrupt": _corrupt,
}


def _cells(images: Any) -> list[Any]:
    if hasattr(images, "__dask_graph__"):
        images = images.compute()
    if isinstance(images, pd.Series):
        images = images.array
    one = hasattr(images, "to_numpy") and not hasattr(images, "__len__")
    if one or _is_null(images) or isinstance(images, PIL.Image.Image):
        return [images]
    if isinstance(images, np.ndarray) and images.dtype != object and images.ndim < 4:
        return [images]
    return list(images)


def _difference(left: Any, right: Any, atol: float, check_path: bool) -> str | None:
    """How two cells differ, or None."""
    states = _state(left), _state(right)
    if states[0] != states[1]:
        return f"{states[0]} on the left, {states[1]} on the right"
    if check_path:
        paths = getattr(left, "path", None), getattr(right, "path", None)
        if None not in paths and paths[0] != paths[1]:
            return f"path {quoted(paths[0])} on the left, {quoted(paths[1])} on the right"
    if not states[0].startswith("a picture"):
        return None
    a, b = _pixels(left), _pixels(right)
    for what, found, wanted in (("shape", a.shape, b.shape), ("dtype", a.dtype, b.dtype)):
        if found != wanted:
            return f"{what} {found} on the left, {wanted} on the right"
    same = (a == b) | ((a != a) & (b != b))  # NaN equals NaN, infinity itself
    with np.errstate(invalid="ignore"):
        apart = np.abs(a.astype(np.float64) - b.astype(np.float64))
    wrong = ~(same | ((apart <= atol) & (atol > 0)))
    if not wrong.any():
        return None
    apart = np.where(np.isnan(apart), np.inf, apart)
    at = np.unravel_index(np.argmax(np.where(wrong, apart, -1)), apart.shape)
    where = tuple(int(axis) for axis in at)
    return (
        f"{int(wrong.sum())} of {wrong.size} values differ by more than {atol}; "
        f"the most at {where}: {a[at]} and {b[at]}"
    )


def _state(cell: Any) -> str:
    """What a cell is, with the reason where one is recorded."""
    if _is_null(cell):
        return "missing"
    error = getattr(cell, "error", None)
    if getattr(cell, "failed", False):
        return f"failed ({error})"
    return f"a picture read in part ({error})" if error else "a picture"


def _is_null(cell: Any) -> bool:
    return cell is None or cell is pd.NA or (isinstance(cell, float) and np.isnan(cell))


def _pixels(cell: Any) -> Pixels:
    return np.asarray(cell.to_numpy() if hasattr(cell, "to_numpy") else cell)
