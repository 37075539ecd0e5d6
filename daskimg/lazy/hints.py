"""Files of partitions whose turn comes next, fetched ahead.

A pass reads ahead of itself (`daskimg.transport.ahead`). Here the rows of a region that has not
begun are told, where they are known without work: a listing in the graph, a frame in memory. What
is hinted is what is opened whatever filters say. A reader of shards or row groups, which has an
attribute ``spans``, tells what it will read of a file.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from daskimg.engine import onepass, opening
from daskimg.lazy import chunks
from daskimg.lazy.bare import array_of, arrays_of
from daskimg.lazy.chunks import Hints, mark_of
from daskimg.lazy.expr import Task, TaskRef
from daskimg.lazy.fusion import is_light, run_bare, run_in_order
from daskimg.lazy.recipe import Recipe
from daskimg.transport import disk
from daskimg.transport.ahead import Feeds
from daskimg.transport.source import Source
from daskimg.transport.spans import Spans

__all__ = [
    "Opens",
    "Wanted",
    "begun",
    "feeds_of",
    "hint",
    "reaches_out",
    "region_in",
    "spans_in",
    "wants",
]


class Wanted(NamedTuple):
    """What a task will want."""

    mark: Any
    feeds: Feeds


class Opens(NamedTuple):
    """A region among tasks that run together: what it opens, and where its rows come from."""

    recipe: Recipe
    key: Any
    tasks: Mapping[Any, Any]
    given: Mapping[Any, Any]  # keys of what comes from outside, by their keys inside

    def rows(self, cache: Mapping[Any, Any]) -> Any:
        """Its rows, where making them takes no work; None elsewhere."""
        return self._value(self.key, cache)

    def _value(self, key: Any, cache: Mapping[Any, Any]) -> Any:
        task = self.tasks.get(key)
        if task is None:
            return cache.get(self.given.get(key, key))
        if not is_light(task):
            return None
        found = {below: self._value(below, cache) for below in task.dependencies}
        return None if any(value is None for value in found.values()) else task(found)


def region_in(tasks: Iterable[Any]) -> Opens | None:
    """The region among tasks that opens files; what is fused to one is taken apart."""
    found, given = _apart(tasks)
    for task in found.values():
        if getattr(task, "func", None) is chunks.run and isinstance(task.args[1], TaskRef):
            recipe = task.args[0]
            return Opens(recipe, task.args[1].key, found, given)
    return None


def spans_in(tasks: Iterable[Any]) -> Spans | None:
    """What a reader among tasks will read of a file elsewhere."""
    for task in _apart(tasks)[0].values():
        kwargs: Any = getattr(task, "kwargs", {})
        spans = getattr(kwargs.get("_func", getattr(task, "func", None)), "spans", None)
        if spans is not None:
            found: Spans | None = spans(task.args[0], kwargs.get("columns"))
            return found
    return None


def _apart(tasks: Iterable[Any]) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """All tasks by their keys, and the keys of what is given to them by their keys inside."""
    found: dict[Any, Any] = {}
    given: dict[Any, Any] = {}
    for task in tasks:
        args: Any = getattr(task, "args", ())
        outer: Iterator[tuple[Any, Any]]
        if getattr(task, "func", None) in (run_bare, run_in_order):
            inner, outer = [*args[0], *args[1]], zip(args[2], args[3:], strict=True)
        elif getattr(task, "func", None) is _dasks_own():
            inner, outer = [*args[0].values()], zip(args[2], args[3:], strict=False)
        else:
            inner, outer = [task], iter(())
        found |= {one.key: one for one in inner}
        given |= {key: getattr(ref, "key", ref) for key, ref in outer}
    return found, given


def reaches_out(recipe: Recipe) -> bool:
    """Whether a region opens files that may be on other machines, or on a slow disk of this one."""
    sources = [step.params[0] or Source.default for _, step in recipe.opened]
    return disk.is_slow() or not all(source.is_here for source in sources)


@functools.cache
def _dasks_own() -> Any:
    """The function of tasks that Dask has fused."""
    return Task.fuse(Task("below", int), Task("above", int, TaskRef("below"))).func


def feeds_of(recipe: Recipe, rows: Any) -> Feeds | None:
    """What a region will want of the files that rows name; None where it is all at hand."""
    feeds = Feeds()
    for name, step in recipe.opened:
        values = array_of(rows) if name is None else dict(arrays_of(rows))[name]
        opening.expect(feeds, onepass.as_cells(values), step.name, step.params)
    return feeds if feeds.found else None


def hint(hints: Hints, task: Any, cache: Mapping[Any, Any]) -> bool:
    """Begin what a task will want; whether that is something."""
    found = wants(task, cache)
    if found is not None:
        hints.put(found.mark, found.feeds)
    return found is not None


def wants(task: Any, cache: Mapping[Any, Any]) -> Wanted | None:
    """What a task will want, begun; None where that is nothing, or not known yet.

    `cache` is what other tasks have made.
    """
    spans = spans_in([task])
    if spans is not None:
        return Wanted(spans, begun(spans))
    region = region_in([task])
    if region is None or not reaches_out(region.recipe):
        return None
    rows = region.rows(cache)
    if rows is None:
        return None
    feeds = feeds_of(region.recipe, rows)
    return None if feeds is None else Wanted(mark_of(region.recipe, rows), feeds)


def begun(spans: Spans) -> Feeds:
    """Spans on their way."""
    feeds = Feeds()
    spans.begin(feeds)
    return feeds
