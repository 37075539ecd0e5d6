"""One pass over one partition: each picture fetched once, decoded once, shared steps once.

The programs of a pass form a prefix tree. `run` walks it picture by picture, so no more than one
picture of full size is alive beside the outputs.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from daskimg import metrics
from daskimg.column.array import ImageArray
from daskimg.column.cells import is_missing
from daskimg.column.dtype import ImageDtype
from daskimg.engine import opening
from daskimg.engine.gauge import Gauge, gauge_of
from daskimg.engine.opening import ISOLATED
from daskimg.engine.plan import Node, Plan
from daskimg.engine.program import Program
from daskimg.engine.sinks import Sink
from daskimg.errors import ImageError, reason_of
from daskimg.guard import crashes, limit
from daskimg.kernels import resizing
from daskimg.kernels.threads import one_thread
from daskimg.transport import fetch
from daskimg.transport.ahead import Feeds, feeding
from daskimg.wanted import looking

__all__ = ["Walk", "as_cells", "columns", "run", "walked"]

PLANS = 2  # that a thread keeps: the tasks of a graph share their programs

_kept = threading.local()


def as_cells(values: Any) -> ImageArray:
    """The cells of a column: an image column's own, or the files that a column of paths names."""
    if isinstance(values, ImageArray):
        return values
    paths = pa.array(values, pa.large_string(), from_pandas=True)
    if isinstance(paths, pa.ChunkedArray):
        paths = paths.combine_chunks()
    whole = not paths.null_count
    valid = np.ones(len(paths), bool) if whole else paths.is_valid().to_numpy(zero_copy_only=False)
    return ImageArray(ImageDtype("file"), valid, None, paths)


def run(source: pd.Series, programs: Sequence[Program], *args: pd.Series) -> list[pd.Series]:
    """Every program's column, in order; see `columns`."""
    made = columns(source, programs, *args)
    return [pd.Series(c, index=source.index, name=source.name, copy=False) for c in made]


def columns(
    source: Any,
    programs: Sequence[Program],
    *args: pd.Series,
    part: limit.Part | None = None,
) -> list[Any]:
    """The values of every program's column, in order.

    Parameters
    ----------
    source : Series, or what has an index and an array
        An image column, or a column of paths.
    programs : sequence of Program
    *args : Series
        The row-wise arguments that `Row` parameters name, on the rows of `source`.
    part : (str, int), optional
        The run and the partition that `source` is, where it is not all there is to count.

    Raises
    ------
    ImageError
        For the first picture that fails a step whose policy is "raise", and when more fail than
        ``daskimg.max-errors`` allows.
    """
    n = len(source.array)
    for arg in args:
        if len(arg) != n or not arg.index.equals(source.index):
            raise ValueError(
                f"a row-wise argument has a value for each picture, on the same index; got "
                f"{len(arg)} values for {n} pictures"
            )
    made, work = walked(source.array, programs, *args)
    if work.plan.max_errors is not None:
        limit.tally(work.plan.max_errors, part, work.counted.values())
    return made


def walked(
    values: Any,
    programs: Sequence[Program],
    *args: pd.Series,
    begin: Callable[[Plan, ImageArray, list[list[Any]], bool], Walk] | None = None,
) -> tuple[list[Any], Walk]:
    """The values of every program's column, and the walk that made them; nothing is tallied."""
    alone = crashes.suspected()  # a worker died of this partition, it may be
    fresh = alone or begin is not None
    plan = Plan(programs) if fresh else _plan_of(programs)
    cells = as_cells(values)
    work = (begin or Walk)(plan, cells, [_values(arg) for arg in args], alone)
    with nullcontext() if work.gauge is None else metrics.live(work.gauge):
        made = work.columns()
    if not (fresh or plan.calls_users):  # (a user's function may hold a model)
        if work.gauge is not None:
            work.gauge.take_off()
        _plans().append(plan)
        del _plans()[:-PLANS]
    return made, work


def _plans() -> list[Plan]:
    found: list[Plan] = vars(_kept).setdefault("plans", [])
    return found


def _plan_of(programs: Sequence[Program]) -> Plan:
    """A plan that this thread has used for these very programs, or a new one."""
    plans = _plans()
    for place, plan in enumerate(plans):
        if plan.programs is programs:
            return plans.pop(place)
    return Plan(programs)


def _values(arg: pd.Series) -> list[Any]:
    """A value for each row; a picture as its pixels, what is missing as None."""
    if not isinstance(arg.dtype, ImageDtype):
        return [None if is_missing(value) else value for value in arg.tolist()]
    cells: ImageArray = arg.array
    return [cell.to_numpy() if ok else None for cell, ok in zip(cells, cells.valid, strict=True)]


