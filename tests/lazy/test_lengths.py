"""No picture is opened and no function called to know how many rows there are."""

from __future__ import annotations

from contextlib import suppress

import dask.dataframe as dd
import pandas as pd
import pytest

import daskimg as di
from daskimg import metrics
from daskimg.testing import make_images

pytestmark = pytest.mark.usefixtures("one_thread")
ROWS = 12
TABLE = pd.DataFrame({"n": range(ROWS), "y": 1.0})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("lengths")
    make_images(place, ROWS, size=(8, 9))
    return str(place)


def table(parts):
    return dd.from_pandas(TABLE, npartitions=parts)


# What is done, and the rows that are left.
DONE = {
    "nothing": (lambda d: d, 12),
    "join": (lambda d: d.merge(table(2), on="n"), 12),
    "join of a small table": (lambda d: d.merge(table(1), on="n"), 12),
    "left join of pandas": (lambda d: d.merge(TABLE, on="n", how="left"), 12),
    "join on an index": (
        lambda d: d.merge(TABLE.set_index("n"), left_on="n", right_index=True),
        12,
    ),
    "drop_duplicates": (lambda d: d.drop_duplicates(subset=["n"]), 12),
    "concat": (lambda d: dd.concat([d, d[d.n > 5]]), 18),
    "concat of partitions": (lambda d: dd.concat([d.partitions[:2], d.partitions[2:]]), 12),
    "fewer partitions": (lambda d: d.repartition(npartitions=2), 12),
    "more partitions": (lambda d: d.repartition(npartitions=6), 12),
    "partitions": (lambda d: d.partitions[1:3], 6),
    "set_index": (lambda d: d.set_index("n", drop=False), 12),
    "sort": (lambda d: d.sort_values("n"), 12),
    "shuffle": (lambda d: d.shuffle("n"), 12),
    "filter": (lambda d: d[d.n > 3], 8),
    "isin": (lambda d: d[d.n.isin([1, 2, 3])], 3),
}


calls: list[int] = []  # (a module's: what a function closes over is copied with it)


def same(batch):
    calls.append(len(batch["image"]))
    return {"image": batch["image"]}


def frame(folder, model=True):
    calls.clear()
    metrics.reset()
    df = di.read_images(folder, files_per_partition=3)
    df = df.assign(n=df.path.str[-6:-4].astype("int64"))
    df = df.assign(image=df.image.img.decode("RGB").img.resize(4, 4))
    if not model:
        return df
    return df.img.map_batches(same, columns=["image"], meta={"image": df.dtypes["image"]})


@pytest.mark.sampled(one_in=6)
@pytest.mark.parametrize("model", [False, True])
@pytest.mark.parametrize("case", DONE)
def test_lengths_of_an_array(folder, case, model):
    do, left = DONE[case]
    df = do(frame(folder, model))
    array = df.image.img.to_dask_array(lengths=True)
    assert sum(array.chunks[0]) == array.shape[0] == left
    assert not metrics.snapshot().get("decode", 0)
    assert not calls
    assert array.compute().shape == (left, 4, 4, 3)
    assert metrics.snapshot()["decode"] <= ROWS
    assert sum(calls) <= ROWS
    assert model == bool(calls)


@pytest.mark.sampled(one_in=6)
@pytest.mark.parametrize("model", [False, True])
@pytest.mark.parametrize("case", DONE)
def test_epochs_of_torch(folder, case, model):
    do, left = DONE[case]
    rows = do(frame(folder, model)).img.to_torch("image", "n", batch_size=4)
    made = metrics.snapshot().get("decode", 0)
    assert made in (0, ROWS)  # (what several partitions need is computed once)
    with suppress(TypeError):  # (where it is not known before)
        assert len(rows) == -(-left // 4)
    assert metrics.snapshot().get("decode", 0) == made
    assert sum(len(x) for x, _ in rows) == left
    # (Dask looks for divisions before the epoch, by way of the model)
    most = 2 * ROWS if case == "concat" or (case == "set_index" and model) else ROWS
    assert metrics.snapshot()["decode"] <= most
    assert sum(calls) <= most


def test_a_function_runs_for_its_own_columns_alone(folder):
    df = frame(folder)
    assert df[["path", "n"]].compute().n.tolist() == list(range(ROWS))
    assert df.n.sum().compute() == sum(range(ROWS))
    assert df[df.n > 5].path.compute().shape == (6,)
    assert not calls
    assert len(df[["n", "image"]].compute()) == ROWS
    assert sum(calls) == ROWS


def test_a_column_that_is_returned_is_that_of_the_function(folder):
    df = di.read_images(folder, files_per_partition=3)
    df = df.assign(n=df.path.str[-6:-4].astype("int64"))
    found = df.img.map_batches(lambda b: {"n": b["n"] * 2, "m": b["n"]}, columns=["n"])
    assert found[["n"]].compute().n.tolist() == [2 * n for n in range(ROWS)]
    assert found.m.compute().tolist() == list(range(ROWS))
    assert found.path.compute().tolist() == df.path.compute().tolist()
    over = df.img.map_batches(lambda b: {"path": b["n"], "n": b["n"] + 1}, columns=["n"])
    assert over.path.compute().tolist() == list(range(ROWS))
