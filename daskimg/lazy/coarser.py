"""The same rows in fewer, larger partitions, as their reader cuts them: no rows are moved."""

from __future__ import annotations

from typing import Any

from daskimg.lazy.expr import RULES, Elemwise, Expr, new_collection
from daskimg.lazy.nodes import PlacedStage, Stage, replaced
from daskimg.lazy.source import Source

__all__ = ["coarser"]

MOST, HEAVIEST = 128, 2**23  # rows of a partition, and bytes of the files that they name
A_THREAD = 4  # partitions that a thread has at least, so that all end at about the same time


def coarser(frame: Any, threads: int, most: int) -> tuple[Any, int]:
    """A frame of small partitions with several of them as one, where its reader can do that.

    What a partition costs beside its rows (a dozen tables of pandas) counts where it has sixteen,
    and they are small.

    Parameters
    ----------
    frame : DataFrame
        Of one reader, with row-wise steps alone, none of which calls a function of batches.
    threads : int
        That the partitions are for.
    most : int
        How many partitions become one.

    Returns
    -------
    DataFrame, int
        And how many partitions are one by now, a power of two: 1 where the frame is as it was. Of
        unknown divisions it stays so, as Dask then knows rows by their partitions.
    """
    source = _only_source(frame.expr) if RULES and frame.known_divisions else None
    counts = None if source is None else source.counts
    if source is None or not counts:
        return frame, 1
    (parts,) = source.iterables
    rows = max(1, round(sum(counts) / len(counts)))
    heavy = max(1, sum(source.weights or ()) // len(counts))
    several = min(MOST // rows, HEAVIEST // heavy, len(counts) // (A_THREAD * threads), most)
    if several < 2:
        return frame, 1
    several = 1 << several.bit_length() - 1
    starts = range(0, len(counts), several)

    def added(values: Any) -> Any:
        return values and tuple(sum(values[n : n + several]) for n in starts)

    *first, end = source.operand("user_divisions")
    new = source.substitute_parameters(
        {
            "iterables": [parts.beside(several)],
            "user_divisions": [*first[::several], end],
            "lengths": added(counts),
            "weighed": added(source.weights),
        }
    )
    wide = replaced(frame.expr, lambda node: new if node._name == source._name else None, {})
    return new_collection(wide), several


def _only_source(expr: Expr) -> Source | None:
    """The one reader of an expression, all partitions of it, where the rest is row by row."""
    found: dict[str, Source] = {}
    for node in expr.walk():
        if isinstance(node, Source):
            found[node._name] = node
        elif isinstance(node, Stage | PlacedStage) or not isinstance(node, Elemwise):
            return None
    if len(found) != 1:
        return None
    (source,) = found.values()
    whole = source.operand("_partitions") is None and not source.operand("_series")
    cuts = hasattr(source.iterables[0], "beside") and source.operand("user_divisions")
    return source if whole and cuts else None
