"""Decode and encode.

Pillow is the reference for every format; 8-bit JPEGs of one or three channels go straight to
libjpeg-turbo through `simplejpeg` when it is installed: the same pixels, sooner.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from daskimg.kernels.exif import JpegHeader, scan_jpeg
from daskimg.kernels.geometry import turn
from daskimg.kernels.headers import MAX_PIXELS, flat, identify
from daskimg.kernels.pixels import Pixels, give, mode_of, to_pil
from daskimg.kernels.reader import check_count, check_scans, read_pixels
from daskimg.kernels.resizing import Draft, Size, reduction

try:
    import simplejpeg
except ImportError:  # Pillow decodes the same pixels
    simplejpeg = None

__all__ = ["Scratch", "check_format", "decode", "draft", "encode", "mode_of", "writer_of"]

# What each written format holds, by Pillow's mode.
_WRITERS = {
    "JPEG": ("L", "RGB"),
    "PNG": ("1", "L", "LA", "RGB", "RGBA", "I;16"),
    "WEBP": ("L", "LA", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "RGB", "RGBA", "I;16", "I", "F"),
    "BMP": ("1", "L", "RGB"),
    "GIF": ("L", "LA", "RGB", "RGBA"),
}

VIEWS = 64  # of a scratch's memory that are kept


class Scratch:
    """Memory to decode into, picture after picture: fresh pages cost a tenth of a decode.

    Examples
    --------
    >>> scratch = Scratch()
    >>> large, small = scratch.pixels((40, 30, 3)), scratch.pixels((4, 3))
    >>> np.shares_memory(large, small)
    True
    """

    def __init__(self) -> None:
        self._renew(0)

    def _renew(self, size: int) -> None:
        self._memory = np.empty(size, np.uint8)
        # (pictures of a collection have few sizes)
        self._views: dict[tuple[int, ...], Pixels] = {}

    def pixels(self, shape: tuple[int, ...]) -> Pixels:
        """8-bit pixels of `shape`, valid until the next call."""
        found = self._views.get(shape)
        if found is None:
            size = math.prod(shape)
            if self._memory.size < size:
                self._renew(size)
            elif len(self._views) == VIEWS:
                self._views.clear()
            self._views[shape] = found = self._memory[:size].reshape(shape)
        return found

    def shrink(self, size: int) -> None:
        """Give back memory of more than `size` bytes."""
        if self._memory.size > size:
            self._renew(0)


def decode(
    data: bytes | memoryview | Pixels,
    *,
    orientation: bool = True,
    max_pixels: int | None = MAX_PIXELS,
    formats: Collection[str] | None = None,
    truncated: bool = False,
    on_partial: Callable[[str], object] | None = None,
    out: Pixels | None = None,
    scratch: Scratch | None = None,
) -> Pixels:
    """Decode the first picture of a file.

    Palettes become RGB, or RGBA where they hold transparency; CMYK becomes RGB by Pillow's
    formula; one bit becomes 8-bit grey; 16-bit grey stays uint16. A TIFF's other integers and its
    floats keep their dtype and values; one whose 0 is white comes with 0 as black.

    Parameters
    ----------
    data : bytes, memoryview or ndarray
        The whole file.
    orientation : bool, default True
        Turn the picture as its EXIF orientation says.
    max_pixels : int, optional
        The most pixels allowed, None for any number. Checked before anything is allocated and
        whatever Pillow's own limit, which is left as it is.
    formats : collection of str, optional
        The formats allowed, as `sniff` names them; None for all.
    truncated : bool, default False
        Give the pixels there are of a file that ends early or breaks off, instead of raising.
    on_partial : callable, optional
        Called with the reason when the pixels are only a part.
    out : ndarray, optional
        An array of the right shape and dtype to decode into.
    scratch : Scratch, optional
        Memory for the pixels, which are valid until it is used again.

    Returns
    -------
    ndarray
        `out` where given. It may be read-only.

    Raises
    ------
    PIL.UnidentifiedImageError
        The bytes are no picture, or the header is broken.
    OSError
        The picture is truncated or broken.
    TooManyPixelsError
        The header announces more than `max_pixels`, or more than its format or its bytes can hold.
    FormatNotAllowedError
        The picture is of none of `formats`.
    ValueError
        `out` does not fit.

    Examples
    --------
    >>> decode(encode(np.arange(6, dtype=np.uint8).reshape(2, 3), "png"))
    array([[0, 1, 2],
           [3, 4, 5]], dtype=uint8)
    """
    picture = _read(data, (), orientation, max_pixels, formats, truncated, on_partial, out, scratch)
    pixels = picture.pixels
    return give(pixels if picture.orientation == 1 else turn(pixels, picture.orientation), out)


def draft(
    data: bytes | memoryview | Pixels,
    sizes: Collection[Size],
    *,
    orientation: bool = True,
    max_pixels: int | None = MAX_PIXELS,
    formats: Collection[str] | None = None,
    truncated: bool = False,
    on_partial: Callable[[str], object] | None = None,
    scratch: Scratch | None = None,
) -> Draft:
    """Decode as much of the first picture of a file as resizes of it need.

    Parameters
    ----------
    data : bytes, memoryview or ndarray
    sizes : collection of (height, width, fit)
        Of all the resizes, which are of `SMOOTH` filters. A JPEG is read at the smallest scale that
        gives them the same picture, see `reduction`; at which one, is in the result.
    orientation, max_pixels, formats, truncated, on_partial, scratch
        As for `decode`.

    Returns
    -------
    Draft
        To be turned yet: a small picture is turned sooner.

    Examples
    --------
    >>> file = encode(np.zeros((301, 402), np.uint8), "jpeg")
    >>> picture = draft(file, [(28, 21, "stretch")])
    >>> picture.scale, picture.size, picture.pixels.shape
    (2, (301, 402), (151, 201))
    """
    return _read(
        data, sizes, orientation, max_pixels, formats, truncated, on_partial, None, scratch
    )


def _read(
    data: bytes | memoryview | Pixels,
    sizes: Collection[Size],
    orientation: bool,
    max_pixels: int | None,
    formats: Collection[str] | None,
    truncated: bool,
    on_partial: Callable[[str], object] | None,
    out: Pixels | None,
    scratch: Scratch | None,
) -> Draft:
    if not isinstance(data, bytes):
        data = flat(data)
    kind = identify(data, formats)
    if kind == "JPEG" and simplejpeg is not None:
        jpeg = scan_jpeg(data)
        if jpeg:
            check_count(jpeg.height, jpeg.width, max_pixels, kind, len(data))
            if jpeg.scans:
                check_scans(data)
            turned = jpeg.orientation if orientation else 1
            picture = _read_jpeg(data, jpeg, turned, sizes, out, scratch)
            if picture is not None:
                return picture
    return read_pixels(
        bytes(data),
        kind,
        orientation=orientation,
        max_pixels=max_pixels,
        sizes=sizes,
        on_partial=(on_partial or _ignore) if truncated else None,
    )


def writer_of(file_format: str) -> str:
    """Pillow's name of a format that `encode` writes.

    Raises
    ------
    ValueError
        For another format; it lists those there are.

    Examples
    --------
    >>> writer_of("jpg")
    'JPEG'
    """
    kind = {"JPG": "JPEG", "TIF": "TIFF"}.get(file_format.upper(), file_format.upper())
    if kind not in _WRITERS:
        known = ", ".join(name.lower() for name in _WRITERS)
        raise ValueError(f"expected a format out of {known}, got {file_format!r}")
    return kind


def check_format(file_format: str, quality: Any, dtype: Any, channels: int | None) -> None:
    """Raise where no picture of this kind can be written so; None: what kind, nobody knows yet.

    Raises
    ------
    ValueError
        As `encode` does, of one picture instead of each.

    Examples
    --------
    >>> check_format("jpeg", 90, np.dtype("uint8"), 4)
    Traceback (most recent call last):
    ValueError: JPEG holds L, RGB, got RGBA (uint8): use convert("RGB") first
    """
    writer_of(file_format)
    if not isinstance(quality, int) or not 1 <= quality <= 100:
        raise ValueError(f"quality is 1 to 100; got {quality!r}")
    if dtype is not None and channels is not None:
        encode(np.zeros((1, 1, channels) if channels else (1, 1), dtype), file_format)


def encode(pixels: Pixels, file_format: str = "jpeg", quality: int = 90, **options: Any) -> bytes:
    """Encode pixels as a file; the same pixels always give the same bytes.

    Parameters
    ----------
    pixels : ndarray
    file_format : str, default "jpeg"
        ``jpeg``, ``png``, ``webp``, ``tiff``, ``bmp`` or ``gif``, in any case.
    quality : int, default 90
        1 to 100, for JPEG and WebP.
    **options
        Passed to Pillow's writer of the format: ``compress_level=1``, ``lossless=True``.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        For an unknown format, or pixels that the format cannot hold.

    Examples
    --------
    >>> encode(np.zeros((2, 3, 3), np.uint8), "WebP")[8:12]
    b'WEBP'
    """
    kind = writer_of(file_format)
    image = to_pil(pixels)
    if image.mode not in _WRITERS[kind]:
        other = "RGB" if image.mode.startswith("RGB") else "L"
        raise ValueError(
            f"{kind} holds {', '.join(_WRITERS[kind])}, got {image.mode} ({pixels.dtype}): "
            f'use convert("{other}") first'
        )
    if kind in ("JPEG", "WEBP"):
        options["quality"] = quality
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _read_jpeg(
    data: bytes | memoryview,
    jpeg: JpegHeader,
    turned: int,
    sizes: Collection[Size],
    out: Pixels | None,
    scratch: Scratch | None,
) -> Draft | None:
    """The fast path; None for a damaged file: Pillow knows which damage to bear."""
    height, width, scale = jpeg.height, jpeg.width, 1
    if sizes:
        scale = reduction(height, width, tuple(sizes), turned)
        height, width = -(-height // scale), -(-width // scale)
    shape = (height, width) if jpeg.channels == 1 else (height, width, 3)
    direct = (
        turned == 1
        and out is not None
        and out.shape == shape
        and out.dtype == np.uint8
        and out.flags.carray
    )
    if direct and out is not None:
        buffer = out
    else:
        buffer = np.empty(shape, np.uint8) if scratch is None else scratch.pixels(shape)
    try:
        simplejpeg.decode_jpeg(
            data,
            "GRAY" if jpeg.channels == 1 else "RGB",
            fastdct=False,
            fastupsample=False,
            min_height=height,
            min_width=width,
            buffer=buffer,
        )
    except ValueError:
        return None
    return Draft(buffer, (jpeg.height, jpeg.width), scale, turned)


def _ignore(reason: str) -> None:
    """What happens to the reason of a partial picture that nobody asked for."""
