"""``python -m benchmarks.cores``: how the rate grows with the cores of one machine.

Rows B and C on 1, 2, 4, ... threads of one process, and the bare loop of the same kernels on as
many; B with the scheduler "processes"; then both on clusters of as many threads in all, in
processes of 1, 4 and all of them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import Any
from unittest import mock

import dask

import daskimg as di
from benchmarks import library, loop, pictures

HEADINGS = ("work", "threads", "where", "library", "bare loop", "ratio")


def counted(batches: Iterable[Sized]) -> int:
    return sum(map(len, batches))


WORK: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "iterate": (
        lambda source: counted(library.batches(source)),
        lambda f: counted(loop.batches(f)),
    ),
    "statistics": (library.statistics, loop.statistics),
}


def rate(work: Callable[..., Any], over: Any, count: int) -> float:
    """Pictures a second; a first run, which imports and reads what is not in memory, is apart."""
    work(over)
    start = time.perf_counter()
    work(over)
    return count / (time.perf_counter() - start)


def measure(folder: Path, most: int) -> Iterator[tuple[str, ...]]:
    files = pictures.list_pictures(folder)
    limits = {}
    for name, (ours, bare) in WORK.items():
        for threads in [2**k for k in range(most.bit_length()) if 2**k < most] + [most]:
            some = files[: len(files) * threads // most]
            with mock.patch.object(loop, "THREADS", threads):
                limits[name] = rate(bare, some, len(some))
            with dask.config.set(scheduler="threads", num_workers=threads):
                made = rate(ours, some, len(some))
            yield row(name, threads, "one process", made, limits[name])
        if name == "iterate":
            with dask.config.set(scheduler="processes", num_workers=most):
                yield row(name, most, "processes", rate(ours, folder, len(files)), limits[name])
    for each in sorted({1, min(4, most), most}):
        with di.start_cluster(most // each, each, gpus=0):
            for name, (ours, _) in WORK.items():
                made, where = rate(ours, folder, len(files)), f"cluster: {most // each} of {each}"
                yield row(name, most, where, made, limits[name])


def row(name: str, threads: int, where: str, ours: float, limit: float) -> tuple[str, ...]:
    shown = (f"{ours:,.0f}/s", f"{limit:,.0f}/s", f"{ours / limit:.2f}")
    return name, str(threads), where, *shown


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cores", description=__doc__)
    parser.add_argument("--images", metavar="FOLDER", help="as of python -m benchmarks")
    parser.add_argument("--pictures", type=int, default=20_000, help="with all threads; else less")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="at most")
    asked = parser.parse_args(arguments)
    files = pictures.list_pictures(pictures.find_pictures(asked.images, 1000))
    with tempfile.TemporaryDirectory(prefix="daskimg-") as folder:
        many = pictures.repeat(files, asked.pictures, Path(folder, "many"))
        for cells in (HEADINGS, ("---",) * len(HEADINGS)):
            print(f"| {' | '.join(cells)} |", flush=True)
        for cells in measure(many, asked.threads):
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
