"""Image ops as Dask expressions.

While Dask first simplifies, an op is an ordinary row-wise expression: projection, len, head and
partitions treat it like any column, and an unused op disappears. Then the row-wise work around it
becomes a `Region`.

Where private Dask has moved, ops are steps of their own instead (`plain`): right, only slower.
"""

from __future__ import annotations

from operator import getitem
from typing import Any

from daskimg import wanted
from daskimg.engine.program import Program
from daskimg.guard import crashes
from daskimg.lazy import plain
from daskimg.lazy.expr import RULES, Expr, NLargest, Projection, new_collection
from daskimg.lazy.nodes import ImageNode
from daskimg.lazy.region import take_of
from daskimg.lazy.tree import args_of

__all__ = ["ImageOp", "image_op"]


def image_op(series: Any, program: Program, args: list[Any]) -> Any:
    """A Dask Series of what `program` makes of `series`."""
    if not RULES:
        return plain.image_op(series, program, args)
    if isinstance(series.expr, Projection) and isinstance(series.expr.frame, NLargest):
        # Dask would choose the rows among this column alone, which lacks what they are chosen by
        chosen = new_collection(series.expr.frame)
        series = chosen.map_partitions(getitem, series.name, meta=series._meta)
    return new_collection(ImageOp(series.expr, program, series.name, *[arg.expr for arg in args]))


class ImageOp(ImageNode):
    """One program over one column."""

    _filter_passthrough = False  # Dask moves no filter below it: in its region rows come first

    def blaming(self) -> ImageOp:
        """Who is to blame for what fails of it."""
        program = self.program.recording("blame")
        return ImageOp(self.operand("frame"), program, self.out, *args_of(self))

    def _tune_down(self) -> Expr | None:
        return take_of(self)

    def _lower(self) -> None:
        crashes.watch()
        wanted.watch()
