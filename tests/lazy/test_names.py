"""A column may have any name, those of an expression's attributes and parameters too."""

from __future__ import annotations

import functools

import dask
import dask.dataframe as dd
import pandas as pd
import pytest
from dask._expr import Expr

import daskimg as di
from daskimg.testing import make_images
from tests.amount import ALL

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.sampled]
PLENTY = "how varies frame other predicate columns divisions npartitions ndim name size index dask"
# Dask makes columns of these names itself, or asks for them as attributes
TAKEN = {"_partitions", "sort", "shuffle_by_index"}
OURS = {"k", "file", "picture", "mean", "std"}


def below(kind: type) -> list[type]:
    """A class and all that are derived from it."""
    return [kind, *(one for sub in kind.__subclasses__() for one in below(sub))]


@functools.cache
def every_name() -> list[str]:
    """Each attribute and parameter of Dask's expressions and frames."""
    found = {*dir(dd.DataFrame), *dir(dd.Series), *PLENTY.split()}
    for kind in below(Expr):
        found |= {*dir(kind), *kind._parameters}
    return sorted(name for name in found - TAKEN - OURS if not name.startswith("__"))


@functools.cache
def names() -> list[str]:
    """Those that a column is made for: in `make test` a sample."""
    some = every_name()[:: 1 if ALL else 8]
    return sorted({*some, *PLENTY.split()})


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp("names"), 6, size=(8, 9))


@pytest.fixture(scope="module")
def df(paths):
    """A column of numbers for every name there is."""
    k = pd.Series(range(6))
    rows = pd.DataFrame({"file": paths, "k": k, **{name: k for name in names()}})
    lazy = dd.from_pandas(rows, npartitions=2)
    return lazy.assign(picture=di.images(lazy["file"]))


def all_rows(frame) -> None:
    assert set(names()) <= {*frame.columns}
    for name in ["k", *names()]:
        assert frame[name].tolist() == frame["k"].tolist(), name


def test_there_are_many():
    assert len(every_name()) > 600
    assert {*PLENTY.split(), "left_on", "_meta", "walk"} <= {*every_name()}
    assert {*PLENTY.split()} < {*names()} <= {*every_name()}


def test_ops_and_filters(df):
    d = df.assign(mean=df["picture"].img.mean())
    d = d[(d["how"] > 1) & (d["mean"] >= 0) & d["varies"].isin(range(6))]
    found = d.assign(std=d["picture"].img.std()).compute()
    assert found["k"].tolist() == [2, 3, 4, 5]
    all_rows(found)


def test_joins(df):
    other = df[["k"]].assign(more=1)
    d = df.assign(mean=df["picture"].img.mean()).merge(other, on="k", how="left")
    found = d.assign(std=d["picture"].img.std()).compute()
    assert sorted(found["k"]) == list(range(6))
    all_rows(found)


@pytest.mark.parametrize("fill", [False, True])
def test_batches_of_a_function(df, fill):
    d = df.img.map_batches(
        lambda b: {"twice": b["how"] * 2},
        columns=["how", "picture"],
        batch_size=4,
        fill_batches=fill,
    )
    found = d.compute()
    assert found["twice"].tolist() == [0, 2, 4, 6, 8, 10]
    assert found["varies"].tolist() == found["k"].tolist()


def test_iterators(df):
    d = df[df["frame"].isin([0, 1, 4])]
    batches = list(d.img.iter_batches(2))
    assert [len(b["picture"]) for b in batches] == [2, 1]
    all_rows(pd.concat([pd.DataFrame({n: b[n] for n in ["k", *names()]}) for b in batches]))
    assert [row["how"] for row in d.img.iter_rows()] == [0, 1, 4]


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_writers(df, tmp_path, form):
    written = getattr(df.img, f"write_{form}")(tmp_path / "out")
    assert written.rows == 6


def test_pictures_written_and_failures_listed(df, tmp_path):
    assert df.img.write_images(tmp_path / "out", column="picture").rows == 6
    assert len(df.img.errors().compute()) == 0


def test_frames_of_pandas(df, tmp_path):
    found = df.compute()
    found = found.assign(mean=found["picture"].img.mean())
    assert found.img.map_batches(lambda b: {"x": b["how"]}, columns="how")["x"].tolist() == [
        *range(6)
    ]
    assert [len(b["how"]) for b in found.img.iter_batches(4)] == [4, 2]
    assert found.img.write_parquet(tmp_path / "out").rows == 6


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("name", PLENTY.split())
def test_pictures_and_measures_of_any_name(paths, name):
    lazy = dd.from_pandas(pd.DataFrame({"file": paths, "k": range(6)}), npartitions=2)
    d = lazy.assign(**{name: di.images(lazy["file"])})
    d = d.assign(small=d[name].img.decode("RGB").img.resize(4, 4), mean=d[name].img.mean())
    assert [len(b["k"]) for b in d[d["mean"] >= 0].img.iter_batches(4)] == [4, 2]
    assert len(d[d["k"] > 2][[name, "mean"]].compute()) == 3
    d = lazy.assign(picture=di.images(lazy["file"]))
    d = d.assign(**{name: d["picture"].img.mean()})
    d = d[d[name] >= 0]
    assert len(d.assign(std=d["picture"].img.std()).compute()) == 6
    assert d.img.map_batches(lambda b: {"x": b[name]}, columns=name).compute()["x"].min() >= 0


@pytest.mark.parametrize("source", ["isin", "delayed", "argument"])
def test_pictures_are_named_above_delayed_values(paths, tmp_path, source):
    lazy = dd.from_pandas(pd.DataFrame({"file": paths, "k": range(6)}), npartitions=2)
    d = lazy.assign(picture=di.images(lazy["file"]))
    meta = d._meta.assign(picture=pd.Series([], dtype="image[uint8]"))
    if source == "isin":
        d = d[d["k"].isin([0, 1])]
    elif source == "delayed":
        d = dd.from_delayed([dask.delayed(d.partitions[0].head)(2)], meta=d._meta)
    else:
        d = d.map_partitions(lambda f, n: f.head(n), dask.delayed(int)(1), meta=d._meta)
    d = d.assign(picture=d["picture"].img.decode("RGB"))
    d = d.map_partitions(lambda f: f, meta=meta)  # (declared, without the folder)
    assert d.img.write_images(tmp_path / "out", file_format="png").rows == 2
