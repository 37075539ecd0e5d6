"""Pictures read by Pillow, free of its process-wide settings.

Pillow keeps its pixel limit and its leave to load truncated files in module globals, which one
thread cannot change without changing all. Here a file is opened by the class of its format, so
that no global is asked, and a broken load leaves the rows decoded so far in the image.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Collection
from typing import Any, BinaryIO, NoReturn

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from daskimg.errors import TooManyPixelsError
from daskimg.kernels.exif import scales, scan_webp
from daskimg.kernels.geometry import turn
from daskimg.kernels.pixels import Pixels, from_pil
from daskimg.kernels.resizing import Draft, Size, reduction

__all__ = [
    "READERS",
    "check_chunks",
    "check_count",
    "check_scans",
    "explain",
    "image_pixels",
    "open_image",
    "pixel_mode",
    "read_pixels",
]

# The formats that are read, each with the class that reads it. Naming the classes keeps
# Ghostscript and other programs out, and Pillow's process-wide pixel limit too.
READERS: dict[str, Callable[[Any, str], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.jpeg_factory,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
    "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}

_PIXEL_MODES = {
    "1": "L", "L": "L", "LA": "LA", "La": "LA", "RGB": "RGB", "RGBA": "RGBA", "RGBa": "RGBA",
    "RGBX": "RGB", "PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB",
    "I;16": "I;16", "I;16L": "I;16", "I;16B": "I;16", "I;16N": "I;16", "F": "F", "I": "I",
}  # fmt: skip
# WebP's own limit; the canvas of an animation can claim 16 million, and takes minutes to fill
SIDES = {"WEBP": 16_383}
# Of any other picture, as libpng has it: rows of a few bytes cost as much as long ones.
SIDE = 10**6
CHUNKS = 1000  # of a PNG beside its pixels, as libpng has it; Pillow takes each apart in Python
SMALL = 64  # bytes of pixels in a chunk, of which no encoder makes thousands
# A blank page of 600 dpi by fax (group 4) has 40,000 pixels a byte. What has more, and is not
# small, costs its reader seconds a kilobyte. Files of more bytes cannot break it under the default
# limit of pixels, so that the beginning of a file tells.
A_BYTE, FEW, WHOLE = 131_072, 2**24, 4096
SCANS = 100  # of a JPEG; encoders make a dozen
_UNTURN = {6: 8, 8: 6}  # the others undo themselves
_ORIENTATION = 0x0112
_TILE = (322, 323)  # TileWidth, TileLength
_BITS, _PHOTOMETRIC, _SAMPLES = 258, 262, 339  # BitsPerSample, ..., SampleFormat
_SIGNED, _MIN_IS_WHITE = 2, 0
_TAGS = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}
_LACKS = re.compile("unknown|cannot handle|unsupported", re.IGNORECASE)  # what Pillow cannot read
_ADDRESS = re.compile(r" (?:object )?at 0x[0-9a-fA-F]+")


def check_count(
    height: int, width: int, max_pixels: int | None, kind: str = "", held: int | None = None
) -> None:
    """Refuse a picture that its header makes larger than may be, or than its file can hold.

    Parameters
    ----------
    height, width : int
    max_pixels : int, optional
        None: any number, in any number of bytes.
    kind : str
        The format, which may bound the sides.
    held : int, optional
        Bytes of the file, or of its beginning that was read.
    """
    pixels, side = height * width, SIDES.get(kind, SIDE)
    if max_pixels is not None and pixels > max_pixels:
        raise TooManyPixelsError(
            f"the header announces {height} x {width} = {pixels:,} pixels, more than the "
            f"{max_pixels:,} that daskimg.max-image-pixels allows"
        )
    if height > side or width > side:
        raise TooManyPixelsError(
            f"the header announces {height} x {width} pixels, and a side of a {kind or 'picture'} "
            f"has at most {side:,}"
        )
    if max_pixels is None or held is None or held >= WHOLE or pixels <= FEW:
        return
    if pixels > held * A_BYTE:
        raise TooManyPixelsError(
            f"the header announces {height} x {width} = {pixels:,} pixels in a file of {held:,} "
            f"bytes; a byte may be {A_BYTE:,} of them (daskimg.max-image-pixels: null lifts this)"
        )


def check_scans(data: bytes | memoryview) -> None:
    """Refuse a JPEG of more scans than any encoder makes: each goes over the whole picture."""
    flat = np.frombuffer(data, np.uint8)
    marks = np.flatnonzero(flat[:-1] == 0xFF)
    scans = np.count_nonzero(flat[marks + 1] == 0xDA)
    if scans > SCANS:
        raise OSError(f"a JPEG of {scans:,} scans; at most {SCANS} are decoded")


def check_chunks(file: BinaryIO, whole: bool = False) -> bool:
    """Refuse a PNG of more chunks than any encoder makes; whether its pixels begin in `file`.

    Those behind them are counted too with `whole`.
    """
    at, found, begun = 8, 0, False
    while file.seek(at) == at and len(head := file.read(8)) == 8:
        size, name = struct.unpack(">L4s", head)
        begun = begun or name == b"IDAT"
        if name == b"IEND" or (begun and not whole):
            break
        found += name not in (b"IDAT", b"fcTL", b"fdAT") or (size < SMALL and name == b"IDAT")
        if found > CHUNKS:
            raise OSError(f"a PNG of more than {CHUNKS:,} chunks beside its pixels")
        at += size + 12
    return begun


def open_image(
    file: BinaryIO, kind: str, max_pixels: int | None, held: int | None = None
) -> tuple[ImageFile.ImageFile, int]:
    """The Pillow image of `file` with nothing decoded, and the orientation it tells."""
    if kind == "WEBP":  # Pillow allocates its canvas when it opens it
        webp = scan_webp(file.read(30))
        file.seek(0)
        if webp:
            check_count(webp.height, webp.width, max_pixels, kind, held)
    image = READERS[kind](file, "")
    check_count(image.height, image.width, max_pixels, kind, held)
    if hasattr(image, "tag_v2"):
        width, height = (image.tag_v2.get(tag, 1) for tag in _TILE)
        if not isinstance(width, int) or not isinstance(height, int):
            raise SyntaxError("a TIFF's tiles have one size")
        # tiles may exceed the picture, and one of them is allocated whole
        check_count(max(image.height, height), max(image.width, width), max_pixels)
        told = image.tag_v2.get(_ORIENTATION, 1)
    elif _TAGS.isdisjoint(image.info):
        return image, 1
    else:
        try:  # not image.getexif(): a PNG's decodes the picture in search of a later chunk
            told = Image.Image.getexif(image).get(_ORIENTATION, 1)
        except (SyntaxError, ValueError, KeyError, TypeError, struct.error):
            told = 1  # unreadable EXIF turns nothing
    return image, told if told in range(1, 9) else 1


def read_pixels(
    data: bytes,
    kind: str,
    *,
    orientation: bool,
    max_pixels: int | None,
    sizes: Collection[Size],
    on_partial: Callable[[str], object] | None,
) -> Draft:
    """Read `data`; see `codec.draft`. With `on_partial`, what there is of a broken picture."""
    try:
        if kind == "JPEG":
            check_scans(data)
        elif kind == "PNG":
            check_chunks(io.BytesIO(data), whole=True)
        image, told = open_image(io.BytesIO(data), kind, max_pixels, len(data))
        size, scale = (image.height, image.width), 1
        if sizes and kind == "JPEG" and scales(data):
            scale = reduction(*size, tuple(sizes), told if orientation else 1)
        reason = _load(image, scale)
        if reason and scale > 1:  # some JPEGs come in full size only
            scale = 1
            image, told = open_image(io.BytesIO(data), kind, max_pixels)
            reason = _load(image, scale)
        if reason and on_partial and kind == "JPEG":
            # the end-of-image marker lets libjpeg hand over the rows that it still holds
            image, told = open_image(io.BytesIO(data + b"\xff\xd9"), kind, max_pixels)
            _load(image, scale)
        if reason:
            if on_partial is None or getattr(image, "_im", None) is None:
                raise OSError(reason)
            image.tile = []  # loaded, as far as Pillow is to know
            on_partial(reason)
        pixels, left = image_pixels(image, kind), _turn_left(image, told, orientation)
        if kind != "JPEG":  # few are turned, and what is half clear rounds otherwise afterwards
            pixels, left = turn(pixels, left), 1
        return Draft(pixels, size if scale > 1 else pixels.shape[:2], scale, left)
    except Exception as error:
        explain(error, kind)


def _load(image: ImageFile.ImageFile, scale: int) -> str | None:
    """Decode `image` in place; the reason why it could not be decoded, None when it could."""
    if scale > 1:
        image.draft(None, (image.width // scale, image.height // scale))
    tile = getattr(image, "_tile_size", None)
    if tile and getattr(image, "_im", True) is None:
        # allocated here, or Pillow would check it against its own limit
        image.im = Image.new(image.mode, tile).im
    # libtiff gives big-endian numbers in native order; Pillow would turn some of them again
    if image.format == "TIFF":
        image.tile = [
            _native(tile) if tile.codec_name == "libtiff" else tile for tile in image.tile
        ]
    try:
        image.load()
    except (MemoryError, Image.DecompressionBombError):
        raise
    except Exception as error:
        return _text(error)
    return None


def _native(tile: Any) -> Any:
    mode, *rest = tile.args
    return tile._replace(args=(re.sub(r"(?<=;16|;32)B", "N", mode), *rest))


def _turn_left(image: ImageFile.ImageFile, told: int, orientation: bool) -> int:
    """The turn that the loaded pixels of `image` still need; Pillow turns a TIFF itself."""
    turned = hasattr(image, "tag_v2") and _ORIENTATION not in image.tag_v2
    if orientation:
        return 1 if turned else told
    return _UNTURN.get(told, told) if turned else 1


def pixel_mode(image: Image.Image, kind: str) -> str:
    """The mode of the pixels that `decode` gives."""
    mode = image.mode
    if _integers(image):
        return "I"
    if mode == "P":
        palette = image.palette
        clear = "transparency" in image.info or (palette and palette.mode.endswith("A"))
        return "RGBA" if clear else "RGB"
    if mode == "I" and kind in ("PNG", "PPM"):
        return "I;16"  # 32 bits hold 16 there
    if mode not in _PIXEL_MODES:
        raise OSError(f"cannot decode {kind} of mode {mode}")
    return _PIXEL_MODES[mode]


def image_pixels(image: Image.Image, kind: str = "") -> Pixels:
    """The pixels of a loaded Pillow image of any mode.

    Examples
    --------
    >>> image_pixels(Image.new("P", (3, 2))).shape
    (2, 3, 3)
    """
    mode = pixel_mode(image, kind)
    integers = _integers(image)
    inverted = mode in ("I;16", "F") and _tag(image, _PHOTOMETRIC) == _MIN_IS_WHITE
    if image.mode != mode and mode not in ("I;16", "I"):
        image = image.convert(mode)
    pixels = from_pil(image)
    if integers:
        # Pillow reads unsigned integers of 32 bits as signed, and signed ones of 8 as unsigned
        same_size = pixels.dtype.itemsize == integers.itemsize
        return pixels.view(integers) if same_size else pixels.astype(integers)
    pixels = pixels.astype(np.uint16, copy=False) if mode == "I;16" else pixels
    if inverted:  # of up to 8 bits Pillow sees to that
        return ~pixels if mode == "I;16" else 1 - pixels
    return pixels


def _tag(image: Image.Image, tag: int) -> Any:
    """The first value of a TIFF's tag; None where there is none."""
    value = image.tag_v2.get(tag) if hasattr(image, "tag_v2") else None
    return value[0] if isinstance(value, tuple) and value else value


