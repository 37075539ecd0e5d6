"""A wrong parameter is the caller's: it ends the call, and costs no row."""

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import daskimg  # noqa: F401
from daskimg.accessor.base import number, span

NAN = float("nan")
WRONG = {
    "adjust_brightness": [((-1,), "factor is a number, 0 or more; got -1"), (("a",), "got 'a'")],
    "adjust_contrast": [((NAN,), "factor is a number, 0 or more; got nan")],
    "adjust_saturation": [((None,), "factor is a number; got None")],
    "adjust_hue": [((0.7,), "factor is a number, -0.5 to 0.5; got 0.7"), (([1],), "is a number")],
    "blur": [((-1,), "sigma is a number, 0 or more"), ((float("inf"),), "got inf")],
    "sharpen": [(("much",), "amount is a number; got 'much'")],
    "edges": [((150, 50), "low is at most high; got 150 and 50"), ((-1, 5), "low is a number")],
    "rotate": [(("x",), "degrees is a number; got 'x'"), ((NAN,), "got nan")],
    "pad": [((1, 1, 1, 1, "red"), "fill is a number; got 'red'"), ((1, 1, 1, 1, NAN), "got nan")],
    "normalize": [
        ((0.5, 0), "std is a number above 0; got 0"),
        (((0.5, 0.5, 0.5), (0.2, NAN, 0.2)), "std is a number, 0 or more; got nan"),
        (("a", 1), "mean is a number; got 'a'"),
        (((0.5, 0.5), 1), "mean is one number, or one for each channel, .* 3; got 2"),
    ],
    "draw_mask": [((None, "no colour"), "unknown color"), ((None, "red", 2), "alpha is a number")],
    "random_flip": [((2,), "p is a number, 0 to 1; got 2"), (("a",), "p is a number; got 'a'")],
    "random_rotation": [((-5,), "degrees is a number, 0 or more"), (((5, 1),), "lower one first")],
    "random_resized_crop": [
        ((5, 5, 0.5), r"scale is a pair \(low, high\); got 0.5"),
        ((5, 5, (0, 1)), "scale and ratio are above 0"),
        ((5, 5, (0.1, 1), (1, 2, 3)), r"ratio is a pair \(low, high\); got \(1, 2, 3\)"),
    ],
    "color_jitter": [((-1,), "brightness is a number"), ((0, 0, 0, 0.9), "hue is a number, 0 to")],
    "encode": [
        (("jpeg", 0), "quality is 1 to 100; got 0"),
        (("png", "high"), "quality is 1 to 100; got 'high'"),
    ],
}


@pytest.fixture(params=["pandas", "dask"])
def column(request):
    pixels = [np.full((6, 5, 3), n, "uint8") for n in (9, 200)]
    frame = pd.DataFrame({"image": pd.Series(pixels, dtype="image[uint8, 6x5x3]")})
    frame = frame if request.param == "pandas" else dd.from_pandas(frame, npartitions=1)
    return frame.image.img.on_error("null")


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize(("op", "params", "told"), [(o, *w) for o, ws in WRONG.items() for w in ws])
def test_wrong_number_ends_the_call(column, op, params, told):
    key = {"key": pd.Series(range(2))} if op.startswith(("random", "color")) else {}
    with pytest.raises((TypeError, ValueError), match=told):
        getattr(column.img, op)(*params, **key)


def test_a_column_of_numbers_is_looked_at_row_by_row():
    pixels = [np.full((2, 2), n, "uint8") for n in (10, 10)]
    column = pd.Series(pixels, dtype="image").img.on_error("null")
    bright = column.img.adjust_brightness(pd.Series([2, -1]))
    assert bright.img.mean().fillna(-1).tolist() == [20, -1]
    assert "expected a factor of 0 or above, got -1" in bright.img.error[1]


def test_right_numbers_of_any_kind(column):
    done = column.img.normalize(np.array([0.5, 0.5, 0.5]), [np.float32(0.2), 0.2, 1])
    assert str(done.dtype) == "image[float32, 6x5x3]"
    padded = column.img.pad(1, 0, 0, 0, fill=np.array([1, 2, 3])).img.rotate(
        np.int8(90), fill=[0] * 3
    )
    assert len(padded) == 2


