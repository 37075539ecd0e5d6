"""Columns of lists of pictures: in pandas, in Arrow, through Dask."""

from __future__ import annotations

import os
import pickle

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import daskimg as di
from daskimg.column.lists import ImageListArray, ImageListDtype

ROWS = [2, 0, None, 1, "failed", 3]
KINDS = ["file", "encoded", "pixels", "uint8", "uint8, 2x3", "mixed"]


def cell(kind, n):
    path = f"{n}.png"
    if kind == "mixed":
        kind = ["file", "encoded", "pixels"][n % 3]
    if kind == "file":
        return di.Image(path=path)
    return di.Image(bytes([n]) if kind == "encoded" else np.full((2, 3), n, "uint8"), path)


def column(kind):
    n, cells, ends = 0, [], [0]
    for row in ROWS:
        if row == "failed":
            cells.append(di.Image(path="bad.png", error="decode: broken"))
        for _ in range(row if isinstance(row, int) else 0):
            n += 1
            cells.append(cell(kind, n))
        ends.append(len(cells))
    valid = np.array([isinstance(row, int) for row in ROWS])
    made = di.ImageArray.of(cells, di.ImageDtype(*parse(kind), on_error="null"))
    return pd.Series(ImageListArray(np.array(ends), valid, made), name="x")


def parse(kind):
    name, _, shape = kind.partition(", ")
    return (name, [int(n) for n in shape.split("x")]) if shape else (name,)


def same(found, wanted):
    assert found.dtype == wanted.dtype
    assert found.tolist() == wanted.tolist()
    one, other = found.explode(), wanted.explode()
    assert one.tolist() == other.tolist()
    assert one.img.path.tolist() == other.img.path.tolist()
    assert one.img.error.tolist() == other.img.error.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_explode(kind):
    rows = column(kind)
    assert str(rows.dtype) == f"list[image[{kind}]]"
    assert pd.api.types.pandas_dtype(str(rows.dtype)) == rows.dtype
    assert rows.isna().tolist() == [False, False, True, False, True, False]
    assert [len(row) for row in rows.dropna()] == [2, 0, 1, 3]
    flat = rows.explode()
    assert flat.dtype == f"image[{kind}]"
    assert flat.index.tolist() == [0, 0, 1, 2, 3, 4, 5, 5, 5]
    assert flat.isna().tolist() == [False, False, True, True, False, True, False, False, False]
    assert flat.img.failed.tolist() == [False] * 5 + [True] + [False] * 3
    assert flat.img.error[4] == "decode: broken"
    same(rows.iloc[[5, 4, 3, 2, 1, 0]].iloc[::-1], rows)
    same(pd.concat([rows[:2], rows[2:4], rows[4:]]), rows)
    same(rows.iloc[1:5].reindex([1, 2, 3, 4]), rows.iloc[1:5])
    assert rows.reindex([99, 3])[99] is pd.NA
    assert rows[rows.isna()].explode().img.failed.tolist() == [False, True]


@pytest.mark.parametrize("kind", KINDS)
def test_it_survives_pickle_and_arrow(kind):
    rows = column(kind)
    for some in (rows, rows.iloc[2:5], rows.iloc[:0]):
        same(pickle.loads(pickle.dumps(some)), some)
        array = pa.array(some.array)
        same(pd.Series(some.dtype.__from_arrow__(array), index=some.index), some)
        back = pa.ipc.open_stream(_ipc(pa.table({"x": array}))).read_all()
        same(back.to_pandas()["x"].set_axis(some.index), some)
    assert len(pickle.dumps(rows.iloc[:1])) < len(pickle.dumps(rows))


def _ipc(table):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


@pytest.mark.parametrize("kind", ["encoded", "pixels"])
def test_dask_joins_shuffles_and_explodes(kind):
    frame = pd.DataFrame({"k": [3, 1, 2, 0, 5, 4], "x": column(kind)})
    lazy = dd.from_pandas(frame, npartitions=3)
    table = dd.from_pandas(pd.DataFrame({"k": range(6), "price": range(6)}), npartitions=2)
    found = lazy.merge(table, on="k").compute().sort_values("k").x
    same(found.set_axis(range(6)), frame.sort_values("k").x.set_axis(range(6)))
    found = lazy.shuffle("k").compute().sort_index().x
    same(found, frame.x)
    flat = lazy.explode("x")
    assert flat.x.dtype == f"image[{kind}]"
    assert flat.compute().x.img.error.count() == 1
    if kind == "pixels":
        assert flat.x.img.width.sum().compute() == 18


