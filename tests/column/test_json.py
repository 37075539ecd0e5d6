"""The dtype of lists and dicts in pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

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
    with pytest.raises(TypeError, match=r"holds what JSON does .* got bytes"):
        pd.Series([[b"raw"]], dtype="json")
