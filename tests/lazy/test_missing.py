"""What pandas makes missing, or fills, beside and in an image column."""

from __future__ import annotations

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg.testing import make_images

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPE = (4, 4, 3)

KINDS = {
    "files": lambda s: s,
    "encoded": lambda s: s.img.read(),
    "pixels": lambda s: s.img.decode("RGB"),
    "one shape": lambda s: s.img.decode("RGB").img.resize(4, 4),
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    paths = make_images(tmp_path_factory.mktemp("missing"), 4, size=(9, 10))
    price = [1.0, None, 3.0, None, 5.0, 6.0]
    return pd.DataFrame({"path": [*paths, None, None], "price": price, "k": range(6)})


def whole(d):
    return d.assign(image=di.images(d["path"]))


def other(keys):
    return pd.DataFrame({"k": keys, "more": 1})


# How it is done, and how many pictures there are then.
DONE = {
    "fillna of a column": (lambda d: d.fillna({"price": 0}), 4),
    "fillna of two": (lambda d: d.fillna({"price": 0, "more": 1}), 4),
    "where": (lambda d: d.where(d["price"] > 1), 1),
    "where, of the column": (lambda d: d.assign(image=d["image"].where(d["price"] > 1)), 1),
    "where, NaN": (lambda d: d.assign(image=d["image"].where(d["price"] > 1, np.nan)), 1),
    "mask": (lambda d: d.mask(d["price"] > 1), 3),
    "replace": (lambda d: d.replace(1.0, 7.0), 4),
    "shift": (lambda d: d.shift(1), 4),
    "ffill": (lambda d: d.ffill(), 6),
    "left": (lambda d: d.merge(other([1, 2, 9]), on="k", how="left"), 4),
    "right": (lambda d: d.merge(other([1, 2, 9]), on="k", how="right"), 2),
    "outer": (lambda d: d.merge(other([1, 2, 9]), on="k", how="outer"), 4),
}
EAGER = {
    "reindex": (lambda d: d.reindex([0, 1, 9]), 2),
    "unstack": (lambda d: d.set_index(["k", "g"]).image.unstack().rename(columns={0: "image"}), 2),
    "fillna by rows": (
        lambda d: d.assign(image=d["image"].fillna(pd.Series([np.nan] * 6))),
        4,
    ),
    "set to NaN": (lambda d: set_first(d, np.nan), 3),
    "set to some NaN": (lambda d: set_first(d, np.array([np.nan, np.nan]), [0, 1]), 2),
}


def set_first(d, value, rows=0):
    d = d.copy()
    d.loc[rows, "image"] = value
    return d


def counts(d) -> set[int]:
    """The pictures that there are, asked in several ways."""
    height = d["image"].img.height
    both = d[["image"]].assign(mean=d["image"].img.mean())
    alone = d[["image"]].img.map_batches(
        lambda b: {"v": [float(p.mean()) for p in b["image"]]}, columns="image", meta={"v": float}
    )
    made = [x.compute() if hasattr(x, "dask") else x for x in (height, both, alone)]
    return {made[0].notna().sum(), made[1]["mean"].notna().sum(), made[2]["v"].notna().sum()}


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", [*DONE, *EAGER])
def test_pandas(rows, case, kind):
    do, there = {**DONE, **EAGER}[case]
    d = whole(rows)
    d = d.assign(image=KINDS[kind](d["image"]), g=[0, 0, 1, 1, 0, 1])
    assert counts(do(d)) == {there}


@pytest.mark.sampled(one_in=12)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", DONE)
def test_dask(rows, case, kind):
    do, there = DONE[case]
    d = whole(dd.from_pandas(rows, npartitions=2))
    d = d.assign(image=KINDS[kind](d["image"]))
    assert counts(do(d)) == {there}


@pytest.mark.parametrize("lazy", [False, True])
def test_filled_with_a_picture(rows, lazy):
    d = whole(dd.from_pandas(rows, npartitions=2) if lazy else rows)
    d = d.assign(image=KINDS["one shape"](d["image"]))
    picture = di.Image(np.full(SHAPE, 7, "uint8"))
    every = [d.assign(image=d["image"].fillna(picture))]
    if not lazy:  # (Dask loses what dicts say of a column that is then taken alone)
        every += [d.fillna({"image": picture}), d.fillna({"image": picture, "price": 0})]
    for filled in every:
        assert counts(filled) == {6}
        found = filled["image"].img.mean()
        assert (found.compute() if lazy else found).iloc[-1] == 7


@pytest.mark.parametrize("lazy", [False, True])
def test_a_number_is_no_picture(rows, lazy):
    d = whole(dd.from_pandas(rows, npartitions=2) if lazy else rows)
    with pytest.raises(TypeError, match=r"got int 0; .*fillna\(\{"):
        counts(d.fillna(0))


def test_numbers_are_no_pictures_of_rows(rows):
    d = whole(rows)
    for value in (np.array([1.0, 2.0]), [1.0, np.nan]):
        with pytest.raises(TypeError, match="a cell is an"):
            d.loc[[0, 1], "image"] = value


def test_tensors_keep_vectors_of_nan():
    series = pd.Series([np.ones(2), None, np.ones(2)], dtype="tensor[float64, 2]")
    assert series.fillna(pd.Series([np.nan] * 3)).isna().tolist() == [False, True, False]
    series.array[1] = np.array([np.nan, np.nan])
    assert not series.isna().any()
