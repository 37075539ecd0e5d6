"""Resize, crop, pad, flip, rotate: Pillow is the truth."""

import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

import daskimg  # noqa: F401  (.img)
from daskimg.errors import TooManyPixelsError
from daskimg.kernels import geometry, resizing
from daskimg.kernels.pixels import MAX_PIXELS

SIZES = [(224, 224), (31, 97), (400, 150), (1, 1), (7, 300)]


def photo(height, width, channels=3, seed=0):
    """Smooth blobs with grain: what a photograph is to a filter."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (9, 12, 4), dtype=np.uint8)[:, :, :3])
    wide = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    wide = np.concatenate([wide, 255 - wide[:, :, :1]], axis=2)[:, :, :channels]
    pixels = (wide + rng.integers(-20, 20, wide.shape)).clip(0, 255).astype(np.uint8)
    return pixels[:, :, 0] if channels == 1 else pixels


def pillow(pixels, size, fit, resample):
    image, size = Image.fromarray(pixels), size[::-1]
    ways = {
        "stretch": lambda: image.resize(size, resample),
        "contain": lambda: ImageOps.contain(image, size, resample),
        "cover": lambda: ImageOps.fit(image, size, resample),
        "pad": lambda: ImageOps.pad(image, size, resample),
    }
    return np.asarray(ways[fit]())


@pytest.fixture(params=["torch", "pillow"])
def engine(request, monkeypatch):
    """Both ways of a bilinear resize; the one without PyTorch by hiding it."""
    if request.param == "torch":
        pytest.importorskip("torch")
    else:
        monkeypatch.setitem(sys.modules, "torch", None)
    resizing.torch_module.cache_clear()
    yield request.param
    resizing.torch_module.cache_clear()


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("fit", resizing.FITS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_bilinear_is_within_a_grey_level_of_pillow(engine, fit, channels):
    for height, width in [(300, 400), (399, 211), (60, 45)]:
        pixels = photo(height, width, channels)
        for size in SIZES:
            got = resizing.resize(pixels, *size, fit=fit)
            expected = pillow(pixels, size, fit, Image.Resampling.BILINEAR)
            assert got.shape == expected.shape
            assert got.dtype == np.uint8
            assert got.flags.c_contiguous
            assert np.abs(got.astype(int) - expected).mean() < 0.6


@pytest.mark.long
def test_a_large_picture_made_small(engine):
    pixels = photo(3000, 4000)
    for size in [(224, 224), (20, 30), (1500, 2000)]:
        expected = pillow(pixels, size, "stretch", Image.Resampling.BILINEAR)
        assert np.abs(resizing.resize(pixels, *size).astype(int) - expected).mean() < 0.2


@pytest.mark.parametrize("name", [n for n in resizing.RESAMPLES if n != "bilinear"])
def test_other_filters_are_pillows(name):
    for channels in (1, 2, 3, 4):
        pixels = photo(50, 70, channels)
        for fit in resizing.FITS:
            got = resizing.resize(pixels, 33, 90, fit=fit, resample=name)
            np.testing.assert_array_equal(
                got, pillow(pixels, (33, 90), fit, resizing.RESAMPLES[name])
            )


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 5])
def test_any_dtype_and_channels(dtype, channels):
    tail = () if channels is None else (channels,)
    values = np.random.default_rng(0).random((40, 50, *tail))
    pixels = (values * (65535 if dtype is np.uint16 else 1)).astype(dtype)
    for name, resample in resizing.RESAMPLES.items():
        got = resizing.resize(pixels, 21, 60, resample=name)
        assert got.dtype == dtype
        assert got.shape == (21, 60, *tail)
        for n in range(channels or 1):
            plane = pixels if channels is None else pixels[:, :, n]
            image = Image.fromarray(plane.astype(np.float32)).resize((60, 21), resample)
            expected = np.asarray(image, np.float64)
            if dtype is np.uint16:
                expected = expected.round().clip(0, 65535)
            np.testing.assert_allclose(got if channels is None else got[:, :, n], expected)


def test_uint8_of_five_channels():
    pixels = np.concatenate([photo(40, 50), photo(40, 50, 2)], axis=2)
    got = resizing.resize(pixels, 20, 20)
    expected = resizing.resize(np.ascontiguousarray(pixels[:, :, :3]), 20, 20)
    assert np.abs(got[:, :, :3].astype(int) - expected).max() <= 1


def test_a_single_channel_keeps_its_axis(engine):
    pixels = photo(40, 50, 1)
    for change in (
        lambda p: resizing.resize(p, 20, 30),
        lambda p: resizing.resize(p, 20, 30, "cover", "bicubic"),
        lambda p: geometry.rotate(p, 20),
        geometry.flip,
    ):
        np.testing.assert_array_equal(change(pixels[:, :, None])[:, :, 0], change(pixels))


def test_read_only_and_strided_input(engine, recwarn):
    pixels = photo(80, 100)
    frozen = pixels.copy()
    frozen.flags.writeable = False
    wide = np.zeros((80, 200, 3), np.uint8)
    wide[:, ::2] = pixels
    for given_ in (frozen, wide[:, ::2]):
        np.testing.assert_array_equal(
            resizing.resize(given_, 30, 40), resizing.resize(pixels, 30, 40)
        )
    assert not list(recwarn)


def test_out(engine):
    pixels = photo(80, 100)
    before = pixels.copy()
    for size, fit in [
        ((30, 40), "stretch"),
        ((30, 30), "cover"),
        ((64, 64), "pad"),
        ((80, 100), "stretch"),
    ]:
        out = np.full((*size, 3), 7, np.uint8)
        assert resizing.resize(pixels, *size, fit=fit, out=out) is out
        np.testing.assert_array_equal(out, resizing.resize(pixels, *size, fit=fit))
        wide = np.full((size[0], size[1] + 5, 3), 7, np.uint8)
        resizing.resize(pixels, *size, fit=fit, out=wide[:, : size[1]])
        np.testing.assert_array_equal(wide[:, : size[1]], out)
        assert (wide[:, size[1] :] == 7).all()
    for wrong in (np.empty((30, 41, 3), np.uint8), np.empty((30, 40, 3), np.float32)):
        with pytest.raises(ValueError, match="out is"):
            resizing.resize(pixels, 30, 40, out=wrong)
    np.testing.assert_array_equal(pixels, before)


def test_pad_bars_are_zero_and_centred():
    got = resizing.resize(np.full((10, 20), 255, np.uint8), 20, 20, fit="pad")
    np.testing.assert_array_equal(got[:, 0], [0] * 5 + [255] * 10 + [0] * 5)


@given(
    st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 500), st.integers(1, 500),
    st.sampled_from(resizing.FITS),
)  # fmt: skip
def test_resize_shape(h, w, height, width, fit):
    got = resizing.resize_shape(h, w, height, width, fit)
    if fit == "contain":
        try:
            box = ImageOps.contain(Image.new("1", (w, h)), (width, height)).size
        except ValueError:  # Pillow 12 makes no picture of a side below half a pixel: ours is one
            box = (width, 0) if w * height > h * width else (0, height)
        assert got == (max(1, box[1]), max(1, box[0]))
    else:
        assert got == (height, width)
    if height * height * w > MAX_PIXELS * h:
        return  # (larger than is made unasked)
    tall, wide = resizing.resize_shape(h, w, height)
    assert tall == height
    assert abs(wide - max(1, w * height / h)) <= 0.5


@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.none() | st.integers(1, 40),
    st.sampled_from(resizing.FITS),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_resize_gives_the_shape_it_says(h, w, height, width, fit):
    pixels = np.full((h, w, 3), 200, np.uint8)
    got = resizing.resize(pixels, height, width, fit)
    assert got.shape[:2] == resizing.resize_shape(h, w, height, width, fit)
    assert set(np.unique(got)) <= ({0, 200} if fit == "pad" else {200})


@pytest.mark.parametrize(
    "args, words",
    [
        ((0, 5), "got 0 x 5"),
        ((5, -1), "got 5 x -1"),
        ((5, 5, "fill"), "stretch, contain, cover, pad, got 'fill'"),
        ((5, 5, "pad", "cubic"), "got 'cubic'"),
    ],
)
def test_resize_refuses(args, words):
    with pytest.raises(ValueError, match=words):
        resizing.resize(np.zeros((9, 9), np.uint8), *args)


def test_no_pixels_and_no_picture():
    for shape in [(0, 5), (5, 0, 3), (5,), (1, 2, 3, 4)]:
        with pytest.raises(ValueError, match="shape"):
            resizing.resize(np.zeros(shape, np.uint8), 3, 3)


def test_crop():
    pixels = photo(20, 30)
    got = geometry.crop(pixels, 3, 4, 5, 6)
    np.testing.assert_array_equal(got, pixels[3:8, 4:10])
    assert np.shares_memory(got, pixels)
    for args in [(-1, 0, 5, 5), (0, 0, 21, 5), (0, 26, 5, 5), (0, 0, 0, 5), (16, 0, 5, 5)]:
        with pytest.raises(ValueError, match="inside the picture of 20 x 30"):
            geometry.crop(pixels, *args)


@pytest.mark.parametrize(
    "height, width, top, left", [(10, 10, 5, 10), (19, 29, 0, 0), (17, 27, 2, 2)]
)
def test_center_crop_is_torchvisions(height, width, top, left):
    pixels = photo(20, 30)
    expected = pixels[top : top + height, left : left + width]
    np.testing.assert_array_equal(geometry.center_crop(pixels, height, width), expected)


def test_center_crop_of_less():
    with pytest.raises(ValueError, match="inside"):
        geometry.center_crop(photo(20, 30), 21, 5)


@pytest.mark.parametrize("fill", [7, (1, 2, 3)])
def test_pad(fill):
    pixels = photo(5, 6)
    expected = np.asarray(
        ImageOps.expand(Image.fromarray(pixels), (4, 1, 2, 3), (fill,) * 3 if fill == 7 else fill)
    )
    np.testing.assert_array_equal(geometry.pad(pixels, 1, 2, 3, 4, fill), expected)
    with pytest.raises(ValueError, match="0 or above"):
        geometry.pad(pixels, -1, 0, 0, 0)
    with pytest.raises(ValueError, match="3 channels"):
        geometry.pad(pixels, 1, 0, 0, 0, (1, 2))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_flip(dtype, channels):
    pixels = photo(5, 7, channels).astype(dtype)
    before = pixels.copy()
    for direction, axis in (("horizontal", 1), ("vertical", 0)):
        got = geometry.flip(pixels, direction)
        np.testing.assert_array_equal(got, np.flip(pixels, axis))
        assert got.flags.c_contiguous
        assert got.dtype == dtype
    np.testing.assert_array_equal(pixels, before)
    with pytest.raises(ValueError, match="'diagonal'"):
        geometry.flip(pixels, "diagonal")


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("degrees", [0, 30, 90, -45.5, 180, 400])
@pytest.mark.parametrize("expand", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_rotate_is_pillows(degrees, expand, channels):
    pixels = photo(21, 30, channels)
    image = Image.fromarray(pixels)
    for fill in (0, 9):
        expected = image.rotate(
            degrees, expand=expand, fillcolor=fill if channels == 1 else (fill,) * channels
        )
        got = geometry.rotate(pixels, degrees, expand, fill)
        np.testing.assert_array_equal(got, np.asarray(expected))


def test_rotate_of_other_dtypes_moves_the_same_pixels():
    eight = photo(21, 30)
    expected = geometry.rotate(eight, 33, expand=True, fill=5)
    for dtype in (np.uint16, np.float32):
        got = geometry.rotate(eight.astype(dtype) * 3, 33, expand=True, fill=15)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, expected.astype(dtype) * 3)
    deep = np.array([[1, 65535], [40000, 3]], np.uint16)
    np.testing.assert_array_equal(geometry.rotate(deep, 90), np.rot90(deep))


def test_crop_takes_whole_floats():
    pixels = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(geometry.crop(pixels, 1.0, 2.0, 2.0, 2), pixels[1:3, 2:4])
    with pytest.raises(TypeError):
        geometry.crop(pixels, 0.5, 0, 2, 2)


@pytest.mark.parametrize("shape", [(1, 200_000), (1, 200_000, 3), (2, 200_000)])
def test_a_line_does_not_fill_the_memory(shape):
    line = np.zeros(shape, np.uint8)
    for large in (
        lambda: resizing.resize(line, 2000),
        lambda: geometry.rotate(line, 45, expand=True),
        lambda: geometry.rotate(line.swapaxes(0, 1), -80, expand=True),
    ):
        with pytest.raises(TooManyPixelsError, match="long and narrow"):
            large()
    cells = pd.Series([line, line[:, :9]], dtype="image").img.on_error("null")
    assert cells.img.resize(2000).img.error.notna().tolist() == [True, False]
    assert geometry.rotate(line, 90, expand=True).shape[:2] == (200_000, shape[0])
    assert resizing.resize(line, 1, 9).shape[:2] == (1, 9)


def test_what_is_asked_for_is_not_refused():
    assert resizing.resize_shape(1, 1, 20_000) == (20_000, 20_000)
    assert resizing.resize_shape(4000, 6000, 16_000) == (16_000, 24_000)
    assert resizing.resize_shape(1, 1_000_000, 13_000, 13_000) == (13_000, 13_000)
