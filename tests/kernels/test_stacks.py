"""Many small pictures measured at once: the values of one by one."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from daskimg.kernels import hashes, measure, stacks

rng = np.random.default_rng(3)


def smooth(height, width):
    noise = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2), np.uint8)
    return np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


def coloured(greys):
    return np.stack([np.dstack([one] * 3) for one in greys])


@pytest.fixture(params=[(128, 128), (37, 128), (3, 5), (1, 1)], ids=str)
def pictures(request):
    """Some more than a block."""
    shape = height, width = request.param
    plain = [np.full((*shape, 3), tone, np.uint8) for tone in (0, 9, 255)]
    noise = [rng.integers(0, 256, (*shape, 3), np.uint8) for _ in range(10)]
    greys = [np.dstack([smooth(height, width)] * 3) for _ in range(10)]
    mixed = [np.dstack([smooth(height, width) for _ in range(3)]) for _ in range(60)]
    return np.stack([*plain, *noise, *greys, *mixed])


def test_measures_of_a_stack_are_those_of_each(pictures):
    found = stacks.measured(pictures)
    for name in ("brightness", "contrast", "entropy", "blurriness"):
        want = [getattr(measure, name)(one) for one in pictures]
        np.testing.assert_array_equal(found[name], want)
    for share in (1, 5, 99):
        want = [measure.percentile(one, share) for one in pictures]
        np.testing.assert_array_equal(found[f"p{share}"], want)
    want = [measure.colorfulness(one[::2, ::2]) for one in pictures]
    np.testing.assert_allclose(found["colorfulness"], want, rtol=1e-12)


def test_a_stack_of_none():
    found, some = (stacks.measured(np.zeros((n, 8, 8, 3), np.uint8)) for n in (0, 1))
    assert {name: (values.dtype, len(values)) for name, values in found.items()} == {
        name: (values.dtype, 0) for name, values in some.items()
    }


def test_a_row_does_not_depend_on_the_others():
    pictures = coloured([smooth(128, 128) for _ in range(80)])
    whole = stacks.measured(pictures)
    for rows in (slice(0, 1), slice(7, 24), slice(79, None)):
        part = stacks.measured(pictures[rows].copy())
        for name, values in part.items():
            np.testing.assert_array_equal(values, whole[name][rows])


def test_rough_frequencies_are_those_of_the_phash():
    pictures = coloured([smooth(128, 128) for _ in range(50)])
    want = np.array([hashes.image_hash(one) for one in pictures], np.uint64)
    assert np.bitwise_count(want ^ stacks.measured(pictures)["phash"]).max() <= 6


def test_fine_frequencies_tell_photographs_of_one_scene_apart():
    scene = smooth(160, 160)
    shots = [scene[n : n + 128, n : n + 128] for n in (0, 3)]
    again = Image.fromarray(shots[0]).filter(ImageFilter.GaussianBlur(0.5))
    one, other, same = stacks.measured(coloured([*shots, np.asarray(again)]))["fine"]
    assert int(one ^ same).bit_count() <= 2
    assert int(one ^ other).bit_count() >= 8
