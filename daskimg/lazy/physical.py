"""What image ops are while they run: passes over a source, and what is taken from them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from daskimg.engine import onepass
from daskimg.engine.program import Program, Row
from daskimg.errors import ImageError
from daskimg.guard import limit
from daskimg.lazy.bare import Column, Table, apart, arrays_of, as_pandas
from daskimg.lazy.expr import Assign, Elemwise, Expr, Filter, RepartitionToFewer, Task
from daskimg.lazy.fusion import Together, bare, fusion
from daskimg.lazy.nodes import ImageNode, empty_like
from daskimg.lazy.tree import args_of, users_of

__all__ = [
    "AnyAssign",
    "Columns",
    "ImagePass",
    "PlainAssign",
    "Settle",
    "Spread",
    "Take",
    "numbered",
]


@dataclass(frozen=True)
class Columns:
    """What a pass makes, by the label of the program; only `Take` reads it, so it is no frame."""

    index: pd.Index
    arrays: dict[str, Any]


def _run_all(
    source: Any,
    programs: tuple[Program, ...],
    *args: Any,
    part: limit.Part | None = None,
) -> Columns:
    rows = [as_pandas(arg) for arg in args]
    columns = onepass.columns(source, programs, *rows, part=part)
    arrays = {program.label: c for program, c in zip(programs, columns, strict=True)}
    return Columns(source.index, arrays)


def _take(columns: Columns, program: Program, out: Any) -> Column:
    return Column(columns.index, columns.arrays[program.label], out)


def _assign(frame: Any, *pairs: Any) -> Any:
    """Columns put into a frame, all at once: a tenth of what one after the other takes."""
    values = dict(zip(pairs[::2], pairs[1::2], strict=True))
    if isinstance(frame, pd.DataFrame):
        names = frame.columns.tolist()
        plain = len(set(names)) == len(names) and frame.columns.name is None
    else:
        plain = True
    index = frame.index
    if not plain or not all(
        isinstance(v, pd.Series | Column) and v.index.equals(index) for v in values.values()
    ):
        return as_pandas(frame).assign(**{name: as_pandas(v) for name, v in values.items()})
    mine = isinstance(frame, Table)  # a frame may be somebody else's, who goes on using it
    arrays = {name: array if mine else apart(array) for name, array in arrays_of(frame)}
    return Table(index, {**arrays, **{name: value.array for name, value in values.items()}})


def _take_pandas(columns: Columns, program: Program, out: Any) -> pd.Series:
    return _take(columns, program, out).pandas()


def _assign_pandas(frame: pd.DataFrame, *pairs: Any) -> pd.DataFrame:
    return as_pandas(_assign(frame, *pairs))


bare(_run_all, _run_all)
bare(_take_pandas, _take)
bare(_assign_pandas, _assign)


class AnyAssign(Assign):  # type: ignore[misc]
    """An Assign whose columns are put in all at once."""

    @functools.cached_property
    def _meta(self) -> pd.DataFrame:
        return _assign_pandas(*[x._meta if isinstance(x, Expr) else x for x in self._args])


class Outlet(Elemwise):  # type: ignore[misc]
    """The last step of ours: with what is below it, it becomes one task."""

    def _simplify_up(self, parent: Expr, dependents: Any) -> Expr | None:
        fused = _fused(self, parent, dependents)
        return super()._simplify_up(parent, dependents) if fused is None else fused


class PlainAssign(Outlet, AnyAssign):
    """What an `ImageAssign` is once its ops are passes."""

    operation = staticmethod(_assign_pandas)


def _fused(top: Expr, parent: Expr, dependents: Any) -> Expr | None:
    """Once its passes are merged, what stands below other work than ours becomes one task."""
    if isinstance(parent, ImagePass | Take | PlainAssign | Settle | Spread):
        return None
    passes = [node for node in top.walk() if isinstance(node, ImagePass)]
    if not passes or any(len(node.siblings(dependents)) > 1 for node in passes):
        return None
    last = isinstance(parent, RepartitionToFewer) and len(users_of(top, dependents)) == 1
    fused = fusion(top, dependents, bare=last)
    if fused is None:
        return None
    return Together(fused, parent.new_partitions) if last else parent.substitute(top, fused)


class ImagePass(Elemwise):  # type: ignore[misc]
    """All programs over one source. Made only by lowering, so every program in it is wanted."""

    _parameters = ["frame", "programs"]  # noqa: RUF012
    _filter_passthrough = False
    operation = staticmethod(_run_all)

    @functools.cached_property
    def _meta(self) -> pd.DataFrame:
        like = self.frame._meta
        columns = {program.label: empty_like(like, program.dtype) for program in self.programs}
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

    @functools.cached_property
    def varies(self) -> bool:
        """Whether failures are counted, by partition."""
        return any(program.max_errors is not None for program in self.programs)

    def _task(self, name: Any, index: int) -> Any:
        task = super()._task(name, index)
        return numbered(task, self, index) if self.varies else task

    def siblings(self, dependents: Any) -> dict[str, ImagePass]:
        """The passes over the same source on the same level, this one too."""
        return {
            expr._name: expr
            for ref in dependents[self.frame._name]
            if isinstance(expr := ref(), ImagePass)
            and expr.frame._name == self.frame._name
            and expr.level == self.level
        }

    def _simplify_up(self, parent: Expr, dependents: Any) -> Expr | None:
        """Merge."""
        if not isinstance(parent, Take):
            return None
        siblings = self.siblings(dependents)
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


class Take(Outlet):
    """One program's column of a pass."""

    _parameters = ["frame", "program", "out"]  # noqa: RUF012
    _filter_passthrough = False  # a pass is no frame
    operation = staticmethod(_take_pandas)

    @functools.cached_property
    def _meta(self) -> pd.Series:
        return empty_like(self.frame._meta, self.program.dtype, self.out)

    @functools.cached_property
    def _name(self) -> str:
        return f"image-take-{self.deterministic_token}"


