"""Whose the values of a column are: the caller's, or those of files in some store.

A column that comes out of files as it stands there is data: it may name paths of the files' own
store. What the caller wrote (a frame made in code), and what an operation of his makes of a column
(``"https://host/" + df.name``, ``map``, ``.str``, `map_batches`), is his.
"""

from __future__ import annotations

from typing import Any

from daskimg.engine.program import Program
from daskimg.lazy.expr import (
    Apply,
    Assign,
    Binop,
    Expr,
    Filter,
    FunctionMap,
    Map,
    MapPartitions,
    Projection,
    PropertyMap,
    Unaryop,
)
from daskimg.lazy.image_op import image_op
from daskimg.lazy.nodes import PlacedStage, Stage, files_of
from daskimg.lazy.source import Source
from daskimg.transport import fetch
from daskimg.transport.stores import HERE, parse

__all__ = ["at_home", "stores_of"]

# What makes other values than it is given.
MAKERS = (Apply, Binop, FunctionMap, Map, MapPartitions, PlacedStage, PropertyMap, Stage, Unaryop)


def at_home(series: Any) -> Any:
    """A lazy column of paths, which are opened in the store that they came from, if in one.

    So is a column whose dtype tells where its cells may be; of local files nothing need be told.
    """
    dtype = series.dtype
    if not dtype.holds_paths or dtype.source is not None:
        return series
    stores = stores_of(series)
    if not stores:
        return series
    kept = fetch.Source().within(stores)
    target = dtype.derive(dtype.cells, dtype.shape, source=kept.handle)
    return image_op(series, Program((), target), [])


def stores_of(series: Any) -> tuple[str, ...]:
    """The stores of the files that the values of a lazy column stand in; none for local ones."""
    found: set[str] = set()
    seen: set[tuple[str, Any]] = set()
    todo: list[tuple[Expr, Any]] = [(series.expr, None)]
    while todo:
        expr, column = todo.pop()
        if (expr._name, column) in seen:
            continue
        seen.add((expr._name, column))
        below = _below(expr, column)
        todo += below
        if not below and not isinstance(expr, MAKERS):
            found.update(expr.homes if isinstance(expr, Source) else files_of(expr))
    here = all(parse(path.rpartition("::")[2]).protocol in HERE for path in found)
    return () if here else tuple(sorted(found))


def _below(expr: Expr, column: Any) -> list[tuple[Expr, Any]]:
    """Where the values of a column (None: of a series) come from as they are."""
    if isinstance(expr, MAKERS):
        return []
    if isinstance(expr, Projection) and expr.ndim == 1:
        return [(expr.frame, expr.operand("columns"))]
    if isinstance(expr, Filter):
        return [(expr.frame, column)]
    if isinstance(expr, Assign) and column in expr.keys:
        value = expr.vals[expr.keys.index(column)]
        return [(value, None)] if isinstance(value, Expr) and value.ndim else []
    below = [one for one in expr.dependencies() if one.ndim]
    named = [one for one in below if one.ndim == 2 and column in one._meta.columns]
    return [(one, column) for one in named] or [(one, None) for one in below]
