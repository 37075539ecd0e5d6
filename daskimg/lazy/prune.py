"""Partitions without a row that passes a filter, where the graph itself tells: they are left out.

A listing stands in the graph, so which of its partitions a filter on a folder's name (or on a
path) empties is known before anything runs. Where all that reads a source is row by row, and drops
those partitions' rows, the source goes on without them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from daskimg.lazy.evaluate import ALL, Evaluator
from daskimg.lazy.expr import RULES, Expr, new_collection, operand
from daskimg.lazy.recipe import Given, Op, Pick, Recipe, inputs
from daskimg.lazy.region import Region, take_of
from daskimg.lazy.rowwise import drops_rows
from daskimg.lazy.source import Source

__all__ = ["pruned"]


def pruned(frame: Any) -> Any:
    """`frame` without the partitions of which it holds no row, as far as its sources tell."""
    if not RULES:
        return frame
    expr = frame.expr
    if not any(map(drops_rows, expr.walk())):
        return frame
    for source in {node._name: node for node in expr.find_operations(Source)}.values():
        if source.operand("known") is None:
            continue
        kept = _needed(expr, source)
        if len(kept) < source.npartitions:
            first = kept if len(kept) else np.arange(1)  # a frame has a partition
            chosen = [source._partitions[part] for part in first.tolist()]
            expr = expr.substitute(source, source.substitute_parameters({"_partitions": chosen}))
    return frame if expr is frame.expr else new_collection(expr)


def _needed(expr: Expr, source: Source) -> Any:
    """Partitions of `source` from which `expr` has rows."""
    needed = np.zeros(source.npartitions, bool)
    seen: set[str] = set()
    todo = [expr]
    while todo:
        node = todo.pop()
        if node._name in seen:
            continue
        seen.add(node._name)
        take = take_of(node)
        if node._name == source._name:
            needed[:] = True
        elif take is None:
            todo += node.dependencies()
        elif (region := take.operand("frame")).operands[1]._name == source._name:
            needed[_passing(region, source)] = True
            todo += region.operands[2:]
        else:
            todo += region.operands[1:]
    return np.flatnonzero(needed)


def _passing(region: Region, source: Source) -> Any:
    """The partitions that hold a row which passes all filters that the source can tell of."""
    recipe, held = region.recipe, [operand(one, "obj") for one in region.operands[2:]]
    domain = recipe.roots[0].domain
    told, used = [], set[Any]()
    for part in recipe.chain(domain):
        names = _columns(recipe, part, held)
        if names and names <= {*source.known_columns}:
            told.append(part)
            used |= names
    if not told or recipe.domains[domain].base:
        return slice(None)
    rows, part_of = source.look_up(sorted(used))
    given = [rows, *(None if one is None else one.compute(scheduler="sync") for one in held)]
    places = Evaluator(recipe, given, {}, 0).passing(told, ALL).at
    return part_of if places is None else part_of[places]


def _columns(recipe: Recipe, number: int, held: list[Any]) -> set[Any] | None:
    """The columns that a value is made of; None: something else is needed, or users' functions.

    What all rows share may be `held` in the graph, as values of an ``isin`` are.
    """
    value = recipe.values[number]
    if isinstance(value, Given):
        return set() if value.place and held[value.place - 1] is not None else None
    if isinstance(value, Pick) and isinstance(recipe.values[value.frame], Given):
        return {value.name}
    below = inputs(value)
    if isinstance(value, Op) or recipe.calls_users(number) or not below:
        return None
    found = [_columns(recipe, one, held) for one in below]
    return None if None in found else set().union(*filter(None, found))
