"""Failures that a query sees while it makes something else than the pictures themselves."""

from __future__ import annotations

import functools
from typing import Any

from daskimg.column.dtype import ImageDtype
from daskimg.lazy.expr import RULES, Expr, Filter, Projection, new_collection
from daskimg.lazy.image_op import ImageOp
from daskimg.lazy.nodes import ImageNode, Stage
from daskimg.lazy.rowwise import Passed, drops_rows, is_rowwise
from daskimg.lazy.tree import rows_of, source_of

__all__ = ["watched"]


def watched(frame: Any, prefix: str) -> tuple[Any, dict[str, str | None]]:
    """A frame with a column for each image op of it that fails silently: ``"reason\\0path"``.

    Such a column is a by-product of the pass that the op is in, or of a stage: a user's function
    is given no pictures that failed, and need not return any. Ops whose result is an image
    column keep their reasons themselves; under the policy "raise" the run ends; what stands
    below a join is of other rows, and left out, as are rows that a filter leaves out.

    Parameters
    ----------
    frame : dask.dataframe.DataFrame
    prefix : str
        What the new columns' names begin with.

    Returns
    -------
    frame, columns : DataFrame, dict
        The image column, not decoded yet, of the same pictures as each new column; None where
        there is none.
    """
    if not RULES or not any(isinstance(node, ImageNode | Stage) for node in frame.expr.walk()):
        return frame, {}
    expr, told = _telling(frame.expr.simplify(), f"{prefix}of_stage")
    raw: dict[Any, Any] = {}
    for name, dtype in frame.dtypes.items():  # the first: others are what was read of it
        if isinstance(dtype, ImageDtype) and not dtype.holds_pixels:
            raw.setdefault(_pictures(_column(expr, name)), name)
    levels = _levels(expr)
    given = {below._name for column in told for below in column.walk()}
    found: dict[Any, Expr] = {}
    for node in expr.walk():
        if not isinstance(node, ImageOp) or rows_of(node) not in levels:
            continue
        if _is_silent(node) or (node._name in given and _fails(node) and _pictures(node) in raw):
            op = node.blaming()
            found.setdefault(op._name, functools.reduce(Passed, levels[rows_of(node)], op))
    for column in told:
        found[column._name] = functools.reduce(Passed, levels[rows_of(column)], column)
    columns = {f"{prefix}{n}": raw.get(_pictures(op)) for n, op in enumerate(found.values())}
    made = dict(zip(columns, map(new_collection, found.values()), strict=True))
    return (new_collection(expr).assign(**made) if made else frame), columns


def _levels(expr: Expr) -> dict[frozenset[Any], list[Expr]]:
    """The rows below the filters of a frame, with the predicates that they pass from there on."""
    levels, passed = {rows_of(expr): list[Expr]()}, list[Expr]()
    while is_rowwise(expr):
        if isinstance(expr, Filter):
            passed = [expr.operand("predicate"), *passed]
        elif drops_rows(expr):
            break
        expr = expr.dependencies()[0]
        levels.setdefault(rows_of(expr), passed)
    return levels


def _telling(expr: Expr, name: str) -> tuple[Expr, list[Expr]]:
    """`expr` whose stages tell of failures in a column beside their results, and these columns."""
    told: dict[Any, Expr] = {}
    while True:
        levels = _levels(expr)
        stages = {
            node._name: node
            for node in expr.walk()
            if isinstance(node, Stage)
            and node.call.tells
            and node._name not in told
            and rows_of(node) in levels
        }
        if not stages:
            return expr, list(told.values())
        stage = next(
            s for s in stages.values() if not {n._name for n in s.frame.walk()} & {*stages}
        )
        new = stage.telling(name)
        told[new._name] = Projection(new, name)
        expr = expr.substitute(stage, Projection(new, list(stage.columns)))


def _is_silent(op: ImageOp) -> bool:
    """Whether nothing but a null tells of a picture that fails."""
    return _fails(op) and not isinstance(op.program.dtype, ImageDtype)


def _fails(op: ImageOp) -> bool:
    """Whether it opens pictures, and goes on where one fails."""
    return op.program.decodes and not op.program.raises_first


def _column(expr: Expr, name: Any) -> Expr:
    return new_collection(expr)[name].expr


def _pictures(series: Expr) -> tuple[str, Any]:
    """What tells the pictures that a column or an op is made of."""
    below, column = source_of(series)
    while isinstance(below, ImageNode | Filter | Passed):
        frame = below.operand("frame")
        below, column = source_of(frame if column is None else Projection(frame, column))
    return below._name, column
