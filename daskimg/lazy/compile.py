"""From expressions to a `Recipe`."""

from __future__ import annotations

import functools
import re
from typing import Any, NamedTuple

import pandas as pd

from daskimg.lazy.expr import (
    Assign,
    AsType,
    Blockwise,
    Expr,
    Fillna,
    Index,
    Loc,
    Projection,
    Query,
    RenameFrame,
    RenameSeries,
    Task,
    TaskRef,
)
from daskimg.lazy.nodes import ImageNode
from daskimg.lazy.recipe import (
    Call,
    Columns,
    Domain,
    Given,
    Named,
    Op,
    Pick,
    Recipe,
    Root,
    Value,
    composed,
    is_pictures,
)
from daskimg.lazy.rowwise import Hole, drops_rows, mask_of
from daskimg.lazy.tree import args_of, is_column, parts_of

__all__ = ["compiled"]


class Made(NamedTuple):
    """What an expression came to: a value and its rows, by their numbers."""

    value: int
    domain: int


def compiled(roots: tuple[Expr, ...]) -> Recipe:
    """What is to be computed for `roots`."""
    maker = _Maker()
    asked = []
    for root in roots:
        made = maker.make(root)
        asked.append(Root(root._name, made.value, made.domain))
    return Recipe(maker.values, maker.domains, asked)


