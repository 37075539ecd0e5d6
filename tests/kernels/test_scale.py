"""One picture in every dtype: whatever the scale of its values, every op sees the same light."""

import numpy as np
import pytest
from PIL import Image

from daskimg.kernels import (
    augment,
    color,
    digest,
    filters,
    geometry,
    hashes,
    measure,
    pixels,
    resizing,
)

rng = np.random.default_rng(11)
SMOOTH = np.asarray(
    Image.fromarray(rng.integers(0, 256, (9, 11, 3), dtype=np.uint8)).resize((70, 60), 3)
)
PICTURES = {
    "smooth": SMOOTH,
    "grey": SMOOTH[:, :, 1],
    "noise": rng.integers(0, 256, (31, 22, 3), dtype=np.uint8),
    "dark": rng.integers(0, 6, (20, 30, 3), dtype=np.uint8),
    "alpha": np.dstack([SMOOTH, SMOOTH[:, :, 2]]),
    "grey and alpha": SMOOTH[:, :, :2],
    "one channel": SMOOTH[:, :, :1],
    "black": np.zeros((8, 9, 3), np.uint8),
    "white": np.full((8, 9, 3), 255, np.uint8),
}
# the same picture otherwise, and what one of its values is of an 8-bit one
WAYS = {
    "0 to 1, float32": (lambda p: (p / np.float32(255)).astype(np.float32), 1 / 255),
    "0 to 1, float64": (lambda p: p / 255, 1 / 255),
    "0 to 1, float16": (lambda p: (p / 255).astype(np.float16), 1 / 255),
    "0 to 255, float32": (lambda p: color.astype(p, "float32"), 1),
    "0 to 255, float64": (lambda p: color.astype(p, "float64"), 1),
    "0 to 65535, float32": (lambda p: color.astype(color.astype(p, "uint16"), "float32"), 257),
    "uint16": (lambda p: color.astype(p, "uint16"), 257),
    "int16": (lambda p: color.astype(p, "int16"), 1),
    "int32": (lambda p: color.astype(p, "int32"), 1),
    "int64 of 16 bits": (lambda p: color.astype(color.astype(p, "uint16"), "int64"), 257),
    "uint32": (lambda p: p.astype(np.uint32), 1),
}
OPS = {
    "resize": lambda p: resizing.resize(p, 17, 20),
    "lanczos": lambda p: resizing.resize(p, 45, 60, resample="lanczos"),
    "cover": lambda p: resizing.resize(p, 15, 15, fit="cover"),
    "pad to fit": lambda p: resizing.resize(p, 15, 30, fit="pad"),
    "crop": lambda p: geometry.center_crop(p, 5, 7),
    "flip": lambda p: geometry.flip(p),
    "rotate": lambda p: geometry.rotate(p, 30),
    "adjust_brightness": lambda p: color.adjust_brightness(p, 1.3),
    "adjust_contrast": lambda p: color.adjust_contrast(p, 1.5),
    "adjust_saturation": lambda p: color.adjust_saturation(p, 0.4),
    "adjust_hue": lambda p: color.adjust_hue(p, 0.2),
    "equalize": color.equalize,
    "blur": lambda p: filters.blur(p, 2),
    "sharpen": lambda p: filters.sharpen(p, 1.5),
    "jitter": lambda p: augment.color_jitter(p, augment.rng_for(0, 0, 1), 0.3, 0.3, 0.3, 0.1),
}
EIGHT = {
    "edges": lambda p: filters.edges(p, 100, 200),
    "draw_boxes": lambda p: filters.draw_boxes(p, [[1, 1, 5, 6]], ["a"]),
    "draw_mask": lambda p: filters.draw_mask(p, np.eye(*p.shape[:2]), "blue", 0.4),
    "L": lambda p: color.convert(p, "L"),
    "RGB": lambda p: color.convert(p, "RGB"),
    "RGBA": lambda p: color.convert(p, "RGBA"),
    "uint8": lambda p: color.astype(p, "uint8"),
    "luma": measure.luma,
}
NUMBERS = [
    measure.brightness,
    measure.contrast,
    measure.sharpness,
    measure.entropy,
    measure.colorfulness,
    *(lambda p, k=kind: hashes.image_hash(p, k) for kind in ("phash", "dhash", "ahash")),
]


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("way", WAYS)
def test_light_is_the_same_in_every_dtype(way, name):
    picture, (make, _) = PICTURES[name], WAYS[way]
    other = make(picture)
    for op in EIGHT.values():
        wanted, got = op(picture), op(other)
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, wanted)
    for function in NUMBERS:
        assert function(other) == pytest.approx(function(picture), rel=1e-9)
    np.testing.assert_allclose(color.normalize(other), color.normalize(picture), atol=5e-4)
    grey = [color.convert(p, "F") for p in (picture, other)]
    if measure.luma(picture).max() > 2:
        near = [color.astype(p, "uint8").astype(int) for p in grey]
        assert np.abs(near[0] - near[1]).max() <= 1


