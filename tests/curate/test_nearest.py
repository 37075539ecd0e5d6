"""Nearest vectors: equal to comparing with each, whatever the partitions."""

from __future__ import annotations

import importlib
import sys

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import daskimg  # noqa: F401  (registers .img)
from daskimg.curate import vectors as vectors_room

METRICS = ("cosine", "l2", "dot")


def vectors(n, d=16, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def frame_of(values, dtype="tensor[float32, 16]"):
    cells = pd.array(list(values), dtype=dtype)
    n = len(cells)
    paths = pd.array([f"shop/{i}.jpg" for i in range(n)], pd.StringDtype("pyarrow"))
    return pd.DataFrame(
        {"path": paths, "embedding": cells, "n": np.arange(n)}, index=np.arange(n) % 5
    )


def each_with_each(queries, values, metric):
    a, b = queries.astype(float), values.astype(float)
    if metric == "l2":
        return np.sqrt(((a[:, None] - b) ** 2).sum(2))
    products = a @ b.T
    if metric == "dot":
        return -products
    return 1 - products / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("partitions", [0, 1, 4])
def test_nearest_are_those_of_comparing_with_each(metric, partitions, one_thread, monkeypatch):
    monkeypatch.setattr(vectors_room, "BLOCK", 37)
    frame, queries = frame_of(vectors(300)), vectors(7, seed=1)
    one = dd.from_pandas(frame, partitions, sort=False) if partitions else frame
    lazy = one.img.nearest(queries, k=12, metric=metric)
    (found,) = dask.compute(lazy)
    want = each_with_each(queries, vectors(300), metric)
    order = np.argsort(want, axis=1)[:, :12]
    assert found["n"].to_numpy().reshape(7, 12).tolist() == order.tolist()
    assert found["query"].tolist() == np.repeat(np.arange(7), 12).tolist()
    assert found["rank"].tolist() == [*range(1, 13)] * 7
    near = np.take_along_axis(want, order, 1).ravel()
    np.testing.assert_allclose(found.distance, near, atol=2e-6, rtol=1e-5)
    assert found.columns.tolist() == ["query", "rank", "distance", "path", "n"]
    assert found.dtypes.tolist() == lazy.dtypes.tolist()


def test_queries_by_frame_path_and_single_vector(one_thread):
    frame = frame_of(vectors(60))
    lazy = dd.from_pandas(frame, 3, sort=False)
    want = frame.img.nearest(vectors(60)[[4, 9]], k=3)
    for one in (frame, lazy):
        (found,) = dask.compute(one.img.nearest(["shop/4.jpg", "shop/9.jpg"], k=3))
        assert found["query"].tolist() == ["shop/4.jpg"] * 3 + ["shop/9.jpg"] * 3
        assert found.n.tolist() == want.n.tolist()
        (found,) = dask.compute(one.img.nearest(frame.iloc[[4, 9]], k=3))
        assert found["query"].tolist() == [4] * 6
        (found,) = dask.compute(one.img.nearest(vectors(60)[4], k=3))
        assert found.n.tolist() == want.n.tolist()[:3]
        (found,) = dask.compute(one.img.nearest("shop/4.jpg", k=100))
        assert len(found) == 60
    assert lazy.img.nearest(lazy.partitions[0], k=1).compute().n.tolist() == [*range(20)]
    with pytest.raises(KeyError, match=r"no row has the path 'shop/77.jpg'"):
        frame.img.nearest("shop/77.jpg")


def test_equal_distances_by_the_order_of_rows(one_thread):
    frame = frame_of(np.ones((40, 16), np.float32))
    for one in (frame, dd.from_pandas(frame, 4, sort=False)):
        (found,) = dask.compute(one.img.nearest(np.ones(16), k=15))
        assert found.n.tolist() == [*range(15)]


@pytest.mark.parametrize("metric", METRICS)
def test_nan_null_and_zero_vectors(metric, one_thread):
    values = [*vectors(10)]
    values[2] = np.full(16, np.nan, np.float32)
    values[3] = None
    values[4] = np.zeros(16, np.float32)
    values += [np.full(16, 1e30, np.float32), np.full(16, np.inf, np.float32)]
    frame = frame_of(values)
    for one in (frame, dd.from_pandas(frame, 6, sort=False)):
        near, all_rows = dask.compute(
            one.img.nearest([values[2], values[0]], k=20, metric=metric),
            one.img.neighbours(k=20, metric=metric, index="exact"),
        )
        assert sorted(near.n) == [0, 1, 4, 5, 6, 7, 8, 9]
        assert near["query"].eq(1).all()
        assert near.distance.notna().all()
        assert {*all_rows["query"]} == {*all_rows.neighbour} == {0, 1, 4, 5, 6, 7, 8, 9}
        assert len(all_rows) == 8 * 7


@pytest.mark.parametrize("metric", METRICS)
def test_neighbours_are_those_of_comparing_each_with_each(metric, one_thread):
    values = vectors(150)
    values[7] = values[3]  # the nearest to a row may be another row, not itself
    want = each_with_each(values, values, metric)
    np.fill_diagonal(want, np.inf)
    order = np.argsort(want, axis=1, kind="stable")[:, :5]
    frame = frame_of(values)
    for one in (frame, dd.from_pandas(frame, 4, sort=False)):
        lazy = one.img.neighbours(k=5, metric=metric)
        (found,) = dask.compute(lazy)
        assert found["query"].tolist() == np.repeat(np.arange(150), 5).tolist()
        near = np.take_along_axis(want, order, 1).ravel()
        np.testing.assert_allclose(found.distance, near, atol=1e-3, rtol=1e-5)
        assert (found.neighbour.to_numpy().reshape(150, 5) == order).mean() > 0.99
        assert found.dtypes.tolist() == lazy.dtypes.tolist()


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("metric", METRICS)
def test_an_index_finds_nearly_all_of_them(metric, one_thread):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 32))[rng.integers(0, 40, 2000)] + rng.normal(size=(2000, 32)) / 3
    values[5], values[9] = np.nan, 0
    frame = frame_of([None, *values.astype(np.float32)], "tensor[float32, 32]")
    want = frame.img.neighbours(k=10, metric=metric, index="exact")
    for one in (frame, dd.from_pandas(frame, 4, sort=False)):
        (found,) = dask.compute(one.img.neighbours(k=10, metric=metric, index="usearch"))
        assert found.dtypes.equals(want.dtypes)
        assert not {0, 6} & {*found["query"], *found.neighbour}
        assert (found.groupby("query").size() == 10).all()
        assert (found["query"] != found.neighbour).all()
        assert (found["rank"].to_numpy().reshape(-1, 10) == np.arange(1, 11)).all()
        both = found.merge(want, on=["query", "neighbour"])
        both = both[both["query"] != 10]  # all are as near to the vector that has no direction
        assert len(both) > 0.97 * len(want)
        np.testing.assert_allclose(both.distance_x, both.distance_y, atol=2e-3, rtol=1e-4)