class _Maker:
    def __init__(self) -> None:
        self.values: list[Value] = []
        self.numbers: dict[Any, int] = {}
        self.made: dict[str, Made] = {}
        self.domains: list[Domain] = []
        self.domain(Domain(0, None))
        self.put(Given(0), "rows")

    # -- values and domains --------------------------------------------------------------------
    def put(self, value: Value, key: Any) -> int:
        """The number of a value; one that is there already is not made again."""
        if key not in self.numbers:
            self.numbers[key] = len(self.values)
            self.values.append(value)
        return self.numbers[key]

    def domain(self, one: Domain) -> int:
        """The number of a domain; there is one of a kind."""
        key = "domain", one
        if key not in self.numbers:
            self.numbers[key] = len(self.domains)
            self.domains.append(one)
        return self.numbers[key]

    def pick(self, frame: int, name: Any) -> int:
        """A column of a frame: the value that was put there, where that is known."""
        value = self.values[frame]
        if isinstance(value, Columns) and name in value.names:
            return value.columns[value.names.index(name)]
        return self.put(Pick(frame, name), ("pick", frame, _key(name)))

    def named(self, column: int, name: Any) -> int:
        """A column under a name."""
        value = self.values[column]
        if isinstance(value, Pick | Op | Named) and value.name == name:
            return column
        return self.put(Named(column, name), ("named", column, _key(name)))

    def table(self, like: int, names: list[Any], columns: list[int]) -> int:
        if isinstance(frame := self.values[like], Columns):
            like = frame.like
        key = ("table", like, tuple(map(_key, names)), tuple(columns))
        return self.put(Columns(like, tuple(names), tuple(columns)), key)

    def call_of(self, task: Any, frame: int, key: Any) -> int:
        """What a task makes of the rows of a frame."""
        return self.put(Call(task, ("rows",), (frame,), None, False), key)

    # -- expressions ---------------------------------------------------------------------------
    def make(self, expr: Expr) -> Made:
        if expr._name not in self.made:
            self.made[expr._name] = self._make(expr)
        return self.made[expr._name]

    def _make(self, expr: Expr) -> Made:
        if isinstance(expr, Hole):
            place = expr.operand("place")
            return Made(self.put(Given(place), ("given", place)) if place else 0, 0)
        made: Made | None = None
        if isinstance(expr, ImageNode):
            made = self._op(expr)
        elif drops_rows(expr):
            made = self._filter(expr)
        elif isinstance(expr, RenameSeries):
            made = self._renamed(expr)
        elif _is_odd(expr):
            made = None
        elif isinstance(expr, Projection):
            made = self._projection(expr)
        elif isinstance(expr, Assign):
            made = self._assign(expr)
        elif isinstance(expr, RenameFrame):
            made = self._rename(expr)
        elif isinstance(expr, Index):
            made = self._index(expr)
        elif expr.ndim == 2:
            made = self._by_column(expr)
        return self._call(expr) if made is None else made

    def _op(self, expr: ImageNode) -> Made | None:
        below = self.make(expr.operand("frame"))
        args = [self.make(arg) for arg in args_of(expr)]
        if any(arg.domain != below.domain for arg in args):
            return None
        number = below.value
        while not is_pictures(self.values[number]):
            value = self.values[number]
            if isinstance(value, Named):
                number = value.column
            else:
                break
        program, name = expr.operand("program"), expr.operand("out")
        op = Op(number, program, name, tuple(arg.value for arg in args))
        if is_pictures(self.values[number]):
            op = composed(self.values[number], program, op.args, name)  # type: ignore[arg-type]
        key = ("op", op.cells, op.program.label, policy_of(op.program), op.args)
        return Made(self.named(self.put(op, key), name), below.domain)

    def _filter(self, expr: Expr) -> Made | None:
        below = self.make(expr.operand("frame"))
        if isinstance(expr, Query):
            words = set(re.findall(r"\w+", expr.operand("_expr")))
            used = self._some(below.value, [n for n in expr.operand("frame").columns if n in words])
            parts = [self._leaving(expr, used)]
        elif (mask := mask_of(expr)) is not None:
            each = [self.make(part) for part in parts_of(mask)]
            columns = isinstance(expr, Loc) and expr.operand("cindexer") is not None
            if columns or any(part.domain != below.domain for part in each):
                return None
            parts = [part.value for part in each]
        else:
            subset = expr.operand("subset") if "subset" in expr._parameters else None
            used = below.value
            if subset is not None:
                names = subset if isinstance(subset, list | tuple) else [subset]
                used = self._some(used, list(names))
            parts = [self._leaving(expr, used)]
        domain = Domain(self.domains[below.domain].base, below.domain, tuple(parts))
        return Made(below.value, self.domain(domain))

    def _leaving(self, expr: Expr, frame: int) -> int:
        """A mask of the rows that an expression leaves of a frame."""
        task = functools.partial(_left, _task(expr, {expr.operand("frame")._name: "rows"}))
        return self.call_of(task, frame, ("left", expr._name, frame))

    def _some(self, frame: int, names: list[Any]) -> int:
        return self.table(frame, names, [self.pick(frame, name) for name in names])

    def _renamed(self, expr: Expr) -> Made | None:
        name = expr.operand("index")
        if callable(name) or isinstance(name, dict | pd.Series):
            return None
        below = self.make(expr.operand("frame"))
        return Made(self.named(below.value, name), below.domain)

    def _projection(self, expr: Expr) -> Made | None:
        frame = expr.operand("frame")
        if frame.ndim != 2:
            return None
        below = self.make(frame)
        if expr.ndim == 1:
            name = expr.operand("columns")
            column = self.pick(below.value, name)
            return Made(self.named(column, name), below.domain)
        return Made(self._some(below.value, list(expr._meta.columns)), below.domain)

    def _assign(self, expr: Expr) -> Made | None:
        below = self.make(expr.operand("frame"))
        put: dict[Any, int] = {}
        for name, item in zip(expr.operands[1::2], expr.operands[2::2], strict=True):
            if not is_column(item):
                put[name] = self._constant(below.value, name, item)
                continue
            made = self.make(item)
            if made.domain != below.domain or item.ndim != 1:
                return None
            index = isinstance(item._meta, pd.Index)
            put[name] = self._constant(below.value, name, item) if index else made.value
        names = list(expr._meta.columns)
        numbers = [put[n] if n in put else self.pick(below.value, n) for n in names]
        return Made(self.table(below.value, names, numbers), below.domain)

    def _constant(self, frame: int, name: Any, item: Any) -> int:
        """A column of one value, or of an index: what ``assign`` makes of it."""
        inputs, keys = [self.table(frame, [], [])], ["rows"]
        if isinstance(item, Expr):
            inputs.append(self.make(item).value)
            keys.append("item")
        task = Task(
            "constant",
            _set,
            TaskRef("rows"),
            name,
            TaskRef("item") if len(inputs) > 1 else item,
        )
        key = ("constant", frame, _key(name), item._name if isinstance(item, Expr) else id(item))
        call = self.put(Call(task, tuple(keys), tuple(inputs), None, False), key)
        return self.pick(call, name)

    def _rename(self, expr: Expr) -> Made:
        below = self.make(expr.operand("frame"))
        numbers = [self.pick(below.value, name) for name in expr.operand("frame")._meta.columns]
        return Made(self.table(below.value, list(expr._meta.columns), numbers), below.domain)

    def _index(self, expr: Expr) -> Made:
        frame = expr.operand("frame")
        below = self.make(frame)
        none = self.table(below.value, [], [])
        task = _task(expr, {frame._name: "rows"})
        return Made(self.call_of(task, none, ("index", none)), below.domain)

    def _by_column(self, expr: Expr) -> Made | None:
        """Of a frame, each column by itself: who needs one need not compute the others."""
        below = expr.dependencies()
        if len(below) != 1 or not is_column(below[0]) or _users(expr):
            return None
        frame, names = below[0]._meta, list(expr._meta.columns)
        if frame.ndim != 2 or list(frame.columns) != names:
            return None
        made = self.make(below[0])
        task = _task(expr, {below[0]._name: "rows"})
        # a dict of these tells which columns they leave alone
        chosen = expr.operands[1] if isinstance(expr, AsType | Fillna) else None
        numbers = []
        for name in names:
            column = self.pick(made.value, name)
            if not isinstance(chosen, dict) or name in chosen:
                one = self._of_one(expr, name, chosen) if isinstance(chosen, dict) else task
                alone = self.table(made.value, [name], [column])
                call = self.call_of(one, alone, ("by column", expr._name, _key(name)))
                column = self.pick(call, name)
            numbers.append(column)
        return Made(self.table(made.value, names, numbers), made.domain)

    def _of_one(self, expr: Expr, name: Any, chosen: dict[Any, Any]) -> Any:
        """The task of an expression that is told what to do by column, for one of them."""
        below = expr.operand("frame")[[name]]
        one = type(expr)(below, {name: chosen[name]}, *expr.operands[2:])
        return _task(one, {below._name: "rows"})

    def _call(self, expr: Expr) -> Made:
        below = {one._name: (one, self.make(one)) for one in expr.dependencies()}
        columns = [made for one, made in below.values() if is_column(one)]
        domains = {made.domain for made in columns}
        task = _task(expr, {name: name for name in below})
        keys, inputs = tuple(below), tuple(made.value for _, made in below.values())
        # rows that differ: whole partitions, which pandas aligns
        apart = tuple(made.domain for _, made in below.values()) if len(domains) != 1 else None
        number = self.put(Call(task, keys, inputs, apart, _users(expr)), ("call", expr._name))
        return Made(number, self.domain(Domain(number, None)) if apart else columns[0].domain)


