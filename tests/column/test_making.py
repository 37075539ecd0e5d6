"""Columns from what a user has, and the values that are no cells."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pyarrow as pa
import pytest

import daskimg as di
from tests.column.test_array import REASON, column, memory, records
from tests.versions import PANDAS


def test_series_of_pictures():
    grey = np.arange(6, dtype="uint16").reshape(2, 3)
    palette = PIL.Image.new("P", (3, 2))
    palette.putpalette([10, 20, 30] * 256)
    series = pd.Series(
        [grey, PIL.Image.new("RGB", (4, 5), (1, 2, 3)), palette, None], dtype="image"
    )
    assert series.dtype == "image[pixels]"
    assert [c if c is pd.NA else (c.to_numpy().shape, str(c.to_numpy().dtype)) for c in series] == [
        ((2, 3), "uint16"),
        ((5, 4, 3), "uint8"),
        ((2, 3, 3), "uint8"),
        pd.NA,
    ]
    np.testing.assert_array_equal(series[0].to_numpy(), grey)
    assert series[2].to_numpy()[0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint32", "int64", "float16", "float64", ">u2"])
def test_pixels_of_any_number(dtype):
    pixels = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    series = pd.Series([pixels, None, pixels[:1]], dtype="image")
    assert series[0].to_numpy().dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(series[2].to_numpy(), pixels[:1])


def test_values_decide_the_kind():
    here = Path("a") / "b.png"
    assert pd.Series([None, "a/b.png", here], dtype="image").dtype == "image[file]"
    assert pd.Series(["a/b.png", here], dtype="image").array.path.to_pylist() == [
        "a/b.png",
        os.fspath(here),
    ]
    assert pd.Series([b"x", bytearray(b"y"), memoryview(b"z")], dtype="image").dtype == (
        "image[encoded]"
    )
    assert pd.Series([None, None], dtype="image").dtype == "image[pixels]"
    assert pd.Series([], dtype="image").dtype == "image[pixels]"
    failed = di.Image(path="x.png", error=REASON)
    assert pd.Series([failed, b"x"], dtype="image").dtype == "image[encoded]"


def test_astype():
    strings = pd.Series(["a.png", None, "b.png"])
    files = strings.astype("image[file]")
    assert files.dtype == "image[file]"
    assert files.isna().tolist() == [False, True, False]
    # before pandas 3 texts are objects; str() of None would be no path
    texts = strings.astype("str") if PANDAS >= 3 else strings
    pd.testing.assert_series_equal(files.astype("str"), texts)
    pd.testing.assert_series_equal(files.astype("string"), strings.astype("string"))
    assert strings.astype("image").dtype == "image[file]"
    assert strings.astype(di.ImageDtype("file", on_error="null")).dtype.on_error == "null"
    data = pd.Series([b"one", None, b""])
    for series in (data, data.astype(pd.ArrowDtype(pa.binary()))):
        encoded = series.astype("image[encoded]")
        assert [None if x is pd.NA else x.to_bytes() for x in encoded] == [b"one", None, b""]
    pixels = pd.Series(column("image[uint8, 4x6x3]"))
    looser = pixels.astype("image[uint8]").astype("image[pixels]")
    assert np.shares_memory(memory(looser.array), memory(pixels.array))
    assert records(looser.array) == records(pixels.array)
    back = looser.astype("image[uint8, 4x6x3]")
    assert records(back.array) == records(pixels.array)
    assert pixels.astype("image[float32]")[0].to_numpy().dtype == "float32"
    assert pixels.astype("tensor[uint8]").array.error[1].as_py() == REASON
    assert [type(x) for x in files.astype(object)] == [di.Image, type(pd.NA), di.Image]


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        (["a.png"], "image[encoded]", r"is bytes; got <Image a.png>; .img.read\(\) it first"),
        ([b"x"], "image[file]", r"a cell of image\[file\] is a path; got <Image 1 bytes>"),
        ([b"x"], "image[uint8]", r".img.decode\(\) it first"),
        ([np.zeros((2, 2), "uint8")], "image[encoded]", r".img.encode\(\) it first"),
        ([np.zeros((2, 2), "uint8")], "image[uint8, 2x2x3]", r"shape \(2, 2, 3\); got \(2, 2\)"),
        ([np.full((2, 2), 300, "uint16")], "image[uint8]", "uint16 with values that do not fit"),
        ([np.full((2, 2), 0.5)], "image[uint8]", "float64 with values that do not fit"),
        ([np.zeros(3)], "image", r"an \(H, W\) or \(H, W, C\) array, .* got ndarray of float64"),
        ([np.zeros((2, 2), "M8[s]")], "image", "got ndarray of datetime64"),
        ([3], "image", "got int 3"),
        ([[[1, 2], [3]]], "image", "got list of object"),
        ([{}], "image", "got dict {}"),
        ([3.5], "tensor[float32]", "a cell is an array or None; got float 3.5"),
        ([np.zeros(3)], "tensor[float32, 4]", r"shape \(4,\); got \(3,\)"),
    ],
)
def test_values_that_are_no_cells(values, dtype, message):
    with pytest.raises(TypeError, match=message):
        pd.Series(values, dtype=dtype)


@pytest.mark.parametrize(
    ("frm", "to"),
    [
        ("image[file]", "image[encoded]"),
        ("image[encoded]", "image[uint8]"),
        ("image[uint8]", "image[file]"),
        ("image[pixels]", "image[encoded]"),
    ],
)
def test_astype_reads_and_decodes_nothing(frm, to):
    with pytest.raises(TypeError, match="astype does not read or decode"):
        pd.Series(column(frm)).astype(to)


def test_casts_keep_values():
    wide = pd.Series([np.full((2, 2), 200, "uint16")], dtype="image")
    assert wide.astype("image[uint8]")[0].to_numpy().max() == 200
    with pytest.raises(TypeError, match="do not fit"):
        pd.Series([np.full((2, 2), 256, "uint16")], dtype="image").astype("image[uint8]")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("value", "dtype", "fits"),
    [
        (np.int32(2**24 + 1), "float32", False),
        (np.int32(2**24), "float32", True),
        (np.int64(2**53 + 1), "float64", False),
        (np.uint16(65535), "float16", False),
        (np.uint16(2048), "float16", True),
        (np.float64(1e300), "float32", False),
        (np.float64(0.1), "float32", True),
        (np.float64("inf"), "float32", True),
        (np.float32("nan"), "float64", True),
        (np.float32("nan"), "uint8", False),
        (np.float32(7), "uint8", True),
        (np.uint8(1), "bool", True),
        (np.uint8(2), "bool", False),
        (np.bool_(True), "float32", True),
    ],
)
def test_no_number_becomes_another(value, dtype, fits):
    cell = np.full((2, 3), value)
    if not fits:
        with pytest.raises(TypeError, match="do not fit"):
            pd.Series([cell], dtype=f"image[{dtype}]")
        with pytest.raises(TypeError, match="do not fit"):
            pd.Series([cell], dtype="image").astype(f"image[{dtype}]")
        return
    held = pd.Series([cell], dtype=f"image[{dtype}]").iloc[0].to_numpy()
    np.testing.assert_allclose(held.astype(float), cell.astype(float))
