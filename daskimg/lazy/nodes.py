"""The expressions of our own that all others stand on, and what is asked of any."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd
from dask.base import get_scheduler
from fsspec.core import OpenFile

from daskimg import wanted
from daskimg.engine import onepass
from daskimg.engine.program import STRING, Program
from daskimg.lazy import plain
from daskimg.lazy.expr import (
    RULES,
    BaseSetIndexSortValues,
    Blockwise,
    Elemwise,
    Expr,
    List,
    Partitions,
    Projection,
    ReadParquet,
    Task,
    TaskRef,
    new_collection,
    operand,
)

__all__ = [
    "ImageNode",
    "Once",
    "Persisted",
    "PlacedStage",
    "Stage",
    "computed",
    "empty_like",
    "files_of",
    "gather",
    "numbered",
    "opens",
    "replaced",
    "sort_key",
    "stable",
    "stage",
    "steady",
    "together",
    "users_of",
    "with_operand",
    "with_operands",
]


def gather(frame: Any, finish: Callable[[list[Any]], Any], result: Any) -> Any:
    """A Dask scalar: `finish` of the list of all partitions of `frame`, such as `result`."""
    if not RULES:
        return plain.gather(frame, finish)
    return new_collection(Gather(frame.expr, finish, result))


# -- nodes that the questions know ----------------------------------------------------------------
def _run_one(series: pd.Series, program: Program, out: Any, *args: pd.Series) -> pd.Series:
    return onepass.run(series, [program], *args)[0].rename(out)


def empty_like(meta: Any, dtype: Any, name: Any = None) -> pd.Series:
    """No rows of `dtype`, with the index of `meta`."""
    return pd.Series([], dtype=dtype, index=meta.index[:0], name=name)


class ImageNode(Elemwise):  # type: ignore[misc]
    """One program over one column, then an expression for each row-wise argument."""

    _parameters = ["frame", "program", "out"]  # noqa: RUF012  (Dask's own convention)
    operation = staticmethod(_run_one)

    @functools.cached_property
    def _meta(self) -> pd.Series:
        return empty_like(self.frame._meta, self.program.dtype, self.out)

    @functools.cached_property
    def _name(self) -> str:
        return f"image-op-{self.deterministic_token}"


class Gather(Expr):  # type: ignore[misc]
    """One value from all partitions at once, in order: the end of a write."""

    _parameters = ["frame", "finish", "result"]  # noqa: RUF012

    @functools.cached_property
    def _meta(self) -> Any:
        return self.result

    @functools.cached_property
    def _name(self) -> str:
        return f"gather-{self.deterministic_token}"

    def _divisions(self) -> tuple[None, None]:
        return (None, None)

    def _layer(self) -> dict[Any, Any]:
        parts = [TaskRef((self.frame._name, i)) for i in range(self.frame.npartitions)]
        key = (self._name, 0)
        return {key: Task(key, self.finish, List(*parts))}


# -- questions -----------------------------------------------------------------------------------


def stable(expr: Expr) -> bool:
    """No merge or shuffle below: evaluating it twice gives the same rows in the same order."""
    return all(isinstance(node, Blockwise) for node in expr.walk())


def opens(node: Expr) -> bool:
    """Whether it opens pictures itself."""
    return isinstance(node, ImageNode) and bool(node.program.decodes)


def files_of(expr: Expr) -> list[str]:
    """The files that one of Dask's own readers reads: Parquet and text."""
    if not RULES:
        return plain.files_of(expr.operands)
    if isinstance(expr, ReadParquet):
        path = expr.operand("path")
        return [str(one) for one in ([path] if isinstance(path, str | os.PathLike) else path)]
    blocks = [part for part in expr.operands if isinstance(part, Sequence)]
    tasks = [task for part in blocks for one in part for task in _tasks(one)]
    files = [arg for task in tasks for arg in task.args if isinstance(arg, OpenFile)]
    return [*dict.fromkeys(file.full_name for file in files)]


def _tasks(value: Any) -> list[Task]:
    values = value if isinstance(value, list | tuple) else [value]
    return [
        one
        for many in values
        for one in (many if isinstance(many, tuple) else (many,))
        if isinstance(one, Task)
    ]


