"""Image columns of every kind through what Dask does with frames, on threads and on processes.

One frame holds a column of each kind; its partitions are a usual one, one of failed cells, an
empty one, one of missing cells and a usual one.
"""

from __future__ import annotations

import pickle

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask.dataframe.utils import make_meta

import daskimg as di
from tests.clusters import ON_CLUSTER
from tests.column.test_array import KINDS, REASON, cell, records
from tests.versions import PANDAS

ROWS = 4  # of a partition
USUAL, FAILED, EMPTY, MISSING = 0, 1, 2, 3
PARTS = (USUAL, FAILED, EMPTY, MISSING, USUAL)


def part(number: int) -> pd.DataFrame:
    """One partition."""
    state = PARTS[number]
    ids = np.arange(0 if state == EMPTY else ROWS) + number * ROWS
    columns = {
        "id": ids,
        "k": ids * 7 % 20,
        "g": pd.array([f"group {i % 3}" for i in ids], dtype="string[pyarrow]"),
    }
    for kind in KINDS:
        dtype = pd.api.types.pandas_dtype(kind)
        dtype = dtype.derive(dtype.cells, dtype.shape, on_error="null")
        cells: list[di.Image | None] = [cell(kind, int(i)) for i in ids]
        if state == FAILED:
            cells = [di.Image(path=c.path, error=f"{REASON} {i}") for i, c in enumerate(cells)]
        elif state == MISSING:
            cells = [None] * len(ids)
        elif number == len(PARTS) - 1:
            cells[1], cells[2] = None, di.Image(path="bad.png", error=REASON)
        columns[kind] = di.ImageArray.of(cells, dtype)
    return pd.DataFrame(columns, index=ids)


def whole() -> pd.DataFrame:
    return pd.concat([part(i) for i in range(len(PARTS))])


def lazy() -> dd.DataFrame:
    return dd.from_map(part, range(len(PARTS)), meta=part(EMPTY))


def table() -> dd.DataFrame:
    """A table to join, two rows for some keys and none for others."""
    keys = [*range(0, 20, 2), 0, 4, 99]
    return dd.from_pandas(pd.DataFrame({"k": keys, "price": np.arange(13.0)}), npartitions=3)


@pytest.fixture(params=["threads", pytest.param("processes", marks=[pytest.mark.long, ON_CLUSTER])])
def where(request):
    """The scheduler, and how it shuffles."""
    if request.param == "threads":
        with dask.config.set({"scheduler": "threads", "dataframe.shuffle.method": "tasks"}):
            yield request.param
    else:
        request.getfixturevalue("client")
        with dask.config.set({"dataframe.shuffle.method": "p2p"}):
            yield request.param


def check_dtypes(frame: dd.DataFrame) -> list[pd.DataFrame]:
    """The partitions; image columns of each have the dtype declared, its policy too.

    (Dask itself declares an integer column that a left join turns into floats an integer one.)
    """
    parts = dask.compute(*frame.to_delayed())
    meta = make_meta(frame)
    for number, computed in enumerate(parts):
        assert computed.columns.tolist() == meta.columns.tolist(), f"partition {number}"
        for kind in set(KINDS) & set(meta.columns):
            assert computed[kind].dtype == meta[kind].dtype == kind, f"partition {number}"
            assert computed[kind].dtype.on_error == meta[kind].dtype.on_error == "null", kind
            assert len(computed[kind].array.valid) == len(computed)
    return list(parts)


def check(frame: dd.DataFrame, expected: pd.DataFrame, order: list[str] | None = None) -> None:
    """Same rows, with all that each cell knows, in any order but for `order`."""
    order = order or ["id"]
    got = pd.concat(check_dtypes(frame)).rename_axis(None).sort_values(order)
    expected = expected.rename_axis(None).sort_values(order)
    assert got.columns.tolist() == expected.columns.tolist()
    for name in expected.columns:
        if name in KINDS:
            assert records(got[name].array) == records(expected[name].array), name
        else:
            assert got[name].tolist() == expected[name].tolist(), name


