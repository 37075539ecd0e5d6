"""Questions about an expression: what it reads, of which rows, and whether that takes pixels."""

from __future__ import annotations

from typing import Any

from daskimg.lazy.expr import (
    RULES,
    And,
    ArrowStringConversion,
    Assign,
    ColumnsSetter,
    Elemwise,
    Expr,
    Filter,
    Projection,
    RenameFrame,
    RenameSeries,
    are_co_aligned,
)
from daskimg.lazy.nodes import ImageNode, PlacedStage, Stage

__all__ = [
    "anchor",
    "args_of",
    "co_aligned",
    "decider",
    "frame_behind",
    "is_column",
    "lowest",
    "parts_of",
    "rows_of",
    "source_of",
]

# Same rows, same index, values untouched.
ROWS = (Projection, Assign, RenameFrame, ColumnsSetter, RenameSeries, ArrowStringConversion)


def is_column(item: Any) -> bool:
    """Whether an operand has rows: not a number, a reduction, or the values of an ``isin``."""
    if not isinstance(item, Expr):
        return False
    try:
        return bool(item.ndim > 0)
    except (AttributeError, NotImplementedError):  # it is no pandas object
        return False


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
    if isinstance(expr, Elemwise) and expr.dependencies():
        return frozenset().union(*map(rows_of, expr.dependencies()))
    return frozenset([expr._name])


def parts_of(predicate: Expr) -> list[Expr]:
    """The parts of a conjunction, from left to right."""
    if isinstance(predicate, And):
        return parts_of(predicate.left) + parts_of(predicate.right)
    return [predicate]


def args_of(expr: Expr) -> list[Expr]:
    """The row-wise arguments: the operands after the named ones."""
    return list(expr.operands[len(expr._parameters) :])
