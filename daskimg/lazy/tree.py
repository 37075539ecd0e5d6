"""Questions about an expression: what it reads, of which rows, and whether that takes pixels."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

from daskimg.engine.program import Program
from daskimg.lazy.expr import (
    RULES,
    And,
    ArrowStringConversion,
    Assign,
    AsType,
    Binop,
    ColumnsSetter,
    Elemwise,
    Expr,
    Fillna,
    Filter,
    IsNa,
    NotNull,
    Projection,
    RenameFrame,
    RenameSeries,
    Unaryop,
    are_co_aligned,
)
from daskimg.lazy.nodes import ImageNode, Narrowed, Passed, PlacedStage, Stage, stable

__all__ = [
    "ARITHMETIC",
    "HEADERS",
    "NOTHING",
    "PIXELS",
    "ROWS",
    "Beside",
    "all_of",
    "anchor",
    "args_of",
    "both_filters",
    "co_aligned",
    "decider",
    "flattened",
    "frame_behind",
    "is_column",
    "kept",
    "lowest",
    "may_move",
    "narrowed",
    "on_all",
    "ops_read",
    "parts_of",
    "read_only_through",
    "rows_of",
    "source_of",
    "users_of",
    "where_used",
    "work_of",
]

# Same rows, same index, values untouched.
ROWS = (
    Projection,
    Assign,
    RenameFrame,
    ColumnsSetter,
    RenameSeries,
    ArrowStringConversion,
)

# Each value follows from the values of its row.
ARITHMETIC = (Binop, Unaryop, AsType, Fillna, IsNa, NotNull)

# What a predicate costs for a row.
NOTHING, HEADERS, PIXELS = range(3)


def is_column(item: Any) -> bool:
    """Whether an operand has rows: not a number, a reduction, or the values of an ``isin``."""
    return isinstance(item, Expr) and item.ndim > 0


def co_aligned(series: Any, arg: Any) -> bool:
    """Whether both columns come row by row from one frame.

    Dask's own notion lets a filter pass; rows that only one of them lost would be found out while
    computing, so they are refused here.
    """
    if not RULES:  # found out while computing
        return bool(series.npartitions == arg.npartitions)
    if not are_co_aligned(series.expr, arg.expr):
        return False
    differing = rows_of(series.expr) ^ rows_of(arg.expr)
    return not any(isinstance(rows, tuple) for rows in differing)


def anchor(expr: Expr) -> Expr:
    """The lowest expression that still has these rows."""
    while isinstance(expr, (*ROWS, ImageNode)):
        expr = expr.frame
    return expr


def decider(expr: Expr) -> Expr:
    """The lowest expression whose partitions have as many rows: what decides about them."""
    while isinstance(expr, Elemwise | PlacedStage) and expr.dependencies():
        if isinstance(expr, (*ROWS, ImageNode, Stage, PlacedStage)):
            expr = expr.frame
            continue
        below = [x for x in expr.dependencies() if x.ndim and x.npartitions == expr.npartitions]
        found = {one._name: one for one in map(decider, below)}
        if len(found) != 1:  # pandas aligns what has other rows
            break
        (expr,) = found.values()
    return expr


def source_of(expr: Expr) -> tuple[Expr, Any]:
    """(expression, column) where a series is made; column None: the expression is the series."""
    column: Any = None
    while True:
        if isinstance(expr, ImageNode):
            return expr, None
        if isinstance(expr, RenameSeries | ArrowStringConversion):
            expr = expr.frame
        elif isinstance(expr, Projection) and expr.ndim == 1 and expr.frame.ndim == 2:
            expr, column = expr.frame, expr.operand("columns")
        elif isinstance(expr, Projection) and expr.ndim == 2:
            expr = expr.frame
        elif isinstance(expr, Assign) and column is not None:
            if column not in expr.keys:
                expr = expr.frame
                continue
            value = expr.vals[expr.keys.index(column)]
            if not is_column(value) or rows_of(value) != rows_of(expr.frame):
                return expr, column  # other rows: pandas would align, so do not look through
            expr, column = value, None
        elif (
            isinstance(expr, RenameFrame)
            and not isinstance(expr, ColumnsSetter)
            and isinstance(expr.operand("columns"), dict)
            and column is not None
        ):
            renamed = expr.operand("columns")
            before = [k for k, v in renamed.items() if v == column and k in expr.frame.columns]
            expr, column = expr.frame, before[0] if before else column
        else:
            return expr, column


def frame_behind(expr: Expr) -> Expr | None:
    """The frame that a column, or an op on it, was taken out of; None: it is no such column."""
    while isinstance(expr, ImageNode | RenameSeries):
        expr = expr.operand("frame")
    taken = isinstance(expr, Projection) and expr.ndim == 1
    return expr.operand("frame") if taken else None


def lowest(expr: Expr) -> Expr:
    """The same values row by row, read from the lowest frame that holds them.

    A row-wise argument read from a frame that also holds an image op would depend on the pass of
    that op, and keep its own op out of it.
    """
    below, column = source_of(expr)
    if below._name != expr._name:
        return lowest(below) if column is None else Projection(below, column)
    if not isinstance(expr, Elemwise) or isinstance(expr, ImageNode):
        return expr
    operands = [
        lowest(item) if is_column(item) and item.ndim == 1 else item for item in expr.operands
    ]
    same = all(
        a is b or getattr(a, "_name", 0) == getattr(b, "_name", 1)
        for a, b in zip(operands, expr.operands, strict=True)
    )
    return expr if same else type(expr)(*operands)


def rows_of(expr: Expr) -> frozenset[Any]:
    """What tells the rows of `expr`: the frames they come from, each filter as a tuple."""
    if not is_column(expr):
        return frozenset()
    if isinstance(expr, Filter):
        return frozenset([(rows_of(expr.frame), lowest(expr.predicate)._name)])
    like = getattr(type(expr), "rows_like", None)
    if like is not None:
        return rows_of(expr.operand(like))
    if isinstance(expr, Elemwise) and expr.dependencies():
        return frozenset().union(*map(rows_of, expr.dependencies()))
    return frozenset([expr._name])


def ops_read(predicate: Expr, rows: bool = True) -> Iterator[ImageNode]:
    """The image ops whose values a predicate reads (not those in other columns of its frame).

    With `rows`, those too that decided which rows its frame has.
    """
    stack, seen = [predicate], set()
    while stack:
        expr = stack.pop()
        if expr._name in seen:
            continue
        seen.add(expr._name)
        if isinstance(expr, ImageNode):
            yield expr
        if getattr(type(expr), "reads_only_frame", False):
            stack.append(expr.frame)
            continue
        if not (isinstance(expr, Projection) and expr.ndim == 1):
            stack += expr.dependencies()
            continue
        below, column = source_of(expr)
        if isinstance(below, Filter):
            stack.append(below.frame if column is None else Projection(below.frame, column))
            stack += [below.predicate] if rows else []
        elif column is None:
            stack.append(below)
        elif isinstance(below, Assign):  # a value of other rows, which pandas aligns
            value = below.vals[below.keys.index(column)]
            stack += [value] if isinstance(value, Expr) else []


def work_of(predicate: Expr, rows: bool = True) -> int:
    """What a predicate costs for a row: `NOTHING`, `HEADERS` or `PIXELS`."""
    return max((_work(op.program) for op in ops_read(predicate, rows)), default=NOTHING)


def _work(program: Program) -> int:
    if program.decodes:
        return PIXELS
    return HEADERS if any(step.name in ("header", "size") for step in program.steps) else NOTHING


def parts_of(predicate: Expr) -> list[Expr]:
    """The parts of a conjunction, from left to right."""
    if isinstance(predicate, And):
        return parts_of(predicate.left) + parts_of(predicate.right)
    return [predicate]


class Beside(NamedTuple):
    """The filters that keep rows by an expression, and what stands in conjunction with it."""

    filters: list[Expr]
    left: list[Expr]
    right: list[Expr]


def where_used(node: Expr, dependents: Any, inside: bool = True) -> Beside | None:
    """What stands beside `node` wherever it is used.

    None where its values are used for anything but keeping rows that pass all of it.
    """
    found = []
    for user in {
        user._name: user for ref in dependents[node._name] if (user := ref()) is not None
    }.values():
        if _keeps_by(user, node):
            found.append(Beside([user], [], []))
            continue
        both = isinstance(user, And)
        above = None
        if both or (inside and isinstance(user, ARITHMETIC)):
            above = where_used(user, dependents, inside=not both)
        if above is None:
            return None
        if both and user.right._name == node._name:
            above = above._replace(left=above.left + parts_of(user.left))
        elif both:
            above = above._replace(right=parts_of(user.right) + above.right)
        found.append(above)
    if not found:
        return None
    filters, left, right = zip(*found, strict=True)
    return Beside([each for one in filters for each in one], _shared(left), _shared(right))


def _shared(lists: tuple[list[Expr], ...]) -> list[Expr]:
    """What is in all of the lists."""
    names = [{part._name for part in parts} for parts in lists]
    return [part for part in lists[0] if all(part._name in each for each in names)]


def read_only_through(frame: Expr, filtered: Expr, dependents: Any) -> bool:
    """Whether all that reads `frame` is a filter of it, or that filter's predicate."""
    inside = {node._name: node for node in filtered.predicate.walk()}
    above: dict[str, bool] = {frame._name: True}

    def reads(node: Expr) -> bool:
        if node._name not in above:
            above[node._name] = any(map(reads, node.dependencies()))
        return above[node._name]

    readers = [frame, *(node for node in inside.values() if reads(node))]
    users = [user for node in readers for user in users_of(node, dependents)]
    return all(user._name in inside or user._name == filtered._name for user in users)


