"""What a picture's first bytes say: its format, its size, its mode."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterable
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import UnidentifiedImageError

from daskimg.errors import FormatNotAllowedError
from daskimg.kernels.exif import scan_jpeg, scan_webp
from daskimg.kernels.pixels import MAX_PIXELS, Pixels, mode_of
from daskimg.kernels.reader import (
    READERS,
    check_chunks,
    check_count,
    explain,
    open_image,
    pixel_mode,
)

__all__ = [
    "EXTENSIONS",
    "FORMATS",
    "MAX_PIXELS",
    "Header",
    "extensions_of",
    "flat",
    "identify",
    "of_pixels",
    "quick_header",
    "read_header",
    "sniff",
]

_HEADER_BYTES = 32_768  # holds the header of nearly every file

FORMATS = {
    name: tuple(f".{extension}" for extension in extensions.split())
    for name, extensions in {
        "JPEG": "jpg jpeg jpe jfif mpo",
        "PNG": "png apng",
        "WEBP": "webp",
        "TIFF": "tif tiff",
        "BMP": "bmp",
        "GIF": "gif",
        "AVIF": "avif avifs",
        "PPM": "ppm pgm pbm pnm pfm",
        "JPEG2000": "jp2 j2k jpc jpf jpx",
    }.items()
}
EXTENSIONS = frozenset(one for extensions in FORMATS.values() for one in extensions)


def extensions_of(file_format: str | Iterable[str] | None) -> list[str] | None:
    """The extensions of picture formats, each named as Pillow or as a file does.

    Examples
    --------
    >>> extensions_of("png"), extensions_of(["jpg", "WebP"])[:2], extensions_of(None)
    (['.apng', '.png'], ['.jfif', '.jpe'], None)
    """
    found: set[str] = set()
    for one in [file_format] if isinstance(file_format, str) else file_format or ():
        name = str(one).lstrip(".")
        known = FORMATS.get(name.upper()) or next(
            (many for many in FORMATS.values() if f".{name.lower()}" in many), None
        )
        if known is None:
            raise ValueError(
                f"file_format is one of {', '.join(FORMATS)}; got {one!r}. "
                "file_extensions= takes any extension"
            )
        found.update(known)
    return sorted(found) or None


_CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 1, "I": 1, "F": 1}
_JPEG_MODES = {1: "L", 3: "RGB"}
_JPEG = b"\xff\xd8\xff"
_SIGNATURE = re.compile(
    rb"(?P<PNG>\x89PNG\r\n\x1a\n)"
    rb"|(?P<WEBP>RIFF....WEBP)"
    rb"|(?P<TIFF>II[*+]\x00|MM\x00[*+])"
    rb"|(?P<GIF>GIF8[79]a)"
    rb"|(?P<BMP>BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00)"
    rb"|(?P<PPM>P[1-6f]\s+[#0-9])"
    rb"|(?P<JPEG2000>\xff\x4f\xff\x51|\x00\x00\x00\x0cjP  \r\n\x87\n)"
    rb"|(?P<AVIF>....ftyp.{0,48}?avi[fs])",
    re.DOTALL,
)


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
    mode: str | None
    format: str | None


def of_pixels(pixels: Pixels) -> Header:
    """The same of pixels; no mode where their dtype or channels have none."""
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    try:
        mode = mode_of(pixels)
    except ValueError:
        mode = None
    return Header(pixels.shape[0], pixels.shape[1], channels, mode, None)


def sniff(data: bytes | bytearray | memoryview | Pixels) -> str | None:
    """Name the format that `data` begins with, None when it is no picture's.

    Examples
    --------
    >>> from daskimg.kernels.codec import encode
    >>> sniff(encode(np.zeros((2, 3), np.uint8), "png"))
    'PNG'
    >>> sniff(b"just a text") is None
    True
    """
    start = bytes(data[:64])
    if start[:3] == _JPEG:
        return "JPEG"
    found = _SIGNATURE.match(start)
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
        The header announces more than `max_pixels`, or more than its format or its bytes can hold.
    FormatNotAllowedError
        The picture is of none of `formats`.

    Notes
    -----
    An EXIF chunk of a PNG counts where it stands before the pixels, as Pillow writes it.

    Examples
    --------
    >>> from daskimg.kernels.codec import encode
    >>> read_header(encode(np.zeros((2, 3), np.uint8), "png"))
    Header(height=2, width=3, channels=1, mode='L', format='PNG')
    """
    file: BinaryIO | None = None
    if isinstance(source, (bytes, memoryview, np.ndarray)):
        data: bytes | memoryview = source if isinstance(source, bytes) else flat(source)
    else:
        file = source
        file.seek(0)
        data = file.read(_HEADER_BYTES)
    kind = identify(data, formats)
    found = _scan(data, kind, orientation, max_pixels)
    if found is not None:
        return found
    if file is None:
        file = io.BytesIO(data)
    else:
        file.seek(0)
    try:
        if kind == "PNG" and not check_chunks(io.BytesIO(data)):
            check_chunks(file)
            file.seek(0)
        image, told = open_image(file, kind, max_pixels, len(data))
        width, height = image.size
        if told > 4 and orientation != hasattr(image, "tag_v2"):  # a TIFF's is turned already
            height, width = width, height
        mode = pixel_mode(image, kind)
    except Exception as error:
        explain(error, kind)
    told_mode = mode if mode == "I" else image.mode
    return Header(height, width, _CHANNELS[mode], told_mode, image.format or kind)


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
    >>> from daskimg.kernels.codec import encode
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
            check_count(*size, max_pixels, kind, len(data))
            height, width = size[::-1] if orientation and jpeg.orientation > 4 else size
            return Header(height, width, jpeg.channels, _JPEG_MODES[jpeg.channels], kind)
    elif kind == "WEBP":
        webp = scan_webp(data)
        if webp and not webp.metadata:
            check_count(webp.height, webp.width, max_pixels, kind, len(data))
            mode = "RGBA" if webp.alpha else "RGB"
            return Header(webp.height, webp.width, len(mode), mode, kind)
    return None


def identify(data: bytes | memoryview, formats: Collection[str] | None = None) -> str:
    """The format that `data` begins with, which has to be one of `formats`; raises for others."""
    kind = "JPEG" if data[:3] == _JPEG else sniff(data)
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


def flat(data: memoryview | Pixels) -> memoryview:
    """The same memory as a line of bytes."""
    view = data if isinstance(data, memoryview) else memoryview(data)  # type: ignore[arg-type]
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")
