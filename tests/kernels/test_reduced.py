"""JPEGs read at a part of their size are resized to what Pillow makes of all of them."""

from __future__ import annotations

import functools
import io
import math
import sys

import numpy as np
import pytest
from PIL import Image, ImageOps
from skimage import data

from daskimg.kernels import codec, geometry, resizing, sketches

NEAR = 0.8  # grey levels, the mean over a picture
PHOTOS = [data.astronaut(), data.coffee(), data.rocket(), data.chelsea()]
KINDS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "full colour": {"subsampling": "4:4:4", "quality": 95},
    "half colour": {"subsampling": "4:2:2"},
    "coarse": {"quality": 60},
    "grey": {"mode": "L"},
    "ink": {"mode": "CMYK"},
    "a strip at a time": {"restart_marker_rows": 1},
}
# none a multiple of what libjpeg works by
SIZES = [(480, 361), (333, 499), (211, 402)]
TARGETS = [(8, 8), (16, 16), (24, 20), (32, 50), (1, 7), (64, 3)]


@functools.cache
def jpeg(photo, size, mode="RGB", orientation=1, **options):
    image = Image.fromarray(PHOTOS[photo]).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    image.resize(size[::-1], Image.Resampling.LANCZOS).save(out, "jpeg", exif=exif, **options)
    return out.getvalue()


def pillow(file, size, fit, resample):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
    image = image.convert("RGB") if image.mode == "CMYK" else image
    size, how = size[::-1], resizing.RESAMPLES[resample]
    ways = {
        "stretch": lambda: image.resize(size, how),
        "contain": lambda: ImageOps.contain(image, size, how),
        "cover": lambda: ImageOps.fit(image, size, how),
        "pad": lambda: ImageOps.pad(image, size, how),
    }
    return np.asarray(ways[fit]()).astype(int)


@pytest.fixture(params=["torch", "pillow"])
def engine(request, monkeypatch):
    if request.param == "torch":
        pytest.importorskip("torch")
    else:
        monkeypatch.setitem(sys.modules, "torch", None)
        monkeypatch.setattr(codec, "simplejpeg", None)
    resizing.torch_module.cache_clear()
    yield request.param
    resizing.torch_module.cache_clear()


def difference(file, size, fit="stretch", resample="bilinear"):
    """Mean grey levels to Pillow on the full decode, and by how much it was reduced."""
    draft = codec.draft(file, [(*size, fit)])
    got = resizing.resize(draft, *size, fit, resample)
    wanted = pillow(file, size, fit, resample)
    assert got.shape == wanted.shape
    return np.abs(got - wanted).mean(), draft.scale


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_jpeg(engine, kind):
    scales = set()
    for n in range(len(PHOTOS)):
        file = jpeg(n, SIZES[n % 3], **KINDS[kind])
        for target in TARGETS:
            off, scale = difference(file, target)
            assert off <= NEAR, (n, target)
            scales.add(scale)
    assert scales == {1, 2, 4}


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("resample", resizing.SMOOTH)
@pytest.mark.parametrize("fit", resizing.FITS)
def test_every_fit_and_filter(engine, fit, resample):
    for n in range(len(PHOTOS)):
        file = jpeg(n, SIZES[n % 3])
        for target in TARGETS:
            off, _ = difference(file, target, fit, resample)
            assert off <= NEAR, (n, target)


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("orientation", range(2, 9))
def test_turned_when_it_is_small(engine, orientation):
    file = jpeg(0, (480, 361), orientation=orientation)
    for fit in resizing.FITS:
        for target, reduced in [((24, 24), True), ((180, 90), False)]:
            off, scale = difference(file, target, fit)
            assert off <= NEAR
            assert (scale > 1) == reduced
            first = resizing.resize(codec.decode(file), *target, fit)
            last = resizing.resize(codec.draft(file, [(*target, fit)]), *target, fit)
            off = np.abs(first.astype(int) - last)
            assert off.mean() <= (NEAR if reduced else 0.2)


def test_a_turned_picture_of_any_dtype():
    rng = np.random.default_rng(0)
    for dtype, tail in [(np.uint16, ()), (np.float32, ()), (np.uint8, (1,))]:
        pixels = (rng.random((40, 31, *tail)) * 200).astype(dtype)
        for orientation in range(1, 9):
            draft = resizing.Draft(pixels, (40, 31), 1, orientation)
            first = resizing.resize(geometry.turn(pixels, orientation), 9, 17)
            last = resizing.resize(draft, 9, 17)
            assert (last.dtype, last.shape) == (first.dtype, first.shape)
            np.testing.assert_allclose(last.astype(float), first, atol=1)


def test_what_is_turned_goes_where_it_is_to_go():
    file = jpeg(0, (480, 361), orientation=6)
    draft = codec.draft(file, [(20, 33, "pad")])
    out = np.full((20, 33, 3), 7, np.uint8)
    assert resizing.resize(draft, 20, 33, "pad", out=out) is out
    np.testing.assert_array_equal(out, resizing.resize(draft, 20, 33, "pad"))


def test_a_picture_of_the_size_asked_for_is_turned(engine):
    file = jpeg(0, (40, 30), orientation=8)
    draft = codec.draft(file, [(30, 40, "stretch")])
    np.testing.assert_array_equal(resizing.resize(draft, 30, 40), codec.decode(file))


