"""Seconds are those of some rows, as often as they stand for; everything else is counted."""

import time

import numpy as np
import pytest

import daskimg as di
from daskimg.engine.gauge import Gauge
from daskimg.engine.plan import Node
from daskimg.engine.program import Step


def weights(n, slow=()):
    gauge = Gauge(Node(Step("path")), n)
    found = []
    for i in gauge.over(di.images([]).array):
        found.append(gauge.weight_of(i))
        if i in slow:
            time.sleep(0.004)
    return found


@pytest.mark.parametrize("n", [1, 2, 3, 16, 100])
def test_the_rows_that_are_timed_stand_for_all(n):
    found = weights(n)
    assert sum(found) == n
    assert found[0] == 1
    assert found[-1] > 0
    timed = [i for i, weight in enumerate(found) if weight]
    assert [found[i] for i in timed[1:]] == np.diff(timed).tolist()
    assert len(timed) <= n / 4 + 3


def test_slow_rows_are_all_timed():
    assert weights(12, slow=range(12)) == [1] * 12
    found = weights(40, slow=range(20, 40))
    assert sum(found) == 40
    assert found[25:] == [1] * 15


@pytest.mark.parametrize("seconds", [0.0002, 0.003])
def test_seconds_of_a_function(seconds):
    cells = di.images([np.zeros((2, 2), np.uint8)] * 60)

    def wait(pixels):
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pass
        return 1.0

    with di.stats() as s:
        cells.img.apply(wait, dtype="float64")
    row = s.to_frame().loc["apply"]
    assert row.images == 60
    assert row.seconds == pytest.approx(60 * seconds, rel=0.5)
