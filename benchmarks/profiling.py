"""Where the library's time goes, picture by picture: one thread, the profiler of Python."""

from __future__ import annotations

import cProfile
import pstats
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask

from benchmarks import library, loop
from benchmarks.pictures import list_pictures

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 30
WORK: dict[str, tuple[Callable[[Path], Any], Callable[[list[str]], Any]]] = {
    "B": (lambda folder: library.small_pictures(folder)[["image"]].compute(), loop.batches),
    "C": (library.statistics, loop.statistics),
    "D": (library.headers, loop.headers),
    "E": (
        lambda folder: library.small_pictures(folder)[["image"]].compute(),
        lambda files: loop.batches(files, loop.TWICE),
    ),
}


def profile(row: str, folder: Path) -> str:
    """The functions of a row that take longest themselves, in microseconds a picture."""
    ours, theirs = WORK[row]
    files = list_pictures(folder)
    with dask.config.set(scheduler="sync"), loop.one_thread_each():
        ours(folder)
        plain = min(_seconds(lambda: ours(folder)) for _ in range(3))
        profiler = cProfile.Profile()
        profiler.runcall(ours, folder)
    bare = min(_seconds(lambda: _alone(theirs, files)) for _ in range(3))
    each = 1e6 / len(files)
    lines = [
        f"### Profile of row {row}: {len(files):,} pictures, one thread",
        "",
        f"Library {plain * each:.0f} us a picture, loop {bare * each:.0f} us, "
        f"beyond the loop {(plain - bare) * each:.0f} us (without the profiler).",
        "",
        "| own us a picture | with callees | calls a picture | function |",
        "| --- | --- | --- | --- |",
    ]
    return "\n".join([*lines, *_functions(profiler, each / 1e6)])


def _functions(profiler: cProfile.Profile, each: float) -> list[str]:
    stats = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    found = sorted(stats.items(), key=lambda item: item[1][2], reverse=True)[:LARGEST]
    return [
        f"| {own * each * 1e6:.1f} | {total * each * 1e6:.1f} | {calls * each:.2f} | {_name(key)} |"
        for key, (_, calls, own, total, _) in found
    ]


def _name(key: tuple[str, int, str]) -> str:
    path, line, name = key
    if path == "~":
        return f"`{name.strip('<>')}`"
    parts = Path(path).parts
    below = parts.index("site-packages") + 1 if "site-packages" in parts else -2
    return f"`{'/'.join(parts[below:])}:{line} {name}`"


def _alone(work: Callable[[list[str]], Any], files: list[str]) -> None:
    """The loop on one thread."""
    threads, loop.THREADS = loop.THREADS, 1
    try:
        for _ in work(files):
            pass
    finally:
        loop.THREADS = threads


def _seconds(work: Callable[[], Any]) -> float:
    """Of processor time: other programs spoil it less."""
    start = time.process_time()
    work()
    return time.process_time() - start