def _is_odd(expr: Expr) -> bool:
    """Whether names do not tell columns apart: some are the same, or on several levels."""
    frames = [x._meta.columns for x in (expr, *expr.dependencies()) if is_column(x) and x.ndim == 2]
    return any(not one.is_unique or isinstance(one, pd.MultiIndex) for one in frames)


def _users(expr: Expr) -> bool:
    """Whether it calls a user's function."""
    return any(callable(x) and not isinstance(x, Expr | type) for x in expr.operands)


def _task(expr: Expr, keys: dict[str, str]) -> Any:
    """The task of an expression, whose inputs are known by `keys`.

    Dask's own way asks for divisions. A scheduler in this process that did so while it makes a
    graph would wait for the lock under which Dask computes those of a `set_index`, for ever.
    """
    if type(expr)._task is not Blockwise._task:
        task = expr._task((expr._name, 0), 0)
        return task.substitute({(name, 0): key for name, key in keys.items()})
    args = [TaskRef(keys[x._name]) if isinstance(x, Expr) else x for x in expr._args]
    return Task(expr._name, expr.operation, *args, **expr._kwargs)


def _left(task: Any, given: dict[str, pd.DataFrame]) -> pd.Series:
    rows = given["rows"]
    numbered = rows.set_axis(pd.RangeIndex(len(rows)), axis=0)
    left = task({"rows": numbered}).index
    return pd.Series(numbered.index.isin(left), index=rows.index)


def _set(frame: pd.DataFrame, name: Any, item: Any) -> pd.DataFrame:
    frame = frame.copy()
    frame[name] = item
    return frame


def _key(name: Any) -> tuple[type, Any]:
    """A name as what tells it: 0, 0.0 and False are equal."""
    return type(name), name


def policy_of(program: Any) -> Any:
    """What programs of one label may still differ in."""
    return getattr(program.dtype, "on_error", None), tuple(s.on_error for s in program.steps)