@pytest.mark.parametrize("name", ["smooth", "one channel"])
@pytest.mark.parametrize("way", WAYS)
def test_every_op_keeps_the_scale(way, name):
    picture, (make, step) = PICTURES[name], WAYS[way]
    other = make(picture)
    for label, op in OPS.items():
        wanted, got = op(picture), op(other)
        assert got.dtype == other.dtype
        assert got.shape == wanted.shape
        # in 8 bits blur is Pillow's, of boxes, and equalize goes by whole steps
        far = {"blur": 1.5, "sharpen": 1.5, "equalize": 5, "jitter": 2}.get(label, 1)
        assert np.abs(np.clip(got / step, 0, 255) - wanted).mean() < far, label
        back = color.astype(got, "uint8").astype(int)
        assert np.abs(back - wanted).mean() < far, label


def test_back_and_forth():
    for dtype in ("float32", "float64", "int32", "uint16", "int16"):
        there = color.astype(SMOOTH, dtype)
        np.testing.assert_array_equal(color.astype(there, "uint8"), SMOOTH)
    deep = rng.integers(0, 65536, (20, 30)).astype(np.uint16)
    for dtype in ("float32", "float64", "int32", "uint32", "int64"):
        np.testing.assert_array_equal(color.astype(deep, dtype), deep)
        np.testing.assert_array_equal(color.astype(color.astype(deep, dtype), "uint16"), deep)
    unit = color.normalize(deep)
    assert np.abs(color.astype(unit, "uint16").astype(int) - deep).max() <= 1
    np.testing.assert_array_equal(color.convert(unit, "L"), color.convert(deep, "L"))
    np.testing.assert_array_equal(color.astype(color.normalize(SMOOTH), "int32"), SMOOTH)


def test_grey_of_deep_colours_keeps_its_bits():
    deep = rng.integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    wanted = deep @ np.array([0.299, 0.587, 0.114])
    assert np.abs(color.convert(deep, "I;16") - wanted).max() <= 0.51
    np.testing.assert_allclose(color.convert(deep / 65535, "F"), wanted / 65535, atol=1e-6)


def test_what_a_filter_overshoots_is_no_other_scale():
    unit = (rng.integers(0, 2, (20, 20, 3)) * 1.0).astype(np.float32)
    wild = resizing.resize(unit, 50, 50, resample="lanczos")
    assert wild.max() > 1
    eight = resizing.resize((unit * 255).astype(np.uint8), 50, 50, resample="lanczos")
    # 8 bits are clipped between the two directions, too
    assert np.abs(color.astype(wild, "uint8").astype(int) - eight).mean() < 6
    assert pixels.white(resizing.resize(unit * 255, 50, 50, resample="lanczos")) == 255


def test_not_a_number_and_infinity_tell_no_scale():
    odd = np.array([[np.nan, 0.5, np.inf, -np.inf]], np.float32)
    np.testing.assert_array_equal(color.astype(odd, "uint8"), [[0, 128, 255, 0]])
    assert pixels.white(np.full((2, 2), np.nan)) == 1


def test_booleans_are_black_and_white():
    mask = rng.random((20, 30)) > 0.5
    white = np.where(mask, 255, 0).astype(np.uint8)
    for op in EIGHT.values():
        np.testing.assert_array_equal(op(mask), op(white))
    np.testing.assert_array_equal(color.normalize(mask), mask)
    assert resizing.resize(mask, 40, 60).dtype == bool
    assert abs(resizing.resize(mask, 40, 60).mean() - mask.mean()) < 0.05
    assert filters.blur(mask, 1).dtype == bool
    np.testing.assert_array_equal(color.adjust_brightness(mask, 1.2), mask)
    assert not color.adjust_brightness(mask, 0.2).any()


def test_large_integers_stay_exact():
    labels = np.array([[2**24 + 1, -(2**30) - 1, 7]] * 3, np.int32)
    np.testing.assert_array_equal(geometry.rotate(labels, 180), labels[::-1, ::-1])
    big = resizing.resize(labels, 6, 6, resample="nearest")
    np.testing.assert_array_equal(big, labels.repeat(2, 0).repeat(2, 1))
    limits = np.array([[-1e30, 1e30, np.nan]])
    np.testing.assert_array_equal(color.astype(limits, "int32"), [[-(2**31), 2**31 - 1, 0]])
    assert color.astype(limits, "int64")[0, 1] > 9e18
    assert color.astype(limits, "uint32")[0, 1] == 2**32 - 1
    assert pixels.to_pil(labels).getpixel((0, 0)) == 2**24 + 1
    with pytest.raises(ValueError, match="32 bits"):
        pixels.to_pil(np.array([[2**31]], np.uint32))


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "int64", "uint64", "float64", "float16"])
@pytest.mark.parametrize("axes", [(), (1,), (3,), (5,)])
def test_what_only_moves_pixels_keeps_their_values(dtype, axes):
    raw = rng.integers(0, 256, (7, 9, *axes, np.dtype(dtype).itemsize), dtype=np.uint8)
    values = raw.view(dtype)[..., 0]
    values = np.where(np.isfinite(values), values, 1).astype(dtype)
    places = np.arange(63, dtype=np.int32).reshape(7, 9)
    for move in (
        lambda one: geometry.rotate(one, 90, expand=True),
        lambda one: geometry.rotate(one, 33),
        lambda one: resizing.resize(one, 20, 5, resample="nearest"),
        lambda one: resizing.resize(one, 4, 4, fit="cover", resample="nearest"),
        geometry.flip,
    ):
        place = move(places)
        found = move(values)
        inside = place > 0
        np.testing.assert_array_equal(
            found[inside], values.reshape(63, *axes)[place][inside], strict=True
        )
    filled = geometry.rotate(values, 45, fill=[7] * (axes or (1,))[0])
    assert (filled[0, 0] == 7).all()