def _integers(image: Image.Image) -> np.dtype[Any] | None:
    """The dtype that a TIFF stores integers in; None where its mode tells how to read it."""
    signed = _tag(image, _SAMPLES) == _SIGNED
    if image.mode != "I" and not (signed and image.mode == "L"):
        return None
    bits = _tag(image, _BITS)
    return np.dtype(f"{'i' if signed else 'u'}{bits // 8}") if bits in (8, 16, 32) else None


def _text(error: BaseException) -> str:
    """What `error` says, the same on every run."""
    return _ADDRESS.sub("", str(error)) or type(error).__name__


def explain(error: Exception, kind: str) -> NoReturn:
    """Raise `error` as one of the few kinds of exceptions that callers know."""
    if isinstance(error, (TooManyPixelsError, MemoryError, UnidentifiedImageError)):
        raise error
    if isinstance(error, Image.DecompressionBombError):
        raise TooManyPixelsError(f"{_text(error)} (PIL.Image.MAX_IMAGE_PIXELS)") from error
    if isinstance(error, SyntaxError):
        lacks = _LACKS.search(_text(error))
        what = f"no kind of {kind} that Pillow reads" if lacks else f"broken {kind} header"
        raise UnidentifiedImageError(
            f"cannot identify image file: {what}: {_text(error)}"
        ) from error
    if isinstance(error, OSError):
        raise OSError(_text(error)) from error
    raise OSError(f"broken {kind}: {type(error).__name__}: {_text(error)}") from error
