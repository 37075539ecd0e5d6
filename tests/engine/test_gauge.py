"""Seconds are those of some rows, as often as they stand for; everything else is counted."""

import time

import numpy as np
import pytest

import daskimg as di
from daskimg.engine.gauge import Gauge
from daskimg.engine.plan import Node
from daskimg.engine.program import Step


def timed(n, slow=()):
    """Which rows are; each but the slow ones takes next to no time."""
    gauge = Gauge(Node(Step("path")), n)
    found = []
    for i in gauge.over(di.images([]).array):
        if gauge.times(i):
            found.append(i)
        if i in slow:
            time.sleep(0.004)
    return found


@pytest.mark.parametrize("n", [1, 2, 3, 16, 100])
def test_some_of_quick_rows_are_timed(n):
    found = timed(n)
    assert found[:4] == [*range(min(n, 4))]
    assert found[-1] == n - 1
    assert len(found) <= n / 5 + 4
    assert n < 100 or {*np.diff(found[3:-1])} == {4, 5, 6}


def test_slow_rows_are_all_timed():
    assert timed(12, slow=range(12)) == [*range(12)]
    found = timed(40, slow=range(20, 40))
    assert found[-15:] == [*range(25, 40)]
    assert len(found) < 30


def waited(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


@pytest.mark.parametrize("slow", [0, 17, 39])
def test_no_time_is_lost_or_counted_twice(slow):
    """Of which step it was may be a guess, where a slow row is between quick ones."""
    cells = di.images([np.full((2, 2), n, np.uint8) for n in range(40)])

    def wait(pixels):
        waited(0.2 if pixels[0, 0] == slow else 0.0005)
        return 1.0

    with di.stats() as s:
        start = time.perf_counter()
        cells.img.apply(wait, dtype="float64")
        took = time.perf_counter() - start
    assert 0.12 < s.to_frame().loc["apply", "seconds"] <= took


@pytest.mark.parametrize("seconds", [0.0002, 0.003])
def test_seconds_of_a_function(seconds):
    cells = di.images([np.zeros((2, 2), np.uint8)] * 60)

    def wait(pixels):
        waited(seconds)
        return 1.0

    with di.stats() as s:
        cells.img.apply(wait, dtype="float64")
    row = s.to_frame().loc["apply"]
    assert row.images == 60
    assert row.seconds == pytest.approx(60 * seconds, rel=0.6)