@pytest.mark.parametrize(
    ("dtype", "shape", "file_format", "told"),
    [
        ("float32", "2x2x3", "png", "Pillow holds RGB of 8 bits only, got float32"),
        ("uint16", "2x2x3", "tiff", "Pillow holds RGB of 8 bits only, got uint16"),
        ("uint8", "2x2x4", "jpeg", r'JPEG holds L, RGB, got RGBA \(uint8\): use convert\("RGB"\)'),
        ("float32", "2x2", "png", r'PNG holds .*, got F \(float32\): use convert\("L"\)'),
    ],
)
def test_a_format_that_holds_none_of_them(tmp_path, dtype, shape, file_format, told):
    size = tuple(map(int, shape.split("x")))
    series = pd.Series([np.zeros(size, dtype)] * 2, dtype=f"image[{dtype}, {shape}]")
    series = series.img.on_error("null")
    with pytest.raises(ValueError, match=told):
        series.img.encode(file_format)
    frame = pd.DataFrame({"image": series})
    with pytest.raises(ValueError, match=told):
        frame.img.write_images(tmp_path / "out", file_format=file_format)
    assert not (tmp_path / "out").exists()


def test_what_a_function_returns_says_how_to_mend_it():
    column = pd.Series([np.full((2, 2), 3, "uint8"), np.full((2, 2), 4, "uint8")], dtype="image")
    for function, dtype, told in [
        (
            lambda pixels: pixels.mean() / 2,
            "uint8",
            r"1.5 is no uint8: round\(\) it, or give dtype=",
        ),
        (
            lambda pixels: pixels / 255,
            "uint8",
            "one value of uint8; got ndarray .*pixels need none",
        ),
        (
            lambda pixels: pixels.mean(),
            None,
            'numbers have a dtype of their own, such as dtype="flo',
        ),
        (lambda pixels: pixels / 255, "image[uint8]", r'img.astype\("uint8"\) scales pictures'),
    ]:
        with pytest.raises(ValueError, match=told):
            column.img.apply(function, dtype=dtype)
    with pytest.raises(TypeError, match=r"\.img\.normalize\(0, 1\) for pixels / 255 as floats"):
        column.img.astype("float32") / 255
    assert column.img.normalize(0, 1).img.max().round(4).tolist() == [0.0118, 0.0157]


def test_numbers_of_many_kinds():
    assert number(0, a=np.float32(1), b=True, c=np.int64(3)) == [1, True, 3]
    assert span("x", np.array([1, 2])) == (1.0, 2.0)
    assert span("x", np.float64(3)) == 3.0


NULL = "the value that it is given in this row is null"


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "Int64", "float32"])
@pytest.mark.parametrize(
    ("op", "rest"),
    [
        ("rotate", ()),
        ("adjust_brightness", ()),
        ("adjust_contrast", ()),
        ("adjust_saturation", ()),
        ("blur", ()),
        ("sharpen", ()),
        ("edges", (200,)),
        ("center_crop", (3,)),
        ("crop", (0, 2, 3)),
        ("pad", (0, 1, 0)),
    ],
)
def test_a_row_without_a_value_fails(op, rest, dtype, lazy):
    """A join leaves nulls, and makes floats of whole numbers: rotate() by NaN gave some picture."""
    pixels = [np.arange(90, dtype="uint8").reshape(6, 5, 3)] * 3
    frame = pd.DataFrame({"image": pd.Series(pixels, dtype="image")})
    frame["n"] = pd.Series([1, None, 2], dtype=dtype)
    frame = dd.from_pandas(frame, npartitions=1) if lazy else frame
    done = getattr(frame.image.img.on_error("null").img, op)(frame.n, *rest)
    done = done.compute() if lazy else done
    assert done.isna().tolist() == [False, True, False]
    assert done.img.error.iloc[1] == f"{op}: ValueError: {NULL}"
    alone = getattr(pd.Series(pixels[:1], dtype="image").img, op)(2, *rest)
    np.testing.assert_array_equal(done.iloc[2].to_numpy(), alone.iloc[0].to_numpy())


def test_a_row_without_boxes_or_a_mask_is_drawn_without():
    pixels = np.zeros((6, 5, 3), "uint8")
    column = pd.Series([pixels] * 2, dtype="image")
    boxes = pd.Series([[[0, 0, 3, 3]], None])
    mask = pd.Series([np.ones((6, 5), bool), None])
    for drawn in (column.img.draw_boxes(boxes), column.img.draw_mask(mask)):
        assert drawn.img.max().tolist()[1] == 0
        assert drawn.img.max().tolist()[0] > 0


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NA])
def test_a_row_without_a_key_fails(nothing):
    column = pd.Series([np.zeros((2, 2), "uint8")] * 2, dtype="image").img.on_error("null")
    flipped = column.img.random_flip(0.5, key=pd.Series([1, nothing], dtype=object))
    assert flipped.isna().tolist() == [False, True]
    assert "give key=" in flipped.img.error[1]