def test_an_index_of_few_rows(one_thread):
    frame = frame_of([None, *vectors(9)])
    want = frame.img.neighbours(k=20, index="exact")
    pd.testing.assert_frame_equal(frame.img.neighbours(k=20, index="usearch"), want, atol=1e-5)
    assert len(frame_of([]).img.neighbours(index="usearch")) == 0
    ragged = frame_of([np.ones(3, np.float32), np.ones(4, np.float32)], "tensor[float32]")
    with pytest.raises(ValueError, match="one length"):
        ragged.img.neighbours(index="usearch")


def test_an_index_is_taken_for_many_rows_where_it_is_installed(monkeypatch, one_thread):
    lazy = dd.from_pandas(frame_of(vectors(80)), 4, sort=False)
    assert lazy.img.neighbours(k=3).npartitions == 4
    monkeypatch.setattr(importlib.import_module("daskimg.curate.neighbours"), "MANY", 10)
    assert lazy.img.neighbours(k=3).npartitions == 1
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    assert lazy.img.neighbours(k=3).npartitions == 4
    with pytest.raises(ModuleNotFoundError, match="index"):
        lazy.img.neighbours(index="usearch")


def test_nothing_to_find(one_thread):
    for frame in (frame_of([]), frame_of([None, None])):
        for one in (frame, dd.from_pandas(frame, 1, sort=False)):
            near, others = dask.compute(one.img.nearest(vectors(2)), one.img.neighbours())
            assert len(near) == len(others) == 0
            assert near.columns.tolist() == ["query", "rank", "distance", "path", "n"]
    assert len(frame_of(vectors(3)).img.nearest(np.empty((0, 16)))) == 0
    assert len(frame_of(vectors(1)).img.neighbours()) == 0


def test_wrong_words():
    frame = frame_of(vectors(4))
    ragged = frame_of([np.ones(3, np.float32), np.ones(4, np.float32)], "tensor[float32]")
    for call, error, told in [
        (lambda: frame.img.nearest(vectors(2, 8)), ValueError, "8 numbers each"),
        (lambda: frame.img.nearest([[1, 2], [3]]), ValueError, "one length"),
        (lambda: frame.img.nearest([["a"] * 16]), ValueError, "of numbers"),
        (lambda: frame.img.nearest(np.ones((2, 2, 16))), ValueError, "shape"),
        (lambda: frame.img.nearest(vectors(2), "none"), KeyError, "no column"),
        (lambda: frame.img.nearest(vectors(2), "n"), TypeError, "tensor"),
        (lambda: frame.img.nearest(vectors(2), k=0), ValueError, "1 or more"),
        (lambda: frame.img.nearest(vectors(2), metric="cos"), ValueError, "cosine, l2, dot"),
        (lambda: frame.img.neighbours(index="faiss"), ValueError, "usearch"),
        (lambda: ragged.img.nearest(np.ones(3)), ValueError, "one length"),
        (lambda: ragged.img.neighbours(), ValueError, "one length"),
    ]:
        with pytest.raises(error, match=told):
            call()


@pytest.mark.parametrize("kind", ["Series", "Dask", "objects", "array", "paths", "index of paths"])
def test_queries_of_a_column(kind):
    frame = frame_of(vectors(30))
    few = frame.embedding.iloc[[3, 4]].rename("other")
    queries = {
        "Series": few,
        "Dask": dd.from_pandas(few, npartitions=1, sort=False),
        "objects": pd.Series(list(few)),
        "array": few.array,
        "paths": frame.path.iloc[[3, 4]],
        "index of paths": pd.Index(frame.path.iloc[[3, 4]]),
    }[kind]
    found = frame.img.nearest(queries, k=3)
    assert found["n"].tolist() == frame.img.nearest(vectors(30)[3:5], k=3)["n"].tolist()
    named = {"Series": [3, 4], "Dask": [3, 4], "objects": [0, 1], "array": [0, 1]}
    wanted = named.get(kind, ["shop/3.jpg", "shop/4.jpg"])
    assert found["query"].tolist() == np.repeat(wanted, 3).tolist()
