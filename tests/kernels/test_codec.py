"""Formats, headers, decode and encode: Pillow's own answer is the truth."""

import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from daskimg.kernels import codec, headers, resizing
from tests.kernels.pictures import SHARED, agrees, file, oriented, picture, truth


@pytest.mark.parametrize(
    "kind, modes",
    [
        ("PNG", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]),
        ("TIFF", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "F", "CMYK"]),
        ("JPEG", ["L", "RGB", "CMYK"]),
        ("WEBP", ["RGB", "RGBA"]),
        ("BMP", ["1", "L", "P", "RGB"]),
        ("GIF", ["L", "P", "RGB"]),
        ("PPM", ["1", "L", "RGB"]),
        ("JPEG2000", ["L", "RGB"]),
        ("AVIF", ["RGB", "RGBA"]),
    ],
)
def test_every_format_and_mode_equals_pillow(kind, modes):
    for mode in modes:
        data = file(picture(mode), kind)
        assert headers.sniff(data) == kind
        agrees(data)


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 30},
        {"quality": 95, "subsampling": 0},
        {"progressive": True},
        {"optimize": True},
        {"subsampling": "4:2:2"},
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (17, 1), (37, 53)])
def test_jpeg_equals_pillow(options, size):
    agrees(file(picture("RGB", *size), "JPEG", **options))
    agrees(file(picture("L", *size), "JPEG", **options))


def test_jpeg_without_simplejpeg_is_the_same(monkeypatch):
    files = [oriented("JPEG", n, quality=80) for n in range(1, 9)]
    files += [file(picture("RGB", 301, 402), "JPEG", progressive=n) for n in (False, True)]
    sizes = [(20, 9, "stretch")]
    fast = [codec.draft(f, sizes) for f in files], [codec.decode(f) for f in files]
    monkeypatch.setattr(codec, "simplejpeg", None)
    slow = [codec.draft(f, sizes) for f in files], [codec.decode(f) for f in files]
    for a, b in zip(fast[0], slow[0], strict=True):
        assert a[1:] == b[1:]
        assert np.abs(a.pixels.astype(int) - b.pixels).max() <= 1
    for a, b in zip(fast[1], slow[1], strict=True):
        assert a.shape == b.shape
        assert np.abs(a.astype(int) - b).max() <= 1
    assert {draft.scale for draft in fast[0]} == {1, 2}


def test_transparent_palettes_become_rgba():
    data = file(picture("P"), "PNG", transparency=3)
    assert headers.read_header(data).channels == 4
    agrees(data)


def test_sixteen_bit_pgm_stays_sixteen_bit():
    values = np.array([[0, 1, 65535], [256, 4097, 300]], np.uint16)
    data = b"P5 3 2 65535\n" + values.astype(">u2").tobytes()
    np.testing.assert_array_equal(codec.decode(data), values)
    assert codec.decode(data).dtype == np.uint16


def test_big_endian_tiff_comes_in_native_order():
    values = np.array([[1, 2, 60000]], np.uint16)
    tags = [(256, 3), (257, 1), (258, 16), (259, 1), (262, 1), (273, 0), (277, 1), (278, 1)]
    tags.append((279, 6))
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(
        struct.pack(">HHLHH", tag, 3, 1, start if tag == 273 else value, 0) for tag, value in tags
    )
    data = b"MM\0*" + struct.pack(">LH", 8, len(tags)) + entries + bytes(4)
    pixels = codec.decode(data + values.astype(">u2").tobytes())
    assert pixels.dtype == np.dtype("=u2")
    np.testing.assert_array_equal(pixels, values)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_orientation(kind, orientation):
    data = oriented(kind, orientation)
    agrees(data)
    header = headers.read_header(data)
    assert (header.height, header.width) == ((53, 37) if orientation > 4 else (37, 53))
    plain = codec.decode(data, orientation=False)
    np.testing.assert_array_equal(plain, codec.decode(oriented(kind, 1)))
    assert headers.read_header(data, orientation=False)[:2] == (37, 53)


def test_orientation_from_xmp_alone():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:D tiff:Orientation="6"/></x:xmpmeta>'
    agrees(file(picture(), "JPEG", xmp=xmp))


def test_orientation_out_of_range_or_broken_is_none():
    good = oriented("JPEG", 7)
    at = good.index(b"Exif\0\0") + 6
    for tags in (b"XX", good[at : at + 8], b"MM\0*\xff\xff\xff\xff"):
        broken = good[:at] + tags + bytes(len(good[at : at + 26]) - len(tags)) + good[at + 26 :]
        assert codec.decode(broken).shape == (37, 53, 3)
    assert headers.read_header(oriented("JPEG", 9))[:2] == (37, 53)


def test_several_pictures_give_the_first():
    first, second = picture(seed=1), picture(seed=2)
    for kind, name in (("GIF", "GIF"), ("TIFF", "TIFF"), ("MPO", "MPO")):
        data = file(first, kind, save_all=True, append_images=[second])
        agrees(data)
        assert headers.read_header(data).format == name


def test_header_needs_the_beginning_only():
    for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP"):
        data = file(picture("RGB", 300, 400), kind)
        whole = headers.read_header(data)
        assert headers.read_header(data[:1500]) == whole
        assert whole[:2] == (300, 400)


class Counted(io.BytesIO):
    taken = 0

    def read(self, size=-1):
        got = super().read(size)
        self.taken += len(got)
        return got


