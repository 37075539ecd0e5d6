"""A region's task: the rows of a partition, at once or in chunks whose pictures fit in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from daskimg import config, metrics, wanted
from daskimg.guard import limit
from daskimg.lazy.bare import as_pandas, joined, rows_at
from daskimg.lazy.evaluate import ALL, Evaluator
from daskimg.lazy.fusion import bare
from daskimg.lazy.recipe import Recipe
from daskimg.transport.ahead import Feeds, feeding
from daskimg.transport.spans import Spans

__all__ = ["QUEUE", "Hints", "Results", "begun", "mark_of", "narrowed", "read", "run", "taken"]

FIRST = 16  # rows of the first chunk
CHUNK = 2**26  # bytes of pictures that a chunk keeps, about
LONGEST = 4096  # rows of a chunk
QUEUE = "daskimg-queue"  # the plugin of a worker that has hints


class Hints:
    """What was begun for tasks of a run before their turn came."""

    def __init__(self) -> None:
        self.keys: set[Any] = set()  # of tasks that were looked at
        self.feeds: dict[Any, Feeds] = {}
        self.over = False
        self.lock = threading.Lock()

    def put(self, mark: Any, feeds: Feeds) -> None:
        with self.lock:
            other = self.feeds.setdefault(mark, feeds)
        if other is not feeds or self.over:
            feeds.close()

    def take(self, mark: Any) -> Feeds | None:
        with self.lock:
            return self.feeds.pop(mark, None)

    def close(self) -> None:
        """The run is over."""
        self.over = True
        with self.lock:
            left, self.feeds = [*self.feeds.values()], {}
        for feeds in left:
            feeds.close()


def mark_of(recipe: Recipe, rows: Any) -> Any:
    """What tells the work on these rows from that on others; where it does not, nothing is lost."""
    index = rows.index
    ends = (index[0], index[-1]) if len(index) else ()
    return recipe.roots[0].name, len(index), repr(ends)


def begun(mark: Callable[[], Any]) -> Feeds | None:
    """What was begun for work that has a mark."""
    run = wanted.current()
    if run is not None:
        hints = run.begun
        return hints.take(mark()) if hints is not None and hints.feeds else None
    worker = metrics.worker()  # of a cluster, whose task this is
    queue = None if worker is None else worker.plugins.get(QUEUE)
    feeds: Feeds | None = None if queue is None else queue.take(mark())
    return feeds


def read(spans: Spans) -> bytes:
    """The bytes of a part of a file, which may be on their way already."""
    with feeding(begun(lambda: spans)) as feeds:
        return spans.read(feeds, config.retries())


class Results(dict[str, Any]):
    """What a region was asked for, by the names of its roots."""


def taken(results: Results, root: str) -> Any:
    """One of them, as pandas."""
    return as_pandas(results[root])


def run(recipe: Recipe, *given: Any, part: limit.Part | None = None) -> Results:
    """All that a region is asked for, of one partition.

    Parameters
    ----------
    recipe : Recipe
    *given : Table, DataFrame, Series or any
        The rows, then what all rows share.
    part : (str, int), optional
        The run and the partition, where failures are counted.

    Raises
    ------
    ImageError, TooManyErrors
    """
    rows, *others = given
    with feeding(begun(lambda: mark_of(recipe, rows))):
        return _run(recipe, rows, others, part)


def _run(recipe: Recipe, rows: Any, others: list[Any], part: limit.Part | None) -> Results:
    n = len(rows)
    counted: dict[Any, str] = {}
    if not recipe.staged or recipe.aligns or not n:
        results = Evaluator(recipe, [rows, *others], counted, 0).roots()
    else:
        chunks = list(_chunks(recipe, rows, others, counted))
        results = {
            root.name: joined([chunk[root.name] for chunk in chunks]) for root in recipe.roots
        }
    limits = [p.max_errors for p in recipe.programs if p.max_errors is not None]
    if limits:
        limit.tally(min(limits), part, counted.values())
    return Results(results)


def _chunks(recipe: Recipe, rows: Any, others: list[Any], counted: dict[Any, str]) -> Iterator[Any]:
    places = _cheaply(recipe, rows, others)
    size, at = FIRST, 0
    while at < len(places) or at == 0:
        chunk = places[at : at + size]
        whole = len(chunk) == len(rows)
        part = rows if whole else rows_at(rows, chunk)
        work = Evaluator(recipe, [part, *others], counted, at)
        yield work.roots()
        at += max(len(chunk), 1)
        if len(chunk):
            each = max(work.nbytes / len(chunk), CHUNK / LONGEST)
            size = max(1, int(CHUNK / each))


def _cheaply(recipe: Recipe, rows: Any, others: list[Any]) -> Any:
    """The rows that pass what needs no picture of at least one of the roots."""
    work = Evaluator(recipe, [rows, *others], {}, 0)
    found = np.zeros(len(rows), bool)
    for domain in {root.domain for root in recipe.roots}:
        places = work.passing(recipe.cheap(domain), ALL)
        found[slice(None) if places.at is None else places.at] = True
    return np.flatnonzero(found)


def narrowed(recipe: Recipe, *given: Any) -> Any:
    """The rows that pass what needs no picture."""
    rows, *others = given
    return rows_at(rows, _cheaply(recipe, rows, others))


bare(narrowed, narrowed)
bare(run, run)
bare(taken, dict.__getitem__)
