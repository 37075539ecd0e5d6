"""Formats, headers, decode and encode.

Pillow is the reference for every format; 8-bit JPEGs of one or three channels go straight to
libjpeg-turbo through `simplejpeg` when it is installed: the same pixels, sooner.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Collection
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import UnidentifiedImageError

from daskimg.errors import FormatNotAllowedError
from daskimg.kernels.exif import JpegHeader, scan_jpeg, scan_webp
from daskimg.kernels.pixels import Pixels, from_pil, give, mode_of, to_pil
from daskimg.kernels.reader import (
    READERS,
    TURN,
    check_count,
    explain,
    open_image,
    pixel_mode,
    read_pixels,
    reduction,
)

try:
    import simplejpeg
except ImportError:  # Pillow decodes the same pixels
    simplejpeg = None

__all__ = [
    "EXTENSIONS",
    "MAX_PIXELS",
    "Header",
    "Scratch",
    "decode",
    "encode",
    "mode_of",
    "quick_header",
    "read_header",
    "reduced_size",
    "sniff",
    "writer_of",
]

MAX_PIXELS = 178_956_970
_HEADER_BYTES = 32_768  # holds the header of nearly every file

EXTENSIONS = frozenset(
    f".{name}"
    for names in (
        "jpg jpeg jpe jfif mpo png apng webp tif tiff bmp gif avif avifs",
        "ppm pgm pbm pnm pfm jp2 j2k jpc jpf jpx",
    )
    for name in names.split(" ")
)

_CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 1, "F": 1}
_JPEG_MODES = {1: "L", 3: "RGB"}
_SIGNATURE = re.compile(
    rb"(?P<JPEG>\xff\xd8\xff)"
    rb"|(?P<PNG>\x89PNG\r\n\x1a\n)"
    rb"|(?P<WEBP>RIFF....WEBP)"
    rb"|(?P<TIFF>II[*+]\x00|MM\x00[*+])"
    rb"|(?P<GIF>GIF8[79]a)"
    rb"|(?P<BMP>BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00)"
    rb"|(?P<PPM>P[1-6f]\s+[#0-9])"
    rb"|(?P<JPEG2000>\xff\x4f\xff\x51|\x00\x00\x00\x0cjP  \r\n\x87\n)"
    rb"|(?P<AVIF>....ftyp.{0,48}?avi[fs])",
    re.DOTALL,
)

# What each written format holds, by Pillow's mode.
_WRITERS = {
    "JPEG": ("L", "RGB"),
    "PNG": ("1", "L", "LA", "RGB", "RGBA", "I;16"),
    "WEBP": ("L", "LA", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "RGB", "RGBA", "I;16", "F"),
    "BMP": ("1", "L", "RGB"),
    "GIF": ("L", "LA", "RGB", "RGBA"),
}


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
        self._memory = np.empty(0, np.uint8)

    def pixels(self, shape: tuple[int, ...]) -> Pixels:
        """8-bit pixels of `shape`, valid until the next call."""
        size = math.prod(shape)
        if self._memory.size < size:
            self._memory = np.empty(size, np.uint8)
        return self._memory[:size].reshape(shape)


class Header(NamedTuple):
    """What a file says about its picture before any pixel is read.

    Parameters
    ----------
    height, width : int
        Size, after the EXIF orientation where that is applied.
    channels : int
        Channels of the pixels that `decode` gives.
    mode, format : str
        Pillow's names: ``"P"``, ``"CMYK"``, ``"I;16"``; ``"JPEG"``, ``"PNG"``.
    """

    height: int
    width: int
    channels: int
    mode: str
    format: str


def sniff(data: bytes | bytearray | memoryview | Pixels) -> str | None:
    """Name the format that `data` begins with, None when it is no picture's.

    Examples
    --------
    >>> sniff(encode(np.zeros((2, 3), np.uint8), "png"))
    'PNG'
    >>> sniff(b"just a text") is None
    True
    """
    found = _SIGNATURE.match(bytes(data[:64]))
    return found.lastgroup if found else None


def read_header(
    source: bytes | memoryview | Pixels | BinaryIO,
    *,
    orientation: bool = True,
    max_pixels: int | None = MAX_PIXELS,
    formats: Collection[str] | None = None,
) -> Header:
    """Read a picture's size, mode and format, and none of its pixels.

    Parameters
    ----------
    source : bytes or binary file
        A whole file or its beginning. A file must seek; it is not closed.
    orientation : bool, default True
        Give the size after the EXIF orientation.
    max_pixels : int, optional
        The most pixels allowed, None for any number.
    formats : collection of str, optional
        The formats allowed, None for all.

    Returns
    -------
    Header

    Raises
    ------
    PIL.UnidentifiedImageError
        The bytes are no picture, or the header is broken.
    OSError
        The header does not end within `source`.
    TooManyPixelsError
        The header announces more than `max_pixels`.
    FormatNotAllowedError
        The picture is of none of `formats`.

    Notes
    -----
    An EXIF chunk of a PNG counts where it stands before the pixels, as Pillow writes it.

    Examples
    --------
    >>> read_header(encode(np.zeros((2, 3), np.uint8), "png"))
    Header(height=2, width=3, channels=1, mode='L', format='PNG')
    """
    file: BinaryIO | None = None
    if isinstance(source, (bytes, memoryview, np.ndarray)):
        data: bytes | memoryview = source if isinstance(source, bytes) else _flat(source)
    else:
        file = source
        file.seek(0)
        data = file.read(_HEADER_BYTES)
    kind = _identify(data, formats)
    found = _scan(data, kind, orientation, max_pixels)
    if found is not None:
        return found
    if file is None:
        file = io.BytesIO(data)
    else:
        file.seek(0)
    try:
        image, told = open_image(file, kind, max_pixels)
        width, height = image.size
        if told > 4 and orientation != hasattr(image, "tag_v2"):  # a TIFF's is turned already
            height, width = width, height
        channels = _CHANNELS[pixel_mode(image, kind)]
    except Exception as error:
        explain(error, kind)
    return Header(height, width, channels, image.mode, image.format or kind)


def quick_header(
    data: bytes,
    *,
    orientation: bool = True,
    max_pixels: int | None = MAX_PIXELS,
    formats: Collection[str] | None = None,
) -> Header | None:
    """What the beginning of a file tells without Pillow; None where that takes more.

    Parameters and errors are those of `read_header`.

    Examples
    --------
    >>> quick_header(encode(np.zeros((2, 3), np.uint8), "jpeg"))
    Header(height=2, width=3, channels=1, mode='L', format='JPEG')
    >>> quick_header(encode(np.zeros((2, 3), np.uint8), "png")) is None
    True
    """
    kind = sniff(data)
    if kind is None or (formats is not None and kind not in formats):
        return None
    return _scan(data, kind, orientation, max_pixels)


def _scan(
    data: bytes | memoryview, kind: str, orientation: bool, max_pixels: int | None
) -> Header | None:
    if kind == "JPEG":
        jpeg = scan_jpeg(data)
        if jpeg and not jpeg.several:
            size = jpeg.height, jpeg.width
            check_count(*size, max_pixels)
            height, width = size[::-1] if orientation and jpeg.orientation > 4 else size
            return Header(height, width, jpeg.channels, _JPEG_MODES[jpeg.channels], kind)
    elif kind == "WEBP":
        webp = scan_webp(data)
        if webp and not webp.metadata:
            check_count(webp.height, webp.width, max_pixels)
            mode = "RGBA" if webp.alpha else "RGB"
            return Header(webp.height, webp.width, len(mode), mode, kind)
    return None


def reduced_size(height: int, width: int, min_size: tuple[int, int] | None) -> tuple[int, int]:
    """The stored size at which `decode` reads a JPEG for `min_size`.

    libjpeg decodes at a half, a quarter or an eighth for less than the full work; the smallest
    of them that keeps both sides at `min_size` or above is taken.

    Examples
    --------
    >>> reduced_size(3000, 4001, (448, 448))
    (750, 1001)
    """
    scale = reduction(height, width, min_size)
    return -(-height // scale), -(-width // scale)


def decode(
    data: bytes | memoryview | Pixels,
    *,
    orientation: bool = True,
    max_pixels: int | None = MAX_PIXELS,
    formats: Collection[str] | None = None,
    truncated: bool = False,
    on_partial: Callable[[str], object] | None = None,
    min_size: tuple[int, int] | None = None,
    out: Pixels | None = None,
    scratch: Scratch | None = None,
) -> Pixels:
    """Decode the first picture of a file.

    Palettes become RGB, or RGBA where they hold transparency; CMYK becomes RGB by Pillow's
    formula; one bit becomes 8-bit grey; 16-bit grey stays uint16.

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
    min_size : tuple of int, optional
        A JPEG may come smaller, see `reduced_size`, but neither side (of the picture as it is
        returned) below this height and width.
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
        The header announces more than `max_pixels`.
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
    if not isinstance(data, bytes):
        data = _flat(data)
    kind = _identify(data, formats)
    if kind == "JPEG" and simplejpeg is not None:
        jpeg = scan_jpeg(data)
        if jpeg:
            check_count(jpeg.height, jpeg.width, max_pixels)
            turn = jpeg.orientation if orientation else 1
            pixels = _decode_jpeg(data, jpeg, turn, min_size, out, scratch)
            if pixels is not None:
                return pixels
    pixels = read_pixels(
        bytes(data),
        kind,
        orientation=orientation,
        max_pixels=max_pixels,
        min_size=min_size,
        on_partial=(on_partial or _ignore) if truncated else None,
    )
    return give(pixels, out)


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
    >>> sniff(encode(np.zeros((2, 3, 3), np.uint8), "WebP"))
    'WEBP'
    """
    kind = writer_of(file_format)
    image = to_pil(pixels)
    if image.mode not in _WRITERS[kind]:
        raise ValueError(
            f"{kind} holds {', '.join(_WRITERS[kind])}, got {image.mode} ({pixels.dtype}): "
            f"""use convert("{"L" if image.mode in ("I;16", "F", "LA", "1") else "RGB"}") first"""
        )
    if kind in ("JPEG", "WEBP"):
        options["quality"] = quality
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _flat(data: memoryview | Pixels) -> memoryview:
    view = data if isinstance(data, memoryview) else memoryview(data)  # type: ignore[arg-type]
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def _decode_jpeg(
    data: bytes | memoryview,
    jpeg: JpegHeader,
    turn: int,
    min_size: tuple[int, int] | None,
    out: Pixels | None,
    scratch: Scratch | None,
) -> Pixels | None:
    """The fast path; None for a damaged file: Pillow knows which damage to bear."""
    if min_size and turn > 4:
        min_size = min_size[::-1]
    height, width = reduced_size(jpeg.height, jpeg.width, min_size)
    shape = (height, width) if jpeg.channels == 1 else (height, width, 3)
    direct = (
        turn == 1
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
    if turn > 1:
        buffer = from_pil(to_pil(buffer).transpose(TURN[turn]))
    return buffer if direct else give(buffer, out)


def _identify(data: bytes | memoryview, formats: Collection[str] | None = None) -> str:
    kind = sniff(data)
    if kind is None:
        begin = f"bytes that begin with {bytes(data[:8])!r}" if data else "no bytes"
        raise UnidentifiedImageError(
            f"cannot identify image file: expected {', '.join(READERS)}, got {begin}"
        )
    if formats is not None and kind not in formats:
        allowed = ", ".join(formats).lower() or "none"
        raise FormatNotAllowedError(
            f"expected one of the formats that daskimg.formats lists ({allowed}), got {kind}"
        )
    return kind


def _ignore(reason: str) -> None:
    """What happens to the reason of a partial picture that nobody asked for."""
