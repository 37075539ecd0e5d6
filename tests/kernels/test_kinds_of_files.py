"""TIFFs of every kind of number and JPEGs of every process: right values, or a reason."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

import daskimg as di
from daskimg.kernels import codec, headers
from daskimg.kernels.exif import scales
from tests.kernels.pictures import file, picture

rng = np.random.default_rng(13)
BLACK, WHITE = 1, 0  # PhotometricInterpretation: what 0 is
FORMATS = {"u": 1, "i": 2, "f": 3}


def tiff(pixels, order="<", zero=BLACK, packed=False, bits=None, more=()):
    """A TIFF of one strip, its numbers in `order`; of fewer `bits` than bytes, given packed."""
    body = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    body = zlib.compress(body) if packed else body
    height, width = pixels.shape[:2]
    tags = {
        256: width, 257: height, 258: bits or pixels.dtype.itemsize * 8, 259: 8 if packed else 1,
        262: zero, 273: 0, 277: 1, 278: height, 279: len(body), 339: FORMATS[pixels.dtype.kind],
        **dict(more),
    }  # fmt: skip
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(
        struct.pack(f"{order}HHLL", tag, 4, 1, value) for tag, value in sorted(tags.items())
    )
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HL", 42, 8)
    return head + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + body


def numbers(dtype):
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return rng.normal(0, 1000, (5, 7)).astype(dtype)
    limits = np.iinfo(dtype)
    values = rng.integers(limits.min, limits.max, (5, 7), dtype=dtype, endpoint=True)
    values[0, :2] = limits.min, limits.max
    return values


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    "dtype, mode", [("u1", "L"), ("i1", "I"), ("u2", "I;16"), ("i2", "I"), ("i4", "I"), ("f4", "F")]
)
def test_numbers_of_a_tiff_stay_what_they_are(dtype, mode, order, packed):
    values = numbers(dtype)
    data = tiff(values, order, packed=packed)
    pixels = codec.decode(data)
    assert pixels.dtype == dtype
    np.testing.assert_array_equal(pixels, values)
    assert codec.mode_of(pixels) == mode
    head = headers.read_header(data)
    assert (head.channels, head.mode.removesuffix("B")) == (1, mode)
    turned = tiff(values, order, packed=packed, more={274: 6}.items())
    np.testing.assert_array_equal(codec.decode(turned), np.rot90(values, -1))


def test_unsigned_integers_of_32_bits_keep_their_size():
    values = numbers("u4")
    for packed in (False, True):
        np.testing.assert_array_equal(codec.decode(tiff(values, packed=packed)), values)
    assert codec.decode(tiff(values)).dtype == np.uint32


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("packed", [False, True])
def test_where_0_is_white_it_comes_as_white(dtype, packed):
    values = numbers(dtype)
    pixels = codec.decode(tiff(values, zero=WHITE, packed=packed))
    np.testing.assert_array_equal(pixels, 1 - values if dtype == "f4" else ~values)
    assert pixels.dtype == dtype


def test_one_bit_where_0_is_white():
    bits = rng.integers(0, 2, (5, 16), dtype=np.uint8)
    packed = np.packbits(bits, axis=1)
    for zero, wanted in ((WHITE, 255 - 255 * bits), (BLACK, 255 * bits)):
        data = tiff(packed, zero=zero, bits=1, more={256: 16}.items())
        np.testing.assert_array_equal(codec.decode(data), wanted)
        assert headers.read_header(data)[2:4] == (1, "1")


def test_what_pillow_does_not_read_is_told_as_such():
    for data in (
        tiff(numbers("u4"), ">"),
        tiff(numbers("i4"), zero=WHITE),
        tiff(numbers("f8")),
        tiff(numbers("f2")),
        tiff(numbers("u8")),
    ):
        for read in (codec.decode, headers.read_header):
            with pytest.raises(UnidentifiedImageError, match="no kind of TIFF that Pillow reads"):
                read(data)


def test_integers_go_the_whole_way():
    values = numbers("i4")
    column = di.from_array(np.stack([values]), column="image").image.compute()
    np.testing.assert_array_equal(column.iloc[0].to_numpy(), values)
    again = column.img.encode("tiff").img.decode()
    np.testing.assert_array_equal(again.iloc[0].to_numpy(), values)
    assert again.img.mode.tolist() == ["I"]
    assert column.img.encode("tiff").img.mode.tolist() == ["I"]
    with pytest.raises(ValueError, match=r'convert\("L"\)'):
        codec.encode(values, "png")


@pytest.mark.parametrize("mode", ["LA", "PA", "P", "CMYK", "RGBA", "1"])
def test_header_and_pixels_agree(mode):
    kind = {"CMYK": "JPEG", "LA": "PNG"}.get(mode, "TIFF")
    data = file(picture(mode) if mode != "PA" else picture("P").convert("PA"), kind)
    pixels = codec.decode(data)
    assert headers.read_header(data).channels == (1 if pixels.ndim == 2 else pixels.shape[2])


def test_cmyk_jpegs_are_not_inverted():
    white = file(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG")
    assert b"Adobe" in white
    assert codec.decode(white).min() == 255
    large = file(Image.new("CMYK", (200, 200), (0, 0, 0, 0)), "JPEG")
    small = codec.draft(large, [(8, 8, "stretch")])
    assert (small.scale, small.pixels.shape, small.pixels.min()) == (2, (100, 100, 3), 255)


# -- JPEG ---------------------------------------------------------------------------------------
def lossless(side, channels=1, precision=8, process=0xC3):
    """Each pixel as its neighbour: one bit 0 for each."""
    parts = b"".join(bytes([n + 1, 0x11, 0]) for n in range(channels))
    frame = struct.pack(">HBHHB", 8 + 3 * channels, precision, side, side, channels) + parts
    table = struct.pack(">HB", 20, 0) + bytes([1] + [0] * 15) + b"\0"
    parts = b"".join(bytes([n + 1, 0]) for n in range(channels))
    scan = struct.pack(">HB", 6 + 2 * channels, channels) + parts + bytes([1, 0, 0])
    body = bytes(side * side * channels // 8)
    head = b"\xff\xd8\xff" + bytes([process])
    return head + frame + b"\xff\xc4" + table + b"\xff\xda" + scan + body + b"\xff\xd9"


def arithmetic():
    """A file that says its coding is arithmetic: what that makes of the bytes is a picture, too."""
    data = file(picture("RGB", 240, 240), "JPEG")
    at = data.index(b"\xff\xc0")
    return data[: at + 1] + b"\xc9" + data[at + 2 :]


def both_ways(data):
    """What a pass that needs little of a file makes of it, and one that needs all."""
    answers = []
    for read in (codec.decode, lambda data: codec.draft(data, [(8, 8, "stretch")]).pixels):
        try:
            answers.append((read(data), None))
        except OSError as error:
            answers.append((None, f"{type(error).__name__}: {error}"))
    return answers


@pytest.mark.parametrize("channels", [1, 3])
def test_a_lossless_jpeg_is_decoded_in_full_where_less_would_do(channels):
    (whole, _), (small, _) = both_ways(lossless(240, channels))
    assert whole.shape == small.shape == ((240, 240) if channels == 1 else (240, 240, 3))
    np.testing.assert_array_equal(whole, small)


def test_only_what_transforms_blocks_is_asked_for_less_than_all():
    for options in ({}, {"progressive": True}, {"quality": 100}):
        data = file(picture("RGB", 32, 32), "JPEG", **options)
        assert scales(data)
        assert scales(data[:2] + b"between\xff\xff" + data[3:])  # what libjpeg passes over
    assert scales(arithmetic())
    assert not any(scales(lossless(32, process=n)) for n in (0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCF))
    assert not any(
        scales(data) for data in (b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8" + b"\xff" * 9)
    )


def test_what_fails_fails_for_the_same_reason():
    good = file(picture("RGB", 240, 240), "JPEG", progressive=True)
    for data in (
        lossless(240)[:1000],
        lossless(240)[:60],
        lossless(240, precision=12),
        *(lossless(240, process=n) for n in (0xC5, 0xC6, 0xC7, 0xCB, 0xCD)),
        good[: len(good) // 2],
        good[: len(good) // 8],
        file(picture("RGB", 240, 240), "JPEG")[:-700],
        file(picture("CMYK", 240, 240), "JPEG")[:-900],
    ):
        (whole, reason), (small, other) = both_ways(data)
        assert whole is None
        assert small is None
        assert reason == other
    with pytest.raises(UnidentifiedImageError, match=r"no kind of JPEG that Pillow reads.*12-bit"):
        codec.decode(lossless(240, precision=12))


def test_arithmetic_coding_too():
    (whole, reason), (small, other) = both_ways(arithmetic())
    assert reason is other is None
    assert whole.shape == (240, 240, 3)
    assert small.shape == (120, 120, 3)


def test_a_part_of_a_lossless_jpeg():
    said = []
    part = codec.draft(
        lossless(240)[:1000], [(8, 8, "stretch")], truncated=True, on_partial=said.append
    )
    assert (part.pixels.shape, part.scale) == ((240, 240), 1)
    assert len(said) == 1


def test_pandas_and_dask_tell_the_same_of_them(tmp_path):
    files = {
        "a.jpg": lossless(240),
        "b.jpg": lossless(240)[:1000],
        "c.jpg": file(picture("RGB", 240, 240), "JPEG"),
        "d.jpg": file(picture("RGB", 240, 240), "JPEG")[:-700],
        "e.jpg": lossless(240, precision=12),
        "f.jpg": arithmetic(),
        "g.tif": tiff(numbers("i4")),
        "h.tif": tiff(numbers("f8")),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    lazy = di.read_images(tmp_path, on_error="null").image
    eager = lazy.compute()
    small = [
        column.img.decode().img.resize(10, 10)
        for column in (eager, lazy, lazy.img.read(), eager.img.decode())
    ]
    wanted, *others = [s.compute() if hasattr(s, "dask") else s for s in small]
    assert wanted.isna().tolist() == [False, True, False, True, True, False, False, True]
    for found in others:
        assert found.img.error.tolist() == wanted.img.error.tolist()
        for a, b in zip(found, wanted, strict=True):
            if b is not wanted.dtype.na_value and b.data is not None:
                assert np.abs(a.to_numpy().astype(float) - b.to_numpy()).max() < 40
    assert lazy.img.check().compute().isna().tolist() == wanted.notna().tolist()
    sizes = lazy.img.decode().img.resize(10, 10).img.height.compute()
    assert sizes.isna().tolist() == wanted.isna().tolist()
