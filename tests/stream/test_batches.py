"""Batches hold the frame's rows, in its order, whatever made them."""

from __future__ import annotations

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import daskimg as di
from daskimg import metrics
from daskimg.testing import assert_images_equal, make_images
from tests.clusters import ON_CLUSTER
from tests.stream.conftest import ROWS, gathered, uniform

SIZES = [1, 6, 7, 32, 100]
CLIENT = pytest.param("client", marks=ON_CLUSTER)


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("scheduler", ["threads", "sync"])
@pytest.mark.parametrize("per_partition", [1, 7, 100])
@pytest.mark.parametrize("size", SIZES)
def test_same_rows_in_order(folder, answer, size, per_partition, scheduler):
    with dask.config.set(scheduler=scheduler):
        batches = list(uniform(folder, per_partition).img.iter_batches(size))
    assert [len(b["n"]) for b in batches] == [size] * (ROWS // size) + [ROWS % size] * (
        ROWS % size > 0
    )
    np.testing.assert_array_equal(gathered(batches), answer)
    assert gathered(batches, "n").tolist() == list(range(ROWS))


@pytest.mark.parametrize("size", [6, 100])
def test_same_rows_from_a_cluster(frame, answer, size, client):
    np.testing.assert_array_equal(gathered(frame.img.iter_batches(size)), answer)


def test_same_pictures_of_many_shapes_from_a_cluster(folder, client):
    df = di.read_images(folder, files_per_partition=9)
    found = [x for batch in df.img.iter_batches(7) for x in batch["image"]]
    with dask.config.set(scheduler="sync"):
        assert_images_equal(found, list(df.image.img.decode().compute()), check_path=False)


PIPELINES = {
    "filter that decodes": lambda d: d[d.image.img.mean() > 120],
    "filter of the table": lambda d: d[d.n % 3 == 0],
    "dropna": lambda d: d.assign(m=d.image.img.mean().where(d.n % 2 == 0)).dropna(),
    "merge with a small table": lambda d: d.merge(
        dd.from_pandas(pd.DataFrame({"n": range(0, ROWS, 2), "z": 1}), npartitions=1), on="n"
    ),
    "scalar of all rows": lambda d: d[d.n > d.n.mean()],
    "concat": lambda d: dd.concat([d, d[d.n > 30]]),
    "repartition": lambda d: d.repartition(npartitions=2),
    "partitions": lambda d: d.partitions[2:4],
    "persisted": lambda d: d.persist(),
    "stage": lambda d: d.img.map_batches(lambda b: {"n": b["n"]}, columns=["n"]),
    "placed stage": lambda d: d.img.map_batches(
        lambda b: {"n": b["n"]}, columns=["n"], concurrency=1
    ),
    "map_partitions": lambda d: d.map_partitions(lambda p: p.iloc[1:], meta=d._meta),
}


@pytest.mark.sampled(one_in=6)
@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("scheduler", ["threads", CLIENT])
def test_pipelines(frame, name, scheduler, request):
    if scheduler == "client":
        request.getfixturevalue("client")
    frame = PIPELINES[name](frame)
    found = pd.concat(frame.img.iter_batches(9, batch_format="pandas"))
    wanted = frame.compute()
    assert len(wanted)
    assert found.n.tolist() == wanted.n.tolist()
    assert_images_equal(found.image, wanted.image)


def test_what_partitions_share_is_computed_once(frame, tmp_path):
    log = tmp_path / "log"

    def table(part):
        with log.open("a") as file:
            file.write("x")
        return part

    few = dd.from_pandas(pd.DataFrame({"n": range(ROWS), "z": 1}), npartitions=1)
    few = few.map_partitions(table, meta=few._meta)
    assert len(list(frame.merge(few, on="n").img.iter_batches(10))) == 4
    assert log.read_text() == "x"


def test_each_picture_is_decoded_once(folder):
    df = uniform(folder)
    df = df.assign(m=df.image.img.mean())
    metrics.reset()
    list(df.img.iter_batches(6))
    assert metrics.snapshot()["decode"] == ROWS


