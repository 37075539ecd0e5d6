"""Words that people bring along: taken where they are plain, else an error names ours."""

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg.testing import assert_images_equal

rng = np.random.default_rng(17)
PICTURES = pd.Series(
    [rng.integers(0, 256, (40, 50, 3), dtype=np.uint8) for _ in range(3)], dtype="image"
).img.decode("RGB")
KEY = pd.Series(range(3))


def both(op):
    """The op on pandas, checked to be the same on Dask."""
    eager = op(PICTURES.img, KEY)
    frame = dd.from_pandas(pd.DataFrame({"image": PICTURES, "key": KEY}), npartitions=2)
    lazy = op(frame.image.img, frame.key)
    assert lazy.dtype == eager.dtype
    assert_images_equal(lazy.compute(), eager)
    return eager


@pytest.mark.parametrize(
    "size",
    [((24, 30),), ([24, 30],), (np.array([24, 30]),), (24.0, 30.0), (np.int32(24), np.uint8(30))],
)
def test_sizes(size):
    plain = {
        "resize": lambda img, key, *size: img.resize(*size),
        "center_crop": lambda img, key, *size: img.center_crop(*size),
        "random_crop": lambda img, key, *size: img.random_crop(*size, key=key),
        "random_resized_crop": lambda img, key, *size: img.random_resized_crop(*size, key=key),
    }
    for op in plain.values():
        made = both(lambda img, key, op=op: op(img, key, *size))
        assert made.dtype == "image[uint8, 24x30x3]"
        assert_images_equal(made, op(PICTURES.img, KEY, 24, 30))


def test_one_number_keeps_the_aspect():
    for height in (20, 20.0, np.int64(20)):
        assert both(lambda img, key, h=height: img.resize(h)).img.width.tolist() == [25] * 3


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda img: img.resize((24, 30), 5), TypeError, "height is a number of pixels"),
        (lambda img: img.resize((24, 30, 3)), TypeError, "a height and a width"),
        (lambda img: img.resize("24"), TypeError, "height is a number of pixels; got '2'"),
        (lambda img: img.resize("large"), TypeError, "a height and a width; got 'large'"),
        (lambda img: img.resize(None, 5), TypeError, "height is a number of pixels; got None"),
        (lambda img: img.resize(24.5, 30), ValueError, "height is a whole number.*24.5"),
        (lambda img: img.resize(float("nan"), 30), ValueError, "height is a whole number"),
        (lambda img: img.resize(0), ValueError, "1 or more; got 0"),
        (lambda img: img.resize((24, 0)), ValueError, "width is .*1 or more; got 0"),
        (lambda img: img.resize(KEY, KEY), TypeError, "height is a number of pixels; got Series"),
        (lambda img: img.center_crop(24), TypeError, "center_crop takes a height and a width"),
        (lambda img: img.center_crop((0, 5)), ValueError, "height is"),
        (lambda img: img.random_crop(5, -2, key=KEY), ValueError, "width is .*got -2"),
        (lambda img: img.crop(1.5, 0, 2, 2), ValueError, "top is a whole number"),
        (lambda img: img.crop((0, 0), 0, 2, 2), TypeError, "top is a number of pixels"),
        (lambda img: img.pad(1, 2, -1, 0), ValueError, "bottom is .*0 or more; got -1"),
        (lambda img: img.augment(["hflip"]), ValueError, "random_flip.*got 'hflip'"),
        (lambda img: img.augment([("mean",)]), ValueError, "resize.*got .*mean"),
        (lambda img: img.augment([{"name": "flip"}]), ValueError, "augment takes the ops"),
        (lambda img: img.augment([3]), ValueError, "augment takes the ops.*got 3"),
        (lambda img: img.augment([()]), ValueError, "augment takes the ops"),
    ],
)
def test_what_is_not_plain_names_ours(call, error, words):
    for column in (PICTURES, dd.from_pandas(PICTURES, npartitions=2)):
        with pytest.raises(error, match=words):
            call(column.img)


def halved(pixels):
    return pixels // 2


@pytest.mark.parametrize(
    "steps",
    [
        [("random_flip", 0.7), ("random_resized_crop", 24, 30)],
        [("random_flip", {"p": 0.7}), ("random_resized_crop", (24, 30))],
        [["random_flip", 0.7], ["random_resized_crop", 24, {"width": 30}]],
        [{"random_flip": 0.7}, {"random_resized_crop": (24, 30)}],
        {"random_flip": {"p": 0.7}, "random_resized_crop": {"height": 24, "width": 30}},
    ],
)
def test_steps_of_augment(steps):
    plain = PICTURES.img.random_flip(0.7, seed=4, key=KEY)
    plain = plain.img.random_resized_crop(24, 30, seed=4, key=KEY)
    assert_images_equal(both(lambda img, key: img.augment(steps, seed=4, key=key)), plain)


def test_functions_and_lone_steps_of_augment():
    plain = PICTURES.img.apply(halved).img.flip()
    assert_images_equal(both(lambda img, key: img.augment([halved, "flip"])), plain)
    assert_images_equal(PICTURES.img.augment("flip"), PICTURES.img.flip())
    assert_images_equal(PICTURES.img.augment(halved), PICTURES.img.apply(halved))
    assert_images_equal(PICTURES.img.augment([]), PICTURES)


def test_floats_of_a_users_function_are_the_same_picture_on_both_sides():
    for make in (
        lambda img: img.apply(lambda p: p / 255),
        lambda img: img.apply(lambda p: p.astype(np.float32)),
        lambda img: img.apply(lambda p: p.astype(np.int64)),
        lambda img: img.normalize(0, 1),
        lambda img: img.astype("float32"),
    ):
        for op in ("brightness", "contrast", "sharpness", "entropy", "colorfulness", "hash"):
            wanted = getattr(PICTURES.img, op)()
            lazy = dd.from_pandas(PICTURES, npartitions=2)
            for column in (PICTURES, lazy):
                found = getattr(make(column.img).img, op)()
                found = found.compute() if hasattr(found, "dask") else found
                pd.testing.assert_series_equal(found, wanted, check_index_type=False)
        for back in ("RGB", "uint8"):
            made = make(PICTURES.img).img
            made = made.convert("RGB") if back == "RGB" else made.astype("uint8")
            for a, b in zip(made, PICTURES, strict=True):
                np.testing.assert_array_equal(a.to_numpy(), b.to_numpy())
        shown = make(PICTURES.img).iloc[0].to_pil()
        np.testing.assert_array_equal(np.asarray(shown), PICTURES.iloc[0].to_numpy())
        sheets = [np.asarray(s.img.show(3)) for s in (make(PICTURES.img), PICTURES)]
        assert np.abs(sheets[0].astype(int) - sheets[1]).mean() < 1


def test_float_arrays_are_read_on_either_scale():
    array = rng.integers(0, 256, (4, 12, 10, 3))
    wanted = di.from_array(array.astype(np.uint8)).image.img.brightness().compute()
    for other in (array / 255, array.astype("float32"), array, array.astype("uint16") * 257):
        found = di.from_array(other).image.img.brightness().compute()
        np.testing.assert_allclose(found, wanted)
