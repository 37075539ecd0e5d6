"""Where a write may go: the root of a store, the home folder, beside files of others."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import daskimg as di
from daskimg.io.commit.target import Target
from daskimg.testing import make_images
from tests.patience import PATIENCE

TABLE = pd.DataFrame({"a": [1, 2, 3]})


@pytest.fixture
def memory(monkeypatch):
    """The filesystem in memory, with nothing on it."""
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    return MemoryFileSystem()


def test_files_of_a_store_are_removed_side_by_side(memory, monkeypatch):
    target, both, remove = Target("memory://bin"), threading.Barrier(2), MemoryFileSystem.rm_file

    def together(self, path):
        both.wait(PATIENCE)
        remove(self, path)

    for name in ("a", "b", "kept"):
        target.put(name, b"1")
    monkeypatch.setattr(MemoryFileSystem, "rm_file", together)
    target.remove(["a", "b"])
    target.remove(["a", "gone"])
    assert [*target.files()] == ["kept"]


@pytest.mark.parametrize("url", ["memory://", "memory:///"])
def test_the_root_of_a_store_is_a_target(memory, tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    result = TABLE.img.write_parquet(url)
    assert result.files == ["memory://part-00000.parquet"]
    assert di.read_parquet(url).compute().a.tolist() == [1, 2, 3]
    TABLE.img.write_parquet(url, mode="append")
    assert di.read_parquet(url).compute().a.tolist() == [1, 2, 3] * 2
    TABLE.img.write_parquet(url, mode="overwrite")
    assert di.read_parquet(url).compute().a.tolist() == [1, 2, 3]
    assert sorted(Target(url).files()) == sorted(n.lstrip("/") for n in memory.find("/"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["sizes.csv", "sizes.csv.gz"])
def test_one_file_in_the_root_of_a_store(memory, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    result = TABLE.img.write_csv(f"memory://{name}")
    assert result.files == [f"memory://{name}"]
    assert memory.find("/") == [f"/{name}"]
    assert pd.read_csv(f"memory://{name}").a.tolist() == [1, 2, 3]
    assert os.listdir(tmp_path) == []


def test_the_home_folder_is_meant_by_its_sign(tmp_path, monkeypatch):
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(here)
    TABLE.img.write_parquet("~/table")
    TABLE.img.write_csv("~/table.csv")
    assert sorted(os.listdir(home)) == ["table", "table.csv"]
    assert os.listdir(here) == []
    (home / "table" / "_daskimg" / "_SUCCESS").unlink()
    with pytest.raises(ValueError, match="never finished"):
        di.read_parquet("~/table")


@pytest.mark.parametrize("start", ["FILE://", "file://localhost", "File:", "MEMORY:/"])
def test_urls_as_people_write_them(memory, tmp_path, monkeypatch, start):
    monkeypatch.chdir(tmp_path)
    TABLE.img.write_parquet(f"{start}{tmp_path}/out")
    TABLE.img.write_csv(f"{start}{tmp_path}/out.csv")
    assert di.read_parquet(f"{start}{tmp_path}/out").compute().a.tolist() == [1, 2, 3]
    there = [] if start.startswith("M") else ["out", "out.csv"]
    assert sorted(os.listdir(tmp_path)) == there


# -- what counts in a folder, however it is named -------------------------------------------------
def write(path: Path, **kwargs) -> None:
    dd.from_pandas(TABLE, npartitions=2).img.write_parquet(path, **kwargs)


@pytest.mark.parametrize(
    "named", [lambda a, b: [a, b], lambda a, b: str(a.parent / "{a,b}"), lambda a, b: [b, a]]
)
def test_a_list_of_folders_holds_what_their_manifests_list(tmp_path, named):
    a, b = tmp_path / "a", tmp_path / "b"
    write(a)
    write(b)
    (a / "part-00007.parquet").write_bytes((a / "part-00000.parquet").read_bytes())  # not listed
    assert di.read_parquet(named(a, b)).compute().a.tolist() == [1, 2, 3] * 2
    write(a, mode="append")  # whose files are sorted before those that are there
    appended = [1, 2, 3] * 2 + [1, 2, 3]
    assert di.read_parquet(named(a, b)).compute().a.tolist() == appended
    (b / "_daskimg" / "_SUCCESS").unlink()
    with pytest.raises(ValueError, match=f"{b} never finished"):
        di.read_parquet(named(a, b))


def test_a_committed_folder_in_a_list_keeps_its_partitions(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    table = TABLE.assign(k=["x", "y", "x"])
    table.img.write_parquet(a, partition_cols="k")
    table.to_parquet(b, partition_cols=["k"], index=True)
    found = di.read_parquet([a, b]).compute()
    assert found.a.tolist() == [1, 3, 2] * 2
    assert found.k.tolist() == ["x", "x", "y"] * 2


def test_a_folder_that_is_named_twice_is_read_once(tmp_path):
    write(tmp_path / "a")
    assert len(di.read_parquet([tmp_path / "a"] * 2)) == 3


def test_appending_beside_what_is_no_parquet_file(tmp_path):
    TABLE.to_parquet(tmp_path / "x.parquet")
    (tmp_path / "README.md").write_text("What this is")
    TABLE.img.write_parquet(tmp_path, mode="append")
    assert sorted(di.read_parquet(tmp_path).compute().a) == [1, 1, 2, 2, 3, 3]
    assert (tmp_path / "README.md").read_text() == "What this is"


def test_the_manifest_of_a_folder_with_wildcards_in_its_name_counts(tmp_path):
    folder = tmp_path / "run[1]"
    frame = pd.DataFrame({"text": ["a", "b"]})
    frame.img.write_tfrecords(folder)
    assert len(di.read_tfrecords(folder)) == 2
    (folder / "_daskimg" / "_SUCCESS").unlink()
    with pytest.raises(ValueError, match="never finished"):
        di.read_tfrecords(folder)


def test_arrays_beside_an_index_are_not_taken_for_parquet(tmp_path):
    frame = di.from_array(np.zeros((3, 2, 2), "uint8")).assign(a=1)
    frame.img.write_numpy(tmp_path / "arrays")
    assert di.read_parquet(tmp_path / "arrays").compute().a.tolist() == [1, 1, 1]


# -- a write in the folder of another -------------------------------------------------------------
def some_bad(folder: Path) -> dd.DataFrame:
    make_images(folder, 2)
    paths = [*map(str, sorted(folder.iterdir())), str(folder / "gone.png")]
    table = pd.DataFrame({"path": paths})
    table["image"] = di.images(table.path, on_error="null")
    return dd.from_pandas(table, npartitions=1)


@pytest.mark.parametrize("where", ["disk", "store"])
@pytest.mark.parametrize(("rows", "errors"), [("out", "out/errors"), ("errors/out", "errors")])
def test_failed_rows_in_the_folder_of_the_others(tmp_path, memory, where, rows, errors):
    frame = some_bad(tmp_path / "pics")
    root = "memory://x" if where == "store" else str(tmp_path / "x")
    rows, errors = f"{root}/{rows}", f"{root}/{errors}"
    for mode, times in (("overwrite", 1), ("overwrite", 1), ("append", 2)):
        result = frame.img.write_parquet(rows, errors=errors, mode=mode)
        assert (result.rows, result.failed) == (3, 1)
        assert len(di.read_parquet(rows).compute()) == 3 * times
        assert len(di.read_parquet(errors).compute()) == times


def test_what_another_wrote_in_a_folder_of_ours_stays(tmp_path):
    write(tmp_path / "a" / "b")
    TABLE.to_parquet(tmp_path / "a" / "old.parquet")
    write(tmp_path / "a", mode="append")  # beside a file of pandas
    assert len(di.read_parquet(tmp_path / "a")) == 6
    write(tmp_path / "a", mode="overwrite")
    assert len(di.read_parquet(tmp_path / "a")) == len(di.read_parquet(tmp_path / "a" / "b")) == 3


@pytest.mark.parametrize("name", ["out", "out.csv"])
def test_failed_rows_have_a_place_of_their_own(tmp_path, name):
    frame = some_bad(tmp_path / "pics")
    write = frame.img.write_parquet
    if name.endswith(".csv"):
        write = frame.assign(light=frame.image.img.mean()).drop(columns="image").img.write_csv
    with pytest.raises(ValueError, match="a place of its own"):
        write(tmp_path / name, errors=f"{tmp_path / name}")
    assert not (tmp_path / name).exists()
