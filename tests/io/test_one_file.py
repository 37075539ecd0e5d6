"""One file of all partitions: in its place in full or not at all, whatever happens on the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import dask
import dask.dataframe as dd
import fsspec
import numpy as np
import pandas as pd
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import daskimg as di
from daskimg.io import one_file as single
from tests.io.commit import test_kill
from tests.io.commit.test_kill import (
    PARTITIONS,
    PICTURES,
    kill_some_time,
    processes,
    slow,
    tickets,
)

SHAPE = (PICTURES, 8, 10, 3)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> str:
    return test_kill.make(tmp_path_factory)


def turned(pixels: np.ndarray) -> np.ndarray:
    return pixels[::-1]


def table(pictures: str, slowly: bool = True):
    """Pixels of one shape, null where a file is broken."""
    work = slow if slowly else turned
    df = di.read_images(pictures, files_per_partition=PICTURES // PARTITIONS, on_error="null")
    image = df.image.img.decode("RGB").img.apply(work, dtype="image[uint8, 8x10x3]")
    return df.assign(image=image)[["image"]]


def write(path: str, pictures: str, mode: str = "error") -> di.WriteResult:
    with dask.config.set(scheduler="threads", num_workers=2):
        if path.endswith(".csv"):
            figures = table(pictures)
            return figures.assign(m=figures.image.img.mean())[["m"]].img.write_csv(path, mode=mode)
        return table(pictures).img.write_numpy(path, mode=mode)


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("name", ["out.npy", "out.csv"])
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment(name, seed, pictures, tmp_path):
    place, beside = tmp_path / name, tmp_path / f".{name}.daskimg"
    process = processes.Process(target=write, args=(str(place), pictures))
    kill_some_time(process, seed, lambda: tickets(beside))
    done = len(tickets(beside))
    left = place.read_bytes() if place.exists() else None  # it may have ended before
    if left is None and beside.exists():
        with pytest.raises(FileExistsError, match="resume"):
            write(str(place), pictures)
    test_kill.seen.clear()
    assert write(str(place), pictures, mode="resume").rows == PICTURES
    again = len(test_kill.seen)
    write(str(tmp_path / f"whole-{name}"), pictures)
    whole = (tmp_path / f"whole-{name}").read_bytes()
    assert place.read_bytes() == whole
    assert left in (None, whole)
    assert left is not None or again == (PARTITIONS - done) * (PICTURES // PARTITIONS)
    assert sorted(os.listdir(tmp_path)) == [name, f"whole-{name}"]


def die_after(call: str, path: str, pictures: str) -> None:
    """Write, and die right after a step of the commit."""
    real = getattr(single.FileRun, call)

    def deadly(*args: object) -> None:
        real(*args)
        os._exit(9)

    setattr(single.FileRun, call, deadly)
    write(path, pictures)


def test_killed_when_the_file_is_in_its_place(pictures, tmp_path):
    place = tmp_path / "out.npy"
    process = processes.Process(target=die_after, args=("_publish_file", str(place), pictures))
    process.start()
    process.join(120)
    assert process.exitcode == 9
    assert np.load(place).shape == SHAPE
    before = place.read_bytes()
    test_kill.seen.clear()
    assert write(str(place), pictures, mode="resume").rows == PICTURES
    assert not test_kill.seen
    assert place.read_bytes() == before
    assert os.listdir(tmp_path) == ["out.npy"]


def test_rows_go_to_their_place(pictures, tmp_path, monkeypatch):
    """Nothing is copied where every partition has as many rows as its reader said."""
    df = table(pictures, slowly=False)
    wanted = df.image.compute().img.to_numpy()
    monkeypatch.setattr(single.FileRun, "_fill", None)
    df.img.write_numpy(tmp_path / "out.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy", mmap_mode="r"), wanted)


def test_rows_without_a_picture_leave_no_hole(pictures, tmp_path):
    whole = table(pictures, slowly=False).image.compute().img.to_numpy()
    shutil.copytree(pictures, tmp_path / "some")
    broken = [1, 2, 3, 10]
    for number in broken:
        sorted((tmp_path / "some").iterdir())[number].write_bytes(b"broken")
    df = table(str(tmp_path / "some"), slowly=False)
    result = df.img.write_numpy(tmp_path / "out.npy", errors=tmp_path / "errors")
    assert (result.rows, result.failed) == (PICTURES, 4)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), np.delete(whole, broken, axis=0))
    assert len(di.read_parquet(tmp_path / "errors")) == 4
    df[df.image.img.mean() < -1].img.write_numpy(tmp_path / "none.npy")
    assert np.load(tmp_path / "none.npy").shape == (0, *SHAPE[1:])


def test_on_an_object_store(pictures, tmp_path):
    df = table(pictures, slowly=False)
    result = df.img.write_numpy("memory://one/out.npy")
    assert result.files == ["memory://one/out.npy"]
    with fsspec.open("memory://one/out.npy", "rb") as file:
        np.testing.assert_array_equal(np.load(file), df.image.compute().img.to_numpy())
    assert fsspec.filesystem("memory").ls("/one", detail=False) == ["/one/out.npy"]
    assert df.img.write_numpy("memory://one/out.npy", mode="resume").rows == PICTURES
    with pytest.raises(ValueError, match="something else"):
        df.assign(image=df.image.img.flip("horizontal")).img.write_numpy(
            "memory://one/out.npy", mode="resume"
        )


def test_a_file_that_somebody_made_meanwhile_stays(pictures, tmp_path):
    lazy = table(pictures, slowly=False).img.write_numpy(tmp_path / "out.npy", compute=False)
    (tmp_path / "out.npy").write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        lazy.compute()
    assert (tmp_path / "out.npy").read_bytes() == b"theirs"


MEMORY = """
import resource, sys
import dask, numpy as np
import dask.array as da
import daskimg as di

