"""``scheduler="processes"``: pictures of an iterator are made in processes of this machine."""

from __future__ import annotations

import multiprocessing as mp
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import dask
import numpy as np
import psutil
import pytest

import daskimg as di
from daskimg.stream import processes
from daskimg.testing import make_images

ROWS = 300
pytestmark = pytest.mark.xdist_group("processes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    make_images(folder, ROWS, size=(40, 50))
    return folder


@pytest.fixture
def frame(folder):
    df = di.read_images(folder)
    return df.assign(image=df.image.img.decode("RGB").img.resize(64, 64))[["path", "image"]]


@pytest.fixture(autouse=True)
def in_processes():
    with dask.config.set(scheduler="processes", num_workers=2):
        yield


def others():
    """The processes that iterators began and that are there."""
    return [p for p in mp.active_children() if p.is_alive()]


def shared(pid=None):
    """The folders that a process, this one by default, has in shared memory."""
    return [*processes.SHARED.glob(f"daskimg-*-{pid or os.getpid()}-*")]


def pixels(frame, **how):
    return np.concatenate([b["image"] for b in frame.img.iter_batches(64, **how)])


def test_the_batches_are_those_of_threads(frame):
    begun = len(others())
    made = pixels(frame)
    with dask.config.set(scheduler="threads"):
        np.testing.assert_array_equal(made, pixels(frame))
        known = [str(path) for b in frame.img.iter_batches(50) for path in b["path"]]
    with dask.config.set(scheduler="processes"):
        assert [str(path) for b in frame.img.iter_batches(50) for path in b["path"]] == known
    assert len(others()) == begun
    assert shared() == []


def test_it_is_done_in_other_processes(frame):
    frame = frame.assign(at=frame.image.img.apply(lambda pixels: os.getpid(), dtype="int64"))
    seen = {int(x) for batch in frame.img.iter_batches(10) for x in batch["at"]}
    assert os.getpid() not in seen
    assert 1 <= len(seen) <= 2


def test_without_shared_memory_they_come_through_pipes(frame, monkeypatch, tmp_path):
    made = pixels(frame)
    monkeypatch.setattr(processes, "SHARED", tmp_path / "none")
    np.testing.assert_array_equal(pixels(frame), made)


def test_where_there_is_no_room_they_come_through_pipes(frame):
    """As in a container with a small /dev/shm; /dev/full has none at all."""
    rows = np.arange(2**20, dtype=np.int64)
    path = "/dev/full"
    if not os.path.exists(path):
        pytest.skip("a device of Linux")
    with open(path, "wb", buffering=0) as full, pytest.raises(OSError, match="No space"):
        processes._write(full.fileno(), memoryview(rows).cast("B"))
    gone = processes._lent(rows, "/proc")  # no file can be made there
    np.testing.assert_array_equal(processes._taken(gone), rows)


def test_an_error_comes_where_its_row_would(tmp_path):
    paths = make_images(tmp_path, 40, size=(20, 20))
    Path(paths[20]).write_bytes(b"no picture")
    df = di.read_images(tmp_path, on_error="null")
    df = df.assign(image=df.image.img.decode("RGB").img.resize(8, 8))[["image"]]
    assert len(pixels(df, on_null="drop")) == 39
    batches = df.img.iter_batches(1)
    assert len([*islice(batches, 20)]) == 20
    with pytest.raises(di.ImageError, match="00020"):
        next(batches)


def test_stats_tell_what_they_did(frame):
    with di.stats() as told:
        pixels(frame)
    assert told.to_frame().loc[["fetch", "decode", "resize"], "images"].tolist() == [ROWS] * 3
    assert f"{ROWS} kept" in str(told)


def test_a_process_that_is_killed_takes_no_row_along(frame):
    made = pixels(frame)
    batches = frame.img.iter_batches(8, prefetch_partitions=0)
    found = [next(batches)]
    os.kill(others()[0].pid, signal.SIGKILL)
    found += [*batches]
    np.testing.assert_array_equal(np.concatenate([b["image"] for b in found]), made)
    assert shared() == []


def test_a_loop_that_is_left_leaves_no_process(frame):
    begun = len(others())
    batches = frame.img.iter_batches(8)
    next(batches)
    assert len(others()) > begun
    batches.close()
    assert len(others()) == begun
    assert shared() == []


SCRIPT = """
import sys, time
import dask
import daskimg as di

def main():
    df = di.read_images(sys.argv[1])
    df = df.assign(image=df.image.img.decode("RGB").img.resize(64, 64))[["image"]]
    with dask.config.set(scheduler="processes", num_workers=2):
        for batch in df.img.iter_batches(16):
            print("batch", flush=True)
            {then}

{guard}main()
"""


def script(folder, then, guard):
    code = folder.parent / f"{folder.name}-script.py"
    code.write_text(SCRIPT.format(then=then, guard=guard))
    return [sys.executable, "-W", "ignore", str(code), str(folder)]


@pytest.mark.long
def test_they_end_with_the_process_that_began_them(folder):
    command = script(folder, "time.sleep(600)", 'if __name__ == "__main__":\n    ')
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "batch\n"
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        process.kill()
    _, alive = psutil.wait_procs(children, 20)
    assert alive == []
    until = time.monotonic() + 20
    while shared(process.pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert shared(process.pid) == []


@pytest.mark.skipif(not processes.SHARED.is_dir(), reason="a system without /dev/shm")
def test_what_the_dead_left_goes_with_the_next_loop(frame):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = processes.SHARED / f"daskimg-{processes._pids()}-{ended.pid}-left"
    other = processes.SHARED / f"daskimg-0-{ended.pid}-of another container"
    for folder in (left, other):
        folder.mkdir()
        (folder / "pixels").write_bytes(b"1")
    pixels(frame)
    assert not left.exists()
    assert other.exists()
    shutil.rmtree(other)


@pytest.mark.long
def test_a_script_that_is_not_guarded_is_told_of_it(folder):
    done = subprocess.run(
        script(folder, "pass", ""), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode != 0
    assert 'has to stand below `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]


def test_a_worker_of_a_loader_uses_threads(frame):
    from torch.utils.data import DataLoader

    loader = DataLoader(frame.img.to_torch("image", batch_size=50), batch_size=None, num_workers=2)
    assert sum(len(images) for images, *_ in loader) == ROWS


def test_models_stay_in_this_process(frame):
    seen = frame.img.map_batches(
        lambda batch: {"at": np.full(len(batch["image"]), os.getpid())},
        columns="image",
        meta={"at": "int64"},
    )[["at"]]
    with dask.config.set(scheduler="threads"):
        assert {*seen.compute()["at"]} == {os.getpid()}
    assert {int(x) for b in seen.img.iter_batches(100) for x in b["at"]} == {os.getpid()}
