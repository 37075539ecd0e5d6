"""A frame sorted by what a model or a picture gives: each row is made once."""

from __future__ import annotations

import uuid

import dask
import numpy as np
import pytest

from daskimg import metrics, read_images
from daskimg.testing import make_images

ROWS = 12


class Model:
    """Tells a score, and how many rows it saw."""

    seen = 0

    def __call__(self, batch):
        n = len(batch["path"])
        type(self).seen += n
        return {"score": np.arange(n)[::-1] * 1.0, "made": np.ones(n)}


@pytest.fixture(scope="module")
def df(tmp_path_factory):
    files = make_images(tmp_path_factory.mktemp("sorted"), ROWS, size=(6, 5))
    df = read_images(files, files_per_partition=4)
    small = df.image.img.decode("RGB").img.resize(4, 3)
    return df.assign(k=df.path.str[-6:], bright=df.image.img.mean(), image=small)


def staged(df):
    return df.img.map_batches(Model, columns=["path"], meta={"score": "f8", "made": "f8"})


CASES = {
    "by a score": lambda d: staged(d).set_index("score"),
    "by what a score gives": lambda d: (s := staged(d)).assign(w=s.score * 2).set_index("w"),
    "by a score, a column of the frame": lambda d: (s := staged(d)).set_index(s.score * 2),
    "sorted by a score": lambda d: staged(d).sort_values("score"),
    "by a measure": lambda d: staged(d).set_index("bright"),
    "by a measure beside, then the model": lambda d: staged(d.set_index(d.image.img.mean())),
    "by a measure, then the model": lambda d: staged(d.set_index("bright")),
    "twice": lambda d: staged(d.set_index("bright")).set_index("score"),
    "by the table": lambda d: staged(d).set_index("k"),
    "by the table, then the model": lambda d: staged(d.set_index("k")),
    "divisions given": lambda d: staged(d).set_index("score", divisions=[0.0, 2.0, 9.0]),
}


def batches(chosen, tmp_path):
    return sum(len(x["made"]) for x in chosen.img.iter_batches(5))


def torch(chosen, tmp_path):
    pytest.importorskip("torch")
    loader = chosen.img.to_torch(["image", "made"], batch_size=5)
    return sum(len(made) for (_, made), _ in loader)


def written(chosen, tmp_path):
    return chosen.img.write_parquet(tmp_path / "rows").rows


def computed(chosen, tmp_path):
    return len(chosen.compute())


def persisted(chosen, tmp_path):
    return len(chosen.persist().compute())


def several(chosen, tmp_path):
    rows, total = dask.compute(chosen, chosen.made.sum())
    assert total == len(rows)
    return len(rows)


def total(chosen, tmp_path):
    return int(chosen.made.sum().compute())


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("way", [batches, torch, computed])
def test_each_row_is_made_once(df, name, way, tmp_path):
    """Dask asks for the keys of all rows before it sorts any."""
    Model.seen = 0
    metrics.reset()
    with dask.config.set(scheduler="sync"):
        assert way(CASES[name](df)[["image", "made"]], tmp_path) == ROWS
    assert (Model.seen, metrics.snapshot().get("decode", 0)) == (ROWS, ROWS)


def sees_each_row_once(df, name, way, tmp_path):
    Model.seen = 0
    with dask.config.set(scheduler="sync"):
        assert way(CASES[name](df)[["image", "made"]], tmp_path) == ROWS
    assert Model.seen == ROWS


@pytest.mark.sampled(one_in=8)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("way", [written, persisted, several, total])
def test_a_model_sees_each_row_once_whatever_is_asked(df, name, way, tmp_path):
    sees_each_row_once(df, name, way, tmp_path)


@pytest.mark.parametrize("way", [written, total])
def test_what_was_made_is_not_kept(df, way, tmp_path):
    sees_each_row_once(df, "twice", way, tmp_path / "first")
    sees_each_row_once(df, "twice", way, tmp_path / "again")


def test_workers_see_each_row_once(df, client, tmp_path):
    def score(batch):
        rows = len(batch["path"])
        (tmp_path / f"{rows}-{uuid.uuid4()}").touch()
        return {"score": np.arange(rows)[::-1] * 1.0}

    rows = df.img.map_batches(score, columns=["path"], meta={"score": "f8"})
    assert len(rows.set_index("score")[["k"]].compute()) == ROWS
    assert sum(int(path.name.split("-")[0]) for path in tmp_path.iterdir()) == ROWS


@pytest.mark.parametrize("parts", [1, 3])
def test_the_rows_are_those_of_the_frame(df, parts):
    """Whatever is done to them on the way."""
    rows = staged(df.repartition(npartitions=parts)).assign(row=lambda d: d.index)
    with dask.config.set(scheduler="sync"):
        plain = rows.compute()
        whole = rows.set_index("score").compute()
        some = rows.set_index("score")
        some = some[some.k > "05"][["row"]].compute()
        ends = rows.sort_values("score", ascending=False).head(3, npartitions=-1)
    assert {*zip(whole.index, whole.row, strict=True)} == {
        *zip(plain.score, plain.row, strict=True)
    }
    assert whole.index.is_monotonic_increasing
    assert sorted(some.row) == sorted(plain.row[plain.k > "05"])
    assert ends.score.tolist() == sorted(plain.score, reverse=True)[:3]


def test_rows_sorted_by_a_measure_are_those_of_pandas(df):
    with dask.config.set(scheduler="sync"):
        plain = df.compute()
        by_column = df.set_index("bright").compute()
        beside = df.set_index(df.image.img.std()).compute()
        sorted_down = df.sort_values("bright", ascending=False).compute()
    assert by_column.k.tolist() == plain.sort_values("bright").k.tolist()
    assert beside.k.tolist() == plain.set_index(plain.image.img.std()).sort_index().k.tolist()
    assert (beside.index.name, [*beside.columns]) == ("image", [*plain.columns])
    assert sorted_down.k.tolist() == by_column.k.tolist()[::-1]
