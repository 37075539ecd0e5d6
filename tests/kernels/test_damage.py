"""Files that are broken, hostile, truncated or no pictures at all."""

import io
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, UnidentifiedImageError

from daskimg.errors import TooManyPixelsError
from daskimg.kernels import codec, exif, headers
from tests.kernels.pictures import SHARED, file, picture, truth


def huge_png(side=20_000):
    def chunk(name, body):
        return (
            struct.pack(">L", len(body)) + name + body + struct.pack(">L", zlib.crc32(name + body))
        )

    head = struct.pack(">LLBBBBB", side, side, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_too_many_pixels_fail_before_allocation():
    with pytest.raises(TooManyPixelsError, match=r"20000 x 20000 = 400,000,000 .* 178,956,970"):
        codec.decode(huge_png())
    with pytest.raises(TooManyPixelsError):
        headers.read_header(huge_png())
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"):
        data = file(picture(), kind)
        with pytest.raises(TooManyPixelsError):
            codec.decode(data, max_pixels=37 * 53 - 1)
        with pytest.raises(TooManyPixelsError):
            headers.read_header(data, max_pixels=37 * 53 - 1)
        assert codec.decode(data, max_pixels=37 * 53).shape[:2] == (37, 53)


def test_pillows_own_limit_is_neither_asked_nor_changed(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in ("JPEG", "PNG", "TIFF", "GIF", "BMP"):
            data = file(picture(), kind)
            assert headers.read_header(data, max_pixels=None)[:2] == (37, 53)
            assert codec.decode(data, max_pixels=None).shape[:2] == (37, 53)
    assert Image.MAX_IMAGE_PIXELS == 10
    monkeypatch.undo()
    assert headers.read_header(huge_png(), max_pixels=None)[:2] == (20_000, 20_000)


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"hello, this is text", b"P6 is a label", b"BM" * 40]
)
def test_what_is_no_picture(data):
    assert headers.sniff(data) is None
    for read in (codec.decode, headers.read_header):
        with pytest.raises(UnidentifiedImageError, match="cannot identify image file") as caught:
            read(data)
        assert "0x" not in str(caught.value)


def test_postscript_is_never_read():
    assert headers.sniff(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP"])
def test_damage_raises_the_same_stable_oserror(kind):
    data = file(picture(), kind)
    seen = 0
    for keep in (12, 30, len(data) // 2, len(data) - 40):
        with pytest.raises(OSError) as caught:  # noqa: PT011
            codec.decode(data[:keep])
        with pytest.raises(OSError) as again:  # noqa: PT011
            codec.decode(data[:keep])
        assert str(caught.value) == str(again.value)
        assert " at 0x" not in str(caught.value)
        seen += bool(str(caught.value))
    assert seen == 4


def test_a_wrong_png_checksum_is_borne_as_pillow_bears_it():
    data = bytearray(file(picture(), "PNG"))
    data[
        data.index(b"IDAT") - 4 + 8 + int.from_bytes(data[data.index(b"IDAT") - 4 :][:4], "big")
    ] ^= 1
    wanted = np.asarray(Image.open(io.BytesIO(bytes(data))))
    assert np.array_equal(codec.decode(bytes(data)), wanted)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
def test_truncated_gives_what_there_is_and_says_so(kind):
    data = file(picture("RGB", 200, 160), kind)
    whole = codec.decode(data)
    said = []
    assert codec.decode(data, truncated=True, on_partial=said.append).shape == whole.shape
    assert said == []
    part = codec.decode(data[: len(data) * 2 // 3], truncated=True, on_partial=said.append)
    assert len(said) == 1
    assert part.shape == whole.shape
    half = slice(0, 60) if kind != "BMP" else slice(-60, None)  # BMP stores the last row first
    if kind == "TIFF":
        half = slice(0, 20)
    np.testing.assert_array_equal(part[half], whole[half])
    assert not np.array_equal(part, whole)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_truncated_still_raises_without_a_header():
    for keep in (0, 3, 20):
        with pytest.raises(OSError):  # noqa: PT011
            codec.decode(file(picture(), "JPEG")[:keep], truncated=True)


def test_truncated_and_strict_decodes_do_not_meet():
    """Threads that bear truncation leave those that do not alone."""
    data = file(picture("RGB", 200, 160), "JPEG")[:-900]
    wrong = []

    def bear():
        for _ in range(30):
            codec.decode(data, truncated=True)

    def refuse():
        for _ in range(30):
            try:
                codec.decode(data)
            except OSError:
                continue
            wrong.append(1)

    threads = [threading.Thread(target=target) for target in (bear, refuse, bear, refuse)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@given(
    st.binary(max_size=400), st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "PPM"])
)
@settings(max_examples=150, deadline=None)
def test_garbage_raises_known_errors_only(noise, kind):
    data = bytearray(file(picture("RGB", 12, 9), kind))
    at = len(noise) * 7 % len(data)
    data[at : at + len(noise)] = noise
    for options in ({}, {"truncated": True}):
        try:
            pixels = codec.decode(bytes(data), max_pixels=10**6, **options)
        except (OSError, TooManyPixelsError):
            continue
        assert pixels.ndim in (2, 3)


@given(st.binary(max_size=60))
def test_scanners_bear_anything(noise):
    exif.scan_jpeg(b"\xff\xd8" + noise)
    exif.scan_webp(noise)
    assert exif.exif_orientation(noise) in (None, *range(1, 9))


@pytest.mark.skipif(not SHARED.exists(), reason="needs the shared data")
def test_broken_files_raise():
    for path in sorted(SHARED.glob("pngsuite/x*.png")):
        try:  # Pillow bears one of them, whose checksum is wrong
            truth(path.read_bytes())
        except OSError:
            with pytest.raises(OSError):  # noqa: PT011
                codec.decode(path.read_bytes())
    for path in sorted(SHARED.glob("damaged/*.jpg")):
        data = path.read_bytes()
        try:
            expected, said = truth(data), None
        except OSError as error:
            expected, said = None, str(error)
        if said is None:
            np.testing.assert_array_equal(codec.decode(data), expected)
            continue
        with pytest.raises(OSError, match="image file") as caught:
            codec.decode(data)
        assert str(caught.value) == said