class Spread(Elemwise):  # type: ignore[misc]
    """Values of the rows that pass, on all rows: null elsewhere.

    It stands in a conjunction with what they pass, which is false for the other rows.
    """

    _parameters = ["frame", "first"]  # noqa: RUF012
    rows_like = "first"

    def everywhere(self) -> ImageNode | None:
        """The same op on all rows."""
        op = self.frame.frame if isinstance(self.frame, Settle) else self.frame
        if not all(isinstance(column, Filter) for column in (op.frame, *args_of(op))):
            return None  # Dask has rewritten it
        args = [arg.frame for arg in args_of(op)]
        return type(op)(op.frame.frame, op.program, op.out, *args)

    @staticmethod
    def operation(values: pd.Series, first: pd.Series) -> pd.Series:
        passed = first.fillna(False).to_numpy(bool)
        where = np.where(passed, np.cumsum(passed) - 1, -1)
        if isinstance(values.dtype, np.dtype):
            spread = np.full(len(first), np.nan if values.dtype.kind == "f" else 0, values.dtype)
            spread[passed] = values.to_numpy()
        else:
            spread = values.array.take(where, allow_fill=True)
        return pd.Series(spread, index=first.index, name=values.name, copy=False)

    @functools.cached_property
    def _meta(self) -> pd.Series:
        return self.frame._meta


class Settle(Elemwise):  # type: ignore[misc]
    """Values that were computed ahead of a filter: a failed row that passes it raises, or counts.

    Without a predicate, the rows are those that passed. It may cover only the rows to blame.
    """

    _parameters = ["frame", "blame", "passing", "max_errors"]  # noqa: RUF012
    reads_only_frame, rows_like = True, "frame"
    _defaults = {"passing": None, "max_errors": None}  # noqa: RUF012
    _filter_passthrough = False

    @staticmethod
    def operation(
        values: pd.Series,
        blame: pd.Series,
        passing: pd.Series | None = None,
        max_errors: int | None = None,
        part: limit.Part | None = None,
    ) -> pd.Series:
        if passing is not None:
            blame = blame if len(blame) == len(passing) else blame.dropna()
            blame = blame[passing.fillna(False).to_numpy(bool)]
        blamed = blame.dropna()
        if max_errors is not None:
            limit.tally(max_errors, part, (text.split("\0")[0] for text in blamed))
        elif len(blamed):
            reason, path = blamed.iloc[0].split("\0")
            raise ImageError(reason, path or None)
        return values

    @property
    def varies(self) -> bool:
        """Whether failures are counted, by partition."""
        return self.max_errors is not None

    def _task(self, name: Any, index: int) -> Any:
        task = super()._task(name, index)
        return numbered(task, self, index) if self.varies else task

    @functools.cached_property
    def _meta(self) -> pd.Series:
        return self.frame._meta


def numbered(task: Any, expr: Expr, index: int) -> Any:
    """A task that is told which partition of which run it is, to count what fails."""
    return Task(task.key, task.func, *task.args, **task.kwargs, part=(expr._name, index))
