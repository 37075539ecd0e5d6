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


def index_of(kind, n):
    levels = [[*range(n)], [*"abcdefgh"[:n]]]
    return {
        "several levels": pd.MultiIndex.from_arrays(levels, names=["x", "y"]),
        "text with nulls": pd.Index(["a", None] * (n // 2)),
        "numbers with nulls": pd.Index([1.0, float("nan")] * (n // 2)),
        "days with nulls": pd.to_datetime(["2020-01-01", None] * (n // 2)),
    }[kind]


@pytest.mark.parametrize(
    "kind", ["several levels", "text with nulls", "numbers with nulls", "days with nulls"]
)
def test_an_index_that_dask_makes_no_divisions_of(tmp_path, kind):
    make_images(tmp_path / "in", 4, size=(8, 8))
    frame = di.read_images(tmp_path / "in", size=(8, 8), mode="RGB").compute()
    frame = frame.set_axis(index_of(kind, 4))
    assert frame.img.write_parquet(tmp_path / "parquet").rows == 4
    back = di.read_parquet(tmp_path / "parquet").compute()
    assert back.index.names == frame.index.names
    assert [*back.index.map(str).str.lower()] == [*frame.index.map(str).str.lower()] or (
        back.index.isna().tolist() == frame.index.isna().tolist()
    )
    assert frame.img.write_parquet(tmp_path / "parquet", mode="resume").rows == 4
    for write in ("write_images", "write_numpy", "write_tfrecords", "write_webdataset"):
        assert getattr(frame.img, write)(tmp_path / write).rows == 4
    frame[["path"]].img.write_csv(tmp_path / "paths.csv")
    told = pd.read_csv(tmp_path / "paths.csv")
    assert told.path.tolist() == frame.path.tolist()
    assert told.columns.tolist() == [*filter(None, frame.index.names), "path"]
    pytest.importorskip("torch")
    (features, _) = next(iter(frame.img.to_torch("image")))
    assert features.shape == (4, 3, 8, 8)


@pytest.mark.parametrize("lazy", [False, True])
def test_columns_of_one_name(frame, lazy):
    rows = frame.compute()
    twice = pd.concat([rows, rows], axis=1)
    twice = dd.from_pandas(twice, npartitions=1) if lazy else twice
    assert "image" in repr(twice.img)
    assert "img" in dir(twice)
    for ask in (
        lambda: twice.img.errors(),
        lambda: twice.img.show(),
        lambda: twice.img.iter_batches(),
        lambda: twice.img.map_batches(len),
        lambda: twice.img.write_parquet("nowhere"),
        lambda: twice.img.to_torch("image"),
    ):
        with pytest.raises(
            ValueError, match=r"several columns are named 'path', 'image': rename them"
        ):
            ask()


@pytest.mark.parametrize("name", [0, ("a", "b")])
def test_a_name_that_is_no_text(tmp_path, name):
    make_images(tmp_path / "in", 3, size=(8, 8))
    rows = di.read_images(tmp_path / "in").compute()
    rows = rows.set_axis(pd.Index(["path", name], tupleize_cols=False), axis=1)
    batch = next(rows.img.iter_batches(3))
    assert batch[str(name)].shape == (3, 8, 8, 3)
    assert len(rows.img.take_batch(2)) == 2
    assert len(rows.img.errors()) == 0
    for lazy in (rows, dd.from_pandas(rows, npartitions=1)):
        for write in (lazy.img.write_images, lazy.img.write_parquet):
            with pytest.raises(TypeError, match=r"is text; got .*rename it first, df\.rename\("):
                write(tmp_path / "out")
    assert not (tmp_path / "out").exists()