def test_twelve_megapixels(engine):
    file = jpeg(0, (3001, 4003), orientation=6, quality=85)
    for target, reduced in (
        ((224, 224), 4),
        ((100, 100), 8),
        ((16, 500), 2),
    ):
        off, scale = difference(file, target)
        assert off <= NEAR
        assert scale == reduced


def test_by_how_much():
    for side, scale in (
        (79, 1),
        (2 * 112 - 1, 1),
        (2 * 112, 2),
        (4 * 112, 4),
        (8 * 112, 8),
    ):
        assert resizing.reduction(side, 9999, ((16, 16, "stretch"),)) == scale
        assert resizing.reduction(9999, side, ((16, 16, "stretch"),)) == scale
    for target, scale in [
        (64, 8),
        (80, 8),
        (85, 8),
        (100, 8),
        (125, 8),
        (126, 4),
        (500, 2),
        (501, 1),
    ]:
        assert resizing.reduction(3000, 4000, ((target, target, "cover"),)) == scale
    assert resizing.reduction(3000, 4000, ((7, 900, "stretch"),)) == 1, "a mean of few pixels"
    # what needs most tells
    assert (
        resizing.reduction(
            3000,
            4000,
            (
                (16, 16, "stretch"),
                (224, 224, "cover"),
            ),
        )
        == 4
    )
    assert resizing.reduction(3000, 4000, ()) == 1
    # a picture within 100 x 100 is 25 x 100, and so wide that more would do
    assert resizing.reduction(1000, 4000, ((100, 100, "contain"),)) == 4
    assert resizing.reduction(1000, 4000, ((100, 100, "stretch"),)) == 2
    assert resizing.reduction(1000, 4000, ((100, 25, "stretch"),), orientation=6) == 4


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("size", [(128, 128), (255, 300), (256, 700), (513, 1030), (2600, 2100)])
@pytest.mark.parametrize("channels", [(), (1,), (2,), (3,), (4,)])
def test_a_sketch_is_the_mean_of_blocks(size, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, *channels), dtype=np.uint8)
    found = sketches.sketch(pixels, 128)
    factor = {128: 1, 255: 1, 256: 2, 513: 4, 2600: 16}[size[0]]
    assert found.dtype == np.uint8
    assert found.shape == (-(-size[0] // factor), -(-size[1] // factor), *channels)
    rows, columns = size[0] // factor, size[1] // factor
    whole = pixels[: rows * factor, : columns * factor]
    blocks = whole.reshape(rows, factor, columns, factor, *channels).mean(axis=(1, 3))
    assert np.abs(found[:rows, :columns] - blocks).max() <= 0.5


def test_a_sketch_keeps_the_dtype():
    deep = np.random.default_rng(0).integers(0, 65536, (300, 260, 3), dtype=np.uint16)
    found = sketches.sketch(deep, 128)
    assert found.dtype == np.uint16
    np.testing.assert_allclose(found[0, 0], deep[:2, :2].mean(axis=(0, 1)), atol=1)
    floats = (deep / 65535).astype(np.float32)
    np.testing.assert_allclose(sketches.sketch(floats, 128) * 65535, found, atol=2)


@pytest.mark.parametrize("size", [(300, 400), (512, 600), (1030, 1100), (1500, 2400)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_sketch_of_a_jpeg_is_that_of_its_pixels(size, mode):
    rng = np.random.default_rng(1)
    grey = mode == "L"
    small = rng.integers(0, 256, (20, 30) if grey else (20, 30, 3), dtype=np.uint8)
    photo = Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC)
    for orientation in (1, 6):
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = io.BytesIO()
        photo.save(file, "jpeg", quality=92, exif=exif)
        stored = codec.decode(file.getvalue(), orientation=False)
        want = geometry.turn(sketches.sketch(stored, 128), orientation).astype(int)
        draft = codec.draft(file.getvalue(), [(128, None, resizing.SKETCH)])
        assert draft.scale == {300: 2, 512: 4, 1030: 8, 1500: 8}[size[0]]
        found = sketches.sketch(draft, 128)
        assert found.shape == want.shape
        assert np.abs(found - want).mean() < 1


@pytest.mark.parametrize("size", [(300, 100), (6, 10), (128, 500), (129, 128)])
@pytest.mark.parametrize("into", [False, True])
def test_a_glimpse_never_grows(size, into):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    out = np.full((128, 128, 3), 9, np.uint8) if into else None
    found = sketches.glimpse(pixels, 128, out)
    assert found is out or not into
    height, width = (min(side, 128) for side in size)
    want = pixels.astype(float)
    for axis, (old, new) in enumerate(zip(size, (height, width), strict=True)):
        pieces = 2 ** math.ceil(math.log2(old / new))
        places = ((np.arange(new * pieces) + 0.5) * old / (new * pieces)).astype(int)
        want = np.take(want, places, axis)
        want = np.stack(np.split(want, new, axis)).mean(axis + 1)
        want = np.moveaxis(want, 0, axis)
    assert np.abs(found[:height, :width] - want).max() <= 2
    assert abs((found[:height, :width] - want).mean()) < 0.3
    assert not found[height:].any()
    assert not found[:, width:].any()
    for other in (np.dstack([pixels, pixels[..., :1]]), pixels.astype(np.uint16) * 257):
        assert (sketches.glimpse(other, 128) == found).all()
    grey = sketches.glimpse(pixels[..., 0], 128)
    assert (grey == found[..., :1]).all()
