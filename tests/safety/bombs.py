"""Small files that would be huge pictures."""

from __future__ import annotations

import struct
import zlib

SIDE = 60_000  # 3.6 billion pixels


def png_chunk(name: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">L", len(body)) + name + body + struct.pack(">L", zlib.crc32(name + body))


def png(height: int = SIDE, width: int = SIDE, rows: int = 100) -> bytes:
    """A PNG that announces height x width pixels and holds `rows` rows of them."""
    head = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(bytes(1 + 3 * width)) for _ in range(rows)) + packer.flush()
    chunks = [(b"IHDR", head), (b"IDAT", body), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def png_text(nbytes: int = 2**30) -> bytes:
    """A tiny PNG with a compressed text of a gigabyte, in a megabyte."""
    packer = zlib.compressobj(9)
    block = bytes(2**20)
    text = b"".join(packer.compress(block) for _ in range(nbytes >> 20)) + packer.flush()
    head = struct.pack(">LLBBBBB", 4, 4, 8, 0, 0, 0, 0)
    chunks = [
        (b"IHDR", head),
        (b"zTXt", b"Comment\0\0" + text),
        (b"iCCP", b"profile\0\0" + text),
        (b"IDAT", zlib.compress(bytes(20))),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def webp(side: int = 16_383) -> bytes:
    """A WebP of 268 million pixels (the format's most), in its extended and simple headers."""
    canvas = struct.pack("<L", side - 1)[:3]
    body = b"VP8X" + struct.pack("<L", 10) + bytes([0x10, 0, 0, 0]) + canvas * 2
    bits = (side - 1) | (side - 1) << 14 | 1 << 28
    body += b"VP8L" + struct.pack("<L", 6) + b"\x2f" + struct.pack("<L", bits) + b"\0"
    return b"RIFF" + struct.pack("<L", len(body) + 4) + b"WEBP" + body


def gif(side: int = 65_535) -> bytes:
    """A GIF of four billion pixels, whose one frame covers the screen."""
    size = struct.pack("<HH", side, side)
    frame = b"," + bytes(4) + size + b"\0" + b"\x08\x02\x4c\x01\x00;"
    return b"GIF89a" + size + b"\xf0\0\0" + bytes(6) + frame


def tiff(width: int = SIDE, height: int = SIDE, tile: int | None = None) -> bytes:
    """A TIFF that announces height x width pixels, or tiles larger than its picture."""
    tags = [(256, width), (257, height), (258, 8), (259, 8), (262, 1), (277, 1)]
    data = zlib.compress(bytes(1000))
    where = [(322, tile), (323, tile), (324, 8), (325, len(data))] if tile else []
    tags += where or [(273, 8), (278, height), (279, len(data))]
    tags.sort()
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags)
    start = 8 + len(data) + len(data) % 2
    head = b"II*\0" + struct.pack("<L", start) + data + b"\0" * (len(data) % 2)
    return head + struct.pack("<H", len(tags)) + entries + struct.pack("<L", 0)


def bmp(side: int = SIDE) -> bytes:
    """A run-length BMP of 3.6 billion pixels."""
    info = struct.pack("<LllHHLLllLL", 40, side, side, 1, 8, 1, 4, 0, 0, 2, 0) + bytes(8)
    start = 14 + len(info)
    return b"BM" + struct.pack("<LHHL", start + 4, 0, 0, start) + info + bytes([255, 0, 0, 1])


def bombs() -> dict[str, bytes]:
    """File name to bytes."""
    return {
        "pixels.png": png(),
        "text.png": png_text(),
        "canvas.webp": webp(),
        "frame.gif": gif(),
        "strip.tiff": tiff(),
        "tile.tiff": tiff(64, 64, tile=SIDE),
        "runs.bmp": bmp(),
        "digits.ppm": b"P6\n60000 60000\n255\n" + bytes(100),
    }


def most_memory() -> int:
    """The most bytes that this process has held.

    Not `getrusage`, whose figure a child begins with its parent's.
    """
    with open("/proc/self/status") as status:
        (line,) = [line for line in status if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
