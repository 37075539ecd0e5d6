"""What a function of apply returns is checked row by row."""

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import daskimg as di

CELLS = pd.Series([np.full((4, 4, 3), n, "uint8") for n in range(2)], dtype="image[uint8, 4x4x3]")
PIXELS = np.ones((2, 2, 3), "uint8")
WRONG = [
    (None, "text"),
    (None, {"a": 1}),
    (None, None),
    ("image[uint8]", np.ones((2, 2), "float64") / 3),
    ("image[uint8]", np.ones(3)),
    ("image[uint8]", b"bytes"),
    ("image[uint8, 2x2x3]", np.ones((2, 3, 3), "uint8")),
    ("image[encoded]", PIXELS),
    ("tensor[float32, 4]", [1, 2, 3]),
    ("float64", "text"),
    ("float64", [1.0, 2.0]),
    ("Int64", 3.5),
    ("Int64", PIXELS),
]


@pytest.mark.parametrize(("dtype", "value"), WRONG, ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("lazy", [False, True])
def test_what_does_not_fit_is_a_failed_row(dtype, value, lazy, one_thread):
    def function(pixels):
        return value if pixels.max() else RIGHT[dtype]

    cells = dd.from_pandas(CELLS, npartitions=1) if lazy else CELLS
    made = cells.img.on_error("null").img.apply(function, dtype=dtype)
    found = made.compute() if lazy else made
    assert found.isna().tolist() == [False, True]
    with pytest.raises(di.ImageError, match="apply: "):
        dd.from_pandas(CELLS, npartitions=1).img.apply(function, dtype=dtype).compute()


RIGHT = {
    None: PIXELS,
    "image[uint8]": PIXELS,
    "image[uint8, 2x2x3]": PIXELS.astype("int64"),
    "image[encoded]": b"bytes",
    "tensor[float32, 4]": [1, 2, 3, 4],
    "float64": np.float32(0.5),
    "Int64": 3.0,
}


@pytest.mark.parametrize("dtype", [d for d in RIGHT if d is not None])
def test_what_fits(dtype):
    found = CELLS.img.apply(lambda pixels: RIGHT[dtype], dtype=dtype)
    assert found.dtype == dtype
    assert not found.isna().any()
    assert CELLS.img.apply(lambda pixels: None, dtype="Int64").isna().all()


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(("dtype", "made"), [("int32", "Int32"), (bool, "boolean")])
def test_a_failed_row_of_a_whole_number_is_null_and_not_zero(dtype, made, lazy):
    cells = pd.Series([PIXELS, b"broken", None], dtype="image", name="image")
    if lazy:
        cells = dd.from_pandas(cells.to_frame(), npartitions=1).image
    found = cells.img.on_error("null").img.apply(lambda pixels: pixels.max(), dtype=dtype)
    assert found.dtype == made
    found = found.compute() if lazy else found
    assert found.dtype == made
    assert found.isna().tolist() == [False, True, True]
    # (no row fails under "raise": the dtype is the one asked for)
    assert CELLS.img.apply(lambda pixels: pixels.max(), dtype=dtype).dtype == dtype


def test_measures_take_one_name():
    pd.testing.assert_frame_equal(CELLS.img.measures("mean"), CELLS.img.measures(["mean"]))


def test_to_device_is_the_same_column():
    lazy = dd.from_pandas(CELLS, npartitions=1)
    assert lazy.img.to_device("cpu").compute().equals(CELLS)
    with pytest.warns(UserWarning, match=r"map_batches\(.*num_gpus=1\)"):
        assert CELLS.img.to_device("cuda:0").equals(CELLS)
    with pytest.raises(ValueError, match='device is "cpu" or "cuda"; got \'tpu\''):
        CELLS.img.to_device("tpu")
