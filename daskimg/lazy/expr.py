"""Image ops as Dask expressions. The only file that imports private Dask.

While Dask first simplifies, an op is an ordinary row-wise expression (`ImageOp`): projection,
len, head and partitions treat it like any column and an unused op disappears. Lowering turns it
into ``Take(ImagePass(source, programs))``, and passes over one source become their union in the
second simplify. Five rules of our own:

look-through  an op's source is the lowest frame that holds the column, through everything that
              leaves rows alone, and through another op, whose program it extends
filter down   a filter that reads no pixels of an assigned op goes below it (`ImageAssign`)
filter stop   a filter that decodes never moves below an op
hoist         an op on the survivors of a decoding filter is computed before the filter, in the
              filter's pass; there it records failures, and `Settle` raises for survivors only
merge         passes of equal source and level become their union

If private Dask moves, unmerged passes still give the right values, only slower.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
from dask._task_spec import List, Task, TaskRef
from dask.dataframe.dask_expr import new_collection
from dask.dataframe.dask_expr._expr import (
    And,
    ArrowStringConversion,
    Assign,
    Blockwise,
    ColumnsSetter,
    Elemwise,
    Expr,
    Filter,
    Projection,
    RenameFrame,
    RenameSeries,
    are_co_aligned,
    is_filter_pushdown_available,
)

from daskimg import onepass
from daskimg.column.dtype import ImageDtype
from daskimg.errors import ImageError
from daskimg.program import Program, Row

__all__ = ["ImageOp", "ImagePass", "co_aligned", "gather", "image_op"]

# Same rows, same index, values untouched.
ROWS = (
    Projection,
    Assign,
    RenameFrame,
    ColumnsSetter,
    RenameSeries,
    ArrowStringConversion,
)


def image_op(series: Any, program: Program, args: list[Any]) -> Any:
    """A Dask Series of what `program` makes of `series`."""
    return new_collection(ImageOp(series.expr, program, series.name, *[arg.expr for arg in args]))


def gather(frame: Any, finish: Callable[[list[Any]], Any], result: Any) -> Any:
    """A Dask scalar: `finish` of the list of all partitions of `frame`, such as `result`."""
    return new_collection(Gather(frame.expr, finish, result))


def co_aligned(series: Any, arg: Any) -> bool:
    """Whether both columns come row by row from one frame.

    Dask's own notion lets a filter pass; rows that only one of them lost would be found out while
    computing, so they are refused here.
    """
    if not are_co_aligned(series.expr, arg.expr):
        return False
    differing = rows_of(series.expr) ^ rows_of(arg.expr)
    return not any(isinstance(rows, tuple) for rows in differing)


# -- looking at expressions ---------------------------------------------------------------------
def anchor(expr: Expr) -> Expr:
    """The lowest expression that still has these rows."""
    while isinstance(expr, (*ROWS, ImageOp)):
        expr = expr.frame
    return expr


def source_of(expr: Expr) -> tuple[Expr, Any]:
    """(expression, column) where a series is made; column None: the expression is the series."""
    column: Any = None
    while True:
        if isinstance(expr, ImageOp):
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
            same_rows = (
                isinstance(value, Expr)
                and value.ndim == 1
                and anchor(value)._name == anchor(expr.frame)._name
            )
            if not same_rows:  # pandas would align; do not look through
                return expr, column
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


def lowest(expr: Expr) -> Expr:
    """The same values row by row, read from the lowest frame that holds them.

    A row-wise argument read from a frame that also holds an image op would depend on the pass of
    that op, and keep its own op out of it.
    """
    below, column = source_of(expr)
    if below._name != expr._name:
        return lowest(below) if column is None else Projection(below, column)
    if not isinstance(expr, Elemwise) or isinstance(expr, ImageOp):
        return expr
    operands = [
        lowest(item) if isinstance(item, Expr) and item.ndim == 1 else item
        for item in expr.operands
    ]
    same = all(
        a is b or getattr(a, "_name", 0) == getattr(b, "_name", 1)
        for a, b in zip(operands, expr.operands, strict=True)
    )
    return expr if same else type(expr)(*operands)


def rows_of(expr: Expr) -> frozenset[Any]:
    """What tells the rows of `expr`: the frames they come from, each filter as a tuple."""
    if expr.ndim == 0:
        return frozenset()
    if isinstance(expr, Filter):
        return frozenset([(rows_of(expr.frame), lowest(expr.predicate)._name)])
    if isinstance(expr, Elemwise) and expr.dependencies():
        return frozenset().union(*map(rows_of, expr.dependencies()))
    return frozenset([expr._name])


def ops_read(predicate: Expr) -> Iterator[ImageOp]:
    """The image ops whose values a predicate reads (not those in other columns of its frame)."""
    stack = [predicate]
    while stack:
        expr = stack.pop()
        if isinstance(expr, ImageOp):
            yield expr
        if isinstance(expr, Projection) and expr.ndim == 1:
            below, column = source_of(expr)
            if isinstance(below, ImageOp):
                stack.append(below)
            elif isinstance(below, Filter):
                inner = below.frame if column is None else Projection(below.frame, column)
                stack += [inner, below.predicate]
        else:
            stack += expr.dependencies()


def decodes(predicate: Expr, root: Expr) -> bool:
    """Whether a predicate reads pixels of the frame `root`."""
    return any(op.program.decodes and anchor(op)._name == root._name for op in ops_read(predicate))


def stable(expr: Expr) -> bool:
    """No merge or shuffle below: evaluating it twice gives the same rows in the same order."""
    return all(isinstance(node, Blockwise) for node in expr.walk())


def args_of(expr: Expr) -> list[Expr]:
    """The row-wise arguments: the operands after the named ones."""
    return list(expr.operands[len(expr._parameters) :])


def _run_one(series: pd.Series, program: Program, out: Any, *args: pd.Series) -> pd.Series:
    return onepass.run(series, [program], *args)[0].rename(out)


def _empty(dtype: Any, like: Any, name: Any = None) -> pd.Series:
    return pd.Series([], dtype=dtype, index=like.index[:0], name=name)


# -- expressions --------------------------------------------------------------------------------
class ImageOp(Elemwise):  # type: ignore[misc]
    """One program over one column, then an expression for each row-wise argument."""

    _parameters = ["frame", "program", "out"]  # noqa: RUF012  (Dask's own convention)
    _filter_passthrough = True
    operation = staticmethod(_run_one)

    @functools.cached_property
    def _meta(self) -> pd.Series:
        return _empty(self.program.dtype, self.frame._meta, self.out)

    @functools.cached_property
    def _name(self) -> str:
        return f"image-op-{self.deterministic_token}"

    def _filter_passthrough_available(self, parent: Expr, dependents: Any) -> bool:
        """Filter stop."""
        return (
            super()._filter_passthrough_available(parent, dependents)
            and not args_of(self)
            and not decodes(parent.predicate, anchor(self))
            and all(node._name != self._name for node in parent.predicate.walk())
        )

    def _simplify_down(self) -> Expr | None:
        below, column = source_of(self.frame)
        if isinstance(below, ImageOp) and isinstance(below.program.dtype, ImageDtype):
            args = args_of(below)  # look-through: extend its program
            program = below.program.then(self.program, len(args))
            return ImageOp(below.frame, program, self.out, *args, *args_of(self))
        source = below if column is None else Projection(below, column)
        args = [lowest(arg) for arg in args_of(self)]
        moved = ImageOp(source, self.program, self.out, *args)
        if moved._name != self._name:
            return moved
        if (
            isinstance(below, Filter)
            and below.ndim == (1 if column is None else 2)
            and not args_of(self)
            and self.program.steps
            and decodes(below.predicate, anchor(below.frame))
            and stable(below)
        ):
            return self._hoist(below, column)
        return None

    def _hoist(self, kept: Filter, column: Any) -> Expr:
        source = kept.frame if column is None else Projection(kept.frame, column)
        if not self.program.raises:
            return Filter(ImageOp(source, self.program, self.out), kept.predicate)
        values = ImageOp(source, self.program.recording(), self.out)
        blame = ImageOp(source, self.program.recording("blame"), self.out)
        return Settle(Filter(values, kept.predicate), Filter(blame, kept.predicate))

    def _simplify_up(self, parent: Expr, dependents: Any) -> Expr | None:
        if type(parent) is Assign:
            return ImageAssign(*parent.operands)
        return super()._simplify_up(parent, dependents)

    def _lower(self) -> Expr:
        return Take(ImagePass(self.frame, (self.program,), *args_of(self)), self.program, self.out)


class ImageAssign(Assign):  # type: ignore[misc]
    """An Assign that holds image ops: a filter that reads none of their pixels goes first."""

    def _simplify_up(self, parent: Expr, dependents: Any) -> Expr | None:
        if type(parent) is Assign:  # it may hold arithmetic on ops, which have no say there
            return ImageAssign(*parent.operands)
        if not (isinstance(parent, Filter) and parent.frame._name == self._name):
            return super()._simplify_up(parent, dependents)
        if not is_filter_pushdown_available(self, parent, dependents):
            return None
        cheap, dear = self._split(parent.predicate)
        if not cheap:
            return None
        first = functools.reduce(And, [part.substitute(self, self.frame) for part in cheap])
        if not are_co_aligned(self.frame, first):
            return None
        assigned = [
            item
            for key, value in zip(self.keys, self.vals, strict=True)
            for item in (key, Filter(value, first) if getattr(value, "ndim", 0) else value)
        ]
        new = ImageAssign(Filter(self.frame, first), *assigned)
        if not dear:
            return new
        return Filter(new, functools.reduce(And, dear).substitute(self, new))

    def _split(self, predicate: Expr) -> tuple[list[Expr], list[Expr]]:
        """The parts of a conjunction that read no pixels of this frame, and the others."""
        parts, cheap, dear = [predicate], [], []
        while parts:
            part = parts.pop()
            if isinstance(part, And):
                parts += [part.right, part.left]
                continue
            users = [
                node
                for node in part.walk()
                if any(below._name == self._name for below in node.dependencies())
            ]
            reads_others = all(
                isinstance(user, Projection) and not set(user.columns) & set(self.keys)
                for user in users
            )
            (cheap if reads_others and not decodes(part, anchor(self)) else dear).append(part)
        return cheap, dear


def _run_all(source: pd.Series, programs: tuple[Program, ...], *args: pd.Series) -> pd.DataFrame:
    columns = onepass.run(source, programs, *args)
    labels = [program.label for program in programs]
    return pd.DataFrame(dict(zip(labels, columns, strict=True)), index=source.index, copy=False)


class ImagePass(Elemwise):  # type: ignore[misc]
    """All programs over one source. Made only by lowering, so every program in it is wanted."""

    _parameters = ["frame", "programs"]  # noqa: RUF012
    operation = staticmethod(_run_all)

    @functools.cached_property
    def _meta(self) -> pd.DataFrame:
        like = self.frame._meta
        columns = {program.label: _empty(program.dtype, like) for program in self.programs}
        return pd.DataFrame(columns, index=like.index[:0])

    @functools.cached_property
    def _name(self) -> str:
        return f"image-pass-{self.deterministic_token}"

    @functools.cached_property
    def level(self) -> int:
        """A pass whose arguments come from a pass over the same source must not join it."""
        below = [
            node
            for arg in args_of(self)
            for node in arg.walk()
            if isinstance(node, ImagePass) and node.frame._name == self.frame._name
        ]
        return 1 + max((node.level for node in below), default=-1)

    def _simplify_up(self, parent: Expr, dependents: Any) -> Expr | None:
        """Merge."""
        if not isinstance(parent, Take):
            return None
        siblings = {
            expr._name: expr
            for ref in dependents[self.frame._name]
            if isinstance(expr := ref(), ImagePass)
            and expr.frame._name == self.frame._name
            and expr.level == self.level
        }
        args = {arg._name: arg for name in sorted(siblings) for arg in args_of(siblings[name])}
        slots = {name: slot for slot, name in enumerate(args)}

        def moved(expr: ImagePass, program: Program) -> Program:
            names = [arg._name for arg in args_of(expr)]
            return program.renumber(lambda row: Row(slots[names[row.slot]]))

        # by label: programs are equal whatever policy their dtype carries
        wanted = {
            program.label: program
            for expr in siblings.values()
            for program in [moved(expr, p) for p in expr.programs]
        }
        if len(wanted) <= len(self.programs):
            return None
        programs = tuple(wanted[label] for label in sorted(wanted))
        union = ImagePass(self.frame, programs, *args.values())
        return Take(union, moved(self, parent.program), parent.out)


class Take(Elemwise):  # type: ignore[misc]
    """One program's column of a pass."""

    _parameters = ["frame", "program", "out"]  # noqa: RUF012

    @staticmethod
    def operation(frame: pd.DataFrame, program: Program, out: Any) -> pd.Series:
        return frame[program.label].rename(out)

    @functools.cached_property
    def _meta(self) -> pd.Series:
        return _empty(self.program.dtype, self.frame._meta, self.out)

    @functools.cached_property
    def _name(self) -> str:
        return f"image-take-{self.deterministic_token}"


class Settle(Elemwise):  # type: ignore[misc]
    """Values that were computed ahead of a filter: a failed row that the filter kept raises."""

    _parameters = ["frame", "blame"]  # noqa: RUF012
    _filter_passthrough = False

    @staticmethod
    def operation(values: pd.Series, blame: pd.Series) -> pd.Series:
        blamed = blame.dropna()
        if len(blamed):
            reason, path = blamed.iloc[0].split("\0")
            raise ImageError(reason, path or None)
        return values

    @functools.cached_property
    def _meta(self) -> pd.Series:
        return self.frame._meta


class Gather(Expr):  # type: ignore[misc]
    """One value from all partitions at once, in order: the end of a write."""

    _parameters = ["frame", "finish", "result"]  # noqa: RUF012

    @functools.cached_property
    def _meta(self) -> Any:
        return self.result

    @functools.cached_property
    def _name(self) -> str:
        return f"gather-{self.deterministic_token}"

    def _divisions(self) -> tuple[None, None]:
        return (None, None)

    def _layer(self) -> dict[Any, Any]:
        parts = [TaskRef((self.frame._name, i)) for i in range(self.frame.npartitions)]
        key = (self._name, 0)
        return {key: Task(key, self.finish, List(*parts))}
