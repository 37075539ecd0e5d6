"""Plain compute() runs one task a partition for a pass and all that is taken from it."""

from __future__ import annotations

import weakref
from collections import Counter

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask.base import collections_to_expr
from dask.callbacks import Callback
from dask.sizeof import sizeof

import daskimg as di
from daskimg.errors import TooManyErrors
from daskimg.lazy.bare import Column, Table, as_pandas
from daskimg.lazy.chunks import Results
from daskimg.lazy.expr import Task, TaskRef
from daskimg.lazy.fusion import run_in_order
from daskimg.testing import make_images

PARTS, EACH = 4, 3


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fusion")
    return make_images(folder, PARTS * EACH, size=(20, 30))


@pytest.fixture
def df(files):
    return di.read_images(files, files_per_partition=EACH)


def tasks_of(*lazy):
    """The results, and how many tasks of each kind ran."""
    ran = Counter()

    def count(key, graph, state):
        ran[str(key[0] if isinstance(key, tuple) else key).split("-")[0]] += 1

    with Callback(pretask=count), dask.config.set(scheduler="sync"):
        return dask.compute(*lazy), ran


def measured(df):
    image = df.image.img
    return df.assign(mean=image.mean(), std=image.std(), height=image.height)


def test_one_task_a_partition(df):
    (found,), ran = tasks_of(measured(df)[["path", "mean", "std", "height"]])
    assert ran["images"] == PARTS
    assert ran.total() == PARTS + 1, f"the partitions and their concat, not {ran}"
    assert found["mean"].between(1, 254).all()
    assert found["height"].tolist() == [20] * (PARTS * EACH)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_fewer_partitions_are_made_of_bare_ones(df, n):
    lazy = measured(df).drop(columns="image")
    (few,), ran = tasks_of(lazy.repartition(npartitions=n))
    assert ran["images"] == PARTS
    pd.testing.assert_frame_equal(few, lazy.map_partitions(lambda part: part).compute())
    assert isinstance(few.index, pd.RangeIndex)


def test_a_frame_and_a_part_of_it_at_once(df):
    lazy = measured(df)[["mean", "std"]]
    (table, fewer, two), ran = tasks_of(lazy, lazy["mean"], lazy.repartition(npartitions=2))
    assert ran["images"] == PARTS, f"each partition once, not {ran}"
    pd.testing.assert_series_equal(fewer, table["mean"])
    pd.testing.assert_frame_equal(two, table)


@pytest.mark.parametrize("fuse", [True, False])
def test_an_optimized_frame_is_one_like_others(df, fuse):
    table = measured(df).compute()
    lazy = measured(df).repartition(npartitions=2).optimize(fuse=fuse)
    assert lazy["mean"].compute().tolist() == table["mean"].tolist()
    assert lazy[lazy["mean"] > 0][["std"]].compute()["std"].tolist() == table["std"].tolist()
    assert sum(len(batch["mean"]) for batch in lazy[["mean"]].img.iter_batches(5)) == len(table)


@pytest.mark.parametrize("n", [1, 3])
def test_a_result_is_the_users_own(files, n):
    table = pd.DataFrame({"path": files, "n": range(len(files)), "o": [b"x"] * len(files)})
    df = dd.from_pandas(table, npartitions=n, sort=False)
    df = df.assign(mean=di.images(df["path"]).img.mean())
    found = df.compute()
    found.loc[0, "n"], found.loc[0, "path"], found.columns.name = 777, "other", "mine"
    again = df.compute()
    assert again["n"].tolist() == list(range(len(files)))
    assert again["path"].tolist() == files
    assert again.columns.name is None


def test_names_that_are_equal_but_not_the_same(files):
    for names in [(0, 1), (False, True), (0.0, 1.0)]:
        table = pd.DataFrame({"path": files, names[0]: 1, names[1]: 2})
        df = dd.from_pandas(table, npartitions=2, sort=False)
        found = df.assign(mean=di.images(df["path"]).img.mean()).compute()
        assert [str(name) for name in found.columns] == ["path", *map(str, names), "mean"]


def test_bare_rows_tell_the_size_of_their_objects():
    texts = np.array([b"x" * 10**6, b"y" * 10**6, None], object)
    assert sizeof(Table(pd.RangeIndex(3), {"o": texts})) > 10**6
    assert sizeof(Column(pd.RangeIndex(3), texts, "o")) > 10**6