def users_of(node: Expr, dependents: Any) -> list[Expr]:
    """The expressions that read `node`."""
    users = [ref() for ref in dependents[node._name]]
    return list({user._name: user for user in users if user is not None}.values())


def may_move(filtered: Expr, dependents: Any) -> bool:
    """Whether Dask can move a filter down yet: till then its predicate has to stay what it is."""
    moves: bool = filtered.frame._filter_passthrough_available(filtered, dependents)
    return moves


def _keeps_by(user: Expr, node: Expr) -> bool:
    """Whether `user` asks of `node` only which rows to keep."""
    if isinstance(user, Narrowed):
        return True
    return (
        isinstance(user, Filter | Passed)
        and user.predicate._name == node._name
        and user.frame._name != node._name
    )


def kept(expr: Expr, predicate: Expr) -> Expr:
    """The rows of `expr` that pass: below arithmetic, where a filter of an image op can act."""
    if isinstance(expr, ARITHMETIC) and any(isinstance(node, ImageNode) for node in expr.walk()):
        operands = [kept(item, predicate) if is_column(item) else item for item in expr.operands]
        return type(expr)(*operands)
    return Filter(expr, predicate)


def args_of(expr: Expr) -> list[Expr]:
    """The row-wise arguments: the operands after the named ones."""
    return list(expr.operands[len(expr._parameters) :])


