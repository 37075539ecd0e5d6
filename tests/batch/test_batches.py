"""What a batch holds, where batches end, what is left out, and what goes wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import daskimg as di
from daskimg import metrics
from daskimg.batch import BatchError
from daskimg.testing import assert_images_equal, make_images

NONE = {"n": "int64"}


def seen(frame, meta=None, **kwargs):
    """The batches that a function got, in order of their first rows, and the result."""
    batches = []

    def look(batch):
        batches.append(batch)
        return {"n": [0] * len(next(iter(batch.values())))}

    result = frame.img.map_batches(look, meta=meta or NONE, **kwargs)
    if not isinstance(result, pd.DataFrame):
        parts = [result.partitions[i].compute() for i in range(result.npartitions)]
        result = pd.concat(parts)
    return batches, result


def test_uniform_pictures_are_one_read_only_array(small):
    batches, _ = seen(small, columns=["small", "path"], batch_size=2)
    assert [batch["small"].shape for batch in batches][:2] == [(2, 8, 8, 3), (1, 8, 8, 3)]
    assert {*batches[0]} == {"small", "path"}
    assert not batches[0]["small"].flags.writeable
    assert batches[0]["path"].tolist() == small.path.head(2).tolist()


def test_ragged_pictures_are_a_list(df):
    batches, _ = seen(df, columns="image")
    pictures = [picture for batch in batches for picture in batch["image"]]
    assert isinstance(batches[0]["image"], list)
    assert not pictures[0].flags.writeable
    assert_images_equal(pictures, df.image)


def test_files_of_one_size_are_one_array(tmp_path):
    make_images(tmp_path, 5, size=(6, 7))
    batches, _ = seen(di.read_images(tmp_path), columns="image")
    assert [batch["image"].shape for batch in batches] == [(5, 6, 7, 3)]


def test_bytes_are_passed_only_when_asked_for(df):
    batches, _ = seen(df.assign(data=df.image.img.to_bytes()), columns="data")
    assert batches[0]["data"][0].startswith(b"\xff\xd8")
    batches, _ = seen(df.assign(image=df.image.img.read()), columns="image")
    assert batches[0]["image"][0].ndim == 3


def test_other_columns_come_as_arrays():
    frame = pd.DataFrame(
        {
            "i": [1, 2],
            "nullable": pd.array([1, None], "Int64"),
            "full": pd.array([1, 2], "UInt8"),
            "text": pd.array(["a", None], "string"),
            "old text": pd.array(["a", None], "string[python]"),
            "objects": pd.array(["a", pd.NA], object),
            "when": pd.to_datetime(["2026-01-01", "2026-01-02"]),
            "kind": pd.Categorical(["x", "y"]),
            "tags": pd.Series([["a"], ["b"]], dtype="json"),
            "yes": pd.array([True, None], "boolean"),
        }
    )
    batches, _ = seen(frame)
    batch = batches[0]
    assert [str(batch[k].dtype) for k in ("i", "nullable", "full")] == ["int64", "float64", "uint8"]
    for text in ("text", "old text", "objects"):
        assert batch[text].tolist() == ["a", None]
    assert batch["when"].dtype.kind == "M"
    assert batch["kind"].tolist() == ["x", "y"]
    assert batch["tags"].tolist() == [["a"], ["b"]]
    assert batch["yes"].tolist() == [True, None]


def test_formats(small):
    arrays = small.img.map_batches(means, columns="small").m.compute()
    for batch_format, kind in [("pandas", pd.DataFrame), ("arrow", pa.Table), ("torch", dict)]:
        batches = []

        def function(batch, batches=batches):
            batches.append(batch)
            return means(batch)

        found = small.img.map_batches(function, columns="small", batch_format=batch_format)
        assert found.m.compute().tolist() == arrays.tolist()
        assert isinstance(batches[0], kind)
    assert isinstance(batches[0]["small"], torch.Tensor)


def means(batch):
    pixels = batch["small"]
    if isinstance(batch, pd.DataFrame):
        return batch.assign(m=pixels.img.mean())[["m"]]
    if isinstance(batch, pa.Table):
        pixels = pixels.combine_chunks().to_numpy_ndarray()
        return pa.table({"m": pixels.mean(axis=(1, 2, 3))})
    return {"m": pixels.double().mean((1, 2, 3)) if torch.is_tensor(pixels) else
            pixels.mean(axis=(1, 2, 3))}  # fmt: skip


@pytest.mark.parametrize("batch_format", ["arrow", "torch"])
@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_batches_made_ahead_keep_their_order(small, batch_format, ahead):
    frame = small.repartition(npartitions=1)
    found = frame.img.map_batches(
        means, columns="small", batch_format=batch_format, batch_size=1, prefetch_batches=ahead
    )
    assert found.m.compute().tolist() == small.small.img.mean().compute().tolist()


def test_a_full_device_halves_the_batch(small):
    sizes = []

    def function(batch):
        sizes.append(len(batch["small"]))
        if len(batch["small"]) > 1:
            raise OutOfMemoryError("CUDA out of memory")
        return {"n": [1] * len(batch["small"])}

    rows = small.compute()
    found = rows.img.map_batches(function, columns="small", batch_size=4)
    assert found.n.tolist() == [1] * 10
    assert sizes[:4] == [4, 2, 1, 1]

    def never(batch):
        raise OutOfMemoryError("CUDA out of memory")

    with pytest.raises(BatchError, match=r"never, batch 0 \(row 0\): .*out of memory"):
        rows.img.map_batches(never, columns="small")


class OutOfMemoryError(RuntimeError):
    """As torch's and cupy's."""


def test_results_keep_the_error_policy(null):
    found = null.img.map_batches(lambda b: {"u": np.ones((len(b["image"]), 2, 2), "uint8")})
    assert found.dtypes["u"].on_error == "null"
    assert found.u.img.mean().compute().isna().sum() == 4


def test_cupy_says_what_it_needs(small):
    pytest.importorskip("torch")
    try:
        import cupy  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match="cupy"):
            seen(small, columns="small", batch_format="cupy")
    else:
        batches, _ = seen(small, columns="small", batch_format="cupy", num_gpus=1)
        assert hasattr(batches[0]["small"], "__cuda_array_interface__")


def test_auto_batches_are_bounded_in_bytes_and_rows():
    big = pd.DataFrame(
        {"image": di.ImageArray._from_sequence([np.zeros((2**12, 2**12), "uint8")] * 5)}
    )
    batches, _ = seen(big)
    assert [len(batch["image"]) for batch in batches] == [1, 1, 1, 1, 1] or [
        len(batch["image"]) for batch in batches
    ] == [2, 2, 1]
    tiny = pd.DataFrame({"image": di.ImageArray._from_sequence([np.zeros((2, 2), "uint8")] * 1500)})
    batches, _ = seen(tiny)
    assert [len(batch["image"]) for batch in batches] == [1024, 476]


@pytest.mark.parametrize("batch_size", [1, 3, 4, 7, 100])
def test_filled_batches_cross_partitions(null, batch_size):
    batches, rows = seen(null, columns="image", batch_size=batch_size, fill_batches=True)
    sizes = [len(batch["image"]) for batch in batches]
    assert sizes == [batch_size] * (10 // batch_size) + [10 % batch_size] * (10 % batch_size > 0)
    assert rows.index.tolist() == list(range(14))
    assert rows.path.tolist() == null.path.compute().tolist()


def test_batches_stay_within_a_partition(df):
    batches, _ = seen(df, columns="image", batch_size=2)
    assert [len(batch["image"]) for batch in batches] == [2, 1, 2, 1, 2, 1, 1]


def test_a_partition_is_one_batch_without_a_size(df):
    batches, _ = seen(df, columns="image", batch_size=None)
    assert [len(batch["image"]) for batch in batches] == [3, 3, 3, 1]


def test_decoding_joins_the_one_pass(df):
    metrics.reset()
    frame = df.assign(mean=df.image.img.mean())
    frame.img.map_batches(
        lambda b: {"n": [1] * len(b["image"])}, columns="image", meta=NONE
    ).compute()
    assert metrics.snapshot() == {"fetch": 10, "decode": 10}


def test_trying_decodes_few_rows_once(folder):
    frame = di.read_images(folder, files_per_partition=10)

    def function(batch):
        return {"n": [1] * len(batch["image"])}

    metrics.reset()
    frame.img.map_batches(function, columns="image")
    frame.img.map_batches(function, columns="image")
    assert metrics.snapshot()["decode"] == 4


def test_trying_goes_on_to_the_first_good_row(null):
    rows = null[null.path.str.contains("broken") | null.path.str.contains("00009")]
    assert rows.partitions[0].path.compute().tolist() == []
    found = rows.img.map_batches(lambda b: {"n": [2] * len(b["image"])}, columns="image")
    assert found.dtypes["n"] == "Int64"
    assert found.n.compute().tolist() == [2, pd.NA, pd.NA, pd.NA, pd.NA]


def test_no_row_to_try_asks_for_meta(null):
    rows = null[null.path.str.contains("broken")]
    with pytest.raises(BatchError, match="meta="):
        rows.img.map_batches(lambda b: {"n": [2]}, columns="image")
    found = rows.img.map_batches(lambda b: {"n": [2]}, columns="image", meta={"n": int})
    assert found.n.compute().isna().tolist() == [True] * 4


@pytest.mark.parametrize("lazy", [True, False])
def test_failed_and_missing_rows_come_back_null_with_their_reason(null, lazy):
    rows = null.compute()
    rows.loc[3, "image"] = None
    frame = rows if not lazy else dd_of(rows)
    lengths = []

    def function(batch):
        n = len(batch["image"])
        lengths.append(n)
        return {
            "n": np.arange(n),
            "text": ["a"] * n,
            "tags": [["a"]] * n,
            "masks": np.ones((n, 2, 2), "uint8"),
            "vector": np.ones((n, 2)),
            "image": batch["image"],
        }

    found = frame.img.map_batches(function, columns="image")
    dtypes = found.dtypes
    if lazy:
        lengths.clear()
        found = found.compute()
    assert found.dtypes.to_dict() == dtypes.to_dict()
    assert sum(lengths) == 9
    gone = [3, 10, 11, 12, 13]
    for name in ("n", "text", "tags", "masks", "vector", "image"):
        assert np.flatnonzero(found[name].isna()).tolist() == gone, name
    reasons = rows.image.img.decode().img.error
    for name in ("masks", "vector", "image"):
        told = found[name].img.error
        assert told.isna().equals(reasons.isna()), name
        assert told.dropna().tolist() == reasons.dropna().tolist(), name
    assert found.image.img.path.tolist()[10:] == found.path.tolist()[10:]


def dd_of(rows):
    import dask.dataframe as dd

    return dd.from_pandas(rows, npartitions=3)


def test_rows_without_a_picture_after_a_left_join(df):
    rows = df.compute()
    left = dd_of(pd.DataFrame({"id": np.arange(14)}))
    joined = left.merge(dd_of(rows.assign(id=rows.index)), on="id", how="left")
    found = joined.img.map_batches(lambda b: {"n": [1] * len(b["image"])}, columns="image")
    assert found.dtypes["n"] == "Int64"
    assert found.compute().sort_values("id").n.isna().tolist() == [False] * 10 + [True] * 4


def test_whole_numbers_without_room_for_null_say_what_to_do(df):
    rows = df.compute()
    rows.loc[9, "image"] = None
    frame = dd_of(rows)
    found = frame.img.map_batches(lambda b: {"n": [1] * len(b["image"])}, columns="image")
    assert found.dtypes["n"] == "int64"
    with pytest.raises(BatchError, match="Int64"):
        found.compute()