def test_a_series_is_put_together(df):
    means = df.image.img.mean()
    found, ran = tasks_of(means)
    assert ran.total() == PARTS + 1
    pd.testing.assert_series_equal(found[0], means.map_partitions(lambda part: part).compute())


def test_each_partition_counts_its_failures(files, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    with dask.config.set({"daskimg.max-errors": 2}):
        df = di.read_images([*files, bad], files_per_partition=EACH, on_error="null")
        table = measured(df).compute()
    assert table["mean"].isna().sum() == 1
    with dask.config.set({"daskimg.max-errors": 0}):
        df = measured(di.read_images([*files, bad], files_per_partition=EACH, on_error="null"))
        with pytest.raises(TooManyErrors):
            df.compute()


def test_the_graph_holds_the_common_steps_once(df):
    lazy = measured(df)[["path", "mean", "std", "height"]]
    tasks = collections_to_expr([lazy]).optimize().__dask_graph__().values()
    fused = [task for task in tasks if task.func is run_in_order]
    assert len(fused) == PARTS
    assert len({id(task.args[1]) for task in fused}) == 1
    assert len({id(task.args[0]) for task in fused}) == PARTS


def test_work_of_others_stays_theirs(df):
    lazy = measured(df)
    (means, largest), ran = tasks_of(lazy.groupby("height")["mean"].mean(), lazy["std"].max())
    assert ran["images"] == PARTS
    table = lazy.compute()
    assert means.loc[20] == pytest.approx(table["mean"].mean())
    assert largest == table["std"].max()


def test_a_source_that_others_read_is_read_once(files):
    read = Counter()

    def source(number):
        read[number] += 1
        return pd.DataFrame({"path": files[EACH * number : EACH * number + EACH], "n": number})

    meta = pd.DataFrame({"path": pd.array([], "str"), "n": np.array([], "int64")})
    df = dd.from_map(source, range(PARTS), meta=meta)
    df = df.assign(mean=di.images(df["path"]).img.mean())
    (total, table), _ = tasks_of(df["n"].sum(), df)
    assert total == table["n"].sum() == EACH * sum(range(PARTS))
    assert set(read.values()) <= {1, 2}, "once for each set of columns that is read"


@pytest.mark.parametrize("case", ["a name of the columns", "an own index", "a series", "filtered"])
def test_the_same_as_pandas(df, files, case):
    if case == "an own index":
        df = df.set_index("path", drop=False, sort=False)
    elif case == "a name of the columns":
        df = df.map_partitions(lambda part: part.rename_axis(columns="kind"))
    lazy = measured(df)
    if case == "a series":
        lazy = lazy["mean"]
    elif case == "filtered":
        lazy = lazy[lazy["mean"] > lazy["mean"].mean()]
    fused, unfused = (rows.compute() for rows in (lazy, lazy.map_partitions(lambda part: part)))
    if case == "a series":
        pd.testing.assert_series_equal(fused, unfused)
    else:
        pd.testing.assert_frame_equal(fused.drop(columns="image"), unfused.drop(columns="image"))
    assert (len(fused) < PARTS * EACH) == (case == "filtered")


def test_values_are_let_go_after_their_last_use():
    class Value:
        pass

    held = []

    def first():
        value = Value()
        held.append(weakref.ref(value))
        return value

    def alive(_):
        return held[0]() is not None

    tasks = [
        Task("a", first),
        Task("b", lambda value: 1, TaskRef("a")),
        Task("c", alive, TaskRef("b")),
    ]
    assert run_in_order([], tasks, []) is False


def test_bare_columns_become_pandas_where_others_look():
    index = pd.RangeIndex(3, 5)
    table = Table(index, {"a": np.array([1, 2]), "b": pd.array(["x", None], "str")})
    seen = []
    task = Task("t", seen.append, TaskRef("given"))
    run_in_order([], [task], ["given"], table)
    pd.testing.assert_frame_equal(
        seen[0], pd.DataFrame({"a": [1, 2], "b": pd.array(["x", None], "str")}, index=index)
    )
    column = as_pandas(Column(index, np.array([1.5, 2.5]), "c"))
    pd.testing.assert_series_equal(column, pd.Series([1.5, 2.5], index, name="c"))


def test_what_a_pass_makes_tells_its_size():
    index = pd.RangeIndex(1000)
    results = Results(a=Column(index, np.zeros(1000), "a"), b=Column(index, np.zeros(1000), "b"))
    assert sizeof(results) >= 16_000
