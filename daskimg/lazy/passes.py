"""Image ops as Dask expressions: five rules that end in one pass per image.

While Dask first simplifies, an op is an ordinary row-wise expression (`ImageOp`): projection,
len, head and partitions treat it like any column and an unused op disappears. Lowering turns it
into ``Take(ImagePass(source, programs))``, and passes over one source become their union in the
second simplify.

look-through  an op's source is the lowest frame that holds the column, through everything that
              leaves rows alone, and through another op, whose program it extends
filter down   a filter that reads no pixels of an assigned op goes below it (`ImageAssign`); in a
              conjunction the cheap parts go first, and what decodes looks only at the rows that
              pass them (`Spread`)
filter stop   a filter that decodes never moves below an op
hoist         an op on the survivors of a decoding filter is computed before the filter, in the
              filter's pass; there it records failures, and `Settle` raises for survivors only
merge         passes of equal source and level become their union

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
from daskimg.lazy.expr import (
    RULES,
    Assign,
    Expr,
    Filter,
    Index,
    NLargest,
    NotNull,
    Projection,
    are_co_aligned,
    new_collection,
)
from daskimg.lazy.nodes import ImageNode, Narrowed, Passed, stable
from daskimg.lazy.physical import AnyAssign, ImagePass, PlainAssign, Settle, Spread, Take
from daskimg.lazy.tree import (
    ARITHMETIC,
    NOTHING,
    PIXELS,
    all_of,
    anchor,
    args_of,
    both_filters,
    flattened,
    is_column,
    kept,
    lowest,
    may_move,
    narrowed,
    on_all,
    ops_read,
    parts_of,
    read_only_through,
    rows_of,
    source_of,
    users_of,
    where_used,
    work_of,
)

__all__ = ["ImageOp", "ImagePass", "image_op"]


def image_op(series: Any, program: Program, args: list[Any]) -> Any:
    """A Dask Series of what `program` makes of `series`."""
    if not RULES:
        return plain.image_op(series, program, args)
    if isinstance(series.expr, Projection) and isinstance(series.expr.frame, NLargest):
        # Dask would choose the rows among this column alone, which lacks what they are chosen by
        chosen = new_collection(series.expr.frame)
        series = chosen.map_partitions(getitem, series.name, meta=series._meta)
    return new_collection(ImageOp(series.expr, program, series.name, *[arg.expr for arg in args]))


def spares(part: Expr, work: int) -> bool:
    """Whether a part costs more than `work` and raises nothing itself, as a check does."""
    return work_of(part) > work and not any(op.program.raises for op in ops_read(part))


def part_on(part: Expr, first: Expr | None) -> Expr:
    """A predicate that raises for no picture, on the rows that pass `first`."""
    if isinstance(part, Settle):
        return part_on(part.frame, first)
    if isinstance(part, Spread) and (op := part.everywhere()) is not None:
        return part_on(op, first)
    if isinstance(part, ImageOp):
        return part._lowest()._only(first)._doing("null")
    if isinstance(part, ARITHMETIC) and any(isinstance(node, ImageOp) for node in part.walk()):
        operands = [part_on(item, first) if is_column(item) else item for item in part.operands]
        return type(part)(*operands)
    return part if first is None else Narrowed(part, first)


class ImageOp(ImageNode):
    """One program over one column: see the rules above."""

    _filter_passthrough = True

    def _filter_passthrough_available(self, parent: Expr, dependents: Any) -> bool:
        """Filter stop."""
        return (
            super()._filter_passthrough_available(parent, dependents)
            and not args_of(self)
            and work_of(parent.predicate, rows=False) < PIXELS
            and all(node._name != self._name for node in parent.predicate.walk())
        )

    def _simplify_down(self) -> ImageOp | None:
        """Look-through."""
        below, column = source_of(self.frame)
        if isinstance(below, ImageOp) and isinstance(below.program.dtype, ImageDtype):
            args = args_of(below)
            program = below.program.then(self.program, len(args))
            return type(self)(below.frame, program, self.out, *args, *args_of(self))
        source = below if column is None else Projection(below, column)
        args = [lowest(arg) for arg in args_of(self)]
        moved = type(self)(source, self.program, self.out, *args)
        return moved if moved._name != self._name else None

    def _lowest(self) -> ImageOp:
        """The same op once it has looked through all it can."""
        op, below = self, self._simplify_down()
        while below is not None:
            op, below = below, below._simplify_down()
        return op

    def _hoist(self) -> Expr | None:
        """Last of the rules, while lowering: until then filters move, and merge with others."""
        survivors, column = source_of(self.frame)
        if not isinstance(survivors, Filter) or not self.program.steps or not stable(survivors):
            return None
        frame, name, passing, filters = flattened(survivors, column)
        args = [on_all(arg, filters) for arg in args_of(self)]
        raising = [op for arg in args for op in arg.walk() if isinstance(op, ImageOp)]
        if (
            work_of(passing) < PIXELS
            or survivors.ndim != (1 if column is None else 2)
            or any(rows_of(arg) != rows_of(frame) for arg in args)
            or any(op.program.raises for op in raising)
        ):
            return None
        source = frame if name is None else Projection(frame, name)
        spread = [node for node in passing.walk() if isinstance(node, Spread)]
        first = next((node.first for node in spread if work_of(node) == PIXELS), None)
        if first is not None and rows_of(first) != rows_of(frame):
            return None

        def ahead(program: Program) -> Expr:
            op = ImageOp(source, program, self.out, *args)._lowest()
            if first is None:
                return Passed(op, passing)
            return Passed(op._only(first), Narrowed(passing, first))

        if not self.program.raises:
            return ahead(self.program)
        blame = ahead(self.program.recording("blame"))
        most = None if self.program.raises_first else self.program.max_errors
        return Settle(ahead(self.program.recording()), blame, None, most)

    def _doing(self, what: str) -> ImageOp:
        """The same work under the policy "null", or who is to blame for what fails of it."""
        program = self.program.recording("blame" if what == "blame" else None)
        return ImageOp(self.frame, program, self.out, *args_of(self))

    def _only(self, first: Expr | None) -> ImageOp:
        """The same op on the rows that pass `first`."""
        if first is None:
            return self
        first = lowest(first)
        args = [Filter(arg, first) for arg in args_of(self)]
        return ImageOp(Filter(self.frame, first), self.program, self.out, *args)

    def _simplify_up(self, parent: Expr, dependents: Any) -> Expr | None:
        if isinstance(parent, Assign):
            plain = self._on_one_filter()
            if plain is not None or type(parent) is Assign:
                return ImageAssign(
                    *parent.substitute(self, self if plain is None else plain).operands
                )
        later = self._after_cheap(parent, dependents)
        return super()._simplify_up(parent, dependents) if later is None else later

    def _on_one_filter(self) -> ImageOp | None:
        """The same op on a filter in place of several, as Dask makes one of the frame's.

        Not in a predicate: Dask would no longer find there the rows of a frame that it merges.
        """
        below, column = source_of(self.frame)
        if not isinstance(below, Filter) or args_of(self) or not stable(below):
            return None
        frame, name, passing, filters = flattened(below, column)
        if len(filters) == 1:
            return None
        source = Filter(frame if name is None else Projection(frame, name), passing)
        return ImageOp(source, self.program, self.out)

    def _after_cheap(self, parent: Expr, dependents: Any) -> Expr | None:
        """Filter down, within a conjunction."""
        work = work_of(self)
        beside = where_used(self, dependents) if work > NOTHING else None
        if beside is None:
            return None
        op = self._lowest()
        if stable(op.frame) and isinstance(
            source_of(op.frame)[0], Filter
        ):  # Dask has yet to merge it with this one
            asked = Asked(*self.operands)
            return None if isinstance(self, Asked) else parent.substitute(self, asked)
        if stable(op.frame):
            cheap = [part for part in (*beside.left, *beside.right) if work_of(part) < work]
            ahead = [part for part in beside.left if work_of(part) == work or spares(part, work)]
        else:  # a filter of our own would keep Dask from moving its own below the merge
            moving = any(may_move(each, dependents) for each in beside.filters)
            cheap, ahead = [], [] if moving else beside.left
        if not cheap and not (ahead and self.program.raises):
            return None
        first = lowest(all_of([part_on(part, None) for part in cheap])) if cheap else None
        rows = rows_of(op.frame)
        if any(rows_of(lowest(part)) != rows for part in (*cheap, *ahead)):
            return None
        values: Expr = op._only(first)
        if ahead and self.program.raises:
            blame = values._doing("blame")
            most = None if self.program.raises_first else self.program.max_errors
            parts = [part_on(part, first) for part in ahead]
            if any(work_of(part) > work for part in ahead):  # then for the rows to blame only
                parts = [part_on(part, NotNull(blame)) for part in parts]
            values = Settle(values._doing("null"), blame, all_of(parts), most)
        return parent.substitute(self, values if first is None else Spread(values, first))

    def _lower(self) -> Expr:
        crashes.watch()
        wanted.watch()
        ahead = self._hoist()
        if ahead is not None:
            return ahead
        return Take(ImagePass(self.frame, (self.program,), *args_of(self)), self.program, self.out)


class Asked(ImageOp):
    """An op in a predicate on rows that are filtered already: never hoisted.

    Dask may still merge the two filters, on the rows before both.
    """

    def _hoist(self) -> None:
        return None


class ImageAssign(AnyAssign):
    """An Assign that holds image ops: a filter that reads none of their pixels goes first."""

    def _simplify_up(self, parent: Expr, dependents: Any) -> Expr | None:
        if type(parent) is Assign:  # it may hold arithmetic on ops, which have no say there
            return ImageAssign(*parent.operands)
        if isinstance(parent, Index):
            return Index(self.frame)
        if isinstance(parent, Projection):
            op = self._value(parent, dependents) if parent.ndim == 1 else None
            if op is None:
                op = super()._simplify_up(parent, dependents)
            return self._without_unread(parent, dependents) if op is None else op
        if not (isinstance(parent, Filter) and parent.frame._name == self._name):
            return super()._simplify_up(parent, dependents)
        if not read_only_through(self, parent, dependents):
            return None
        cheap, dear = self._split(parent.predicate)
        if not cheap or any(self._apart(part) for part in dear):
            return None
        first = all_of([part.substitute(self, self.frame) for part in cheap])
        if not are_co_aligned(self.frame, first):
            return None
        new = self._where(first)
        if new is None:
            return None
        return Filter(new, all_of(dear).substitute(self, new)) if dear else new

    def _value(self, column: Projection, dependents: Any) -> ImageOp | None:
        """The op behind a column that is only filtered: the filter can act on the op."""
        key = column.operand("columns")
        value = self.vals[self.keys.index(key)] if key in self.keys else None
        filtered = [
            isinstance(user, Filter) and user.predicate._name != column._name
            for user in users_of(column, dependents)
        ]
        if not isinstance(value, ImageOp) or not filtered or not all(filtered):
            return None
        if rows_of(value) != rows_of(self.frame):
            return None
        return type(value)(value.frame, value.program, key, *args_of(value))

    def _without_unread(self, parent: Projection, dependents: Any) -> Expr | None:
        """Dask keeps all assigned columns once the frame has no column too many."""
        users = users_of(self, dependents)
        read = {name for user in users if isinstance(user, Projection) for name in user.columns}
        if not all(isinstance(user, Projection) for user in users) or read >= set(self.keys):
            return None
        pairs = zip(self.keys, self.vals, strict=True)
        left = [item for key, value in pairs if key in read for item in (key, value)]
        frame = ImageAssign(self.frame, *left) if left else self.frame
        return Projection(frame, *parent.operands[1:])

    def _where(self, first: Expr) -> Expr | None:
        """The same columns of the rows that pass `first`."""
        below = anchor(self.frame)
        if isinstance(below, Filter):  # its rows are narrowed down there, for all that reads them
            fewer = both_filters(Filter(below, lowest(first)))
            new = narrowed(self, below, fewer)
            return new if rows_of(new) == rows_of(fewer) else None
        if rows_of(self) != rows_of(self.frame):
            return None
        assigned = [
            item
            for key, value in zip(self.keys, self.vals, strict=True)
            for item in (key, kept(value, first) if is_column(value) else value)
        ]
        return ImageAssign(Filter(self.frame, first), *assigned)

    def _lower(self) -> Assign:
        return PlainAssign(*self.operands)  # the rules are for image ops, which are gone now

    def _apart(self, part: Expr) -> bool:
        """Whether a part reads pictures otherwise than by an assigned column."""
        stack = [part]
        while stack:
            node = stack.pop()
            if isinstance(node, ImageNode):
                return True
            stack += [below for below in node.dependencies() if below._name != self._name]
        return False

    def _split(self, predicate: Expr) -> tuple[list[Expr], list[Expr]]:
        """The parts of a conjunction that read no pixels and no assigned column, and the others."""
        cheap: list[Expr] = []
        dear: list[Expr] = []
        for part in parts_of(predicate):
            users = [
                node
                for node in part.walk()
                if any(below._name == self._name for below in node.dependencies())
            ]
            reads_others = all(
                isinstance(user, Projection) and not set(user.columns) & set(self.keys)
                for user in users
            )
            (cheap if reads_others and work_of(part, rows=False) < PIXELS else dear).append(part)
        return cheap, dear
