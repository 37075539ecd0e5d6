"""What a write is asked to do, as facts that the same call has in every process."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from dask.tokenize import tokenize

from daskimg.engine.lasting import Facts, content_of, named
from daskimg.lazy.expr import (
    RULES,
    Assign,
    ColumnsSetter,
    Expr,
    Projection,
    RenameFrame,
    RenameSeries,
)
from daskimg.lazy.source import Source

__all__ = ["query_of"]

COLUMNS = (Projection, Assign, RenameFrame, ColumnsSetter, RenameSeries)
# Fields of what writes a partition, in the words of its writer's arguments.
WORDS = {
    "layout": "the columns",
    "images": "the columns",
    "columns": "the columns",
    "dtype": "the columns",
    "naming": "filename",
    "keys": "partition_cols",
    "packed": "compression",
    "beside": "the other columns",
}


def query_of(frame: Any, part: Any, *more: Any) -> Facts:
    """The facts of ``part`` (what writes a partition) over the partitions of `frame`.

    What does not change the rows that are written is none of them: credentials, retries, child
    processes and their time limits, how many may fail, the size of batches, where a stage runs.
    """
    facts = Facts()
    ops = named(frame.expr, facts) if RULES else tokenize(frame)
    facts.add("the operations, or their order", ops)
    facts.add("the writer", named(type(part), facts))
    for field in fields(part):
        value = named(getattr(part, field.name), facts)
        facts.add(WORDS.get(field.name, field.name), [field.name, value])
    for value in more:
        facts.add("the file", named(value, facts))
    return facts


@content_of.register
def _expr_content(value: Expr, facts: Facts) -> Any:
    below = [named(item, facts) for item in value.operands if isinstance(item, Expr)]
    own = [named(item, facts) for item in value.operands if not isinstance(item, Expr)]
    kind = type(value).__name__
    detail = None
    if isinstance(value, Source):
        label = str(value.operand("label"))
        what = "the files listed" if label == "list-images" else f"what {label} reads"
        parts = value.npartitions
        rows = "" if value.counts is None else f"{sum(value.counts)} in "
        detail = f"{rows}{parts} partition{'s' if parts > 1 else ''}"
    elif not below:
        what = "the rows given"
    else:
        what = "the columns" if isinstance(value, COLUMNS) else f"the operation {kind.lower()}"
    return [kind, below, facts.add(what, own, detail)]
