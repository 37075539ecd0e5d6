"""Image ops where the rules cannot be: row-wise steps of their own, with public Dask alone.

Nothing merges: each op reads and decodes for itself, and goes on from what the op before it made.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import dask
import dask.dataframe as dd
import pandas as pd
from dask.core import get, get_dependencies
from dask.tokenize import tokenize
from fsspec.core import OpenFile

from daskimg import clients, wanted
from daskimg.engine import onepass
from daskimg.engine.program import Program
from daskimg.guard import crashes

__all__ = [
    "Changed",
    "Part",
    "at_home",
    "files_of",
    "gather",
    "image_op",
    "numbered",
    "parts",
    "settled",
    "stage",
]

_change: ContextVar[Callable[[Program], Program] | None] = ContextVar("change", default=None)


def image_op(series: Any, program: Program, args: Sequence[Any]) -> Any:
    """A Dask Series of what `program` makes of `series`."""
    crashes.watch()
    wanted.watch()
    counts = None if program.max_errors is None else tokenize(series, program, *args)
    like = series._meta
    meta = pd.Series([], dtype=program.dtype, index=like.index[:0], name=like.name)
    options = {"program": program, "counts": counts}
    return series.map_partitions(_run, *args, **options, meta=meta, enforce_metadata=False)


def _run(
    series: pd.Series,
    *args: pd.Series,
    program: Program,
    counts: str | None,
    partition_info: dict[str, Any] | None = None,
) -> pd.Series:
    change = _change.get()
    number = (partition_info or {"number": 0})["number"]
    (made,) = onepass.columns(
        series,
        [program if change is None else change(program)],
        *args,
        part=None if counts is None else (counts, number),
    )
    return pd.Series(made, index=series.index, name=series.name, copy=False)


def gather(frame: Any, finish: Callable[[list[Any]], Any]) -> Any:
    """A delayed value: `finish` of the list of all partitions of `frame`."""
    return dask.delayed(finish)(frame.to_delayed())


def stage(frame: Any, call: Any, meta: pd.DataFrame, prepare: Callable[[Any], None]) -> Any:
    """`call` on every partition. Placed, it is for the cluster there is now."""
    wanted.watch()
    if call.placed and clients.active_client() is not None:
        prepare(call)
    return frame.map_partitions(call, meta=meta, enforce_metadata=False, token=call.label)


def numbered(frame: Any, call: Callable[[pd.DataFrame, int], pd.DataFrame], meta: Any) -> Any:
    """`call` of every partition and its number."""
    made = dask.delayed(call)
    parts = [made(part, number) for number, part in enumerate(frame.to_delayed())]
    return dd.from_delayed(parts, meta=meta, divisions=frame.divisions, verify_meta=False)


# -- where rows come from -------------------------------------------------------------------------
def at_home(read: Callable[..., Any], stores: tuple[str, ...]) -> Callable[..., Any]:
    """A reader that tells which stores its files are in."""
    told = functools.partial(read)
    told.homes = stores  # type: ignore[attr-defined]
    return told


def files_of(value: Any) -> list[str]:
    """All that may be a file in what a reader is made of: values of its rows may be there."""
    if isinstance(value, str | os.PathLike):
        return [str(value)]
    if isinstance(value, OpenFile):
        return [value.full_name]
    if isinstance(value, functools.partial):
        return list(getattr(value, "homes", ()))
    inner: Any = getattr(value, "args", None)  # of a task
    if isinstance(value, dict | list | tuple):
        inner = value.values() if isinstance(value, dict) else value
    elif not isinstance(inner, tuple):
        return []
    return [file for one in inner for file in files_of(one)]


# -- one partition at a time ----------------------------------------------------------------------
class Changed:
    """A settled frame each of whose image programs is changed as it runs."""

    def __init__(self, frame: Any, change: Callable[[Program], Program]) -> None:
        self.frame, self.change = frame, change


class Part:
    """The tasks of one partition: called, they run here."""

    def __init__(self, graph: dict[Any, Any], key: Any, change: Any = None) -> None:
        self.tasks, self.key, self.change = graph, key, change

    def __call__(self) -> Any:
        with _changing(self.change):
            (made,) = get(self.tasks, [self.key])
            return made

    @property
    def named(self) -> Callable[[Any], dict[Any, Any]] | None:
        """Gives a graph for a cluster, in which the result has the name that is given, too.

        None where the tasks have to run as one.
        """
        return None if self.change else lambda key: {**self.tasks, key: self.key}


@contextmanager
def _changing(change: Callable[[Program], Program] | None) -> Iterator[None]:
    token = _change.set(change)
    try:
        yield
    finally:
        _change.reset(token)


def settled(frame: Any, **options: Any) -> Any:
    """`frame`; computed, where its partitions need the same work (a shuffle, a small table)."""
    needed = [key for part in parts(frame) for key in part.tasks]
    return frame if len(needed) == len(set(needed)) else frame.persist(**options)


def parts(frame: Any) -> list[Part]:
    """A frame as one task for each partition."""
    change = None
    if isinstance(frame, Changed):
        frame, change = frame.frame, frame.change
    frame = frame.optimize()
    graph = dict(frame.__dask_graph__())
    return [Part(_needed(graph, key), key, change) for key in frame.__dask_keys__()]


def _needed(graph: dict[Any, Any], key: Any) -> dict[Any, Any]:
    found, todo = {}, [key]
    while todo:
        k = todo.pop()
        if k not in found:
            found[k] = graph[k]
            todo += get_dependencies(graph, k)
    return found
