"""Local files of a slow disk are read ahead by threads; those of a fast one are not."""

from __future__ import annotations

import os
import threading
import time

import dask
import numpy as np
import pytest
from PIL import Image

import daskimg as di
from daskimg.transport import ahead, disk, fetch
from tests.transport.test_ahead import idle, until

FILES = 96
DELAY = 0.03


class Disk:
    """Where a file takes as long as a network does; it counts what is read at the same time."""

    def __init__(self) -> None:
        self.delay = DELAY
        self.lock, self.now, self.most, self.opened = threading.Lock(), 0, 0, []

    def open(self, path, *args, **options):
        with self.lock:
            self.opened.append(os.path.basename(path))
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            time.sleep(self.delay)
            return os.open(path, *args, **options)
        finally:
            with self.lock:
                self.now -= 1


@pytest.fixture
def folder(tmp_path):
    for n in range(FILES):
        Image.fromarray(np.full((8, 8), n, np.uint8)).save(tmp_path / f"{n:03d}.png")
    return tmp_path


@pytest.fixture
def slow(monkeypatch):
    found = Disk()
    monkeypatch.setattr(disk, "_last", disk.deque(maxlen=disk._last.maxlen))

    class Delayed:
        """The module `os`, on that disk."""

        open = staticmethod(found.open)

        def __getattr__(self, name):
            return getattr(os, name)

    monkeypatch.setattr(disk, "os", Delayed())
    return found


def means(folder, per=16):
    return di.read_images(folder, files_per_partition=per).image.img.mean()


@pytest.mark.parametrize("how", ["compute", "iterate", "headers"])
def test_a_slow_disk_is_read_ahead(folder, slow, how):
    df = di.read_images(folder, files_per_partition=16)
    with dask.config.set(scheduler="threads", num_workers=2):
        if how == "compute":
            found = df.image.img.mean().compute().tolist()
        elif how == "headers":
            found = df.assign(n=df.image.img.height).n.compute().tolist()
        else:
            found = [int(x.mean()) for b in df.img.iter_batches(4) for x in b["image"]]
    assert found == ([8] * FILES if how == "headers" else [*range(FILES)])
    if how != "headers":  # (the whole of a PNG's is looked for in a file that is opened again)
        assert sorted(slow.opened) == [f"{n:03d}.png" for n in range(FILES)]  # each once
    assert slow.most > 4  # of two threads
    assert until(idle)


def test_it_is_seen_that_it_is_fast_again(folder, slow):
    with dask.config.set(scheduler="threads", num_workers=2):
        means(folder).compute()
        assert disk.is_slow()
        slow.delay = 0
        means(folder).compute()
        assert not disk.is_slow()


def test_a_fast_disk_is_not(folder, slow):
    slow.delay, slow.most = 0, 0
    with dask.config.set(scheduler="threads", num_workers=2):
        assert means(folder).compute().tolist() == [*range(FILES)]
    assert slow.most <= 2
    assert not disk.is_slow()


def test_waiting_for_the_interpreter_is_not_the_disk(folder, slow):
    """Threads of Python keep it for milliseconds, at each call of a read."""
    slow.delay, over = 0, threading.Event()

    def busy() -> None:
        while not over.is_set():
            sum(range(1000))

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for path in sorted(folder.iterdir())[:40]:
            fetch.read_bytes(str(path))
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not disk.is_slow()


def test_what_is_missing_or_too_large_there_is_told_as_ever(folder, slow):
    means(folder).compute(scheduler="threads")
    assert disk.is_slow()
    paths = [*sorted(map(str, folder.iterdir()))[:30], str(folder / "none.png")]
    cells = di.images(paths, on_error="null").img.on_error("null")
    slow.opened.clear()
    table = cells.to_frame("image").assign(mean=cells.img.mean(), why=cells.img.check())
    assert table["mean"].tolist()[:30] == [*range(30)]
    assert table["why"].notna().tolist() == [False] * 30 + [True]
    assert "FileNotFoundError" in table["why"][30]
    assert "none.png" in table["why"][30]
    with dask.config.set({"daskimg.max-image-bytes": 20}):
        reasons = di.images(paths[:20]).img.on_error("null").img.check()
    assert reasons.str.contains("more than the 20 bytes").all()


def test_who_stops_early_leaves_nothing(folder, slow):
    means(folder).compute(scheduler="threads")
    slow.opened.clear()
    with dask.config.set(scheduler="threads", num_workers=2):
        batches = di.read_images(folder, files_per_partition=48).img.iter_batches(4)
        next(batches)
        batches.close()
    assert until(idle)
    assert len(slow.opened) < FILES
    assert ahead._process().held == 0
