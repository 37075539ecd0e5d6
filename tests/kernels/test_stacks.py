"""Many small pictures measured at once: the values of one by one."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from daskimg.kernels import hashes, measure, stacks

rng = np.random.default_rng(3)


def smooth(height, width):
    noise = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2), np.uint8)
    return np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture(params=[(128, 128), (37, 128), (3, 5), (1, 1)], ids=str)
def grey(request):
    height, width = request.param
    plain = [np.full(request.param, tone, np.uint8) for tone in (0, 9, 255)]
    noise = [rng.integers(0, 256, request.param, np.uint8) for _ in range(10)]
    return np.stack([*plain, *noise, *(smooth(height, width) for _ in range(20))])


def test_measures_of_a_stack_are_those_of_each(grey):
    found = stacks.of_grey(grey)
    for name in ("brightness", "contrast", "entropy", "blurriness"):
        np.testing.assert_array_equal(found[name], [getattr(measure, name)(one) for one in grey])
    for share in (1, 5, 99):
        want = [measure.percentile(one, share) for one in grey]
        np.testing.assert_array_equal(found[f"p{share}"], want)


@pytest.mark.parametrize("shape", [(64, 64), (2, 3)])
def test_colours_of_a_stack_are_those_of_each(shape):
    colours = rng.integers(0, 256, (40, *shape, 3), np.uint8)
    colours[0], colours[1, ..., 1:] = 77, 0
    want = [measure.colorfulness(one) for one in colours]
    np.testing.assert_allclose(stacks.of_colours(colours)["colorfulness"], want, rtol=1e-12)


@pytest.mark.parametrize(
    "call, shape", [(stacks.of_grey, (128, 128)), (stacks.of_colours, (4, 4, 3))]
)
def test_a_stack_of_none(call, shape):
    found = call(np.zeros((0, *shape), np.uint8))
    some = call(np.zeros((1, *shape), np.uint8))
    assert {name: (values.dtype, len(values)) for name, values in found.items()} == {
        name: (values.dtype, 0) for name, values in some.items()
    }


def test_a_row_does_not_depend_on_the_others():
    grey = np.stack([smooth(128, 128) for _ in range(50)])
    whole = stacks.of_grey(grey)
    for rows in (slice(0, 1), slice(7, 24), slice(49, None)):
        part = stacks.of_grey(grey[rows].copy())
        for name, values in part.items():
            np.testing.assert_array_equal(values, whole[name][rows])


def test_rough_frequencies_are_those_of_the_phash():
    grey = np.stack([smooth(128, 128) for _ in range(50)])
    want = np.array([hashes.image_hash(one) for one in grey], np.uint64)
    assert np.bitwise_count(want ^ stacks.of_grey(grey)["phash"]).max() <= 6


def test_fine_frequencies_tell_photographs_of_one_scene_apart():
    scene = smooth(160, 160)
    shots = [scene[n : n + 128, n : n + 128] for n in (0, 3)]
    again = Image.fromarray(shots[0]).filter(ImageFilter.GaussianBlur(0.5))
    one, other, same = stacks.of_grey(np.stack([*shots, np.asarray(again)]))["fine"]
    assert int(one ^ same).bit_count() <= 2
    assert int(one ^ other).bit_count() >= 8