def test_header_of_a_file_reads_little_and_leaves_it_open():
    noise = np.random.default_rng(0).integers(0, 256, (600, 700, 3), np.uint8)
    for kind in ("JPEG", "PNG", "BMP"):
        data = codec.encode(noise, kind)
        source = Counted(data)
        assert headers.read_header(source)[:2] == (600, 700)
        assert source.taken < 100_000 < len(data)
        assert not source.closed


@given(
    st.integers(1, 500), st.integers(1, 500), st.integers(1, 30), st.integers(1, 30) | st.none(),
    st.sampled_from(resizing.FITS), st.integers(1, 8),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_draft_knows_the_whole_picture(height, width, new_h, new_w, fit, orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    data = file(picture("L", height, width), "JPEG", exif=tags.tobytes())
    draft = codec.draft(data, [(new_h, new_w, fit)])
    upright = (height, width) if orientation < 5 else (width, height)
    assert (draft.size, draft.upright, draft.orientation) == ((height, width), upright, orientation)
    assert draft.pixels.shape == (-(-height // draft.scale), -(-width // draft.scale))
    small = resizing.resize(draft, new_h, new_w, fit)
    assert small.shape == resizing.resize_shape(*upright, new_h, new_w, fit)
    inner = resizing.resize_shape(*upright, new_h, new_w, "contain" if fit == "pad" else fit)
    for side, of in zip(inner, upright, strict=True):
        assert draft.scale == 1 or of / draft.scale >= max(3 * side, min(3 * side + 64, 256))


def test_out_is_written_and_returned():
    for data in (file(picture(), "JPEG"), oriented("JPEG", 3), file(picture(), "PNG")):
        out = np.zeros((37, 53, 3), np.uint8)
        assert codec.decode(data, out=out) is out
        np.testing.assert_array_equal(out, truth(data))
        wide = np.zeros((37, 60, 3), np.uint8)
        codec.decode(data, out=wide[:, :53])
        np.testing.assert_array_equal(wide[:, :53], out)
        assert not wide[:, 53:].any()
        with pytest.raises(ValueError, match="shape"):
            codec.decode(data, out=np.zeros((5, 5, 3), np.uint8))
        with pytest.raises(ValueError, match="float32"):
            codec.decode(data, out=np.zeros((37, 53, 3), np.float32))


def test_any_buffer_is_decoded():
    for data in (file(picture(), "JPEG"), file(picture(), "PNG")):
        for buffer in (memoryview(data), np.frombuffer(data, np.uint8)):
            np.testing.assert_array_equal(codec.decode(buffer), truth(data))


@pytest.mark.parametrize(
    "kind, modes",
    [
        ("png", ["L", "LA", "RGB", "RGBA", "I;16"]),
        ("tiff", ["L", "LA", "RGB", "RGBA", "I;16", "F"]),
        ("bmp", ["L", "RGB"]),
    ],
)
def test_lossless_round_trip(kind, modes):
    for mode in modes:
        pixels = np.asarray(picture(mode))
        back = codec.decode(codec.encode(pixels, kind))
        np.testing.assert_array_equal(back, pixels)
        assert codec.encode(pixels, kind) == codec.encode(pixels.copy(), kind)


def test_gif_of_grey_is_lossless_too():
    pixels = np.asarray(picture("L"))
    back = codec.decode(codec.encode(pixels, "gif"))  # a palette: RGB
    np.testing.assert_array_equal(back, np.stack([pixels] * 3, axis=2))


def test_lossy_round_trip_and_quality():
    pixels = np.asarray(picture())
    for kind in ("jpeg", "JPG", "webp"):
        good, bad = codec.encode(pixels, kind, 95), codec.encode(pixels, kind, quality=20)
        assert len(bad) < len(good)
        assert np.abs(codec.decode(good).astype(int) - pixels).mean() < 5
    with_loss = codec.encode(pixels, "webp", lossless=True)
    np.testing.assert_array_equal(codec.decode(with_loss), pixels)


@pytest.mark.parametrize(
    "mode, kind, words",
    [
        ("RGBA", "jpeg", r'convert\("RGB"\)'),
        ("I;16", "jpeg", r'convert\("L"\)'),
        ("F", "png", "float32"),
        ("LA", "bmp", "BMP holds"),
        ("RGB", "exe", "expected a format out of jpeg, png"),
    ],
)
def test_encode_says_what_a_format_cannot_hold(mode, kind, words):
    with pytest.raises(ValueError, match=words):
        codec.encode(np.asarray(picture(mode)), kind)
    with pytest.raises(ValueError, match="astype"):
        codec.encode(np.zeros((2, 2, 3), np.float32), "tiff")


def test_extensions():
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"} <= headers.EXTENSIONS
    assert not headers.EXTENSIONS & {".eps", ".ps", ".pdf", ".txt", ""}
    assert all(name == name.lower() and name[0] == "." for name in headers.EXTENSIONS)


def test_importing_kernels_imports_no_torch_and_no_dask():
    names = "codec, geometry, color, filters, measure, augment"
    root = Path(codec.__file__).parents[2]
    code = (
        "import sys, types; p = types.ModuleType('daskimg'); "
        f"p.__path__ = [{str(root / 'daskimg')!r}]; sys.modules['daskimg'] = p; "
        f"from daskimg.kernels import {names}; "
        "sys.exit(bool({'torch', 'dask', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.long
@pytest.mark.skipif(not SHARED.exists(), reason="needs the shared data")
def test_real_files_equal_pillow():
    for path in sorted(SHARED.glob("orientation/*.jpg")) + sorted(
        SHARED.glob("pngsuite/[!x]*.png")
    ):
        agrees(path.read_bytes())
        agrees(path.read_bytes(), orientation=False)