# -- stages: see `daskimg.stage` ------------------------------------------------------------------
def stage(frame: Any, call: Any, meta: pd.DataFrame, prepare: Callable[[Any], None]) -> Any:
    """`call` on every partition; the scheduler has its say where ``call.placed``.

    `prepare` gets the call where a computation of it is about to start.
    """
    if not RULES:
        return plain.stage(frame, call, meta, prepare)
    return new_collection(Stage(frame.expr, call, meta, prepare))


def numbered(frame: Any, call: Callable[[pd.DataFrame, int], pd.DataFrame], meta: Any) -> Any:
    """`call` of every partition and its number, which stays whatever is done to the result."""
    if not RULES:
        return plain.numbered(frame, call, meta)
    return new_collection(Numbered(frame.expr, call, meta))


def together(frame: Any, several: int) -> Any:
    """Partitions that lie beside each other as one, `several` at a time.

    (Dask's own `repartition` optimises all that is below to tell its divisions.)
    """
    if not RULES:
        return frame.repartition(npartitions=-(-frame.npartitions // several))
    return new_collection(Beside(frame.expr, several))


def steady(frame: Any) -> bool:
    """Whether Dask leaves the partitions of `frame` as they are, whatever columns are wanted."""
    return RULES and not any(isinstance(node, ReadParquet) for node in frame.expr.walk())


def computed(scalar: Any) -> Any:
    """What `gather` gave, computed, with as few tasks as there can be."""
    # Dask loses a number that all partitions read when it fuses what it has fused before
    once = not RULES or any(map(_reads_a_number, scalar.expr.walk()))
    return (scalar if once else scalar.optimize()).compute()


def _reads_a_number(expr: Expr) -> bool:
    return isinstance(expr, Blockwise) and any(one.ndim == 0 for one in expr.dependencies())


def sort_key(expr: Expr) -> Expr | None:
    """The column by which `expr` sorts rows, where Dask computes it to know where to cut them."""
    if not isinstance(expr, BaseSetIndexSortValues) or operand(expr, "user_divisions") is not None:
        return None
    # (not asked whether there is but one partition: a sort below would compute its own keys)
    key = operand(expr, "_other")
    if key is None:
        key = expr.operand("by")[0]
    return key if isinstance(key, Expr) else Projection(expr.operand("frame"), key)


# -- expressions made of others -------------------------------------------------------------------
def with_operands(expr: Expr, put: Callable[[Any], Any]) -> Expr:
    """`expr` of what is `put` for each operand; of the same columns, so it keeps its meta.

    (No recursion within a function: what calls itself would hold expressions, and what they hold,
    until it is found to be garbage.)
    """
    operands = [put(x) for x in expr.operands]
    if all(a is b for a, b in zip(operands, expr.operands, strict=True)):
        return expr
    made = type(expr)(*operands)
    if "_meta" in vars(expr):
        vars(made).setdefault("_meta", expr._meta)
    return made


def with_operand(parent: Expr, old: Expr, new: Expr) -> Expr:
    """`parent` of `new` where it was one of `old`."""
    name = old._name
    return with_operands(parent, lambda x: new if isinstance(x, Expr) and x._name == name else x)


def replaced(expr: Expr, new: Callable[[Expr], Expr | None], done: dict[str, Expr]) -> Expr:
    """`expr` with the nodes for which there is a `new` one replaced, from the top down."""
    if expr._name not in done:
        found = new(expr)
        if found is None:
            found = with_operands(
                expr, lambda x: replaced(x, new, done) if isinstance(x, Expr) else x
            )
        done[expr._name] = found
    return done[expr._name]


def users_of(expr: Expr, dependents: Any) -> list[Expr]:
    """The expressions that read this one, as far as they are still there."""
    users = [ref() for ref in dependents[expr._name]]
    return list({user._name: user for user in users if user is not None}.values())


def _above(expr: Expr, dependents: Any) -> Iterator[Expr]:
    """All that stands above."""
    seen, todo = set(), [expr]
    while todo:
        for node in users_of(todo.pop(), dependents):
            if node._name not in seen:
                seen.add(node._name)
                todo.append(node)
                yield node


class Stage(Elemwise):  # type: ignore[misc]
    """A callable on every partition that leaves the rows what they are."""

    _parameters = ["frame", "call", "meta", "prepare"]  # noqa: RUF012

    @functools.cached_property
    def _meta(self) -> pd.DataFrame:
        return self.operand("meta")

    @functools.cached_property
    def _name(self) -> str:
        return f"{self.call.label}-{self.deterministic_token}"

    def telling(self, name: str) -> Expr:
        """The same with a column `name` of failures, ``"reason\\0path"`` or null."""
        meta = self.operand("meta")
        told = meta.assign(**{name: pd.Series([], meta.index, STRING)})
        return Stage(self.frame, self.call.telling(name), told, self.operand("prepare"))

    def _simplify_up(self, parent: Expr, dependents: Any) -> Expr | None:
        if isinstance(parent, Projection) and self.keeps(parent):
            return Projection(self.frame, *parent.operands[1:])  # which takes no call
        if not isinstance(parent, Once) and any(map(self._cuts, _above(self, dependents))):
            return with_operand(parent, self, Once(self, Persisted(self)))
        return None

    def keeps(self, chosen: Expr) -> bool:
        """Whether the chosen columns are none of those that it makes."""
        return {*chosen.columns} <= self.call.kept

    def _cuts(self, expr: Expr) -> bool:
        """Whether what it or a picture makes tells where `expr`, a sort, cuts its rows."""
        key = sort_key(expr)
        return key is not None and any(
            node.call is self.call if isinstance(node, Stage) else opens(node)
            for node in key.simplify().walk()
        )

    def _task(self, name: Any, index: int) -> Task:
        return Task(name, self.call, TaskRef((self.frame._name, index)))

    def _lower(self) -> Expr | None:
        wanted.watch()
        if not self.call.placed:
            return None
        self.operand("prepare")(self.call)
        return PlacedStage(*self.operands)


class _Apart(Expr):  # type: ignore[misc]
    """The rows of a frame, made apart from it: no Blockwise, which fuses with its neighbours."""

    _is_length_preserving = True

    @functools.cached_property
    def _meta(self) -> pd.DataFrame:
        return self.frame._meta

    def _divisions(self) -> Any:
        return self.frame.divisions


class Once(_Apart):
    """Rows that are sorted above by what is dear of them, computed when first needed.

    Dask asks for the key of all rows, to know where to cut them, and then for the rows.
    """

    _parameters = ["frame", "made"]  # noqa: RUF012

    def _lower(self) -> Expr:
        return self.operand("made").of(self.frame)


class Persisted:
    """What an expression made, for as long as a query is about to read it."""

    def __init__(self, expr: Expr) -> None:
        self._name, self._rows = expr._name, dict[Any, Expr]()

    def of(self, expr: Expr) -> Expr:
        """The rows, computed; however the expression is said by now, they are the same."""
        frame = new_collection(expr)
        place = get_scheduler(collections=[frame]), expr.npartitions
        if place not in self._rows:
            self._rows[place] = frame.persist().expr
        return self._rows[place]

    def __dask_tokenize__(self) -> tuple[str, str]:
        return "daskimg-persisted", self._name


class PlacedStage(_Apart):
    """A stage about to run."""

    _parameters = ["frame", "call", "meta", "prepare"]  # noqa: RUF012
    _meta = Stage._meta
    _name = Stage._name
    _task = Stage._task

    def _simplify_up(self, parent: Expr, dependents: Any) -> Expr | None:
        if isinstance(parent, Partitions):
            chosen = Partitions(self.frame, parent.partitions)
            return PlacedStage(chosen, *self.operands[1:])
        return None


class Numbered(_Apart):
    """A function of every partition and its number: to take some does not number them anew."""

    _parameters = ["frame", "call", "meta"]  # noqa: RUF012
    _meta = Stage._meta

    def _task(self, name: Any, index: int) -> Task:
        return Task(name, self.call, TaskRef((self.frame._name, index)), index)


class Beside(_Apart):
    """`several` partitions that lie beside each other as one."""

    _parameters = ["frame", "several"]  # noqa: RUF012

    def _divisions(self) -> Any:
        *starts, end = self.frame.divisions
        return (*starts[:: self.operand("several")], end)

    def _task(self, name: Any, index: int) -> Task:
        several = self.operand("several")
        places = range(self.frame.npartitions)[index * several : (index + 1) * several]
        return Task(name, _put_together, List(*(TaskRef((self.frame._name, i)) for i in places)))


def _put_together(parts: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(parts) if len(parts) > 1 else parts[0]
