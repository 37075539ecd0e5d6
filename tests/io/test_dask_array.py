"""Arrays as image columns, and back."""

from __future__ import annotations

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg import metrics
from daskimg.testing import make_images


@pytest.fixture
def pixels():
    return np.random.default_rng(3).integers(0, 256, (11, 5, 6, 3), dtype=np.uint8)


@pytest.fixture
def pictures(tmp_path):
    make_images(tmp_path, 6, size=(8, 10))
    return di.read_images(tmp_path, files_per_partition=4, size=(4, 6), mode="RGB")


# -- in -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((4, 5, 6), "uint16", "image[uint16, 5x6]"),
        ((4, 5, 6, 4), ">f4", "image[float32, 5x6x4]"),
        ((4, 3, 5, 6), "float32", "tensor[float32, 3x5x6]"),
        ((4, 7), "int64", "tensor[int64, 7]"),
        ((0, 5, 6), "uint8", "image[uint8, 5x6]"),
    ],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_dtypes(shape, dtype, expected, lazy):
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    frame = di.from_array(da.from_array(values) if lazy else values, column="x")
    made = frame.compute()
    assert frame.x.dtype == expected == made.x.dtype
    cells = [getattr(cell, "to_numpy", lambda cell=cell: cell)() for cell in made.x]
    assert np.array_equal(np.array(cells).reshape(shape), values)


def test_chunks_become_partitions(pixels):
    frame = di.from_array(da.from_array(pixels, chunks=(4, 2, 6, 1)))
    assert frame.divisions == (0, 4, 8, 10)
    made = frame.compute()
    assert made.index.equals(pd.RangeIndex(11))
    assert np.array_equal(made.image.img.to_numpy(), pixels)


def test_unknown_chunks(pixels):
    lazy = da.from_array(pixels, chunks=(4, 5, 6, 3))
    frame = di.from_array(lazy[lazy[:, 0, 0, 0] >= 100])
    assert frame.known_divisions
    made = frame.compute()
    assert made.index.is_unique
    assert np.array_equal(made.image.img.to_numpy(), pixels[pixels[:, 0, 0, 0] >= 100])


def test_a_large_array_is_cut(monkeypatch, pixels):
    monkeypatch.setattr("daskimg.io.dask_array.PART_BYTES", 4 * 90)
    frame = di.from_array(pixels)
    assert frame.divisions == (0, 4, 8, 10)
    assert frame.image.img.max().compute().tolist() == pixels.max((1, 2, 3)).tolist()


def test_it_behaves_as_any_column(pixels):
    frame = di.from_array(da.from_array(pixels, chunks=(4, 5, 6, 3)))
    frame = frame.assign(mean=frame.image.img.mean())
    other = dd.from_pandas(pd.DataFrame({"k": range(11)}), npartitions=2)
    joined = frame.merge(other, left_index=True, right_index=True)
    assert joined[joined["mean"] > 0].image.img.width.compute().tolist() == [6] * 11


@pytest.mark.parametrize(
    ("bad", "error", "text"),
    [
        ([[1]], TypeError, "list"),
        (np.zeros(3), ValueError, r"\(3,\)"),
        (np.zeros((2, 3, 4), object), TypeError, "object"),
        (np.zeros((2, 3, 4), complex), TypeError, "complex"),
    ],
)
def test_what_is_no_column(bad, error, text):
    with pytest.raises(error, match=text):
        di.from_array(bad)


# -- back ---------------------------------------------------------------------------------------
def test_round_trip(pixels):
    lazy = da.from_array(pixels, chunks=(4, 5, 6, 3))
    back = di.from_array(lazy).image.img.to_dask_array()
    assert back.chunks == lazy.chunks
    assert (back == lazy).all().compute()


def test_lengths_cost_no_picture(pictures):
    metrics.reset()
    array = pictures.image.img.to_dask_array()
    assert array.chunks == ((4, 2), (4,), (6,), (3,))
    assert array.dtype == "uint8"
    assert metrics.snapshot() == {}
    expected = pictures.image.compute().img.to_numpy()
    assert np.array_equal(array.compute(), expected)
    assert float(array[1:5].mean().compute()) == expected[1:5].mean()


def test_after_a_filter(pictures):
    kept = pictures[pictures.image.img.mean() > 120]
    expected = kept.image.compute().img.to_numpy()
    array = kept.image.img.to_dask_array()
    assert array.shape == expected.shape
    assert np.array_equal(array.compute(), expected)


def test_lengths_unknown_or_given(pictures):
    array = pictures.image.img.to_dask_array(lengths=None)
    assert np.isnan(array.shape[0])
    assert array.compute().shape == (6, 4, 6, 3)
    assert pictures.image.img.to_dask_array(lengths=[4, 2]).shape == (6, 4, 6, 3)
    with pytest.raises(ValueError, match="3 numbers for 2 partitions"):
        pictures.image.img.to_dask_array(lengths=[1, 2, 3])


def test_nulls_need_a_value(tmp_path):
    make_images(tmp_path, 2, size=(8, 10), broken=1)
    frame = di.read_images(tmp_path, size=(4, 6), mode="L", on_error="null")
    with pytest.raises(ValueError, match="1 of 3 cells are null"):
        frame.image.img.to_dask_array().compute()
    filled = frame.image.img.to_dask_array(na_value=9)
    assert (filled[2] == 9).all().compute()


def test_one_shape_is_needed(tmp_path, pixels):
    make_images(tmp_path, 2)
    frame = di.read_images(tmp_path)
    for column in (frame.image, frame.image.img.decode("RGB")):
        with pytest.raises(ValueError, match="resize"):
            column.img.to_dask_array()
        with pytest.raises(ValueError, match="resize"):
            column.compute().img.to_dask_array()
    array = pd.Series(list(pixels), dtype="image").img.to_dask_array()
    assert (array == pixels).all().compute()
