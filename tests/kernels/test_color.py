"""Modes, dtypes, normalisation and adjustments."""

import colorsys

import numpy as np
import pytest
from PIL import Image, ImageOps

from daskimg.kernels import color

rng = np.random.default_rng(3)
RGB = rng.integers(0, 256, (24, 31, 3), dtype=np.uint8)
ADJUSTMENTS = [
    color.adjust_brightness,
    color.adjust_contrast,
    color.adjust_saturation,
    color.adjust_hue,
]


def of_mode(mode):
    return np.asarray(Image.fromarray(RGB).convert(mode))


@pytest.mark.parametrize("source", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("target", ["L", "LA", "RGB", "RGBA", "F"])
def test_convert_is_pillows(source, target):
    pixels = of_mode(source)
    if target == "F" and source in ("LA", "RGBA", "RGB"):  # of the 8-bit luma
        expected = Image.fromarray(pixels).convert("L").convert("F")
    else:
        expected = Image.fromarray(pixels).convert(target)
    before = pixels.copy()
    got = color.convert(pixels, target)
    np.testing.assert_array_equal(got, np.asarray(expected))
    assert got.dtype == (np.float32 if target == "F" else np.uint8)
    np.testing.assert_array_equal(pixels, before)


def test_sixteen_bits_are_divided_never_clipped():
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    got = color.convert(every, "L")
    np.testing.assert_array_equal(got, np.round(every / 257))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(color.astype(every, "uint8"), got)
    np.testing.assert_array_equal(color.convert(every, "RGB"), np.stack([got] * 3, axis=2))
    back = color.convert(got, "I;16")
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(color.convert(back, "L"), got)
    np.testing.assert_array_equal(color.convert(every, "F"), every)


def test_convert_to_its_own_mode_copies_nothing():
    for mode in ("L", "LA", "RGB", "RGBA"):
        pixels = of_mode(mode)
        assert color.convert(pixels, mode) is pixels


def test_convert_of_one_channel_with_an_axis():
    pixels = of_mode("L")[:, :, None]
    np.testing.assert_array_equal(color.convert(pixels, "L"), pixels[:, :, 0])
    assert color.convert(pixels, "RGB").shape == (24, 31, 3)


def test_convert_refuses():
    with pytest.raises(ValueError, match="L, RGB, RGBA, LA, I;16, F, got 'CMYK'"):
        color.convert(RGB, "CMYK")
    with pytest.raises(ValueError, match="1 to 4 channels"):
        color.convert(np.zeros((2, 2, 5), np.uint8), "L")


def test_astype():
    values = np.array([[-3.0, 0.5, 1.5, 254.6, 300.0, np.nan, np.inf, -np.inf]], np.float32)
    np.testing.assert_array_equal(color.astype(values, "uint8"), [[0, 0, 2, 255, 255, 0, 255, 0]])
    np.testing.assert_array_equal(color.astype(values[:, :5], np.int16), [[-3, 0, 2, 255, 300]])
    np.testing.assert_array_equal(color.astype(RGB, "float32"), RGB.astype("float32"))
    np.testing.assert_array_equal(color.astype(RGB, "uint16"), RGB.astype(int) * 257)
    assert color.astype(RGB, "uint8") is RGB
    signed = np.array([[-5, 300]], np.int32)
    np.testing.assert_array_equal(color.astype(signed, "uint8"), [[0, 255]])
    np.testing.assert_array_equal(color.astype(np.array([[True, False]]), "uint8"), [[255, 0]])
    np.testing.assert_array_equal(color.astype(RGB, "bool"), RGB > 0)


@pytest.mark.parametrize("dtype, top", [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_normalize(dtype, top, channels):
    shape = (9, 7) if channels is None else (9, 7, channels)
    pixels = (rng.random(shape) * top).astype(dtype)
    before = pixels.copy()
    count = channels or 1
    mean, std = [0.4, 0.5, 0.1, 0.2][:count], [0.2, 0.3, 0.25, 0.5][:count]
    expected = (pixels.astype(float) / top - mean if channels else pixels / top - mean[0]) / (
        std if channels else std[0]
    )
    got = color.normalize(pixels, mean, std)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=2e-6)
    planes = np.zeros((count, 9, 7), np.float32)
    out = planes.transpose(1, 2, 0) if channels else planes[0]
    assert color.normalize(pixels, mean, std, out=out) is out
    np.testing.assert_allclose(out, expected, atol=2e-6)
    np.testing.assert_array_equal(pixels, before)


def test_normalize_with_one_number_and_of_views():
    expected = (RGB[::2, 3:9].astype(float) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(color.normalize(RGB[::2, 3:9], 0.5, 0.25), expected, atol=2e-6)
    np.testing.assert_allclose(color.normalize(RGB), RGB / 255, atol=2e-6)


def test_normalize_refuses():
    with pytest.raises(ValueError, match="mean for each of 3 channels"):
        color.normalize(RGB, [0.5, 0.5], 1)
    with pytest.raises(ValueError, match="std above 0"):
        color.normalize(RGB, 0, [1, 0, 1])
    with pytest.raises(ValueError, match="out is"):
        color.normalize(RGB, 0, 1, out=np.empty((2, 2, 3), np.float32))


def torchvision_grey(pixels):
    grey = 0.2989 * pixels[..., 0] + 0.587 * pixels[..., 1] + 0.114 * pixels[..., 2]
    return np.floor(grey + 1e-6)


@pytest.mark.parametrize("factor", [0, 0.3, 1, 1.7, 5])
def test_blends_are_torchvisions(factor):
    grey = torchvision_grey(RGB.astype(float))
    others = {
        color.adjust_brightness: 0.0,
        color.adjust_contrast: grey.mean(),
        color.adjust_saturation: grey[..., None],
    }
    for adjust, other in others.items():
        expected = np.clip(factor * RGB.astype(float) + (1 - factor) * other, 0, 255)
        got = adjust(RGB, factor)
        assert got.dtype == np.uint8
        # the floor, of a float32: below where the number is all but whole
        assert np.abs(got - (expected - 0.5)).max() <= 0.5001
        if factor == 1:
            np.testing.assert_array_equal(got, RGB)


@pytest.mark.parametrize("factor", [-0.5, -0.2, 0.1, 1 / 3, 0.5])
def test_hue_turns_as_colorsys(factor):
    def turn(pixel):
        h, s, v = colorsys.rgb_to_hsv(*(pixel / 255))
        return np.array(colorsys.hsv_to_rgb((h + factor) % 1, s, v)) * 255.999

    expected = np.floor(np.apply_along_axis(turn, 2, RGB.astype(float)))
    got = color.adjust_hue(RGB, factor)
    assert np.abs(got - expected).max() <= 1
    assert (got == expected).mean() > 0.99
    scaled = color.adjust_hue((RGB / 255).astype(np.float32), factor)
    assert np.abs(scaled * 255 - expected).max() <= 1.01


@pytest.mark.parametrize("adjust", ADJUSTMENTS)
def test_adjustments_keep_alpha_dtype_and_input(adjust):
    alpha = np.concatenate([RGB, RGB[:, :, :1]], axis=2)
    before = alpha.copy()
    got = adjust(alpha, 0.25)
    np.testing.assert_array_equal(got[:, :, 3], alpha[:, :, 3])
    np.testing.assert_array_equal(got[:, :, :3], adjust(RGB, 0.25))
    np.testing.assert_array_equal(alpha, before)
    deep = RGB.astype(np.uint16) * 257
    near = adjust(deep, 0.25)
    assert near.dtype == np.uint16
    assert np.abs(near / 257 - adjust(RGB, 0.25)).max() <= 1.5
    bright = (RGB / 255).astype(np.float32)
    assert adjust(bright, 0.25).dtype == np.float32
    assert np.abs(adjust(bright, 0.25) * 255 - adjust(RGB, 0.25)).max() <= 1.5
    for grey in (of_mode("L"), of_mode("L")[:, :, None]):
        assert adjust(grey, 0.25).shape == grey.shape


def test_grey_has_no_saturation_and_no_hue():
    grey = of_mode("L")
    np.testing.assert_array_equal(color.adjust_saturation(grey, 3), grey)
    np.testing.assert_array_equal(color.adjust_hue(grey, 0.3), grey)
    equal = np.stack([grey] * 3, axis=2)
    np.testing.assert_array_equal(color.adjust_hue(equal, 0.3), equal)


@pytest.mark.parametrize("adjust", ADJUSTMENTS[:3])
def test_factors_below_zero_are_refused(adjust):
    for pixels in (RGB, of_mode("L")):
        for factor in (-0.1, float("nan")):
            with pytest.raises(ValueError, match="0 or above"):
                adjust(pixels, factor)
    with pytest.raises(ValueError, match=r"-0\.5 to 0\.5"):
        color.adjust_hue(RGB, 0.6)


def test_equalize_is_pillows():
    dark = (rng.normal(60, 15, (90, 120, 3))).clip(0, 255).astype(np.uint8)
    before = dark.copy()
    for pixels in (dark, dark[:, :, 0], RGB, np.full((5, 5), 9, np.uint8)):
        expected = np.asarray(ImageOps.equalize(Image.fromarray(pixels)))
        np.testing.assert_array_equal(color.equalize(pixels), expected)
    np.testing.assert_array_equal(dark, before)
    alpha = np.concatenate([dark, dark[:, :, :1]], axis=2)
    np.testing.assert_array_equal(color.equalize(alpha)[:, :, 3], alpha[:, :, 3])


def test_equalize_of_sixteen_bits_spreads_them():
    narrow = (30_000 + np.arange(400 * 400).reshape(400, 400) // 1000).astype(np.uint16)
    got = color.equalize(narrow)
    assert got.dtype == np.uint16
    assert got.min() < 500
    assert got.max() > 65_000
    assert (np.diff(got.ravel().astype(int)) >= 0).all()
