"""Headers read straight from the bytes: JPEG, WebP, EXIF orientation.

Pillow's own way to an orientation costs five times the rest of the header.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

__all__ = [
    "JpegHeader",
    "WebpHeader",
    "exif_orientation",
    "scales",
    "scan_jpeg",
    "scan_webp",
    "xmp_orientation",
]

_SEGMENT = struct.Struct(">BBH")  # 0xFF, the marker, bytes from here on
_FRAME = struct.Struct(">BHHB")
_SIDES = struct.Struct(">HH")
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_EXIF, _XMP = b"Exif\x00\x00", b"http://ns.adobe.com/xap/1.0/\x00"
_FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended and progressive Huffman: what every decoder reads

# tables, the JFIF header, comments: nothing in them is read here
_PASSED = {0xC4, 0xCC, 0xDB, 0xDD, 0xE0, 0xFE}
_SCALED = {*_FRAMES, 0xC9, 0xCA}  # and those of arithmetic coding: all that transform blocks


class JpegHeader(NamedTuple):
    """What the segments before a JPEG's first scan say; sizes as stored."""

    height: int
    width: int
    channels: int
    orientation: int
    several: bool  # holds more pictures than one (MPO)
    scans: bool  # takes more scans than one


class WebpHeader(NamedTuple):
    """What the first 30 bytes of a WebP file say."""

    height: int
    width: int
    alpha: bool
    metadata: bool  # has EXIF or XMP further on


LONGEST = 4096  # bytes of a header that is remembered
# The last header: the bytes before its height and width and those behind them, where these stand,
# and what it says besides.
_last = b"none", b"", 4, (0, 1, False, False)


def scan_jpeg(data: bytes | memoryview) -> JpegHeader | None:
    """Read a JPEG's segments up to the first scan.

    What was found is remembered: the files of one encoder often differ in their size only.

    Parameters
    ----------
    data : bytes or memoryview
        The file, or its beginning.

    Returns
    -------
    JpegHeader or None
        None when the header is not that of an 8-bit JPEG of one or three channels, is damaged,
        or does not end within `data`: ask Pillow then.

    References
    ----------
    ITU-T T.81 (JPEG), annex B; CIPA DC-008 (EXIF 2.3), 4.7.2.
    """
    global _last
    before, behind, sides, told = _last
    if type(data) is bytes and data.startswith(before) and data.startswith(behind, sides + 4):
        height, width = _SIDES.unpack_from(data, sides)
        return JpegHeader(height, width, *told) if height and width else None
    frame, exif, xmp, several, scans = None, None, None, False, False
    at = 2  # behind the start-of-image marker
    segment_at = _SEGMENT.unpack_from
    try:
        while True:
            first, marker, size = segment_at(data, at)
            if first == 0xFF and size > 1 and marker in _PASSED:  # (most of them, in one step)
                at += 2 + size
                continue
            if first != 0xFF:
                return None
            if marker == 0xFF:  # a fill byte
                at += 1
                continue
            if marker == 0xDA:
                scans = scans or (frame is not None and data[at + 4] < frame[2])
                break
            if size < 2 or marker < 0xC0 or 0xD0 <= marker <= 0xD9:
                return None
            if marker in _FRAMES:
                precision, height, width, channels = _FRAME.unpack_from(data, at + 4)
                if frame or precision != 8 or not height or not width or channels not in (1, 3):
                    return None
                frame, scans, sides = (height, width, channels), marker == 0xC2, at + 5
            elif marker == 0xE1:
                segment = bytes(data[at + 4 : at + 2 + size])
                if exif is None and segment.startswith(_EXIF):
                    exif = segment[6:]
                elif segment.startswith(_XMP):
                    xmp = segment
            elif marker == 0xE2 and data[at + 4 : at + 8] == b"MPF\x00":
                several = True
            elif 0xC3 <= marker <= 0xCF and marker not in (0xC4, 0xCC):
                return None
            at += 2 + size
    except (IndexError, struct.error):
        return None
    if frame is None:
        return None
    orientation = (exif and exif_orientation(exif)) or (xmp and xmp_orientation(xmp)) or 1
    told = frame[2], orientation, several, scans
    if at < LONGEST:  # (one assignment: other threads read it)
        _last = bytes(data[:sides]), bytes(data[sides + 4 : at + 5]), sides, told
    return JpegHeader(frame[0], frame[1], *told)


def scales(data: bytes) -> bool:
    """Whether a JPEG's coding is one that libjpeg decodes at a part of its size.

    To ask that of a lossless one breaks the memory of Pillow before version 13. Segments are looked
    for as libjpeg does it, whatever stands between them.
    """
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 3 < len(data):
        marker = data[at + 1]
        if marker == 0xFF or not marker:  # a fill byte; none
            at += 1 if marker else 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return marker in _SCALED
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # has no size
            at += 2
        elif marker in (0xD9, 0xDA):
            return False
        else:
            at += 2 + (data[at + 2] << 8 | data[at + 3])
    return False


def exif_orientation(exif: bytes) -> int | None:
    """The orientation tag of EXIF data that starts with its TIFF header.

    Returns
    -------
    int or None
        1 to 8; 1 for a value out of range or unreadable data; None where there is no such tag.

    References
    ----------
    CIPA DC-008 (EXIF 2.3), 4.6.4, tag 0x0112.

    Examples
    --------
    >>> exif_orientation(bytes.fromhex("4d4d002a00000008 0001 0112000300000001 00060000"))
    6
    """
    try:
        order = {b"II": "<", b"MM": ">"}[exif[:2]]
        (start,) = struct.unpack_from(order + "L", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", exif, at)
            if tag == 0x0112:
                code = {1: "B", 3: "H", 4: "L"}[kind]
                (value,) = struct.unpack_from(order + code, exif, at + 8)
                return int(value) if 1 <= value <= 8 else 1
    except (KeyError, struct.error):
        return 1
    return None


def xmp_orientation(xmp: bytes) -> int | None:
    """The orientation an XMP packet tells, None where it tells none.

    Examples
    --------
    >>> xmp_orientation(b'<rdf:Description tiff:Orientation="6"/>')
    6
    """
    match = _XMP_ORIENTATION.search(xmp)
    return int(match[1]) if match else None


def scan_webp(data: bytes | memoryview) -> WebpHeader | None:
    """Read a WebP file's first 30 bytes; None for a header that is none.

    References
    ----------
    WebP container specification, RFC 9649, sections 2.5 to 2.7.
    """
    head = bytes(data[:30])
    kind = head[12:16]
    if kind == b"VP8X" and len(head) == 30:
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
        return WebpHeader(height, width, bool(head[20] & 0x10), bool(head[20] & 0x0C))
    if kind == b"VP8L" and len(head) >= 25 and head[20] == 0x2F:
        bits = int.from_bytes(head[21:25], "little")
        return WebpHeader(
            (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1, bool(bits >> 28 & 1), False
        )
    if kind == b"VP8 " and len(head) == 30 and head[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", head, 26)
        return WebpHeader(height & 0x3FFF, width & 0x3FFF, False, False)
    return None
