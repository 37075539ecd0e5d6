"""What iterating costs: ``python -m benchmarks.streaming`` prints a Markdown table.

Each figure is the median of a few rounds, the two sides of a ratio taken in turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import dask
import dask.dataframe as dd
import pandas as pd
from distributed import Client, LocalCluster

import daskimg as di
from benchmarks.pictures import find_pictures, list_pictures
from daskimg.stream import window

EMPTY = 400  # partitions of the frame that measures nothing but the overhead
BATCH = 64
BUSY = 0.03  # seconds of pure Python between two batches


def _rows(i: int) -> pd.DataFrame:
    return pd.DataFrame({"i": [i]})


def _thumbnails(paths: list[str], size: int) -> Any:
    df = di.read_images(paths, files_per_partition=size)
    return df.assign(image=df.image.img.decode("RGB").img.resize(224, 224))


def _spin(seconds: float) -> None:
    """Pure Python: holds the interpreter whenever it may."""
    end = time.perf_counter() + seconds
    n = 0
    while time.perf_counter() < end:
        for _ in range(1000):
            n += 1


def _iterate(frame: Any, size: int, between: Callable[[], Any]) -> None:
    for _ in frame.img.iter_batches(size):
        between()


def _seconds(job: Callable[[], Any]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def _in_turn(rounds: int, *jobs: Callable[[], Any]) -> list[float]:
    """The median seconds of each job."""
    taken = [[_seconds(job) for job in jobs] for _ in range(rounds)]
    return [statistics.median(each) for each in zip(*taken, strict=True)]


def overhead(rounds: int) -> float:
    """Milliseconds a partition on threads, beyond the work in it."""
    frame = dd.from_map(_rows, range(EMPTY), meta=_rows(0))
    frame = frame.assign(j=frame.i + 1)
    (seconds,) = _in_turn(rounds, lambda: _iterate(frame, 1, lambda: None))
    return 1000 * seconds / EMPTY


def on_cluster(paths: list[str], rounds: int, size: int) -> tuple[float, float]:
    """Pictures a second that ``compute()`` makes on two processes, and an iterator."""
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    )
    with cluster, Client(cluster):
        frame = _thumbnails(paths, size)
        frame.image.img.mean().compute()  # workers import, files come into the cache
        computed, iterated = _in_turn(
            rounds,
            lambda: frame.optimize().compute(),  # fused, as iterators fuse
            lambda: _iterate(frame, BATCH, lambda: None),
        )
    return len(paths) / computed, len(paths) / iterated


@contextmanager
def _switch_interval_left_alone() -> Any:
    with mock.patch.object(window, "_short_switch_interval", nullcontext):
        yield


def beside_python(paths: list[str], rounds: int, size: int) -> tuple[float, float, float]:
    """Pictures a second beside a consumer that sleeps, one that burns, one without our help."""
    frame = _thumbnails(paths, size)

    def unhelped() -> None:
        with _switch_interval_left_alone():
            _iterate(frame, BATCH, lambda: _spin(BUSY))

    with dask.config.set(num_workers=2):
        taken = _in_turn(
            rounds,
            lambda: _iterate(frame, BATCH, lambda: time.sleep(BUSY)),
            lambda: _iterate(frame, BATCH, lambda: _spin(BUSY)),
            unhelped,
        )
    idle, busy, alone = (len(paths) / seconds for seconds in taken)
    return idle, busy, alone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", help="a folder of pictures")
    parser.add_argument("--count", type=int, default=2000, help="pictures at most")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--partition", type=int, default=128, help="files of a partition")
    options = parser.parse_args()
    paths = list_pictures(find_pictures(options.images, options.count))[: options.count]
    each = overhead(options.rounds)
    computed, iterated = on_cluster(paths, options.rounds, options.partition)
    idle, busy, alone = beside_python(paths, options.rounds, options.partition)
    print(f"{len(paths)} pictures to 224 x 224, median of {options.rounds} rounds\n")
    print("| | figure | goal |\n|---|---|---|")
    print(f"| overhead a partition, threads | {each:.2f} ms | under 3 ms |")
    print(f"| LocalCluster of 2 processes: compute() | {computed:.0f} images/s | |")
    print(f"| LocalCluster of 2 processes: iter_batches | {iterated:.0f} images/s | |")
    print(f"| ... of compute() | {iterated / computed:.2f} | 0.9 |")
    print(f"| threads, consumer idle {1000 * BUSY:.0f} ms a batch | {idle:.0f} images/s | |")
    print(f"| threads, consumer in pure Python as long | {busy:.0f} images/s | |")
    print(f"| ... of the idle one | {busy / idle:.2f} | 0.7 |")
    print(f"| ... with Python's own switch interval | {alone / idle:.2f} | |")


if __name__ == "__main__":
    main()