def test_fills_are_on_the_scale_of_the_pixels():
    assert geometry.pad(np.zeros((1, 1), np.float32), 0, 1, 0, 0, fill=0.5)[0, 1] == 0.5
    assert geometry.pad(np.zeros((1, 1), np.uint8), 0, 1, 0, 0, fill=300)[0, 1] == 255
    assert geometry.pad(np.zeros((1, 1), np.uint8), 0, 1, 0, 0, fill=-1)[0, 1] == 0
    corner = geometry.rotate(np.zeros((9, 9), np.float32), 45, fill=0.25)[0, 0]
    assert corner == 0.25
    assert geometry.rotate(np.zeros((9, 9, 3), np.uint8), 45, fill=(1, 999, -3))[0, 0].tolist() == [
        1,
        255,
        0,
    ]


SCALES = {"uint8": 1, "uint16": 257, "float32": 1 / 255, "float64": 1, "int32": 1, "int64": 257}


@pytest.mark.parametrize("dtype", SCALES)
def test_alpha_is_on_the_scale_of_its_picture(dtype):
    colours = rng.integers(0, 256, (6, 7, 3)).astype(np.uint8)
    alpha = np.full((6, 7, 1), 51, np.uint8)
    picture = np.dstack([colours, alpha])
    picture[0, 0] = 255
    deep = (picture * np.float64(SCALES[dtype])).astype(dtype)
    assert measure.transparency(deep) == pytest.approx(measure.transparency(picture), abs=1e-6)
    np.testing.assert_array_equal(color.equalize(deep)[:, :, 3], deep[:, :, 3])
    deep[:, :, 3] = pixels.white(deep)
    assert measure.transparency(deep) == 0
    assert digest.of_pixels(deep) == digest.of_pixels(deep[:, :, :3].copy())


def test_alpha_tells_the_white_of_a_dark_picture():
    dark = np.full((3, 4, 4), [1.0, 1.0, 2.0, 255.0], np.float32)
    assert measure.brightness(dark) == measure.brightness(dark.astype(np.uint8)) == 1
    assert measure.colorfulness(dark) == measure.colorfulness(dark.astype(np.uint8))


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "int32"])
def test_brighter_than_the_dtype_holds_is_its_brightest(dtype):
    most = np.iinfo(dtype).max
    top = min(most, 65535)
    picture = np.array([[0, top // 2, top]], dtype)
    for found in (
        color.adjust_brightness(picture, 3),
        color.adjust_contrast(picture, 9),
        color.adjust_saturation(np.dstack([picture, picture // 2, picture]), 9)[:, :, 0],
    ):
        assert found.dtype == dtype
        assert found.min() >= 0
        assert found[0, 2] == top


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint32"])
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_one_colour_of_16_bits_is_dark_grey_of_16_bits(dtype, channel):
    plain = np.zeros((2, 3, 3), np.uint16)
    plain[..., channel] = 800
    wanted = color.convert(plain, "I;16")
    assert 0 < wanted.max() < 800
    np.testing.assert_array_equal(color.convert(plain.astype(dtype), "I;16"), wanted)


@pytest.mark.filterwarnings("error")
def test_half_floats_hold_what_they_can():
    deep = np.array([[0, 300, 65535]], np.uint16)
    assert color.astype(deep, "float16")[0].tolist() == [0, 300, 65504]
    assert color.astype(np.array([[1e300, -np.inf]]), "float32")[0].tolist() == [
        np.finfo(np.float32).max,
        -np.inf,
    ]
    assert color.astype(np.array([[0, 65504]], np.float16), "uint16")[0].tolist() == [0, 65504]


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "float64"])
def test_spread_of_large_values(dtype):
    large = np.array([[10**9, 10**9 + 20, 10**9 + 7]], dtype)
    assert measure.std(large) == pytest.approx(large.astype(float).std(), rel=1e-12)
    assert measure.mean(large) == 10**9 + 9
