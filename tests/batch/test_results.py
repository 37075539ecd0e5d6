"""Which column each kind of result becomes, on pandas and on Dask, through merges and files."""

from __future__ import annotations

import datetime

import dask.dataframe as dd
import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch

import daskimg as di
from daskimg.testing import assert_images_equal

WORDS = pd.StringDtype("pyarrow")

DAY = datetime.date(2026, 1, 2)
MOMENT, HOURS = datetime.datetime(2026, 1, 2, 3), datetime.timedelta(hours=3)

# name: what the function returns for n rows, and the dtype of the column
RESULTS = {
    "int": (lambda n: np.arange(n, dtype="int32"), "int32"),
    "float": (lambda n: np.full(n, 0.5, "float32"), "float32"),
    "bool": (lambda n: np.ones(n, bool), "bool"),
    "time": (lambda n: np.full(n, "2026-01-02", "M8[s]"), "datetime64[s]"),
    "dates": (lambda n: [DAY] * n, pd.to_datetime(pd.Series([DAY])).dtype.name),
    "moments": (lambda n: [MOMENT] * n, pd.Series([MOMENT]).dtype.name),
    "durations": (lambda n: [HOURS] * n, pd.Series([HOURS]).dtype.name),
    "ints": (lambda n: [7] * n, "int64"),
    "torch": (lambda n: torch.ones(n, requires_grad=True), "float32"),
    "scalars": (lambda n: [torch.tensor(2.5)] * n, "float32"),
    "text": (lambda n: [f"row {i}" for i in range(n)], WORDS),
    "letters": (lambda n: np.array(["a", "bc"] * n)[:n], WORDS),
    "objects": (lambda n: np.array(["a"] * n, object), WORDS),
    "bytes": (lambda n: [b"\0\1"] * n, "large_binary[pyarrow]"),
    "series": (lambda n: pd.Series([1] * n, dtype="Int16"), "Int16"),
    "category": (lambda n: pd.Series(["x"] * n, dtype="category"), WORDS),
    "tags": (lambda n: [["cat", "dog"][:i] for i in range(n)], "json"),
    "dicts": (
        lambda n: [{"box": [i, 2.5], "kind": "cat"} if i else {} for i in range(n)],
        "json",
    ),
    "nested": (lambda n: [{"scores": np.ones(2), "best": np.int64(3)}] * n, "json"),
    "vector": (lambda n: np.ones((n, 5), "float32"), "tensor[float32, 5]"),
    "bfloat16": (lambda n: torch.ones((n, 5), dtype=torch.bfloat16), "tensor[float32, 5]"),
    "points": (lambda n: [np.zeros(i % 3 + 1) for i in range(n)], "tensor[pixels]"),
    "chw": (lambda n: np.ones((n, 3, 4, 5), "float32"), "tensor[float32, 3x4x5]"),
    "mask": (lambda n: np.ones((n, 4, 5), bool), "image[bool, 4x5]"),
    "grey": (lambda n: np.ones((n, 4, 5, 1), "uint8"), "image[uint8, 4x5x1]"),
    "rgb": (lambda n: np.ones((n, 4, 5, 3), "float32"), "image[float32, 4x5x3]"),
    "ragged": (lambda n: [np.ones((i + 1, 5, 3), "uint8") for i in range(n)], "image[pixels]"),
    "pil": (lambda n: [PIL.Image.new("RGB", (5, 4))] * n, "image[pixels]"),
}
KINDS = pytest.mark.parametrize("kind", RESULTS)


def of(kind):
    make, _ = RESULTS[kind]

    def function(batch):
        return {kind: make(len(batch["path"]))}

    return function


def values(column):
    """Cells as plain values, to compare."""
    found = []
    for cell in column:
        cell = cell.to_numpy() if isinstance(cell, di.Image) else cell
        found.append(cell.tolist() if isinstance(cell, np.ndarray) else cell)
    return found


@pytest.mark.sampled(one_in=5)
@KINDS
def test_a_result_becomes_its_column_on_pandas_and_dask(df, kind):
    lazy = df.img.map_batches(of(kind), columns=["path"], batch_size=3)
    eager = df.compute().img.map_batches(of(kind), columns=["path"], batch_size=3)
    computed = lazy.compute()
    wanted = pd.api.types.pandas_dtype(RESULTS[kind][1])
    assert lazy.dtypes[kind] == computed.dtypes[kind] == eager.dtypes[kind] == wanted
    assert values(computed[kind]) == values(eager[kind])
    assert len(computed) == sum(len(RESULTS[kind][0](n)) for n in (3, 3, 3, 1))
    assert list(computed.columns) == list(lazy.columns) == ["image", kind]
    assert computed.index.equals(df.index.compute())


