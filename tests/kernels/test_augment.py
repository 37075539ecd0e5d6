"""Random geometry and colour: the same row, the same picture; the distributions torchvision has."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from daskimg.kernels import augment, color, geometry, resizing

RGB = np.asarray(
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(
        (80, 60), 3
    )
)
STEPS = {
    "flip": lambda p, rng: augment.random_flip(p, rng, 0.5),
    "rotation": lambda p, rng: augment.random_rotation(p, rng, 30),
    "crop": lambda p, rng: augment.random_crop(p, rng, 40, 50),
    "resized crop": lambda p, rng: augment.random_resized_crop(p, rng, 32, 24),
    "jitter": lambda p, rng: augment.color_jitter(p, rng, 0.4, 0.4, 0.4, 0.1),
}


def many(function, n=400):
    return [function(augment.rng_for(0, 0, key)) for key in range(n)]


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("name", STEPS)
def test_same_key_same_picture(name):
    step = STEPS[name]
    before = RGB.copy()
    first = step(RGB, augment.rng_for(3, 1, "shop/7.jpg"))
    np.testing.assert_array_equal(first, step(RGB, augment.rng_for(3, 1, "shop/7.jpg")))
    np.testing.assert_array_equal(RGB, before)
    assert first.dtype == np.uint8
    others = [
        step(RGB, augment.rng_for(*key))
        for key in [(4, 1, "shop/7.jpg"), (3, 2, "shop/7.jpg")] + [(3, 1, k) for k in range(9)]
    ]
    assert any(not np.array_equal(first, other) for other in others)


def test_generators_do_not_depend_on_the_process():
    code = (
        "import sys, types; p = types.ModuleType('daskimg'); "
        f"p.__path__ = [{str(Path(augment.__file__).parents[1])!r}]; sys.modules['daskimg'] = p; "
        "from daskimg.kernels.augment import rng_for; "
        "print([rng_for(1, 2, k).integers(10**9) for k in ('é.jpg', 5, '5', -1)])"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    here = [augment.rng_for(1, 2, k).integers(10**9) for k in ("é.jpg", 5, "5", -1)]
    assert seen == {f"{here}\n"}
    assert len(set(here)) == 4


def test_numpy_integers_are_keys_too():
    numbers = {augment.rng_for(0, 0, key).random() for key in (5, np.int64(5), np.uint8(5))}
    assert len(numbers) == 1


def test_keys_seeds_and_epochs_do_not_meet():
    keys = [(s, e, k) for s in range(4) for e in range(4) for k in (0, 1, "0", "1", "1/0")]
    assert len({augment.rng_for(*key).random() for key in keys}) == len(keys)


def test_flip_probability():
    flipped = np.mean(
        [np.array_equal(p, RGB[:, ::-1]) for p in many(lambda r: augment.random_flip(RGB, r, 0.3))]
    )
    assert 0.2 < flipped < 0.4
    assert all(np.array_equal(p, RGB) for p in many(lambda r: augment.random_flip(RGB, r, 0), 9))
    with pytest.raises(ValueError, match="probability"):
        augment.random_flip(RGB, augment.rng_for(0, 0, 0), 1.5)


def test_rotation_is_one_of_geometrys(monkeypatch):
    angles = []
    real = geometry.rotate
    monkeypatch.setattr(geometry, "rotate", lambda p, a: (angles.append(a), real(p, a))[1])
    many(lambda r: augment.random_rotation(RGB[:4, :4], r, 30))
    assert -30 <= min(angles) < -25
    assert 25 < max(angles) <= 30
    angles.clear()
    many(lambda r: augment.random_rotation(RGB[:4, :4], r, (10, 20)))
    assert 10 <= min(angles) < 11
    assert 19 < max(angles) <= 20
    for wrong in (-5, (20, 10), (1, 2, 3)):
        with pytest.raises(ValueError, match="degrees"):
            augment.random_rotation(RGB, augment.rng_for(0, 0, 0), wrong)


def test_crop_reaches_every_place():
    place = np.arange(6 * 7).reshape(6, 7).astype(np.uint16)
    corners = {int(p[0, 0]) for p in many(lambda r: augment.random_crop(place, r, 4, 4))}
    assert corners == {7 * row + column for row in range(3) for column in range(4)}
    whole = augment.random_crop(place, augment.rng_for(0, 0, 0), 6, 7)
    np.testing.assert_array_equal(whole, place)
    with pytest.raises(ValueError, match="inside the picture"):
        augment.random_crop(place, augment.rng_for(0, 0, 0), 7, 4)


def test_resized_crop_keeps_scale_and_ratio(monkeypatch):
    sizes = []
    monkeypatch.setattr(
        resizing, "resize", lambda p, h, w: (sizes.append(p.shape[:2]), np.zeros((h, w)))[1]
    )
    large = np.zeros((300, 400), np.uint8)
    many(lambda r: augment.random_resized_crop(large, r, 8, 8, (0.2, 0.5), (0.5, 2)))
    area = np.array([h * w for h, w in sizes]) / large.size
    ratio = np.array([w / h for h, w in sizes])
    assert 0.19 < area.min() < 0.25 < 0.45 < area.max() < 0.51
    assert 0.49 < ratio.min() < 0.6 < 1.8 < ratio.max() < 2.05
    sizes.clear()
    thin = np.zeros((10, 1000), np.uint8)  # no attempt can succeed
    many(lambda r: augment.random_resized_crop(thin, r, 8, 8, (0.9, 1.0)), 5)
    assert set(sizes) == {(10, 13)}


@pytest.mark.parametrize("scale, ratio", [((0, 1), (1, 1)), ((1, 0.5), (1, 1)), (0.5, (1, 1))])
def test_resized_crop_refuses(scale, ratio):
    with pytest.raises(ValueError, match="scale"):
        augment.random_resized_crop(RGB, augment.rng_for(0, 0, 0), 8, 8, scale, ratio)


def test_jitter_draws_from_torchvisions_ranges(monkeypatch):
    factors = {}
    for name in ("brightness", "contrast", "saturation", "hue"):
        monkeypatch.setattr(
            color, f"adjust_{name}",
            lambda p, f, name=name: (factors.setdefault(name, []).append(f), p)[1],
        )  # fmt: skip
    many(lambda r: augment.color_jitter(RGB, r, 0.4, 2.0, (0.5, 0.7), 0.1))
    ranges = {
        "brightness": (0.6, 1.4),
        "contrast": (0, 3),
        "saturation": (0.5, 0.7),
        "hue": (-0.1, 0.1),
    }
    for name, (low, high) in ranges.items():
        span = (high - low) / 10
        assert low <= min(factors[name]) < low + span
        assert high - span < max(factors[name]) <= high


def test_jitter_of_nothing_and_of_grey():
    rng = augment.rng_for(0, 0, 0)
    assert augment.color_jitter(RGB, rng) is RGB
    grey = augment.color_jitter(RGB[:, :, 0], rng, 0.4, 0.4, 0.4, 0.1)
    assert grey.shape == (60, 80)
    for wrong in ({"hue": 0.6}, {"brightness": -1}, {"contrast": (-1, 1)}, {"hue": (-0.7, 0)}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            augment.color_jitter(RGB, rng, **wrong)


def test_keys_that_are_parts_of_numbers():
    def first(key):
        return augment.rng_for(0, 0, key).random()

    assert len({first(key) for key in (0, 0.25, 0.5, 1, -0.5, np.float32(0.75))}) == 6
    assert first(1) == first(1.0) == first(np.int8(1)) == first(np.float64(1))
    with pytest.raises(ValueError, match="NaN"):
        first(float("nan"))
