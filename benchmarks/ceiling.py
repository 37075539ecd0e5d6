"""How many pictures a second one process can handle, whatever its kernels and cores.

The kernels sleep, without the interpreter's lock, so that any number of threads works at once on
one core: what is left is Python, and the handing over of its lock. The loop reads the same files
and sleeps as long; it does nothing besides.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import dask
import numpy as np

import daskimg as di
from benchmarks import library, loop
from benchmarks.pictures import list_pictures
from benchmarks.timing import Times
from daskimg.engine import ops
from daskimg.kernels import codec, resizing

DECODE, AFTER = 0.001, 0.0004  # seconds that a decode sleeps, and what follows it
A_THREAD = 312  # pictures of a run for each thread: a second, about


class Asleep:
    """simplejpeg, whose decoder does nothing for a while."""

    def __init__(self, library: Any, seconds: float) -> None:
        self.library, self.seconds = library, seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self.library, name)

    def decode_jpeg(self, *data: Any, buffer: Any = None, **how: Any) -> Any:
        wait(self.seconds)
        return buffer


def wait(seconds: float) -> None:
    if seconds:
        time.sleep(seconds)


@contextmanager
def asleep(decode: float = DECODE, after: float = AFTER) -> Iterator[None]:
    """The library's kernels replaced: they sleep, and make nothing."""

    def resampled(torch: Any) -> Callable[..., None]:
        return lambda *args, **how: wait(after)

    def moments(pixels: Any) -> tuple[float, float]:
        wait(after)
        return 1.0, 2.0

    measured = {"moments": ops.OPS["moments"]._replace(kernel=moments)}
    with (
        mock.patch.object(codec, "simplejpeg", Asleep(codec.simplejpeg, decode)),
        mock.patch.object(resizing, "_resample", resampled),
        mock.patch.dict(ops.OPS, measured),
    ):
        yield


def bare_iterate(files: Sequence[str], threads: int) -> int:
    def make(group: Sequence[str]) -> np.ndarray:
        out = np.empty((len(group), loop.SIDE, loop.SIDE, 3), np.uint8)
        for path in group:
            _bare(path)
        return out

    return _in_threads(make, files, threads)


def bare_statistics(files: Sequence[str], threads: int) -> int:
    def make(group: Sequence[str]) -> list[tuple[float, ...]]:
        return [(*_bare(path), 1.0, 2.0) for path in group]

    return _in_threads(make, files, threads)


def _bare(path: str) -> tuple[int, int]:
    loop.read(path)
    time.sleep(DECODE)
    time.sleep(AFTER)
    return 0, 0


def _in_threads(make: Callable[..., Any], files: Sequence[str], threads: int) -> int:
    groups = [files[k : k + loop.BATCH] for k in range(0, len(files), loop.BATCH)]
    with ThreadPoolExecutor(threads) as pool:
        return sum(map(len, pool.map(make, groups)))


def iterate(files: Sequence[str]) -> int:
    small = library.small_pictures(files)[["image"]]
    return sum(len(batch["image"]) for batch in small.img.iter_batches(batch_size=loop.BATCH))


def statistics(files: Sequence[str]) -> int:
    return len(library.with_statistics(di.read_images(files)).compute())


WORK = {"iterate": (iterate, bare_iterate), "statistics": (statistics, bare_statistics)}


def ceiling(what: str, files: Sequence[str], threads: int, pairs: int) -> dict[str, Any]:
    """Times of the library and the loop, in turn, pinned to one core."""
    ours, theirs = WORK[what]
    count = min(len(files), A_THREAD * threads)
    files = files[:count]
    times = Times(), Times()
    with asleep(), dask.config.set(num_workers=threads), pinned():
        assert ours(files) == theirs(files, threads) == count
        for _ in range(pairs):
            times[0].run(lambda: ours(files))
            times[1].run(lambda: theirs(files, threads))
    library, bare = times
    return {
        "pictures": count,
        "threads": threads,
        "library": [library.wall, library.cpu],
        "loop": [bare.wall, bare.cpu],
    }


def python_time(what: str, files: Sequence[str], rounds: int = 5) -> float:
    """Microseconds of processor time a picture, on one thread, of kernels that do nothing."""
    with asleep(0, 0), dask.config.set(scheduler="sync"):
        work = WORK[what][0]
        work(files[:200])
        taken = Times()
        for _ in range(rounds):
            taken.run(lambda: work(files))
    return 1e6 * min(taken.cpu) / len(files)


@contextmanager
def pinned() -> Iterator[None]:
    """This process and the threads it starts on one core, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", default="iterate", choices=WORK)
    parser.add_argument("--threads", type=int, help="none: Python's time a picture instead")
    parser.add_argument("--pairs", type=int, default=7)
    options = parser.parse_args()
    files = list_pictures(options.folder)
    if options.threads is None:
        told: dict[str, Any] = {"us": python_time(options.work, files)}
    else:
        told = ceiling(options.work, files, options.threads, options.pairs)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
