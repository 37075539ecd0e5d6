"""Disks that are full, folders that are closed, files that are damaged: told, and nothing lost."""

from __future__ import annotations

import errno
import multiprocessing
import os
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem

import daskimg as di
from daskimg.io.commit.names import FileNameError
from daskimg.io.commit.target import Target
from daskimg.testing import make_images
from tests.patience import PATIENCE

WRITERS = [
    "write_parquet",
    "write_images",
    "write_numpy",
    "write_tfrecords",
    "write_webdataset",
    "write_csv",
]


@pytest.fixture
def frame(tmp_path):
    make_images(tmp_path / "pictures", 12, size=(8, 10), formats=["png"])
    df = di.read_images(tmp_path / "pictures", files_per_partition=3)
    return df.assign(n=df.index)


def files(place: Path) -> dict[str, bytes]:
    found = (path for path in place.rglob("*") if path.is_file() and "/run-" not in str(path))
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in found}


@pytest.mark.sampled(one_in=3)
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
@pytest.mark.parametrize("writer", ["write_parquet", "write_images", "write_numpy"])
def test_a_full_disk(frame, tmp_path, monkeypatch, writer):
    frame = frame.assign(image=frame.image.img.decode("RGB").img.resize(8, 10))
    place = tmp_path / "out"
    getattr(frame.img, writer)(place)
    before = files(place)
    changed = frame.assign(image=frame.image.img.flip("horizontal"))
    real, opened = LocalFileSystem.open, []

    def full(self, path, mode="rb", **options):
        if mode == "wb":
            opened.append(path)
        return real(
            self, "/dev/full" if len(opened) > 3 and mode == "wb" else path, mode, **options
        )

    with monkeypatch.context() as patch:
        patch.setattr(LocalFileSystem, "open", full)
        with pytest.raises(OSError, match="No space left") as raised:
            getattr(changed.img, writer)(place, mode="overwrite")
    assert raised.value.errno == errno.ENOSPC
    assert str(place) in str(raised.value)
    assert files(place) == before
    getattr(changed.img, writer)(place, mode="resume")
    getattr(changed.img, writer)(tmp_path / "whole")
    assert data_of(place) == data_of(tmp_path / "whole")


def data_of(place: Path) -> list[bytes]:
    """The files themselves; their names tell the generation."""
    return sorted(data for name, data in files(place).items() if "_daskimg" not in name)


def as_nobody(place: str, answers: Any) -> None:
    """Write into a folder that somebody else closed; root may write anywhere."""
    if os.geteuid() == 0:
        os.seteuid(65534)
    df = di.from_array(np.zeros((2, 4, 4, 3), "uint8"))
    try:
        df.img.write_parquet(f"{place}/out")
    except PermissionError as error:
        answers.put(str(error))