def test_columns_decide_what_is_decoded(frame):
    metrics.reset()
    batches = list(frame.img.iter_batches(16, columns=["n"]))
    assert set(batches[0]) == {"n"}
    assert "decode" not in metrics.snapshot()
    with pytest.raises(KeyError, match=r"'m'.*'image'"):
        frame.img.iter_batches(columns=["m"])


def test_pandas_frames(folder, frame, answer):
    df = frame.compute()
    np.testing.assert_array_equal(gathered(df.img.iter_batches(9)), answer)
    files = di.read_images(folder).compute()
    found = [x for batch in files.img.iter_batches(9) for x in batch["image"]]
    assert_images_equal(found, list(files.image.img.decode()), check_path=False)


@pytest.mark.parametrize("batch_format", ["numpy", "torch"])
def test_numbers_keep_their_dtype(frame, batch_format):
    holes = np.where(np.arange(ROWS) == 5, np.nan, 1).astype("float32")
    frame = frame.map_partitions(lambda part: part.assign(f=holes[part.n], c=part.n + 1j))
    frame = frame.assign(image=frame.image.img.flip(), f=frame.f * 2)[["image", "n", "f", "c"]]
    for rows in (frame, frame.compute()):
        for batch in rows.img.iter_batches(4, batch_format):
            kinds = [str(batch[name].dtype).removeprefix("torch.") for name in ("n", "f")]
            assert kinds == ["int64", "float32"]
            if batch_format == "numpy":
                assert batch["c"].dtype == np.complex128


def test_objects_stay_what_they_are(frame):
    things = [1, None, "x", float("nan")]
    table = frame.compute().head(4).assign(o=pd.Series(things, dtype=object))
    (batch,) = table.img.iter_batches(4, columns=["image", "o"])
    assert batch["o"].tolist()[:3] == things[:3]
    assert np.isnan(batch["o"][3])


def test_batches_are_views(frame):
    df = frame.compute()
    values = df.image.array.data.values
    for start, batch in zip(range(0, ROWS, 16), df.img.iter_batches(16), strict=True):
        assert not batch["image"].flags.writeable
        assert np.shares_memory(batch["image"], values[start : start + 16])


def test_drop_last(frame):
    assert [len(b["n"]) for b in frame.img.iter_batches(16, drop_last=True)] == [16, 16]
    assert list(frame.img.iter_batches(100, drop_last=True)) == []


def test_formats(frame, answer):
    first = {
        name: next(iter(frame.img.iter_batches(4, batch_format=name)))
        for name in ("numpy", "pandas", "arrow", "torch")
    }
    assert isinstance(first["pandas"], pd.DataFrame)
    assert isinstance(first["arrow"], pa.Table)
    assert isinstance(first["torch"]["image"], torch.Tensor)
    np.testing.assert_array_equal(first["torch"]["image"].numpy(), answer[:4])
    np.testing.assert_array_equal(first["numpy"]["image"], answer[:4])
    assert first["numpy"]["path"].dtype == object


# -- shuffle --------------------------------------------------------------------------------------
def order_of(frame, size, **kwargs):
    return np.concatenate([b["n"] for b in frame.img.iter_batches(size, **kwargs)]).tolist()


def test_shuffle_depends_on_the_seed_alone(folder):
    wanted = order_of(uniform(folder, 7), 5, shuffle_buffer=12, seed=3)
    assert sorted(wanted) == list(range(ROWS)) != wanted
    with dask.config.set(scheduler="sync"):
        assert order_of(uniform(folder, 3), 8, shuffle_buffer=12, seed=3) == wanted
    assert order_of(uniform(folder, 100), 40, shuffle_buffer=12, seed=3) == wanted
    assert order_of(uniform(folder), 5, shuffle_buffer=12, seed=4) != wanted
    # a row comes no earlier than what the buffer lets it
    assert all(row <= place + 12 for place, row in enumerate(wanted))


