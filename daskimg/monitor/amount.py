"""How many rows the tasks of a graph read, as far as they tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["rows_of"]

OURS, READERS = "daskimg.", "daskimg.io."


def rows_of(tasks: Iterable[Any]) -> tuple[bool, int | None]:
    """Whether any work on pictures is in these tasks, and the rows they read; None: not known.

    Examples
    --------
    >>> df = di.read_images(folder)
    >>> rows_of(df.image.img.mean().optimize().dask.values())
    (True, 4)
    """
    ours, total, known = False, 0, True
    seen: set[int] = set()
    for task in tasks:
        for each in _within(task, seen):
            module = str(getattr(getattr(each, "func", None), "__module__", ""))
            ours = ours or module.startswith(OURS)
            args = getattr(each, "args", None) or (getattr(each, "value", None),)
            rows = None if each.dependencies else _rows(args[0])
            reads = each.data_producer or (not each.dependencies and module.startswith(READERS))
            if isinstance(args[0], list | dict) or hasattr(args[0], "data_producer"):
                reads = False  # what stands in it does
            total, known = total + (rows or 0), known and not (reads and rows is None)
    return ours, (total or None) if known else None


def _within(task: Any, seen: set[int]) -> Iterator[Any]:
    """A task and those that stand in it, each once."""
    todo = [task]
    while todo:
        one = todo.pop()
        if isinstance(one, list | tuple):
            todo += one
        elif isinstance(one, dict):
            todo += one.values()
        elif hasattr(one, "data_producer") and id(one) not in seen:
            seen.add(id(one))
            yield one
            todo += getattr(one, "args", ())


def _rows(part: Any) -> int | None:
    """Rows of what a reader is given: a frame, a table, or our own notes of where they are."""
    if isinstance(part, pd.DataFrame | pd.Series):
        return len(part)
    if hasattr(part, "table"):
        return len(part.table)
    if hasattr(part, "pieces"):
        return int(sum(piece.rows for piece in part.pieces))
    rows = getattr(part, "rows", None)
    if rows is None and isinstance(part, tuple):
        rows = next((len(one) for one in part if isinstance(one, np.ndarray)), None)
    return rows if isinstance(rows, int) else None
