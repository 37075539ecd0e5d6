"""Headers of JPEGs that were read before: told as if each were the first."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from daskimg.kernels import codec, exif, resizing

NOTHING = exif._last


def jpeg(height: int, width: int, mode: str = "RGB", orientation: int = 0, **how: object) -> bytes:
    tags = Image.Exif()
    if orientation:
        tags[0x0112] = orientation
    file = io.BytesIO()
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", exif=tags, **how)
    return file.getvalue()


def no_height(data: bytes) -> bytes:
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + b"\0\0" + data[at + 2 :]


PLAIN = jpeg(30, 41)
FILES = {
    "plain": PLAIN,
    "of another size": jpeg(300, 17),
    "grey": jpeg(30, 41, "L"),
    "CMYK": jpeg(30, 41, "CMYK"),
    "progressive": jpeg(30, 41, progressive=True),
    "of another quality": jpeg(30, 41, quality=20),
    "turned": jpeg(30, 41, orientation=6),
    "turned otherwise": jpeg(41, 30, orientation=8),
    "without a height": no_height(PLAIN),
    "cut in its tables": PLAIN[:300],
    "cut in its size": PLAIN[: PLAIN.index(b"\xff\xc0") + 6],
    "cut at its scan": PLAIN[: PLAIN.index(b"\xff\xda") + 4],
    "cut in its pixels": PLAIN[:-40],
    "two pictures": PLAIN + jpeg(8, 8),
    "a wrong beginning": b"\xff\xd8\x00" + PLAIN[3:],
    "empty": b"",
}


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exif, "_last", NOTHING)


def test_a_header_is_what_it_is_whatever_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def alone(data: bytes) -> exif.JpegHeader | None:
        monkeypatch.setattr(exif, "_last", NOTHING)
        return exif.scan_jpeg(data)

    expected = {name: alone(data) for name, data in FILES.items()}
    assert expected["turned"] == (30, 41, 3, 6, False, False)
    assert expected["without a height"] is None
    assert expected["progressive"] == (30, 41, 3, 1, False, True)
    for first, second in itertools.product(FILES, FILES):
        monkeypatch.setattr(exif, "_last", NOTHING)
        assert exif.scan_jpeg(FILES[first]) == expected[first]
        assert exif.scan_jpeg(FILES[second]) == expected[second], f"{second} after {first}"
        assert exif.scan_jpeg(memoryview(FILES[second])) == expected[second]


def test_files_of_one_encoder_are_read_by_what_they_share(monkeypatch: pytest.MonkeyPatch) -> None:
    exif.scan_jpeg(FILES["plain"])
    monkeypatch.setattr(exif, "_SEGMENT", None)  # none is looked at
    assert exif.scan_jpeg(FILES["of another size"]) == (300, 17, 3, 1, False, False)


def test_a_long_header_is_not_held() -> None:
    comment = b"\xff\xfe\x40\x00" + bytes(0x4000 - 2)
    assert exif.scan_jpeg(PLAIN[:2] + comment + PLAIN[2:]) == (30, 41, 3, 1, False, False)
    assert exif._last is NOTHING


def test_views_of_scratch_memory_are_its_memory() -> None:
    scratch = codec.Scratch()
    small = scratch.pixels((4, 5))
    assert scratch.pixels((4, 5)) is small
    large = scratch.pixels((40, 50, 3))
    again = scratch.pixels((4, 5))
    assert np.shares_memory(large, again)
    assert not np.shares_memory(large, small)
    for side in range(1, 2 * codec.VIEWS):
        assert scratch.pixels((side, 2)).shape == (side, 2)
    scratch.shrink(10)
    assert not np.shares_memory(scratch.pixels((4, 5)), large)


def test_pictures_in_scratch_memory_are_resized_as_in_their_own() -> None:
    scratch = codec.Scratch()
    sizes = [(60, 80, 3), (300, 200, 1), (60, 80, 3), (400, 600, 3), (60, 80, 1), (300, 200, 3)]
    files = [
        jpeg(h, w, "RGB" if c == 3 else "L", orientation=k) for k, (h, w, c) in enumerate(sizes)
    ]
    for data in [*files, *reversed(files)]:
        for size in ((50, 40), (16, 16)):
            for fit in ("stretch", "cover", "pad"):
                wanted = [(*size, fit)]
                drafted = codec.draft(data, wanted, scratch=scratch)
                expected = resizing.resize(codec.draft(data, wanted), *size, fit)
                made = resizing.resize(resizing.convert(drafted, "L"), *size, fit)
                grey = resizing.resize(resizing.convert(codec.draft(data, wanted), "L"), *size, fit)
                np.testing.assert_array_equal(made, grey)
                np.testing.assert_array_equal(resizing.resize(drafted, *size, fit), expected)
                scratch.shrink(50_000)