def test_shuffle_keeps_rows_whole(frame, answer):
    for batch in frame.img.iter_batches(9, shuffle_buffer=15, seed=0):
        np.testing.assert_array_equal(batch["image"], answer[batch["n"]])


# -- rows -----------------------------------------------------------------------------------------
def test_iter_rows(frame, answer):
    rows = list(frame.img.iter_rows())
    assert [row["n"] for row in rows] == list(range(ROWS))
    assert all(isinstance(row["path"], str) for row in rows)
    np.testing.assert_array_equal(np.stack([row["image"] for row in rows]), answer)
    assert not rows[0]["image"].flags.writeable


def test_take_batch(frame, answer):
    metrics.reset()
    batch = frame.img.take_batch(3)
    assert metrics.snapshot()["decode"] == 3
    np.testing.assert_array_equal(batch["image"], answer[:3])
    assert len(frame.img.take_batch()["n"]) == 20
    assert len(frame.img.take_batch(1000)["n"]) == ROWS
    assert len(frame[frame.n < 0].img.take_batch()["n"]) == 0


# -- nulls and errors -----------------------------------------------------------------------------
@pytest.fixture
def broken(tmp_path):
    """Files 0, 1, 2, an empty one, and a good one after it."""
    found = make_images(tmp_path, 4, size=(8, 8), broken=1)
    return pd.Series([*found[:3], found[4], found[3]])


def of_paths(paths, on_error, parts=1):
    df = dd.from_pandas(pd.DataFrame({"path": paths, "n": range(len(paths))}), npartitions=parts)
    return df.assign(image=di.images(df.path, on_error=on_error))


@pytest.mark.parametrize("scheduler", ["threads", "sync", CLIENT])
@pytest.mark.parametrize("policy", ["raise", "null"])
def test_an_error_comes_where_its_row_would(broken, policy, scheduler, request):
    if scheduler == "client":
        request.getfixturevalue("client")
    config = {} if scheduler == "client" else {"scheduler": scheduler}
    with dask.config.set(config):
        batches = of_paths(broken, policy).img.iter_batches(1)
        assert [next(batches)["n"].tolist() for _ in range(3)] == [[0], [1], [2]]
        with pytest.raises(di.ImageError, match="broken_00_empty") as error:
            next(batches)
    assert error.value.reason.startswith("decode: ")
    assert error.value.path == broken[3]


def test_on_null(broken):
    df = of_paths(broken, "null", 2)
    assert [b["n"].tolist() for b in df.img.iter_batches(3, on_null="drop")] == [[0, 1, 2], [4]]
    ragged = list(df.img.iter_batches(4, on_null="fill"))
    assert [x is None for x in ragged[0]["image"]] == [False, False, False, True]
    small = df.assign(image=df.image.img.decode("RGB").img.resize(4, 4))
    (batch,) = small.img.iter_batches(9, on_null="fill")
    assert batch["image"].shape == (5, 4, 4, 3)
    assert not batch["image"][3].any()
    assert batch["image"][4].any()
    assert [row["image"] is None for row in small.img.iter_rows()] == [False] * 3 + [True, False]
    with pytest.raises(di.ImageError, match='on_null="drop"'):
        list(small.img.iter_batches(9))


def test_a_missing_picture_says_so(folder):
    frame = pd.DataFrame({"image": pd.Series([np.zeros((2, 2), "uint8"), None], dtype="image")})
    with pytest.raises(di.ImageError, match="missing: 'image' has no picture"):
        list(frame.img.iter_batches(2))


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"batch_size": 2.5},
        {"batch_format": "list"},
        {"on_null": "ignore"},
        {"shuffle_buffer": 0},
        {"prefetch_partitions": -1},
    ],
    ids=str,
)
def test_bad_arguments_are_told_at_once(frame, wrong):
    with pytest.raises(ValueError, match="got"):
        frame.img.iter_batches(**wrong)