@pytest.mark.parametrize("how", ["inner", "left"])
@pytest.mark.parametrize("broadcast", [True, False])
def test_merge(where, how, broadcast):
    merged = lazy().merge(table(), on="k", how=how, broadcast=broadcast)
    expected = whole().merge(table().compute(), on="k", how=how)
    check(merged.fillna({"price": -1.0}), expected.fillna({"price": -1.0}), ["id", "price"])


def test_left_join_gives_missing_cells(where):
    merged = table().merge(lazy().drop(columns="g"), on="k", how="left")
    expected = table().compute().merge(whole().drop(columns="g"), on="k", how="left")
    merged, expected = (x.fillna({"id": -1}) for x in (merged, expected))
    check(merged, expected, ["price"])
    assert records(expected[KINDS[1]].array)[-1] == (None, None, None, False)


def test_merge_by_disk():
    with dask.config.set({"scheduler": "threads"}):
        merged = lazy().merge(table(), on="k", shuffle_method="disk", broadcast=False)
        check(merged, whole().merge(table().compute(), on="k"), ["id", "price"])


def test_merge_by_index(where):
    prices = table().compute().drop_duplicates("k").set_index("k")
    right = dd.from_pandas(prices, npartitions=2)
    merged = lazy().merge(right, left_on="k", right_index=True)
    check(merged, whole().merge(prices, left_on="k", right_index=True))


@pytest.mark.parametrize("method", ["tasks", "p2p"])
def test_shuffle(client, method):
    check(lazy().shuffle("g", shuffle_method=method, npartitions=7), whole())


def test_set_index(where):
    indexed = lazy().set_index("k")
    check(indexed, whole().set_index("k"))
    assert indexed.compute().index.is_monotonic_increasing
    known = lazy().set_index("id", sorted=True, drop=False)
    assert records(known.loc[1:5, KINDS[2]].compute().array) == records(
        whole()[KINDS[2]].loc[1:5].array
    )


def test_sort_values(where):
    check(lazy().sort_values("k"), whole())
    descending = lazy().sort_values("k", ascending=False).compute()
    assert descending.k.is_monotonic_decreasing


def test_drop_duplicates(where):
    kept = lazy().drop_duplicates(subset=["g"]).compute()
    expected = whole().drop_duplicates(subset=["g"])
    assert sorted(kept.g) == sorted(expected.g)
    for kind in KINDS:
        assert kept[kind].dtype == kind
        by_id = whole().set_index("id")[kind].loc[kept.id]
        assert records(kept[kind].array) == records(by_id.array)


def test_by_content(where):
    doubled = dd.concat([lazy(), lazy()])
    for kind in (KINDS[0], KINDS[4]):
        assert doubled[[kind]].drop_duplicates().shape[0].compute() == 7  # six cells and null
        assert doubled[kind].isna().sum().compute() == 2 * whole()[kind].isna().sum()
        assert doubled[kind].nunique().compute() == 6


def test_concat(where):
    check(dd.concat([lazy(), lazy()]), pd.concat([whole(), whole()]))
    missing = [(None, None, None, False)] * len(table())
    both = dd.concat([lazy(), table()])
    got = both.compute()
    for kind in KINDS:
        assert both.dtypes[kind] == got[kind].dtype == kind
        assert records(got[kind].array)[len(whole()) :] == missing


def test_concat_of_policies(where):
    strict = lazy().assign(
        **{kind: lazy()[kind].map_partitions(with_policy, "raise") for kind in KINDS}
    )
    both = dd.concat([strict, lazy()])
    assert {both.dtypes[kind].on_error for kind in KINDS} == {"null"}
    shuffled = both.shuffle("k")
    assert len(shuffled) == 2 * len(whole())
    got = shuffled.compute().sort_values("id")
    twice = pd.concat([whole(), whole()]).sort_values("id")
    for kind in KINDS:
        assert records(got[kind].array) == records(twice[kind].array)


def with_policy(series: pd.Series, policy: str) -> pd.Series:
    a, dtype = series.array, series.dtype
    dtype = dtype.derive(dtype.cells, dtype.shape, on_error=policy)
    return pd.Series(di.ImageArray(dtype, a.valid, a.data, a.path, a.error), series.index)


