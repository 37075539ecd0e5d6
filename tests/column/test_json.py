"""The dtype of lists and dicts in pandas."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import PIL.Image
import pyarrow as pa
import pytest

import daskimg as di

CELLS = [["a", "b"], [], None, {"x": [1, 2.5], "y": None}, ["a", "b"]]


@pytest.fixture
def column():
    return pd.Series(CELLS, dtype="json")


def test_cells_are_python_values(column):
    assert column[0] == ["a", "b"]
    assert column[2] is pd.NA
    assert column.isna().tolist() == [False, False, True, False, False]
    assert column[[3, 0]].tolist() == [CELLS[3], CELLS[0]]
    assert column.reindex([0, 9]).tolist() == [["a", "b"], pd.NA]
    assert pd.concat([column[:1], column[3:4]]).tolist() == [CELLS[0], CELLS[3]]


def test_cells_of_one_length_are_no_second_axis():
    assert np.asarray(pd.Series([["a", "b"], ["c", "d"]], dtype="json")).shape == (2,)


def test_cells_can_be_set(column):
    column[1] = {"new": (1, 2)}
    column.iloc[[0, 2]] = [["z"], None]
    assert column.tolist()[:3] == [["z"], {"new": [1, 2]}, pd.NA]


@pytest.mark.parametrize("missing", [None, pd.NA, np.nan, pd.NaT, np.float32("nan")])
def test_missing_values_are_null(column, missing):
    column[1] = missing
    column.iloc[[0, 2]] = missing
    assert column.isna().tolist()[:3] == [True] * 3
    array = column.array
    assert array.take([4, -1], allow_fill=True, fill_value=missing).isna().tolist()[1]
    assert array.take([4, -1], allow_fill=True, fill_value=["x"]).tolist()[1] == ["x"]


def test_cells_are_set_from_arrays_row_by_row(column):
    column.iloc[[0, 1]] = np.array(["a", "b"], object)
    assert column.tolist()[:2] == ["a", "b"]
    column.iloc[0:2] = b"raw"
    assert column.tolist()[:2] == [b"raw", b"raw"]
    column.iloc[0:2] = {"a", "b"}
    assert column.tolist()[:2] == [["a", "b"]] * 2
    other = np.array([str(n) for n in range(len(column))], object)
    assert column.where([False] * len(column), other).tolist() == other.tolist()


def test_a_read_only_column_is_not_written(column):
    array = column.array.copy()
    array._readonly = True
    for one in (array, array[:]):
        with pytest.raises(ValueError, match="read-only"):
            one[0] = "x"
        with pytest.raises(ValueError, match="read-only"):
            one[0:2] = ["x", "y"]
    assert array.copy()[0] == column[0]


def test_equal_cells_are_one_group(column):
    assert column.duplicated().tolist() == [False, False, False, False, True]
    assert column.drop_duplicates().index.tolist() == [0, 1, 2, 3]


def test_a_list_explodes_to_its_items(column):
    rows = column.explode()
    assert rows.index.tolist() == [0, 0, 1, 2, 3, 4, 4]
    assert rows.tolist() == ["a", "b", pd.NA, pd.NA, CELLS[3], "a", "b"]
    assert column[[0, 4]].explode().astype("string").value_counts().to_dict() == {"a": 2, "b": 2}


def test_arrow_and_parquet_give_the_same_cells_back(column, tmp_path):
    frame = column.to_frame("cell")
    array = pa.array(column.array)
    assert array.type == pa.json_(pa.string())
    assert column.dtype.__from_arrow__(array).tolist() == column.tolist()
    frame.to_parquet(tmp_path / "a.parquet")
    back = pd.read_parquet(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(back, frame)


def test_what_json_does_not_hold_is_refused():
    with pytest.raises(TypeError, match=r"holds what JSON does .* got object"):
        pd.Series([[object()]], dtype="json")


def test_bytes_and_pictures_stand_in_lists_and_dicts(tmp_path):
    picture = np.arange(24, dtype="uint16").reshape(2, 4, 3)
    cells = [
        {"raw": b"\xff\x00", "crop": picture, "boxes": np.ones((2, 4))},
        [di.Image(b"GIF", "a.gif"), di.Image(error="read: gone"), PIL.Image.new("RGB", (3, 2))],
        {"daskimg.bytes": "no base64", "x": 1},
        {"daskimg.bytes": "no base64"},
        {"daskimg.image": {"pixels": "AAAA", "shape": [9, 9], "dtype": "uint8"}},
        {"daskimg.image": {"pixels": "AAAA", "shape": [1, 1], "dtype": "object"}},
    ]
    column = pd.Series(cells, dtype="json")
    for found in (
        column,
        pd.Series(column.dtype.__from_arrow__(pa.array(column.array))),
        pickle.loads(pickle.dumps(column)),
    ):
        assert found.tolist() == column.tolist()
        assert found[0]["raw"] == b"\xff\x00"
        assert found[0]["boxes"] == [[1.0] * 4] * 2  # no picture
        pixels = found[0]["crop"].to_numpy()
        assert pixels.dtype == np.uint16
        assert (pixels == picture).all()
        assert found[1][0].path == "a.gif"
        assert found[1][1].error == "read: gone"
        assert found[1][2].to_numpy().shape == (2, 3, 3)
    assert column.duplicated().tolist() == [False] * 6


def test_the_missing_value_as_everywhere():
    column = pd.Series([[1, 2], None], dtype="json")
    assert column.to_frame("a").to_dict("list")["a"][0] == [1, 2]
    assert column.to_frame("a").to_dict("list")["a"][1] in (None, pd.NA)
    assert column.to_numpy()[1] is pd.NA
    assert column.to_numpy(na_value="none")[1] == "none"
