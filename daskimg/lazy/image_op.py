"""Image ops as Dask expressions.

While Dask first simplifies, an op is an ordinary row-wise expression: projection, len, head and
partitions treat it like any column, and an unused op disappears. It reads from the lowest frame
that holds its column, through whatever leaves rows alone, and an op on the pictures of another
extends its program. Then the row-wise work around it becomes a `Region`.

Where private Dask has moved, ops are steps of their own instead (`plain`): right, only slower.
"""

from __future__ import annotations

from operator import getitem
from typing import Any

from daskimg import wanted
from daskimg.column.dtype import ImageDtype
from daskimg.engine.program import Program
from daskimg.guard import crashes
from daskimg.lazy import plain
from daskimg.lazy.expr import RULES, Expr, NLargest, Projection, new_collection
from daskimg.lazy.nodes import ImageNode
from daskimg.lazy.region import take_of
from daskimg.lazy.tree import args_of, lowest, source_of

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

    def _simplify_down(self) -> ImageOp | None:
        below, column = source_of(self.operand("frame"))
        if isinstance(below, ImageOp) and isinstance(below.program.dtype, ImageDtype):
            args = args_of(below)
            program = below.program.then(self.program, len(args))
            return type(self)(below.operand("frame"), program, self.out, *args, *args_of(self))
        source = below if column is None else Projection(below, column)
        args = [lowest(arg) for arg in args_of(self)]
        moved = type(self)(source, self.program, self.out, *args)
        return moved if moved._name != self._name else None

    def lowest(self) -> ImageOp:
        """The same op once it has looked through all it can."""
        op, below = self, self._simplify_down()
        while below is not None:
            op, below = below, below._simplify_down()
        return op

    def blaming(self) -> ImageOp:
        """Who is to blame for what fails of it."""
        program = self.program.recording("blame")
        return ImageOp(self.operand("frame"), program, self.out, *args_of(self))

    def _tune_down(self) -> Expr | None:
        return take_of(self)

    def _lower(self) -> None:
        crashes.watch()
        wanted.watch()