@pytest.mark.parametrize("npartitions", [1, 2, 9])
def test_repartition(where, npartitions):
    frame = lazy().repartition(npartitions=npartitions)
    check(frame, whole())
    known = lazy().set_index("id", sorted=True, drop=False)
    check(known.repartition(divisions=[0, 3, 10, 19]), whole())


def test_groupby(where):
    frame = lazy()
    sums = frame.groupby("g").id.sum().compute()
    assert sums.to_dict() == whole().groupby("g").id.sum().to_dict()
    firsts = frame.groupby("g").first().compute()
    expected = whole().groupby("g").first()
    counts = frame.groupby("g").count().compute().loc[expected.index]
    pd.testing.assert_frame_equal(counts, whole().groupby("g").count(), check_index_type=False)
    for kind in KINDS:
        got = firsts[kind].loc[expected.index]
        assert got.dtype == kind
        assert records(got.array) == records(expected[kind].array)
    meta = frame._meta  # the groups of older versions hold what they were made by
    meta = meta.drop(columns="g") if PANDAS >= 3 else meta
    applied = frame.groupby("g").apply(lambda group: group.head(2), meta=meta)
    check_dtypes(applied)


def test_filters_and_selections(where):
    frame, all_rows = lazy(), whole()
    check(frame[frame.id % 3 == 0], all_rows[all_rows.id % 3 == 0])
    check(frame[~frame[KINDS[0]].isna()], all_rows[all_rows[KINDS[0]].notna()])
    check(frame.dropna(subset=[KINDS[5]]), all_rows.dropna(subset=[KINDS[5]]))
    check(frame[["id", KINDS[2]]], all_rows[["id", KINDS[2]]])
    check(frame.assign(copy=frame[KINDS[1]]).drop(columns="copy"), all_rows)
    assert records(frame.head(3)[KINDS[1]].array) == records(all_rows.head(3)[KINDS[1]].array)
    assert records(frame.tail(3)[KINDS[1]].array) == records(all_rows.tail(3)[KINDS[1]].array)
    assert len(frame.sample(frac=0.5, random_state=1).compute()) > 0


def test_persist(where):
    check(lazy().persist(), whole())


def test_pickle(where):
    check(pickle.loads(pickle.dumps(lazy())), whole())
    computed = pickle.loads(pickle.dumps(lazy().compute()))
    for kind in KINDS:
        assert records(computed[kind].array) == records(whole()[kind].array)


def test_parquet(where, tmp_path):
    lazy().to_parquet(tmp_path / "all", write_metadata_file=False)
    check(dd.read_parquet(tmp_path / "all"), whole())
    some = dd.read_parquet(tmp_path / "all", columns=["id", KINDS[3]], filters=[("id", ">", 5)])
    assert some.dtypes[KINDS[3]] == KINDS[3]
    rest = whole()[["id", KINDS[3]]]
    check(some, rest[rest.id > 5])
    lazy().to_parquet(tmp_path / "by_group", partition_on=["g"])
    check(
        dd.read_parquet(tmp_path / "by_group").drop(columns="g"),
        whole().drop(columns="g"),
    )
    lazy().to_parquet(tmp_path / "all", append=True, ignore_divisions=True)
    check(dd.read_parquet(tmp_path / "all"), pd.concat([whole(), whole()]))


@pytest.mark.parametrize("state", [EMPTY, FAILED, MISSING])
def test_nothing_but(where, state):
    number = PARTS.index(state)
    frame = dd.from_map(part, [number] * 3, meta=part(EMPTY))
    expected = pd.concat([part(number)] * 3)
    check(frame.shuffle("k"), expected)
    check(frame.merge(table(), on="k", how="inner", broadcast=False).drop(columns="price"),
          expected.merge(table().compute(), on="k").drop(columns="price"))  # fmt: skip
    check(frame.repartition(npartitions=1), expected)


def test_from_pandas(where):
    frame = dd.from_pandas(whole(), npartitions=4)
    check(frame, whole())
    assert frame._meta_nonempty[KINDS[0]].dtype == KINDS[0]
