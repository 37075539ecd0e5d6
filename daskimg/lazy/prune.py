"""Partitions without a row that passes a filter, where the graph itself tells: they are left out.

A listing stands in the graph, so which of its partitions a filter on a folder's name (or on a
path) empties is known before anything runs. Where all that reads a source is row by row, and drops
those partitions' rows, the source goes on without them.
"""

from __future__ import annotations

from typing import Any

import dask.dataframe as dd
import numpy as np

from daskimg.lazy.expr import (
    RULES,
    Between,
    Elemwise,
    Expr,
    Filter,
    FunctionMap,
    Isin,
    Projection,
    PropertyMap,
    new_collection,
)
from daskimg.lazy.source import Source
from daskimg.lazy.tree import ARITHMETIC, all_of, lowest, parts_of

__all__ = ["pruned"]

# What a predicate may do to columns of a source: nothing that calls a user's function.
PLAIN = (*ARITHMETIC, Projection, Isin, Between, FunctionMap, PropertyMap)


def pruned(frame: Any) -> Any:
    """`frame` without the partitions of which it holds no row, as far as its sources tell."""
    if not RULES:
        return frame
    expr = frame.expr
    for source in {node._name: node for node in expr.find_operations(Source)}.values():
        if source.operand("known") is None:
            continue
        kept = _needed(expr, source, {})
        if len(kept) < source.npartitions:
            first = kept if len(kept) else np.arange(1)  # a frame has a partition
            chosen = [source._partitions[part] for part in first.tolist()]
            expr = expr.substitute(source, source.substitute_parameters({"_partitions": chosen}))
    return frame if expr is frame.expr else new_collection(expr)


def _needed(expr: Expr, source: Source, done: dict[str, Any]) -> Any:
    """Partitions of `source` from which `expr` has rows."""
    if expr._name not in done:
        done[expr._name] = _find(expr, source, done)
    return done[expr._name]


def _find(expr: Expr, source: Source, done: dict[str, Any]) -> Any:
    everything = np.arange(source.npartitions)
    if expr._name == source._name or not isinstance(expr, Elemwise | Filter):
        return (
            everything if next(expr.find_operations(Source), None) is not None else everything[:0]
        )
    if not isinstance(expr, Filter):
        below = [_needed(one, source, done) for one in expr.dependencies()]
        return np.unique(np.concatenate([everything[:0], *below]))
    kept = _needed(expr.frame, source, done)
    told = [part for part in map(_on_all, parts_of(expr.predicate)) if _told_by(part, source)]
    return np.intersect1d(kept, _passing(all_of(told), source)) if told and len(kept) else kept


def _on_all(predicate: Expr) -> Expr:
    """A predicate on a filter's rows, on all rows instead."""
    while (below := next(predicate.find_operations(Filter), None)) is not None:
        predicate = predicate.substitute(below, below.frame)
    return lowest(predicate)


def _told_by(predicate: Expr, source: Source) -> bool:
    """Whether a predicate reads nothing but columns that the source knows."""
    if isinstance(predicate, Projection) and predicate.frame._name == source._name:
        return {*predicate.columns} <= {*source.known_columns}
    if not isinstance(predicate, PLAIN) or isinstance(predicate, Projection):
        return False
    below = [predicate.frame] if isinstance(predicate, Isin) else predicate.dependencies()
    return bool(below) and all(_told_by(one, source) for one in below)


def _passing(predicate: Expr, source: Source) -> Any:
    """The partitions that hold a row for which `predicate` is true."""
    used = sorted({name for node in predicate.find_operations(Projection) for name in node.columns})
    rows, part = source.look_up(used)
    table = dd.from_pandas(rows, npartitions=1, sort=False)
    mask = new_collection(predicate.substitute(source, table.expr)).compute(scheduler="sync")
    return np.unique(part[mask.fillna(False).to_numpy(bool)])
