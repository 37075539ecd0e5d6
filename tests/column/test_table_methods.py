"""What a table does with a column of pictures: it works, or says what to do."""

from __future__ import annotations

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import daskimg as di

RED, BLUE = np.full((2, 2, 3), 1, "uint8"), np.full((2, 2, 3), 2, "uint8")


@pytest.fixture(params=["image", "image[uint8, 2x2x3]", "image[mixed]", "image[file]"])
def frame(request):
    cells = ["a", "b", "a", None] if request.param == "image[file]" else [RED, BLUE, RED, None]
    column = pd.Series(cells, dtype=request.param)
    return pd.DataFrame({"image": column, "n": [1.0, 2.0, 3.0, 4.0]})


@pytest.fixture(params=[False, True], ids=["pandas", "dask"])
def table(request, frame, one_thread):
    return dd.from_pandas(frame, npartitions=2) if request.param else frame


def value(made):
    return made.compute() if hasattr(made, "compute") else made


WORKS = {
    "describe": lambda t: value(t.describe()).loc["mean", "n"] == 2.5,
    "describe all": lambda t: value(t.describe(include="all")).loc["unique", "image"] == 2,
    "describe a column": lambda t: value(t.image.describe())["count"] == 3,
    "value_counts": lambda t: sorted(value(t.image.value_counts())) == [1, 2],
    "groupby": lambda t: sorted(value(t.groupby("image").size())) == [1, 2],
    "groupby, in order": lambda t: sorted(value(t.groupby("image", sort=False).n.sum())) == [2, 4],
    "groupby a number": lambda t: len(value(t.groupby("n").image.first())) == 4,
    "drop_duplicates": lambda t: len(value(t.drop_duplicates(subset=["image"]))) == 3,
    "unique": lambda t: len(value(t.image.unique())) == 3,
    "nunique": lambda t: value(t.image.nunique()) == 2,
    "count": lambda t: value(t.count())["image"] == 3,
    "nlargest of a number": lambda t: value(t.nlargest(1, "n")).n.tolist() == [4],
    "numbers alone": lambda t: value(t.mean(numeric_only=True))["n"] == 2.5,
    "corr": lambda t: value(t.corr(numeric_only=True)).loc["n", "n"] == 1,
}


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("what", WORKS)
def test_works(table, what):
    assert WORKS[what](table)


SAYS = {
    "mean": lambda t: t.image.mean(),
    "sum": lambda t: t.image.sum(),
    "max": lambda t: t.image.max(),
    "std": lambda t: t.image.std(),
    "a number more": lambda t: t.image + 1,
    "from a number": lambda t: 1 - t.image,
    "columns": lambda t: t.image * t.image,
    "less": lambda t: t.image < 3,
    "clip": lambda t: t.image.clip(0, 1),
    "between": lambda t: t.image.between(1, 2),
    "negative": lambda t: -t.image,
    "sort_values": lambda t: t.sort_values("image"),
    "frame.mean": lambda t: t.mean(),
    "frame.max": lambda t: t.max(),
    "groupby max": lambda t: t.groupby("n").image.max(),
    "groupby sum": lambda t: t.groupby("n").image.sum(),
    "groupby std": lambda t: t.groupby("n").image.std(),
    "groupby agg": lambda t: t.groupby("n").agg({"image": "mean"}),
    "groupby cumsum": lambda t: t.groupby("n").image.cumsum(),
    "corr": lambda t: t.corr(),
    "a ufunc": lambda t: np.sqrt(t.image),
    "a ufunc of two": lambda t: np.add(1, t.image),
    "to floats": lambda t: t.image.astype("float32"),
    "to integers": lambda t: t.image.astype("int64"),
    "to booleans": lambda t: t.image.astype(bool),
}


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("what", SAYS)
def test_says_what_to_do(table, what):
    with pytest.raises((TypeError, ValueError), match=r"\.img\b"):
        value(SAYS[what](table))


def test_groups_are_alike_on_every_run():
    frame = pd.DataFrame({"image": pd.Series([BLUE, RED, BLUE], dtype="image"), "n": [1, 2, 3]})
    turned = frame.iloc[::-1]
    assert frame.groupby("image").n.sum().tolist() == turned.groupby("image").n.sum().tolist()
    assert isinstance(frame.groupby("image").n.sum().index[0], di.Image)


@pytest.mark.parametrize("choose", ["nlargest", "nsmallest"])
def test_ops_on_the_rows_with_the_largest_values(table, choose):
    rows = getattr(table, choose)(3, "n")
    assert value(rows.image.img.failed).tolist() == [False] * 3
    assert value(rows).n.tolist() == {"nlargest": [4, 3, 2], "nsmallest": [1, 2, 3]}[choose]