@pytest.fixture
def closed():
    """A folder that nobody may write into, where everybody may look."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o555)
        yield Path(place)
        os.chmod(place, 0o755)


def test_no_permission(closed):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=as_nobody, args=(str(closed), answers))
    process.start()
    told = answers.get(timeout=PATIENCE)
    process.join()
    assert "Permission denied" in told
    assert str(closed) in told
    assert not list(closed.iterdir())


def test_two_writers_of_one_target(frame, tmp_path):
    """The first to commit is the one whose rows are there, whoever began first."""
    late = frame.img.write_parquet(tmp_path / "out", compute=False)
    early = frame.assign(n=-1).img.write_parquet(tmp_path / "out", compute=False)
    assert early.compute().rows == 12
    before = files(tmp_path / "out")
    with pytest.raises(FileExistsError, match="committed meanwhile"):
        late.compute()
    assert di.read_parquet(tmp_path / "out").n.compute().tolist() == [-1] * 12
    assert files(tmp_path / "out") == before


@pytest.mark.parametrize("writer", ["write_parquet", "write_images", "write_numpy"])
def test_two_writers_of_the_same_rows_at_once(frame, tmp_path, writer):
    frame = frame.assign(image=frame.image.img.decode("RGB").img.resize(8, 10))
    getattr(frame.img, writer)(tmp_path / "alone")
    results = [getattr(frame.img, writer)(tmp_path / "out", compute=False) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        done = [result.rows for result in pool.map(lambda result: result.compute(), results)]
    assert done == [12, 12]
    assert files(tmp_path / "out") == files(tmp_path / "alone")


def test_a_folder_that_goes_while_it_is_made(tmp_path, monkeypatch):
    make, seen = os.makedirs, []

    def late(name, *args, **options):
        seen.append(name)
        if len(seen) == 1:  # there when it was made, gone when it was looked at
            raise FileExistsError(errno.EEXIST, "File exists", name)
        make(name, *args, **options)

    monkeypatch.setattr(os, "makedirs", late)
    Target(tmp_path / "out").put("a/b", b"x")
    assert (tmp_path / "out/a/b").read_bytes() == b"x"
    assert len(seen) > 1


@pytest.mark.parametrize("length, refused", [(251, False), (252, True)])
def test_names_as_long_as_a_filesystem_takes(frame, tmp_path, length, refused):
    frame = frame.assign(name=frame.n.map(lambda n: f"{n:0{length}d}.png", meta=("name", "string")))
    if refused:
        with pytest.raises(FileNameError, match="too long"):
            frame.img.write_images(tmp_path / "out", filename="name")
        assert not Target(tmp_path / "out").files()
    else:
        assert frame.img.write_images(tmp_path / "out", filename="name").written == 12


def damaged(data: bytes, kind: str) -> bytes:
    return {"cut": data[:-20], "empty": b"", "page": data[:4] + bytes(200) + data[204:]}[kind]


@pytest.mark.parametrize("kind", ["cut", "empty", "page"])
def test_damaged_parquet_is_named(frame, tmp_path, kind):
    frame.img.write_parquet(tmp_path / "out")
    bad = tmp_path / "out" / "part-00001.parquet"
    bad.write_bytes(damaged(bad.read_bytes(), kind))
    with pytest.raises(ValueError, match=r"part-00001\.parquet (is no Parquet|cannot be read)"):
        di.read_parquet(tmp_path / "out").compute()


@pytest.mark.parametrize("kind", ["cut", "empty"])
def test_damaged_parquet_is_a_failed_row(frame, tmp_path, kind):
    frame.img.write_parquet(tmp_path / "out")
    bad = tmp_path / "out" / "part-00001.parquet"
    bad.write_bytes(damaged(bad.read_bytes(), kind))
    df = di.read_parquet(tmp_path / "out", on_error="null")
    got = df.compute()
    assert got.dtypes.tolist() == df.dtypes.tolist()
    assert got.n.dropna().tolist() == [0, 1, 2, *range(6, 12)]
    assert got.image.img.failed.tolist() == [False] * 9 + [True]
    assert "part-00001.parquet is no Parquet file" in got.image.img.error.iloc[-1]
    assert got.image.img.path.iloc[-1] == str(bad)
    assert df.image.img.width.compute().tolist() == [10] * 9 + [pd.NA]
    result = df.img.write_parquet(tmp_path / "again")
    assert (result.written, result.failed) == (9, 1)


def test_parquet_of_damaged_files_alone(frame, tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"no file can be read.*bad\.parquet"):
        di.read_parquet(tmp_path / "bad.parquet", on_error="null")


def break_pages(path: Path, group: int, columns: str) -> None:
    """Overwrite the pages of a column in a row group; the footer stays as it is."""
    data = bytearray(path.read_bytes())
    told = pq.read_metadata(path).row_group(group)
    for column in map(told.column, range(told.num_columns)):
        if column.path_in_schema.startswith(columns):
            start = column.dictionary_page_offset or column.data_page_offset
            end = start + column.total_compressed_size
            data[start:end] = bytes(end - start)
    path.write_bytes(data)


@pytest.fixture
def groups(frame, tmp_path):
    """A Parquet file of four row groups of three rows, of encoded pictures, pixels and numbers."""
    small = frame.image.img.decode("RGB").img.resize(4, 5)
    whole = frame.assign(small=small, ok=frame.n % 2 == 0)
    whole.img.write_parquet(tmp_path / "apart")
    table = pq.read_table(tmp_path / "apart")
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=3, use_dictionary=["n"])
    return tmp_path / "a.parquet"


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("size", ["1B", "64MiB"])
@pytest.mark.parametrize("columns", ["image.bytes", "small", "n"])
def test_a_broken_page_costs_its_rows(groups, columns, size):
    whole = di.read_parquet(groups).compute()
    break_pages(groups, 2, columns)
    with pytest.raises(ValueError, match=r"a\.parquet cannot be read"):
        di.read_parquet(groups).compute()
    df = di.read_parquet(groups, on_error="null", blocksize=size)
    with warnings.catch_warnings(record=True) as told:
        got = df.compute()
    said = [str(one.message) for one in told if one.category is UserWarning]
    assert [text[-18:] for text in said] == ["3 rows without 'n'"] * (columns == "n")
    assert len(df) == len(got) == 12
    assert got.dtypes.tolist() == df.dtypes.tolist()
    broken = [row in (6, 7, 8) for row in range(12)]
    for name, part in [("image", "image.bytes"), ("small", "small")]:
        lost = [part == columns and row for row in broken]
        assert got[name].img.failed.tolist() == lost
        if part == columns:
            assert got[name].img.error[6].startswith("read: DamagedError: ")
            assert got[name].img.path[6] == str(groups)
        # the same whatever is read beside it
        assert df[name].img.width.compute().isna().tolist() == lost
    assert got.image.img.to_bytes().dropna().tolist() == [
        data
        for row, data in enumerate(whole.image.img.to_bytes())
        if not (broken[row] and columns == "image.bytes")
    ]
    assert got.ok.tolist() == whole.ok.tolist()
    assert got.n.isna().tolist() == [columns == "n" and row for row in broken]


def test_a_broken_page_and_filters(groups):
    break_pages(groups, 2, "image.bytes")
    got = di.read_parquet(groups, on_error="null", filters=[("n", ">", 7)]).compute()
    assert got.n.tolist() == [8, 9, 10, 11]
    assert got.index.tolist() == [8, 9, 10, 11]
    assert got.image.img.failed.tolist() == [True, False, False, False]
    break_pages(groups, 2, "n")
    with pytest.warns(UserWarning, match="3 rows without 'n'"):
        got = di.read_parquet(groups, on_error="null", filters=[("n", ">", 7)]).n.compute()
    assert got.index.tolist() == [6, 7, 8, 9, 10, 11]  # any of the three may pass
    assert got.tolist() == [*[pd.NA] * 3, 9, 10, 11]
    with pytest.raises(pa.ArrowException):  # a wrong question is no damage
        di.read_parquet(groups, on_error="null", filters=[("ok", ">", "x")]).compute()


@pytest.mark.parametrize("writer", WRITERS)
def test_a_target_has_a_path(frame, writer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "pictures")
    there = files(tmp_path)
    if writer == "write_csv":
        frame = frame[["path"]]
    elif writer == "write_numpy":
        frame = frame.assign(image=frame.image.img.decode("RGB").img.resize(4, 4))
    write = getattr(frame.img, writer)
    for given in (None, 5, b"out"):
        with pytest.raises(TypeError, match=r"expected a path to write to .*; got"):
            write(given, mode="overwrite")
    with pytest.raises(ValueError, match="an empty string is none"):
        write("", mode="overwrite")
    assert files(tmp_path) == there
