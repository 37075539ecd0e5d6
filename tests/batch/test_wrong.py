"""What goes wrong names the function, the batch and the rows, or costs only the rows."""

from __future__ import annotations

import pickle
import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from daskimg.batch import BatchError
from daskimg.testing import assert_images_equal

WRONG = {
    "length": (lambda b: {"n": [1]}, ValueError, "'n' has 1 values for 2 rows"),
    "scalar": (lambda b: {"n": 3}, TypeError, "'n'.*got int"),
    "text": (lambda b: {"n": "ab"}, TypeError, "'n'.*got str"),
    "list": (lambda b: [1, 2], TypeError, "a dict of columns"),
    "nothing": (lambda b: None, TypeError, "got NoneType"),
    "no columns": (lambda b: {}, ValueError, "got none"),
    "key": (lambda b: {1: [1, 2]}, TypeError, "names of columns"),
    "mix": (lambda b: {"n": [1, "a"]}, TypeError, "mix of int, str"),
    "ragged": (lambda b: {"n": [[1], 2]}, TypeError, "mix of int, list"),
    "decimal": (lambda b: {"n": [Decimal(1)] * 2}, TypeError, "got Decimal.*or give its dtype"),
    "huge": (lambda b: {"n": [2**70] * 2}, TypeError, "numbers of 64 bits.*got int"),
    "complex": (lambda b: {"n": np.ones(2, complex)}, TypeError, "complex"),
    "raises": (lambda b: {}["lost"], KeyError, "KeyError: 'lost'"),
}


def brighter(batch):
    batch["image"] = batch["image"].astype("float32") / 255
    return batch


def stacked(batch):
    return {"made": np.array([image[::2] for image in batch["image"]])}


@pytest.mark.parametrize("function", [brighter, stacked])
def test_a_function_for_one_array_that_gets_a_list_is_told_why(function):
    several = [np.zeros((4, 6, 3), np.uint8), np.zeros((5, 6, 3), np.uint8)]
    frame = pd.DataFrame({"image": pd.Series(several, dtype="image")})
    with pytest.raises(BatchError, match=r"'image' differ in shape.*resize\(height, width\)"):
        frame.img.map_batches(function)
    same = pd.DataFrame({"image": pd.Series(several[:1] * 2, dtype="image")})
    assert len(same.img.map_batches(function)) == 2


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_names_function_batch_and_rows(df, wrong):
    function, kind, text = WRONG[wrong]
    function.__name__ = "look"
    rows = df.compute().iloc[4:6]
    with pytest.raises(kind, match=rf"look, batch 0 \(rows 4, 5\): .*{text}") as caught:
        rows.img.map_batches(function)
    assert isinstance(caught.value, BatchError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, kind)
    assert str(again) == str(caught.value)


@pytest.mark.parametrize(
    "second, text",
    [
        (lambda n: {"n": ["a"] * n}, "expected int64 values"),
        (lambda n: {"n": [1.5] * n}, "expected int64 values; got float64"),
        (lambda n: {"n": np.ones((n, 2))}, "shape"),
        (lambda n: {"m": [1] * n}, "expected the columns n; got m"),
        (lambda n: {"n": [1] * n, "m": [1] * n}, "expected the columns n; got n, m"),
    ],
)
def test_a_later_batch_is_like_the_first(df, second, text):
    def function(batch):
        n = len(batch["path"])
        return {"n": [1] * n} if batch["path"][0].endswith("00000.jpg") else second(n)

    with pytest.raises(BatchError, match=text):
        df.img.map_batches(function, columns="path").compute()
    with pytest.raises(BatchError, match=text):
        df.compute().img.map_batches(function, columns="path", batch_size=5)


def test_a_failed_row_costs_only_itself(small):
    def function(batch):
        if any(path.endswith(("2.jpg", "7.png")) for path in batch["path"]):
            raise KeyError("one of these")
        n = len(batch["path"])
        return {"n": [1] * n, "small": batch["small"], "masks": np.ones((n, 2, 2), "uint8")}

    for size in (1, 3, 10):
        found = small.img.map_batches(
            function, columns=["path", "small"], batch_size=size, on_error="null"
        )
        rows = found.compute()
        assert rows.dtypes.to_dict() == found.dtypes.to_dict()
        assert found.dtypes["n"] == "Int64"
        for name in ("n", "small", "masks"):
            assert np.flatnonzero(rows[name].isna()).tolist() == [2, 7]
        assert rows.masks.img.error[2] == "map_batches: KeyError: 'one of these'"
        assert rows.small.img.error[7] == "map_batches: KeyError: 'one of these'"
        kept = small.small.compute()
        assert_images_equal(rows.small.drop([2, 7]), kept.drop([2, 7]))


def test_a_wrong_length_costs_only_its_rows(small):
    def function(batch):
        return {"n": [int(path[-5]) for path in batch["path"] if path[-5] != "4"]}

    found = small.img.map_batches(function, columns="path", on_error="null").n.compute()
    assert found.tolist() == [0, 1, 2, 3, pd.NA, 5, 6, 7, 8, 9]


