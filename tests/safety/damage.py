"""Pictures of every format and mode, and what can happen to a file."""

from __future__ import annotations

import functools

import numpy as np

from tests.kernels.pictures import file, picture

# What Pillow writes of each format, as (mode, options).
KINDS: dict[str, list[tuple[str, dict]]] = {
    "JPEG": [
        ("L", {}),
        ("RGB", {}),
        ("RGB", {"progressive": True, "subsampling": 0}),
        ("CMYK", {}),
        (
            "RGB",
            {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + bytes(4)},
        ),
    ],
    "PNG": [(mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")],
    "WEBP": [("RGB", {}), ("RGBA", {}), ("RGB", {"lossless": True}), ("RGBA", {"lossless": True})],
    "TIFF": [
        *((mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F")),
        ("RGB", {"compression": "tiff_lzw"}),
        ("RGB", {"compression": "tiff_adobe_deflate"}),
        ("RGB", {"compression": "jpeg"}),
        ("RGB", {"compression": "packbits"}),
        ("1", {"compression": "group4"}),
    ],
    "BMP": [(mode, {}) for mode in ("1", "L", "P", "RGB")],
    "GIF": [("L", {}), ("P", {}), ("RGB", {}), ("RGBA", {})],
    "PPM": [(mode, {}) for mode in ("1", "L", "RGB", "I;16")],
    "JPEG2000": [("L", {}), ("RGB", {}), ("RGBA", {})],
    "AVIF": [("RGB", {"speed": 10}), ("RGBA", {"speed": 10})],
}
EXTENSIONS = {"JPEG": "jpg", "JPEG2000": "jp2"}


@functools.cache
def seeds() -> list[tuple[str, bytes]]:
    """The extension and bytes of a good file of every kind."""
    return [
        (EXTENSIONS.get(kind, kind.lower()), file(picture(mode, 13, 17), kind, **options))
        for kind, kinds in KINDS.items()
        for mode, options in kinds
    ]


def _flip(data: bytearray, rng: np.random.Generator, end: int) -> None:
    for _ in range(rng.integers(1, 9)):
        data[rng.integers(0, end)] ^= 1 << rng.integers(0, 8)


def mutated(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A file that something has happened to: one or two of six things."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 3)):
        size = max(len(changed), 1)
        at = int(rng.integers(0, size))
        match rng.integers(0, 6):
            case 0:  # bits flip, anywhere
                _flip(changed, rng, len(changed)) if changed else None
            case 1:  # or in the header
                _flip(changed, rng, min(64, len(changed))) if changed else None
            case 2:  # the end is lost
                del changed[at:]
            case 3:  # a piece is lost, or is there twice
                piece = changed[at : at + int(rng.integers(1, 64))]
                changed[at : at + len(piece) * int(rng.integers(0, 2))] = piece[
                    : rng.integers(0, 64)
                ]
            case 4:  # the end is another file's
                changed[at:] = other[min(at, len(other)) :]
            case _:  # a number in the header is small, large or negative
                value = rng.choice([0, 1, 0x7F, 0x80, 0xFF], 4).astype(np.uint8).tobytes()
                at = int(rng.integers(0, min(64, size)))
                changed[at : at + int(rng.choice([1, 2, 4]))] = value[: int(rng.choice([1, 2, 4]))]
    return bytes(changed)


def corpus(n: int, seed: int = 0) -> list[tuple[str, bytes]]:
    """`n` damaged files, each with an extension that may be another format's."""
    rng, good = np.random.default_rng(seed), seeds()
    found = []
    for number in range(n):
        extension, data = good[number % len(good)]
        swapped, other = good[rng.integers(0, len(good))]
        name = swapped if rng.random() < 0.2 else extension
        found.append((name, mutated(data, other, rng)))
    return found