def all_of(parts: list[Expr]) -> Expr:
    """The conjunction of `parts`."""
    return functools.reduce(And, parts)


def both_filters(survivors: Filter) -> Filter:
    """A filter on a filter as one of both predicates; else (or above a merge) itself."""
    below = survivors.frame
    if not isinstance(below, Filter) or not stable(below):
        return survivors
    both = And(below.predicate, survivors.predicate.substitute(below, below.frame))
    return Filter(below.frame, both) if rows_of(both) == rows_of(below.frame) else survivors


def narrowed(expr: Expr, old: Filter, new: Filter) -> Expr:
    """`expr`, a function of the rows of `old`, on the rows of `new`."""
    if expr._name == old._name:
        return new
    if isinstance(expr, Filter):
        same = rows_of(expr) == rows_of(old) and rows_of(expr.frame) == rows_of(new.frame)
        return Filter(expr.frame, new.predicate) if same else expr
    if not isinstance(expr, Elemwise):
        return expr
    operands = [narrowed(item, old, new) if is_column(item) else item for item in expr.operands]
    return type(expr)(*operands)


def flattened(survivors: Filter, column: Any) -> tuple[Expr, Any, Expr, list[Filter]]:
    """A filter and those right below it as one: frame, column, predicate, and what it replaces."""
    frame, passing, filters = survivors.frame, survivors.predicate, [survivors]
    while True:
        below, name = (frame, column) if column is not None else source_of(frame)
        if not isinstance(below, Filter):
            return frame, column, passing, filters
        one = both_filters(Filter(below, passing))
        if one.frame._name == below._name:
            return frame, column, passing, filters
        frame, column, passing = one.frame, name, one.predicate
        filters.append(below)


def on_all(expr: Expr, filters: list[Filter]) -> Expr:
    """A column before the filters that its frame went through."""
    for filtered in filters:
        expr = expr.substitute(filtered, filtered.frame)
    return expr