def test_bad_arguments(df):
    with pytest.raises(KeyError, match="no column 'img'"):
        df.img.map_batches(len, columns="img")
    for kwargs in (
        {"batch_size": 0},
        {"batch_size": True},
        {"batch_format": "list"},
        {"on_error": "drop"},
        {"prefetch_batches": -1},
        {"columns": []},
    ):
        with pytest.raises(ValueError, match=next(iter(kwargs))):
            df.img.map_batches(len, **kwargs)
    with pytest.raises(TypeError, match="function or a class"):
        df.img.map_batches(3)
    with pytest.raises(TypeError, match="fn_constructor_args"):
        df.img.map_batches(len, fn_constructor_args=[1])


# -- map ------------------------------------------------------------------------------------------
def test_map_takes_rows(df):
    def function(row):
        return {"name": row["path"][-9:], "height": row["image"].shape[0]}

    lazy = df.img.map(function)
    rows = lazy.compute()
    assert list(rows.columns) == ["name", "height"]
    assert rows.height.tolist() == df.image.img.height.compute().tolist()
    pd.testing.assert_frame_equal(rows, df.compute().img.map(function))


def test_map_names_the_row_and_the_function(df):
    def function(row):
        return row["image"].shape

    with pytest.raises(BatchError, match=r"function, batch 0 .*dict of the row's"):
        df.img.map(function)
    with pytest.raises(TypeError, match="classes go to map_batches"):
        df.img.map(dict)


def test_columns_with_other_names_cannot_be_passed():
    frame = pd.DataFrame({0: [1], "a": [2]})
    with pytest.raises(TypeError, match="rename 0"):
        frame.img.map_batches(lambda b: b)
    assert frame.img.map_batches(lambda b: {"b": b["a"]}, columns="a").columns.tolist() == [0, "b"]


def test_no_rows_at_all(df):
    rows = df.compute().iloc[:0]
    with pytest.raises(BatchError, match="meta="):
        rows.img.map_batches(lambda b: b)
    found = rows.img.map_batches(lambda b: b, meta={"n": int, "image": "image[uint8, 2x2]"})
    assert found.dtypes.astype(str).to_dict() == {"n": "int64", "image": "image[uint8, 2x2]"}
    assert len(found) == 0


def test_an_index_with_repeats_keeps_its_rows(df):
    rows = df.compute().set_axis([1] * 10)
    found = rows.img.map_batches(lambda b: {"name": [p[-9:-4] for p in b["path"]]}, batch_size=3)
    assert found.index.tolist() == [1] * 10
    assert found.name.tolist() == [f"{i:05d}" for i in range(10)]


class CodedError(ValueError):
    """Made of a code, not of a text."""

    def __init__(self, code):
        super().__init__({7: "seven"}[code])


def test_an_exception_that_is_made_of_no_text_is_told(df):
    def fails(batch):
        raise CodedError(7)

    with pytest.raises(BatchError, match=r"fails, batch 0 .*CodedError: seven"):
        df.compute().img.map_batches(fails)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.array([2**24 + 1, 0]), "float32"),
        ([2**24 + 1, 0], "float32"),
        (np.array([2**53 + 1, 0]), "float64"),
        (np.array([1e300, 0]), "float32"),
        (np.array([0.5, 0]), "int64"),
        (np.array(["2020", "2021"], "M8[s]"), "float64"),
    ],
)
def test_no_number_becomes_another(df, values, dtype):
    rows = df.compute().iloc[4:6]
    with pytest.raises(TypeError, match=f"'n': expected {dtype} values.*give meta="):
        rows.img.map_batches(lambda batch: {"n": values}, meta={"n": dtype})
    kept = rows.img.map_batches(lambda batch: {"n": np.array([0.1, 2])}, meta={"n": "float32"})
    assert kept.n.tolist() == np.array([0.1, 2], "float32").tolist()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("num_gpus", "a"),
        ("num_gpus", -1),
        ("concurrency", "a"),
        ("concurrency", 1.5),
        ("concurrency", (1, 2, 3)),
        ("batch_size", 2.5),
        ("batch_size", "all"),
        ("prefetch_batches", "few"),
        ("prefetch_batches", -1),
    ],
)
def test_what_is_no_number_is_named(df, name, wrong):
    for frame in (df, df.compute()):
        with pytest.raises(ValueError, match=f"{name} is a.*got {re.escape(repr(wrong))}"):
            frame.img.map_batches(brighter, **{name: wrong})


def test_numbers_of_numpy_are_numbers(df):
    told = df.img.map_batches(
        lambda b: {"n": [len(b["image"])] * len(b["image"])}, batch_size=np.int64(3)
    )
    assert told["n"].compute().max() == 3


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"fn_args": 2}, r"fn_args is a tuple of arguments, \(value,\); got 2"),
        ({"fn_args": "ab"}, "fn_args is a tuple.*got 'ab'"),
        ({"fn_kwargs": [1]}, "fn_kwargs is a dict"),
        ({"meta": {"n": "number"}}, "meta: the dtype of 'n': .*'number'"),
    ],
)
def test_what_is_passed_on_wrongly_is_told_at_once(df, wrong, text):
    with pytest.raises(TypeError, match=text):
        df.img.map_batches(lambda batch, *args, **kwargs: batch, **wrong)
