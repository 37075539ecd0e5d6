"""A frame as one task for each partition, and what is done to rows apart from what reads them.

For those who take a frame piece by piece (iterators, trainers): what several partitions need is
computed first, then each partition is a task of its own that can run alone, anywhere.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import dask
from dask.order import order

from daskimg.column.dtype import ImageDtype
from daskimg.engine.program import Program
from daskimg.lazy import plain as in_plain
from daskimg.lazy.bare import as_pandas, joined
from daskimg.lazy.expr import (
    RULES,
    Alias,
    Apply,
    Blockwise,
    Expr,
    Map,
    MapPartitions,
    convert_legacy_graph,
    new_collection,
    optimize_blockwise_fusion,
)
from daskimg.lazy.fusion import run_bare, twin_of, unfused
from daskimg.lazy.hints import begun, feeds_of, reaches_out, region_in, spans_in
from daskimg.lazy.nodes import PlacedStage, Stage, replaced, with_operands
from daskimg.lazy.prune import pruned
from daskimg.lazy.region import Region, Take, decodes, every_node
from daskimg.lazy.rowwise import drops_rows, is_rowwise
from daskimg.lazy.source import row_counts, row_weight
from daskimg.transport.ahead import Feeds

__all__ = ["Part", "Parts", "counted", "parts", "plain", "settled", "with_programs"]


class Part:
    """The tasks of one partition: called, they run here.

    With `given`, the key of rows to start from, they are called with these rows. What none of the
    tasks makes is in `held`: a cluster has it, for as long as somebody refers to what is `kept`.
    """

    def __init__(
        self, graph: dict[Any, Any], key: Any, given: Any = None, kept: Any = None
    ) -> None:
        wanted, todo, held = {}, [key], set()
        while todo:
            k = todo.pop()
            if k not in graph and k != given:
                held.add(k)
            elif k not in wanted and k != given:
                wanted[k] = graph[k]
                todo += graph[k].dependencies
        self.held, self.kept = held, kept if held else None
        places = order(wanted) if len(wanted) > 1 else {key: 0}
        self.tasks = {k: wanted[k] for k in sorted(wanted, key=places.__getitem__)}
        self.key, self.given = key, given

    def __call__(self, *rows: Any) -> Any:
        return as_pandas(self.bare(*rows))

    def bare(self, *rows: Any) -> Any:
        """The same as a `Table`, where pandas is not needed."""
        return run_bare([], self._twins, [self.given][: len(rows)], *rows)

    def ahead(self, *frames: Any) -> Feeds | None:
        """Files that the work (on given rows) will want, on their way; None: all are local."""
        if self._spans is not None:
            return begun(self._spans)
        region = self._opens
        if region is None or not reaches_out(region.recipe):
            return None
        rows = joined(frames) if region.key == self.given else region.rows({})
        return None if rows is None else feeds_of(region.recipe, rows)

    @functools.cached_property
    def _opens(self) -> Any:
        return region_in(self._twins)

    @functools.cached_property
    def _spans(self) -> Any:
        return spans_in(self._twins)

    @functools.cached_property
    def _twins(self) -> list[Any]:
        return [twin_of(task) for task in self.tasks.values()]

    def __getstate__(self) -> dict[str, Any]:
        made_here = ("_twins", "_opens", "_spans")
        return {name: value for name, value in self.__dict__.items() if name not in made_here}

    def named(self, key: Any) -> dict[Any, Any]:
        """A graph for a cluster, in which the result has the name `key` too."""
        return {**self.tasks, key: Alias(key, self.key)}


class Parts:
    """A frame as independent partitions, and as sources whose rows can be worked on in slices.

    Attributes
    ----------
    rows : Part or None
        The row-wise work: rows of a source -> rows of the frame.
    source : DataFrame or None
        No rows of a source.
    dear : bool
        Whether a source is more than rows read: pixels are made for it.
    plain : bool
        Whether a source is rows read and computed by no user's function.
    counts : tuple of int, optional
        Rows of each source, where that is known without reading.
    weight : float
        Bytes of the file that a row of a source names, in the mean; 0 where that is not known.
    filters : bool
        Whether the row-wise work leaves rows out.
    """

    def __init__(
        self, expr: Expr, below: Expr | None, rows: Part | None = None, filters: bool = True
    ) -> None:
        # without a source below, a partition is all that can be worked on
        self._expr, self._below = expr, below
        self.rows, self.filters = rows, filters
        self.source: Any = None if below is None else below._meta
        self.dear = below is None or decodes(below)
        self.plain = below is not None and _plain(below)
        self.counts = None if below is None else row_counts(new_collection(below))
        self.weight = 0.0 if below is None else row_weight(new_collection(below))

    @functools.cached_property
    def whole(self) -> list[Any]:
        """Each partition."""
        return _parts(self._expr) if RULES else in_plain.parts(self._expr)

    @functools.cached_property
    def sources(self) -> list[Part]:
        """Each partition before the row-wise work; empty where there is none."""
        return [] if self._below is None else _parts(self._below)


def settled(frame: Any, **options: Any) -> Any:
    """`frame` lowered, with what several partitions need (a shuffle, a small table) computed."""
    if not RULES:
        return in_plain.settled(frame, **options)
    with unfused(), dask.config.set(options):  # (a sort computes what it has to know)
        expr = pruned(frame).optimize(fuse=False).expr
    todo, seen = [(expr, False)], set()
    held: dict[str, Expr] = {}
    while todo:
        node, spread = todo.pop()  # whether several partitions above need the same of this one
        if (node._name, spread) in seen:
            continue
        seen.add((node._name, spread))
        if not (spread or (not isinstance(node, Blockwise) and _shares(node))):
            several = node.npartitions if isinstance(node, Blockwise) else 0
            todo += [(below, below.npartitions < several) for below in node.dependencies()]
        elif node.dependencies() and node._name not in held:
            held[node._name] = new_collection(node).persist(**options).expr
    return new_collection(replaced(expr, lambda node: held.get(node._name), {}))


def _shares(expr: Expr) -> bool:
    """Whether partitions of `expr`, no Blockwise, need the same partition of what is below it.

    Or whether one needs several tasks there: workers share them, and some (of a shuffle) run
    nowhere else.
    """
    layer = convert_legacy_graph(expr._layer())
    if len(layer) > expr.npartitions:
        return True
    seen: set[Any] = set()
    for key in expr.__dask_keys__():
        todo, mine = [key], set()
        while todo:
            k = todo.pop()
            if k not in mine:
                mine.add(k)
                todo += layer[k].dependencies if k in layer else ()
        if seen & mine:
            return True
        seen |= mine
    return False


def with_programs(frame: Any, change: Callable[[Program], Program]) -> Any:
    """A lowered frame with each of its image programs changed; itself, where none is."""
    if not RULES:
        return in_plain.Changed(frame, change)
    new = _changed(frame.expr, change, {})
    return frame if new is frame.expr else new_collection(new)


def _changed(expr: Expr, change: Callable[[Program], Program], done: dict[str, Expr]) -> Expr:
    def put(value: Any) -> Any:
        if isinstance(value, Expr):
            return _changed(value, change, done)
        if isinstance(value, tuple) and value and isinstance(value[0], Expr):
            return tuple(_changed(root, change, done) for root in value)  # of a region
        return change(value) if isinstance(value, Program) else value

    if expr._name not in done:
        done[expr._name] = with_operands(expr, put)
    return done[expr._name]


def parts(frame: Any) -> Parts:
    """A `settled` frame as one task for each partition, with all that can be fused in it."""
    if not RULES:
        return Parts(frame, None)
    whole = expr = frame.expr
    regions = {node._name: node for node in expr.walk() if isinstance(node, Region)}
    if len(regions) == 1:
        narrowed = {name: region.narrowed() for name, region in regions.items()}
        expr = replaced(expr, lambda node: narrowed.get(node._name), {})
    # rows that are dropped before any picture is opened are dropped where rows are read
    sources, filters = _sources(expr, _drops_unseen)
    if len(sources) > 1:
        sources, filters = _sources(expr, lambda node: False)
    if len(sources) != 1 or sources[0] is expr or not expr.npartitions:
        return Parts(whole, None)
    (source,) = sources
    rows = Part(_graph_of_first(expr, source), (expr._name, 0), (source._name, 0))
    if rows.held:  # that cannot leave this process
        return Parts(whole, None)
    return Parts(whole, source, rows, filters)


def _sources(expr: Expr, stop: Callable[[Expr], bool]) -> tuple[list[Expr], bool]:
    """What row-wise work above reads, and whether that work drops rows."""
    found: dict[str, Expr] = {}
    seen, todo, filters = set(), [expr], False
    while todo:
        node = todo.pop()
        if not _rowwise(node) or stop(node):
            found[node._name] = node
        elif node._name not in seen:
            seen.add(node._name)
            filters |= _filters(node)
            todo += [x for x in node.dependencies() if x.ndim and x.npartitions == expr.npartitions]
    return list(found.values()), filters


def _parts(expr: Expr) -> list[Part]:
    fused = optimize_blockwise_fusion(expr)
    graph = _graph(fused)
    return [Part(graph, key, kept=fused) for key in fused.__dask_keys__()]


def _graph(expr: Expr) -> dict[Any, Any]:
    """The tasks of `expr`, without what a cluster holds, each under the name that it has."""
    tasks = convert_legacy_graph(expr.__dask_graph__())
    # Dask itself keeps delayed values (those of an `isin`) under other names
    other = {key: task for key, task in tasks.items() if task.key != key}
    named = {task.key: task for task in other.values()}
    return {**named, **tasks, **{key: Alias(key, task.key) for key, task in other.items()}}


def _graph_of_first(expr: Expr, source: Expr) -> dict[Any, Any]:
    """The tasks that make the first partition of `expr` of that of `source`."""
    found: dict[Any, Any] = {}
    todo = [expr]
    while todo:
        node = todo.pop()
        key = (node._name, 0)
        if node._name == source._name or key in found:
            continue
        if not isinstance(node, Blockwise) or not node.dependencies():
            found.update(_graph(node))
            continue
        found[key] = node._task(key, 0)
        todo += node.dependencies()
    return found


def _filters(expr: Expr) -> bool:
    return expr.drops_rows if isinstance(expr, Region) else drops_rows(expr)


def _drops_unseen(expr: Expr) -> bool:
    return drops_rows(expr) and not decodes(expr)


def _rowwise(expr: Expr) -> bool:
    # a user's stage sees whole partitions
    return isinstance(expr, Region | Take) or is_rowwise(expr)


def plain(frame: Any) -> bool:
    """Whether neither pictures are opened for a frame nor a user's function called."""
    if not RULES:  # nobody knows
        return False
    return _plain(pruned(frame).expr.simplify())  # (lowered, a sort would be asked for divisions)


def counted(frame: Any) -> Any:
    """`frame` with the one column that is had most cheaply: to count rows."""
    names = sorted(frame.columns, key=lambda name: isinstance(frame.dtypes[name], ImageDtype))
    columns = [frame[[name]] for name in names]
    return next(filter(plain, columns), columns[0] if columns else frame)


def _plain(expr: Expr) -> bool:
    calls = (MapPartitions, Map, Apply, Stage, PlacedStage)
    return not decodes(expr) and not any(isinstance(node, calls) for node in every_node(expr))