def test_cells_can_be_set_and_compared():
    rows = column("uint8")
    rows[1] = [np.zeros((4, 4), "uint8"), None]
    rows.iloc[[2, 3]] = [None, []]
    assert [row if row is pd.NA else len(row) for row in rows] == [2, 2, pd.NA, 0, pd.NA, 3]
    assert rows[1][0].to_numpy().shape == (4, 4)
    twice = pd.concat([rows, rows], ignore_index=True)
    assert twice.duplicated().sum() == 7
    assert (rows == rows).tolist() == rows.notna().tolist()


def test_rows_are_taken_as_of_any_column():
    rows, one = column("uint8"), [np.ones((4, 4), "uint8")]
    array = rows.array
    filled = array.take([-1, 0, -1], allow_fill=True, fill_value=one)
    assert [len(row) for row in filled] == [1, 2, 1]
    assert filled[2][0].to_numpy().all()
    assert array[:0].take([-1], allow_fill=True, fill_value=one)[0] == filled[0]
    with pytest.raises(IndexError):
        array.take([0, len(rows)], allow_fill=True)
    with pytest.raises(ValueError, match="-1 to"):
        array.take([-2], allow_fill=True)
    for wrong in (1, 3):
        with pytest.raises(ValueError, match=f"2 rows from {wrong} lists"):
            array.copy()[np.array([0, 1])] = [one] * wrong
    twice = pd.concat([rows, rows], ignore_index=True)
    assert len(twice.unique()) == len(rows) - 1  # (two rows are null)


def test_a_read_only_column_is_not_written():
    array = column("uint8").array
    array._readonly = True
    for one in (array, array[:]):
        with pytest.raises(ValueError, match="read-only"):
            one[0] = [np.ones((4, 4), "uint8")]


def test_what_is_no_list_of_pictures_is_refused():
    with pytest.raises(TypeError, match=r"a cell of list\[image\] is a list of pictures; got int"):
        pd.Series([1], dtype="list[image]")
    with pytest.raises(TypeError, match="an image dtype"):
        ImageListDtype("int64")
    with pytest.raises(AttributeError, match=r"explode\('x'\) makes one, a row for each picture"):
        column("pixels").img  # noqa: B018
    with pytest.raises(TypeError, match="no order"):
        column("pixels").sort_values()


@pytest.fixture
def rows_of_files(tmp_path):
    di.testing.make_images(tmp_path / "in", 3, size=(4, 6))
    a, b, c = sorted(str(path) for path in (tmp_path / "in").rglob("*.*"))
    return [[a, b], [], None, [c], [a, str(tmp_path / "none.png"), b]]


@pytest.mark.parametrize("lazy", [False, True])
def test_files_in_lists_are_embedded(rows_of_files, lazy, tmp_path, one_thread):
    pictures = pd.Series(rows_of_files[:4]).astype("list[image]")
    assert pictures.dtype == "list[image[file]]"
    frame = pd.DataFrame({"n": range(4), "pictures": pictures})
    frame = dd.from_pandas(frame, npartitions=2) if lazy else frame
    frame.img.write_parquet(tmp_path / "out")
    for path in rows_of_files[0]:
        os.remove(path)
    back = di.read_parquet(tmp_path / "out").pictures.compute()
    assert back.dtype == "list[image[encoded]]"
    shapes = [[x.to_numpy().shape for x in row] if isinstance(row, list) else row for row in back]
    assert shapes == [[(4, 6, 3)] * 2, [], pd.NA, [(4, 6, 3)]]
    assert pd.read_parquet(tmp_path / "out").pictures[0][1]["bytes"]
    frame.img.write_parquet(tmp_path / "references", embed=False)
    assert di.read_parquet(tmp_path / "references").pictures.dtype == "list[image[file]]"


def test_a_row_of_which_a_file_is_missing(rows_of_files, tmp_path, one_thread):
    dtype = ImageListDtype(di.ImageDtype("file", on_error="null"))
    frame = pd.DataFrame({"pictures": pd.Series(rows_of_files, dtype=dtype)})
    result = frame.img.write_parquet(tmp_path / "out", errors=tmp_path / "failed")
    assert (result.rows, result.failed) == (5, 1)
    back = di.read_parquet(tmp_path / "out").pictures.compute()
    assert back.isna().tolist() == [False, False, True, False, True]
    assert [len(row) for row in back.dropna()] == [2, 0, 1]
    assert pd.read_parquet(tmp_path / "failed").path.tolist() == [rows_of_files[4][1]]
    with pytest.raises(di.ImageError, match=r"none\.png"):
        frame.assign(pictures=pd.Series(rows_of_files).astype("list[image]")).img.write_parquet(
            tmp_path / "raised"
        )