class Walk:
    """One walk over some cells."""

    def __init__(
        self, plan: Plan, cells: ImageArray, args: list[list[Any]], alone: bool = False
    ) -> None:
        self.plan, self.cells, self.args = plan, cells, args
        self.root, self.partial = plan.root, plan.partial
        self.runs: Counter[str] = Counter()
        self.valid: list[bool] = cells.valid.tolist()
        self.paths = None if cells.path is None else cells.path.to_pylist()
        self.errors = None if cells.error is None else cells.error.to_pylist()
        self.counted: dict[int, str] = {}  # the rows that failed, where there is a limit
        self.failed: dict[int, str] = {}  # the rows that failed
        self.gauge = gauge_of(self.root, len(cells))  # where somebody measures
        self.timing = False  # whether the row at hand is timed there
        own = fetch.recall(cells.dtype.source)
        for node in plan.opening:  # the cells may know better than their column was declared
            node.params[0] = (node.step.params[0] or fetch.Source.default).kept_to(own)
        for node in plan.nodes if alone else ():
            if node.step.name in ISOLATED:
                node.params[-1] = node.params[-1] or (None,)

    def columns(self) -> list[Any]:
        """Walk the tree for every row."""
        self.plan.begin(self.cells)
        torch = resizing.torch_module() if self.plan.resizes else None
        gauge = self.gauge
        rows = range(len(self.cells)) if gauge is None else gauge.over(self.cells)
        with looking() as check, one_thread(torch), feeding() as feeds:
            self._expect(feeds)
            for i in rows:
                check()
                if gauge is not None:
                    self.timing = gauge.times(i)
                self._row(i)
        for node in self.plan.nodes:
            if node.runs:
                self.runs[node.step.name] += node.runs
        metrics.add(self.runs)
        if self.gauge is not None:
            self._report(self.gauge)
        return self.plan.finish()

    def _expect(self, feeds: Feeds) -> None:
        """Let files be fetched before their rows come."""
        for node in self.plan.opening:
            node.options.pop("feed", None)
            if node in self.root.steps:
                feed = opening.expect(feeds, self.cells, node.step.name, node.params)
                if feed is not None:
                    node.options["feed"] = feed

    def _report(self, gauge: Gauge) -> None:
        gauge.tell(self.cells, self.failed)

    def _row(self, i: int) -> None:
        reason = None if self.errors is None else self.errors[i]
        if not self.valid[i]:
            for sink in _below(self.root):  # null it stays, with the reason it has
                sink.inherit(i, reason)
            return
        data = self.cells.data
        value: Any = None if data is None else data.content(i)
        if value is None:
            value = self._path(i)
        for sink in self.root.sinks:
            sink.put(i, value)
        self._walk(self.root, value, i, 0)
        if reason is not None:
            for sink in _below(self.root):
                sink.warn(i, reason)

    def _path(self, i: int) -> str | None:
        return None if self.paths is None else self.paths[i]

    def _walk(self, node: Node, value: Any, i: int, depth: int) -> None:
        for child in node.steps:
            if child.counted:
                child.runs += 1
            options = child.options
            if child.target is not None:
                options = {"out": child.target.out[i]}
            try:
                params = child.params
                if child.rows:
                    params = params.copy()
                    for k, slot in child.rows:
                        given = self.args[slot][i] if slot >= 0 else self._path(i)
                        if given is None and not child.takes_null:
                            raise ValueError("the value that it is given in this row is null")
                        params[k] = given
                tally = child.tally
                if tally is None:
                    result = child.kernel(value, *params, **options)
                else:
                    tally.runs += 1
                    if self.timing:
                        result = tally.timed(child.kernel, value, params, options)
                    else:
                        result = child.kernel(value, *params, **options)
                    tally.sizes(value, result)
            except Exception as error:
                if child.tally is not None:
                    child.tally.failed(value)
                self._fail(child, i, depth, error)
                if child.otherwise is not None:
                    self._walk(child.otherwise, value, i, depth)
                continue
            if self.partial:
                self._warn(child, i)
            for sink in child.sinks:
                sink.put(i, result)
            for side, sink in child.sides:
                sink.put(i, result.shape[side])
            if child.steps:
                self._walk(child, result, i, depth + 1)

    def _warn(self, node: Node, i: int) -> None:
        reason = f"{node.step.name}: partial: {self.partial[0]}"
        self.partial.clear()
        for sink in _below(node):
            sink.warn(i, reason)

    def _fail(self, node: Node, i: int, depth: int, error: Exception) -> None:
        stage = "read" if node.step.name in ("fetch", "size") else node.step.name
        if node.step.name == "header" and isinstance(error, OSError) and error.errno is not None:
            stage = "read"  # the file could not be opened; its content was never looked at
        reason = reason_of(stage, error)
        path = self._path(i)
        self.partial.clear()
        self.runs["failed"] += 1
        self.failed.setdefault(i, reason)
        for sink in _below(node):
            if sink.raises_at(depth):
                raise ImageError(reason, path) from error
            sink.fail(i, reason, path)
            if sink.program.max_errors is not None:
                self.counted[i] = reason


def _below(node: Node) -> list[Sink]:
    found = list(node.sinks)
    for child in node.children:
        found += _below(child)
    return found