dask.config.set(scheduler="sync")
block = da.zeros((200, 256, 256, 3), chunks=(10, 256, 256, 3), dtype="uint8")
df = di.from_array(block + np.uint8(1))
df.partitions[:1].img.write_numpy(sys.argv[1] + "/first.npy")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
df.img.write_numpy(sys.argv[1] + "/out.npy")
df = df.assign(n=1)
df[df.n == 1][["image"]].img.write_numpy(sys.argv[1] + "/filtered.npy")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.long
def test_memory_is_that_of_a_partition(tmp_path):
    """200 pictures of 192 KiB each way; together they are 37 MiB, a partition 2 MiB."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 20
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "filtered.npy").read_bytes()
    assert np.load(tmp_path / "out.npy", mmap_mode="r").shape == (200, 256, 256, 3)


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz", "pixels.npy"])
def test_the_rows_are_on_the_disk_before_their_file_has_its_name(tmp_path, monkeypatch, name):
    final, done = tmp_path / name, []
    sync, replace = os.fsync, os.replace

    def noted_sync(handle):
        sync(handle)
        done.append(os.fstat(handle).st_ino)

    def noted_replace(old, new):
        if os.fspath(new) == str(final):
            done.append(("renamed", os.stat(old).st_ino))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "replace", noted_replace)
    frame = pd.DataFrame({"a": range(4)})
    if name.endswith("npy"):
        di.from_array(np.zeros((4, 2, 2), "uint8")).img.write_numpy(final)
    else:
        dd.from_pandas(frame, npartitions=2).img.write_csv(final)
    rows = final.stat().st_ino
    at = done.index(("renamed", rows))
    assert rows in done[:at]
    assert tmp_path.stat().st_ino in done[at:]


def test_a_store_that_is_asked_again_for_the_whole_file(monkeypatch):
    failures = [ConnectionResetError("reset"), ConnectionResetError("reset")]
    put_file = MemoryFileSystem.put_file

    def failing(self, *args, **kwargs):
        if failures:
            raise failures.pop()
        return put_file(self, *args, **kwargs)

    monkeypatch.setattr(MemoryFileSystem, "put_file", failing)
    frame = pd.DataFrame({"a": range(4)})
    result = dd.from_pandas(frame, npartitions=2).img.write_csv("memory://again/table.csv")
    assert not failures
    assert pd.read_csv(result.files[0]).a.tolist() == [0, 1, 2, 3]
