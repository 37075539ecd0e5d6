"""CSV: a folder or one file, deterministic, never with pictures."""

from __future__ import annotations

import gzip
from pathlib import Path

import dask
import fsspec
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg import metrics
from daskimg.testing import make_images


@pytest.fixture
def pictures(tmp_path):
    make_images(tmp_path / "pictures", 6, size=(8, 10))
    return di.read_images(tmp_path / "pictures", files_per_partition=4)


@pytest.fixture
def table(pictures):
    return pictures.assign(mean=pictures.image.img.mean(), name='a "b", c\né').drop(columns="image")


def test_a_folder_of_files(tmp_path, table):
    metrics.reset()
    result = table.img.write_csv(tmp_path / "out")
    assert metrics.snapshot()["decode"] == 6
    assert (result.rows, result.written) == (6, 6)
    assert [Path(f).name for f in result.files] == ["part-00000.csv", "part-00001.csv"]
    back = pd.concat([pd.read_csv(file) for file in result.files], ignore_index=True)
    pd.testing.assert_frame_equal(back, table.compute(), check_dtype=False)


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("where", ["", "memory://"])
@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".CSV"])
def test_one_file(tmp_path, table, where, ending):
    url = f"{where}{tmp_path}/out{ending}"
    result = table.img.write_csv(url)
    assert result.files == [url]
    with fsspec.open(url, "rb") as file:
        data = file.read()
    data = gzip.decompress(data) if ending.endswith("gz") else data
    assert data.decode() == table.compute().to_csv(index=False, lineterminator="\n")
    other = f"{where}{tmp_path}/other{ending}"
    table.img.write_csv(other)
    with fsspec.open(url, "rb") as one, fsspec.open(other, "rb") as two:
        assert one.read() == two.read()


def test_modes_of_one_file(tmp_path, table):
    path = tmp_path / "out.csv"
    table.img.write_csv(path)
    first = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"out\.csv"):
        table.img.write_csv(path)
    assert table.img.write_csv(path, mode="resume").rows == 6
    other = table.assign(name="b")
    with pytest.raises(ValueError, match="something else"):
        other.img.write_csv(path, mode="resume")
    assert path.read_bytes() == first
    other.img.write_csv(path, mode="overwrite")
    assert pd.read_csv(path).name.tolist() == ["b"] * 6
    with pytest.raises(ValueError, match="appended"):
        table.img.write_csv(path, mode="append")
    with pytest.raises(ValueError, match="mode"):
        table.img.write_csv(path, mode="replace")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.csv", "pictures"]


def test_a_partition_that_fails_leaves_nothing(tmp_path, pictures):
    bad = tmp_path / "pictures" / "00005.png"
    bad.write_bytes(b"broken")
    table = pictures.assign(mean=pictures.image.img.mean()).drop(columns="image")
    for path in (tmp_path / "out.csv", tmp_path / "out"):
        with pytest.raises(di.ImageError, match=r"00005\.png"):
            table.img.write_csv(path)
    assert not (tmp_path / "out.csv").exists()
    assert not list((tmp_path / "out").glob("*.csv"))


def test_index_separator_and_no_rows(tmp_path, table):
    indexed = table.compute().set_index("path")
    indexed.img.write_csv(tmp_path / "a.csv", sep=";")
    assert pd.read_csv(tmp_path / "a.csv", sep=";").columns[0] == "path"
    table.img.write_csv(tmp_path / "b.csv", index=True)
    assert pd.read_csv(tmp_path / "b.csv", index_col=0).index.tolist() == [*range(6)]
    none = table[table["mean"] < 0]
    for path in (tmp_path / "c.csv", tmp_path / "c"):
        (file,) = none.img.write_csv(path).files
        assert Path(file).read_text() == "path,mean,name\n"


def test_pictures_are_an_error(tmp_path, pictures):
    with pytest.raises(TypeError, match=r"'image' is image\[file\].*write_parquet"):
        pictures.img.write_csv(tmp_path / "out.csv")
    tensors = di.from_array(np.zeros((2, 5)), column="embedding")
    with pytest.raises(TypeError, match="'embedding' is tensor"):
        tensors.img.write_csv(tmp_path / "out.csv")
    with pytest.raises(ValueError, match=r"\.csv\.gz"):
        pictures.drop(columns="image").img.write_csv(tmp_path / "out.csv", compression="gzip")
    with pytest.raises(ValueError, match="sep"):
        pictures.drop(columns="image").img.write_csv(tmp_path / "out.csv", sep="")


def test_together_in_one_pass(tmp_path, table):
    metrics.reset()
    results = dask.compute(
        table.img.write_csv(tmp_path / "one.csv", compute=False),
        table.img.write_csv(tmp_path / "two", compression="gzip", compute=False),
        table.img.write_csv(tmp_path / "three.csv", errors=tmp_path / "errors", compute=False),
    )
    assert [result.rows for result in results] == [6, 6, 6]
    assert metrics.snapshot()["decode"] == 6
    assert len(di.read_parquet(tmp_path / "errors")) == 0


def test_lists_of_pictures_are_pictures(tmp_path):
    cells = [di.Image(b"one"), di.Image(b"two")]
    lists = pd.Series([cells, [], None]).astype("list[image[encoded]]")
    with pytest.raises(TypeError, match="holds no pictures"):
        pd.DataFrame({"row": [1, 2, 3], "views": lists}).img.write_csv(tmp_path / "out.csv")
    assert not any(tmp_path.iterdir())


def test_a_column_of_lists_of_pictures_is_refused(tmp_path):
    paths = make_images(tmp_path / "in", 2, size=(8, 8))
    frame = pd.DataFrame({"images": pd.Series([paths, None]).astype("list[image]")})
    with pytest.raises(TypeError, match=r"'images' is list\[image\[file\]\], and a CSV file"):
        frame.img.write_csv(tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