@pytest.mark.sampled(one_in=5)
@KINDS
def test_meta_declares_it_and_nothing_runs_early(df, kind):
    function = of(kind)
    ran = []

    def counted(batch):
        ran.append(len(batch["path"]))
        return function(batch)

    lazy = df.img.map_batches(counted, meta={kind: RESULTS[kind][1]}, batch_size=2)
    assert ran == []
    assert lazy.dtypes[kind] == RESULTS[kind][1]
    assert values(lazy[kind].compute()) == values(
        df.img.map_batches(function, batch_size=2)[kind].compute()
    )
    assert sorted(ran) == [1, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("method", ["tasks", "disk"])
def test_results_survive_a_merge(df, method):
    survive(df, method)


def survive(df, method):
    def function(batch):
        rows = len(batch["path"])
        return {"key": np.arange(rows), **{k: make(rows) for k, (make, _) in RESULTS.items()}}

    frame = df.img.map_batches(function, columns=["path"], batch_size=3)
    other = dd.from_pandas(pd.DataFrame({"key": [0, 2], "right": [10, 12]}), npartitions=2)
    merged = frame.merge(other, on="key", shuffle_method=method)
    found = merged.compute()
    assert found.dtypes.to_dict() == merged.dtypes.to_dict()
    assert len(found) == 7
    wanted = frame.compute().merge(other.compute(), on="key")
    by_row = ["right", "text"]
    for kind in RESULTS:
        here = found.sort_values(by_row)[kind]
        assert values(here) == values(wanted.sort_values(by_row)[kind]), kind


@pytest.mark.sampled(one_in=5)
@KINDS
def test_results_survive_dasks_parquet(df, kind, tmp_path):
    frame = df.img.map_batches(of(kind), columns=["path"], batch_size=3)[[kind]]
    frame.to_parquet(tmp_path)
    wanted = frame.compute()[kind]
    assert values(pd.read_parquet(tmp_path)[kind]) == values(wanted)
    back = dd.read_parquet(tmp_path)
    assert values(back.compute()[kind]) == values(wanted)
    if RESULTS[kind][1] != "datetime64[s]":  # Parquet has no seconds
        assert back.dtypes[kind] == wanted.dtype


def test_lists_explode(df):
    frame = df.img.map_batches(lambda b: {"tag": [["a", "b"]] * len(b["path"])})
    rows = frame.explode("tag")
    assert rows.tag.astype("string").compute().tolist() == ["a", "b"] * 10
    assert rows.dtypes["tag"] == rows.compute().dtypes["tag"]


def test_an_untouched_column_keeps_its_source_cells(small):
    def function(batch):
        return {**batch, "again": batch["image"], "list": list(batch["image"])}

    found = small.img.map_batches(function)
    rows = found.compute()
    assert list(rows.columns) == ["path", "image", "small", "again", "list"]
    for name in ("image", "again", "list"):
        assert found.dtypes[name] == rows.dtypes[name] == "image[file]"
        assert rows[name].img.path.tolist() == rows.path.tolist()
    assert rows.dtypes["small"] == "image[uint8, 8x8x3]"
    assert_images_equal(rows.small, small.small)


def test_an_untouched_column_can_be_declared_as_pixels(df):
    found = df.img.map_batches(lambda b: b, columns="image", meta={"image": "image[uint8]"})
    rows = found.compute()
    assert found.dtypes["image"] == rows.dtypes["image"] == "image[uint8]"
    assert_images_equal(rows.image, df.image.img.decode())
    assert rows.image.img.path.tolist() == rows.path.tolist()


@pytest.mark.parametrize("batch_format", ["numpy", "torch"])
def test_a_view_turned_round_is_not_untouched(small, batch_format):
    def flip(batch):
        pixels = batch["small"]
        return {"small": pixels.flip(1) if batch_format == "torch" else pixels[:, ::-1]}

    found = small.img.map_batches(flip, columns="small", batch_format=batch_format)
    wanted = [cell.to_numpy()[::-1] for cell in small.small.compute()]
    assert_images_equal(found.small.compute(), wanted)


def test_a_tensor_changed_in_place_is_not_untouched(small):
    def halve(batch):
        batch["small"].div_(2, rounding_mode="floor")
        return batch

    found = small.img.map_batches(halve, columns="small", batch_format="torch").compute()
    assert_images_equal(found.small, [x.to_numpy() // 2 for x in small.small.compute()])


def test_pictures_of_the_inputs_size_have_no_fixed_shape(df):
    sizes = df.image.img.height.compute()
    assert sizes.nunique() > 1
    found = df.img.map_batches(lambda b: {"negative": 255 - b["image"]}, batch_size=1)
    rows = found.compute()
    assert found.dtypes["negative"] == rows.dtypes["negative"] == "image[uint8]"
    assert rows.negative.img.height.tolist() == sizes.tolist()


def test_columns_not_passed_stay_and_can_be_replaced(small):
    found = small.img.map_batches(lambda b: {"image": [0] * len(b["small"])}, columns="small")
    assert list(found.columns) == ["path", "image"]
    assert found.compute().image.tolist() == [0] * 10


@pytest.mark.parametrize(
    ("made", "there"),
    [
        ([datetime.date(2026, 1, 2), None], [pd.Timestamp("2026-01-02"), pd.NaT]),
        ([None, datetime.datetime(2026, 1, 2, 3)], [pd.NaT, pd.Timestamp("2026-01-02 03:00")]),
        ([datetime.timedelta(1), pd.NaT], [pd.Timedelta(days=1), pd.NaT]),
        (np.ma.masked_array([7, 8], [False, True]), [7, pd.NA]),
        (np.ma.masked_array([7, 8]), [7, 8]),
    ],
)
def test_nulls_among_dates_and_masked_values_stay_null(small, made, there):
    rows = small.compute().iloc[:2]
    found = rows.img.map_batches(lambda batch: {"made": made})["made"]
    assert [*found.isna()] == [*pd.isna(pd.Series(there))]
    assert found.dropna().tolist() == [x for x in there if not pd.isna(x)]


def test_text_is_no_date(small):
    function, dtype = (lambda batch: {"made": [datetime.date(2026, 1, 2), "2026-01-02"]}), "M8[s]"
    with pytest.raises(TypeError, match="expected datetime64"):
        small.compute().iloc[:2].img.map_batches(function, meta={"made": dtype})
