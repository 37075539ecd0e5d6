"""EXIF of a file's header as plain values: texts, numbers, times, degrees.

References
----------
CIPA DC-008 (EXIF 2.3), 4.6; TIFF 6.0, section 2.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from math import isfinite
from typing import Any

import numpy as np
from PIL import ExifTags

from daskimg.kernels.headers import identify, sniff
from daskimg.kernels.reader import open_image

__all__ = ["KINDS", "POSITION", "read_exif", "value_of"]

HEAD = 2**17  # bytes that hold the EXIF segment of a JPEG, which is one of its first
POSITION = ("GPSLatitude", "GPSLongitude", "GPSAltitude")
_PARTS = {"Exif": 0x8769, "GPS": 0x8825}  # tags that point to further ones
_MOST = 1000  # entries of a directory
_HELD = 2**20  # bytes of their values; entries may share theirs, and numbers of Python are large
_FORMATS = {1: "B", 2: "s", 3: "H", 4: "L", 6: "b", 7: "s", 8: "h", 9: "l", 11: "f", 12: "d"}
_RATIOS = {5: "L", 10: "l"}
_NUMBERS = {
    **{name: number for number, name in ExifTags.TAGS.items() if number < 0x10000},
    **{name: number for number, name in ExifTags.GPSTAGS.items()},
}
_GPS = {*ExifTags.GPSTAGS.values()}

# The kind of a tag's values: what is none of these is text.
KINDS: dict[str, str] = {name: "text" for name in _NUMBERS}
KINDS |= dict.fromkeys(("DateTime", "DateTimeOriginal", "DateTimeDigitized"), "time")
_WHOLE = (
    "Orientation ISOSpeedRatings PhotographicSensitivity ImageWidth ImageLength ExifImageWidth "
    "ExifImageHeight Flash MeteringMode ExposureProgram ExposureMode WhiteBalance LightSource "
    "ColorSpace SensingMethod SceneCaptureType FocalLengthIn35mmFilm ResolutionUnit Rating "
    "Contrast Saturation Sharpness CustomRendered GainControl SubjectDistanceRange"
)
_FRACTIONS = (
    "ExposureTime FNumber FocalLength XResolution YResolution ApertureValue ShutterSpeedValue "
    "BrightnessValue ExposureBiasValue MaxApertureValue SubjectDistance DigitalZoomRatio "
    "GPSLatitude GPSLongitude GPSAltitude GPSSpeed GPSImgDirection GPSDOP GPSTrack"
)
KINDS |= dict.fromkeys(re.findall(r"\w+", _WHOLE), "whole")
KINDS |= dict.fromkeys(re.findall(r"\w+", _FRACTIONS), "number")


def read_exif(
    source: Any,
    max_pixels: int | None = None,
    formats: Collection[str] | None = None,
    opened: Callable[[bytes, str, int | None], bytes] | None = None,
) -> dict[tuple[str, int], Any]:
    """All tags of a file's EXIF, by directory and number; none where it has no EXIF.

    Parameters
    ----------
    source : bytes, memoryview, ndarray or binary file
        Pixels have none.
    max_pixels : int, optional
        As in `read_header`, for formats whose header Pillow reads.
    formats : collection of str, optional
        The formats allowed, None for all.
    opened : callable, optional
        What has Pillow open a file in another process, in place of `block_of`.

    Raises
    ------
    ValueError
        The block is broken.
    FormatNotAllowedError
        The picture is of none of `formats`.
    """
    if isinstance(source, np.ndarray):
        return {}
    file = source if hasattr(source, "read") else io.BytesIO(source)
    file.seek(0)
    data = file.read(HEAD)
    if sniff(data) is None:
        raise ValueError(f"no picture: it begins with {bytes(data[:8])!r}")
    kind = identify(data, formats)
    if kind == "JPEG":
        block = _segment(data)
    elif kind == "TIFF":
        block = data + file.read()
    else:
        file.seek(0)
        block = (
            opened(file.read(), kind, max_pixels) if opened else block_of(file, kind, max_pixels)
        )
    block = block.removeprefix(b"Exif\x00\x00")
    return _directories(block) if block else {}


def block_of(file: Any, kind: str, max_pixels: int | None) -> bytes:
    """The EXIF block of a file that Pillow opens."""
    return open_image(file, kind, max_pixels)[0].info.get("exif") or b""


def _segment(data: bytes) -> bytes:
    """The EXIF segment of a JPEG."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        if data[at + 1] == 0xFF:
            at += 1
            continue
        size = data[at + 2] << 8 | data[at + 3]
        if data[at + 1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\x00\x00":
            return data[at + 4 : at + 2 + size]
        at += 2 + size
    return b""


def _directories(block: bytes) -> dict[tuple[str, int], Any]:
    try:
        order = {b"II": "<", b"MM": ">"}[block[:2]]
        (start,) = struct.unpack_from(order + "L", block, 4)
        found = {("Exif", tag): value for tag, value in _entries(block, order, start).items()}
        for part, pointer in _PARTS.items():
            where = found.get(("Exif", pointer))
            if where is not None:
                for tag, value in _entries(block, order, int(where)).items():
                    found[part, tag] = value
    except (KeyError, struct.error, TypeError, ValueError) as error:
        raise ValueError(f"the EXIF block is broken: {error}") from None
    return found


def _entries(block: bytes, order: str, start: int) -> dict[int, Any]:
    (count,) = struct.unpack_from(order + "H", block, start)
    if count > _MOST:
        raise ValueError(f"a directory of {count} tags")
    found, left = {}, _HELD
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, many = struct.unpack_from(order + "HHL", block, at)
        code = _RATIOS.get(kind) or _FORMATS.get(kind)
        if code is None:
            continue
        length = struct.calcsize("=" + code) * (2 if kind in _RATIOS else 1) * many
        if length <= 4:
            where = at + 8
        else:
            (where,) = struct.unpack_from(order + "L", block, at + 8)
            if where + length > len(block) or length > left:
                continue  # of this tag nothing is known
        left -= length
        if code == "s":
            found[tag] = bytes(block[where : where + many])
            continue
        many = many * 2 if kind in _RATIOS else many
        values: Any = struct.unpack_from(f"{order}{many}{code}", block, where)
        if kind in _RATIOS:
            pairs = zip(values[::2], values[1::2], strict=True)
            values = tuple(a / b if b else float("nan") for a, b in pairs)
        found[tag] = values[0] if len(values) == 1 else values
    return found


def value_of(tags: Mapping[tuple[str, int], Any], name: str) -> Any:
    """The value of a tag, of its kind in `KINDS`; None where there is none, or none of that kind.

    Latitude and longitude are degrees, north and east above 0; altitude is metres above the sea.
    """
    part = "GPS" if name in _GPS else "Exif"
    value = tags.get((part, _NUMBERS[name]))
    if value is None:
        return None
    kind = KINDS[name]
    if name in POSITION:
        return _position(tags, name, value)
    if isinstance(value, bytes):
        text = value.split(b"\x00")[0].decode("utf-8", "replace").strip()
        if kind == "text":
            return text or None
        if kind == "time":
            try:
                return datetime.strptime(text, "%Y:%m:%d %H:%M:%S")
            except ValueError:
                return None
        return None
    if kind == "text":
        parts = value if isinstance(value, tuple) else (value,)
        return " ".join(f"{one:g}" if isinstance(one, float) else str(one) for one in parts)
    if kind == "time" or isinstance(value, tuple):
        return None
    return float(value) if kind == "number" else int(value) if isfinite(value) else None


def _position(tags: Mapping[tuple[str, int], Any], name: str, value: Any) -> float | None:
    side = tags.get(("GPS", _NUMBERS[f"{name}Ref"]), b"")
    if name == "GPSAltitude":
        below = side in (1, b"\x01")
        return (
            None if isinstance(value, bytes | tuple) else -float(value) if below else float(value)
        )
    if not isinstance(value, tuple) or len(value) != 3:
        return None
    degrees = sum(float(one) / 60**n for n, one in enumerate(value) if one == one)
    sign = -1 if isinstance(side, bytes) and side[:1].upper() in (b"S", b"W") else 1
    return sign * degrees if abs(degrees) <= 180 else None
