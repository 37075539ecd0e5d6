"""Measures against NumPy and the formulas written out."""

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageFilter

from daskimg.kernels import hashes, measure

rng = np.random.default_rng(7)
RGB = np.asarray(
    Image.fromarray(rng.integers(0, 256, (12, 15, 3), dtype=np.uint8)).resize((230, 190), 3)
)
LUMA = np.asarray(Image.fromarray(RGB).convert("L"))
ALL = [
    measure.mean, measure.std, measure.minimum, measure.maximum, measure.brightness,
    measure.contrast, measure.sharpness, measure.entropy, measure.colorfulness,
]  # fmt: skip


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=20) | st.just((4, 5, 3)),
    )
)
@settings(deadline=None)
def test_moments_are_numpys(pixels):
    assert measure.mean(pixels) == pytest.approx(pixels.mean(), rel=1e-12, abs=1e-12)
    assert measure.std(pixels) == pytest.approx(pixels.std(), rel=1e-9, abs=1e-9)
    assert measure.minimum(pixels) == pixels.min()
    assert measure.maximum(pixels) == pixels.max()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_moments_of_large_and_strided_pictures(dtype):
    pixels = (
        RGB.astype(np.float64) * {"uint8": 1, "uint16": 257}.get(dtype.__name__, 1 / 255)
    ).astype(dtype)
    for part in (pixels, pixels[::2, 5:100], pixels[:, :, 1], pixels[:1, :1]):
        exact = part.astype(np.float64)
        assert measure.mean(part) == pytest.approx(exact.mean(), rel=1e-9)
        assert measure.std(part) == pytest.approx(exact.std(), rel=1e-9, abs=1e-12)


def test_std_survives_a_large_mean():
    far = np.float32(1e6) + rng.integers(0, 3, (300, 400)).astype(np.float32)
    assert measure.std(far) == pytest.approx(far.astype(float).std(), rel=1e-9)
    assert measure.std(np.full((300, 400), 65535, np.uint16)) == 0
    assert measure.std(np.full((300, 400), 0.1, np.float32)) == 0


def test_brightness_and_contrast_are_of_pillows_luma():
    assert measure.brightness(RGB) == pytest.approx(LUMA.mean())
    assert measure.contrast(RGB) == pytest.approx(LUMA.std())
    weights = RGB.astype(float) @ [0.299, 0.587, 0.114]
    assert measure.brightness(RGB) == pytest.approx(weights.mean(), abs=0.1)


def test_measures_of_light_do_not_depend_on_dtype_or_alpha():
    others = [
        (RGB.astype(np.uint16) * 257),
        (RGB / np.float32(255)).astype(np.float32),
        np.dstack([RGB, rng.integers(0, 256, RGB.shape[:2], dtype=np.uint8)]),
    ]
    for function in ALL[4:]:
        for pixels in others:
            assert function(pixels) == pytest.approx(function(RGB), rel=1e-5)
    for kind in ("phash", "dhash", "ahash"):
        assert {hashes.image_hash(p, kind) for p in others} == {hashes.image_hash(RGB, kind)}


def test_sharpness_is_the_variance_of_the_laplacian():
    for y in (LUMA, LUMA[:2, :2], LUMA[:1], LUMA[:, :1], LUMA[:1, :1]):
        wide = y.astype(float)
        for axis in (0, 1):  # mirrored without the border itself, a single row repeated
            sides = [(1, 1) if n == axis else (0, 0) for n in (0, 1)]
            wide = np.pad(wide, sides, mode="reflect" if y.shape[axis] > 1 else "edge")
        laplacian = (
            wide[:-2, 1:-1]
            + wide[2:, 1:-1]
            + wide[1:-1, :-2]
            + wide[1:-1, 2:]
            - 4 * wide[1:-1, 1:-1]
        )
        assert measure.sharpness(y) == pytest.approx(laplacian.var(), rel=1e-9, abs=1e-9)


def test_blur_takes_sharpness_away():
    blurred = np.asarray(Image.fromarray(RGB).reduce(4).resize((230, 190)))
    assert measure.sharpness(blurred) < measure.sharpness(RGB)


def test_entropy():
    share = np.bincount(LUMA.ravel()) / LUMA.size
    share = share[share > 0]
    assert measure.entropy(RGB) == pytest.approx(-(share * np.log2(share)).sum())
    assert measure.entropy(np.arange(256, dtype=np.uint8).reshape(16, 16)) == 8
    assert str(measure.entropy(np.zeros((3, 3), np.uint8))) == "0.0"


