"""``.img`` on a DataFrame, pandas and Dask."""

from __future__ import annotations

import inspect

import dask.dataframe as dd
import pandas as pd
import pytest

import daskimg as di
from daskimg.io.parquet.write import write_parquet
from daskimg.testing import make_images


@pytest.fixture
def frame(tmp_path):
    make_images(tmp_path, 3, size=(8, 8), broken=3)
    return di.read_images(tmp_path)


@pytest.mark.parametrize("policy", ["raise", "null"])
def test_errors_lists_every_failed_cell(frame, policy):
    frame = frame.assign(image=frame.image.img.on_error(policy))
    found = frame.img.errors().compute()
    assert found.columns.tolist() == ["path", "column", "stage", "error"]
    assert [path.rsplit("/", 1)[1][:6] for path in found.path] == ["broken"] * 3
    assert found.column.tolist() == ["image"] * 3
    assert found.stage.tolist() == ["decode"] * 3
    assert found.error.str.startswith("decode: ").all()
    pd.testing.assert_frame_equal(found, frame.compute().img.errors())


def test_errors_of_several_columns(frame):
    frame = frame.assign(image=frame.image.img.on_error("null"))
    small = frame.image.img.decode("RGB").img.crop(0, 0, 9, 9)
    found = frame.assign(small=small).img.errors().compute()
    assert found.column.value_counts().to_dict() == {"small": 6, "image": 3}
    assert sorted(set(found.stage)) == ["crop", "decode"]


def test_kept_failed_and_missing_are_all_rows(frame):
    frame = frame.assign(image=frame.image.img.on_error("null"), n=frame.index % 6)
    wide = dd.from_pandas(pd.DataFrame({"n": range(8)}), 2).merge(frame, on="n", how="left")
    pixels = wide.assign(pixels=wide.image.img.decode()).compute().pixels
    failed = int(pixels.img.failed.sum())
    kept = int(pixels.notna().sum())
    missing = int((pixels.isna() & ~pixels.img.failed).sum())
    assert (kept, failed, missing) == (3, 3, 2)


def test_a_frame_without_pictures_says_so():
    with pytest.raises(ValueError, match="no image column"):
        pd.DataFrame({"a": [1]}).img.errors()


def test_a_column_named_img_stays(frame):
    frame = frame.assign(img=1)
    assert frame["img"].compute().tolist() == [1] * 6


def test_methods_say_what_their_functions_say(frame):
    for one in (frame, frame.compute()):
        assert one.img.write_parquet.__doc__ == write_parquet.__doc__
        assert next(iter(inspect.signature(one.img.write_parquet).parameters)) == "path"
