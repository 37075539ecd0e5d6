"""Two ways to do the same work, in turn, in one run."""

from __future__ import annotations

import contextlib
import gc
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil

NEAR = 0.6  # grey levels between results that count as the same


@dataclass
class Times:
    """Seconds of each run: on the clock, and of processor time, which other programs spoil less."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    clock: Callable[[], float] = time.process_time

    @property
    def median(self) -> float:
        return statistics.median(self.wall)

    def run(self, work: Callable[[], Any]) -> None:
        gc.collect()
        wall, cpu = time.perf_counter(), self.clock()
        work()
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(self.clock() - cpu)


def of_all() -> float:
    """Processor seconds of this process and of its children, such as the workers of a cluster."""
    me, total = psutil.Process(), 0.0
    for process in (me, *me.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            used = process.cpu_times()
            total += used.user + used.system
    return total


@dataclass
class Line:
    """One row of the table of results."""

    row: str
    what: str
    library: str
    loop: str
    ratio: str
    cpu: str
    wanted: str


def in_turn(
    library: Callable[[], Any],
    loop: Callable[[], Any],
    pairs: int,
    look: Callable[[Any], Any] = np.asarray,
    clock: Callable[[], float] = time.process_time,
    ready: Callable[[bool], object] = bool,
) -> tuple[Times, Times, bool]:
    """Times of both, after one run of each to warm up, and whether their results agree.

    `ready` is called before each run of either, not timed: with whether it is the library's.
    """
    same = agree(look(library()), look(loop()))
    times = Times(clock=clock), Times(clock=clock)
    for number in range(pairs):
        order = [(times[0], library), (times[1], loop)]
        for time_of, work in order if number % 2 == 0 else reversed(order):
            ready(work is library)
            time_of.run(work)
    return *times, same


def compare(
    row: str,
    what: str,
    library: Callable[[], Any],
    loop: Callable[[], Any],
    *,
    pictures: int,
    pairs: int,
    wanted: str = "",
    cpu: bool = True,
    look: Callable[[Any], Any] = np.asarray,
) -> Line:
    """The line of a row: medians, their ratio, and the lowest and highest ratio of a pair.

    `look` makes numbers of what the first run of either gives, to see that they did the same.
    """
    ours, theirs, same = in_turn(library, loop, pairs, look)
    if not same:
        print(f"row {row}: the library's results differ from the loop's", file=sys.stderr)
    what = what if same else f"{what} (results differ)"
    return line(row, what, ours, theirs, pictures, wanted, cpu)


def line(
    row: str, what: str, ours: Times, theirs: Times, pictures: int, wanted: str, cpu: bool = True
) -> Line:
    """The line of these times."""
    return Line(
        row,
        what,
        speed(ours.median, pictures),
        speed(theirs.median, pictures),
        _ratio(ours.wall, theirs.wall),
        _ratio(ours.cpu, theirs.cpu) if cpu else "",
        wanted,
    )


def agree(first: Any, second: Any) -> bool:
    """Whether two results, arrays or tables of numbers, are the same but for rounding."""
    a, b = (np.asarray(result, np.float64) for result in (first, second))
    return a.shape == b.shape and np.allclose(a, b, rtol=0, atol=NEAR)


def speed(seconds: float, pictures: int) -> str:
    return f"{seconds:.3f} s, {pictures / seconds:,.0f}/s"


def _ratio(library: list[float], loop: list[float]) -> str:
    each = [theirs / ours for ours, theirs in zip(library, loop, strict=True) if ours]
    ratio = statistics.median(loop) / max(statistics.median(library), 1e-9)
    return f"{ratio:.2f} ({min(each, default=0):.2f}-{max(each, default=0):.2f})"