def test_colorfulness():
    red, green, blue = (RGB[:, :, n].astype(float) for n in range(3))
    rg, yb = red - green, (red + green) / 2 - blue
    expected = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
    assert measure.colorfulness(RGB) == pytest.approx(expected)
    assert measure.colorfulness(LUMA) == 0
    assert measure.colorfulness(np.dstack([LUMA] * 3)) == 0


def slow_hash(pixels, kind):
    """The `imagehash` package's algorithm, its bits as a string first."""
    image = Image.fromarray(pixels).convert("L")
    if kind == "phash":
        small = np.asarray(image.resize((32, 32), Image.Resampling.LANCZOS), float)
        k, n = np.mgrid[:32, :32]
        transform = 2 * np.cos(np.pi * k * (2 * n + 1) / 64)
        low = (transform @ small @ transform.T)[:8, :8]
        bits = low > np.median(low)
    elif kind == "dhash":
        small = np.asarray(image.resize((9, 8), Image.Resampling.LANCZOS), int)
        bits = np.diff(small) > 0
    else:
        small = np.asarray(image.resize((8, 8), Image.Resampling.LANCZOS), float)
        bits = small > small.mean()
    return int("".join("01"[int(bit)] for bit in bits.ravel()), 2)


@pytest.mark.parametrize("kind", ["phash", "dhash", "ahash"])
def test_hashes(kind):
    for pixels in (RGB, LUMA, RGB[:9, :8], RGB[50:, 20:]):
        got = hashes.image_hash(pixels, kind)
        assert got == slow_hash(pixels, kind)
        assert 0 <= got < 2**64
    smaller = np.asarray(Image.fromarray(RGB).resize((150, 140)))
    near = (hashes.image_hash(smaller, kind) ^ hashes.image_hash(RGB, kind)).bit_count()
    other = (hashes.image_hash(RGB[::-1], kind) ^ hashes.image_hash(RGB, kind)).bit_count()
    assert near <= 8 < other


def test_hashes_equal_the_package():
    ways = {
        "phash": imagehash.phash,
        "dhash": imagehash.dhash,
        "ahash": imagehash.average_hash,
    }
    for kind, way in ways.items():
        assert f"{hashes.image_hash(RGB, kind):016x}" == str(way(Image.fromarray(RGB)))


def test_unknown_hash():
    with pytest.raises(ValueError, match="phash, dhash, ahash, got 'md5'"):
        hashes.image_hash(RGB, "md5")


@pytest.mark.parametrize("function", ALL)
def test_measures_are_floats_and_change_nothing(function):
    before = RGB.copy()
    assert type(function(RGB)) is float
    np.testing.assert_array_equal(RGB, before)
    with pytest.raises(ValueError, match="shape"):
        function(np.zeros((0, 3), np.uint8))


def test_percentile_is_numpys_inverted_cdf():
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (37, 41), dtype=np.uint8)
    for share in (0, 1, 5, 50, 99, 100):
        want = np.percentile(grey, share, method="inverted_cdf")
        assert measure.percentile(grey, share) == want


def test_blurriness_grows_with_blur_and_not_with_size_or_contrast():
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (60, 80), dtype=np.uint8))
    photo = coarse.resize((240, 180), Image.Resampling.BICUBIC)
    told = [
        measure.blurriness(np.asarray(photo.filter(ImageFilter.GaussianBlur(sigma))))
        for sigma in (0, 1, 2, 4)
    ]
    assert told == sorted(told)
    assert told[0] < 0.55 < told[3]
    grey = np.asarray(photo)
    large = np.asarray(photo.resize((960, 720), Image.Resampling.NEAREST))
    assert measure.blurriness(large) == pytest.approx(told[0], abs=0.05)
    assert measure.blurriness(100 + grey // 4) == pytest.approx(told[0], abs=0.05)
    assert np.isnan(measure.blurriness(np.full((9, 9), 7, np.uint8)))
    assert np.isnan(measure.blurriness(np.full((1, 1, 3), 7, np.uint8)))
    assert 0 <= measure.blurriness(grey[:1]) <= 1


def test_transparency():
    pixels = np.zeros((2, 2, 4), np.uint8)
    assert measure.transparency(pixels) == 1
    pixels[0, :, 3] = 255
    assert measure.transparency(pixels) == 0.5
    assert measure.transparency(pixels[:, :, :3]) == measure.transparency(pixels[:, :, 0]) == 0
    assert measure.transparency(np.full((2, 2, 2), 65535, np.uint16)) == 0
