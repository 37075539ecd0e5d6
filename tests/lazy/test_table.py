"""Rows as bare arrays: cut, put together, and as pandas at last."""

from __future__ import annotations

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg.lazy.bare import Column, Table, arrays_of, as_pandas, joined, some_rows
from daskimg.testing import make_images


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return di.images(pd.Series(make_images(tmp_path_factory.mktemp("table"), 4))).array


def table(start, stop, cells, **more):
    columns = {
        "n": np.arange(start, stop),
        "word": pd.array([f"w{i}" for i in range(start, stop)], "string[pyarrow]"),
        "count": pd.array([None, *range(start + 1, stop)], "Int64"),
        "image": cells[start:stop],
    }
    return Table(pd.RangeIndex(start, stop), {**columns, **more})


def test_rows_put_together_are_those_that_pandas_puts_together(cells):
    parts = [table(0, 1, cells), table(1, 1, cells, count=pd.array([], "Int64"))]
    parts.append(table(1, 4, cells))
    made = joined(parts)
    assert isinstance(made, Table)
    wanted = pd.concat([parts[0].pandas(), parts[2].pandas()])
    assert isinstance(as_pandas(made).index, pd.RangeIndex)
    pd.testing.assert_frame_equal(as_pandas(made), wanted)


def test_a_series_in_parts(cells):
    parts = [Column(pd.RangeIndex(k, k + 2), np.array([k, k + 0.5]), "x") for k in (0, 2)]
    made = joined(parts)
    assert isinstance(made, Column)
    pd.testing.assert_series_equal(
        as_pandas(made), pd.Series([0, 0.5, 2, 2.5], pd.RangeIndex(4), name="x")
    )


@pytest.mark.parametrize("case", ["another dtype", "another column", "categories", "pandas"])
def test_what_differs_is_left_to_pandas(cells, case):
    first, second = table(0, 2, cells), table(2, 4, cells)
    if case == "another dtype":
        second.arrays["n"] = second.arrays["n"].astype("float64")
    elif case == "another column":
        second.arrays["extra"] = np.ones(2)
    elif case == "categories":
        first.arrays["n"] = pd.Categorical(["a", "b"])
        second.arrays["n"] = pd.Categorical(["c", "b"])
    made = joined([first, second.pandas() if case == "pandas" else second])
    assert isinstance(made, pd.DataFrame)
    wanted = pd.concat([first.pandas(), second.pandas()])
    if case == "categories":  # Dask's union of them, where pandas gives objects
        assert made["n"].cat.categories.tolist() == ["a", "b", "c"]
        made, wanted = made.assign(n=made["n"].astype(str)), wanted.assign(n=[*"abcb"])
    assert made["n"].tolist() == wanted["n"].tolist()
    pd.testing.assert_frame_equal(made.drop(columns="n"), wanted.drop(columns="n"))


def test_a_single_part_is_not_copied(cells):
    whole = table(0, 4, cells)
    assert joined([whole]) is whole
    assert some_rows(whole, 0, 4) is whole
    assert np.shares_memory(some_rows(whole, 1, 3).arrays["n"], whole.arrays["n"])


@pytest.mark.parametrize("bare", [True, False])
def test_rows_of_either_kind(cells, bare):
    whole = table(0, 4, cells)
    frame = whole if bare else whole.pandas()
    some = some_rows(frame, 1, 3)
    assert len(some) == 2
    assert [name for name, _ in arrays_of(some)] == ["n", "word", "count", "image"]
    pd.testing.assert_frame_equal(as_pandas(some), whole.pandas().iloc[1:3])


def test_numbers_are_numpys_own_in_either_kind():
    series = pd.Series(np.array([1, np.nan], "float32"))
    for frame in (Table(series.index, {"f": series.array}), series.to_frame("f")):
        ((_, array),) = arrays_of(frame)
        assert isinstance(array, np.ndarray)
        assert array.dtype == np.float32


def test_columns_named_as_what_the_layer_asks_for(tmp_path):
    make_images(tmp_path, 4, size=(4, 6))
    df = di.read_images(tmp_path, files_per_partition=2)
    df = df.assign(varies=1, how="left")
    widths = df.assign(width=df.image.img.width, mean=df.image.img.mean()).compute()
    assert widths.width.tolist() == [6] * 4
    made = df.img.map_batches(lambda b: {"n": b["varies"] + 1}, columns=["varies", "image"])
    assert made.n.compute().tolist() == [2] * 4


@pytest.mark.parametrize(
    "kind", ["file", "encoded", "pixels", "uint8", "grey", "one shape", "list"]
)
def test_dask_tries_functions_on_pictures_that_open(tmp_path, kind):
    """Without ``meta=`` Dask runs a function on two rows that it makes up."""
    make_images(tmp_path, 3, size=(9, 8))
    frame = di.read_images(tmp_path)
    ways = {
        "file": lambda s: s,
        "encoded": lambda s: s.img.read(),
        "pixels": lambda s: s.img.decode(),
        "uint8": lambda s: s.img.decode("RGB"),
        "grey": lambda s: s.img.decode("L"),
        "one shape": lambda s: s.img.decode("RGB").img.resize(4, 5),
    }
    if kind == "list":
        rows = pd.DataFrame({"images": frame.path.compute().map(lambda path: [path])})
        frame = dd.from_pandas(rows.astype({"images": "list[image]"}), npartitions=1)
        found = frame.map_partitions(lambda part: part.explode("images").images.img.mean())
    else:
        frame = frame.assign(image=ways[kind](frame.image), k=1)
        found = frame.map_partitions(lambda part: part.image.img.crop(1, 1, 3, 3).img.mean())
        same = frame.apply(lambda row: float(row.image.to_numpy()[1:4, 1:4].mean()), axis=1)
        mapped = frame.image.map(lambda cell: float(cell.to_numpy()[1:4, 1:4].mean()))
        assert found.compute().round(9).tolist() == same.compute().round(9).tolist()
        assert mapped.compute().round(9).tolist() == same.compute().round(9).tolist()
    assert found.dtype == "float64"
    assert found.compute().notna().all()
