"""What a region is to compute, as plain data: values, and the rows that filters leave.

Made of expressions once, where the graph is made; the tasks hold nothing else. A value is known by
its number. Rows are a `Domain`: those of a base (what the region reads, or a value whose rows are
its own), narrowed by predicates. A column means the same on any rows of its base, so it is computed
for the rows that are asked for, and a filter makes no value of its own.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, TypeAlias

from daskimg.column.dtype import ImageDtype
from daskimg.engine.program import Program, Row, Step

__all__ = [
    "Call",
    "Columns",
    "Domain",
    "Given",
    "Named",
    "Op",
    "Pick",
    "Recipe",
    "Root",
    "Value",
    "inputs",
]

NOTHING, HEADERS, PIXELS = range(3)  # what a value costs for a row


class Given(NamedTuple):
    """What the region gets: its rows (place 0), or a value that all rows share."""

    place: int


class Pick(NamedTuple):
    """A column of a frame."""

    frame: int
    name: Any


class Named(NamedTuple):
    """A column under another name."""

    column: int
    name: Any


class Op(NamedTuple):
    """What a program makes of the cells of a column."""

    cells: int
    program: Program
    name: Any
    args: tuple[int, ...]


class Call(NamedTuple):
    """What a row-wise task of Dask's own makes of other values.

    `domains` of its inputs are given where these are of different rows, which pandas aligns.
    """

    task: Any
    keys: tuple[Any, ...]
    inputs: tuple[int, ...]
    domains: tuple[int, ...] | None
    users: bool  # it calls a user's function


class Columns(NamedTuple):
    """Columns beside each other, on the index of `like`."""

    like: int
    names: tuple[Any, ...]
    columns: tuple[int, ...]


Value: TypeAlias = Given | Pick | Named | Op | Call | Columns


class Domain(NamedTuple):
    """The rows of a domain that pass all parts, which are masks; without a parent, of a base."""

    base: int
    parent: int | None
    parts: tuple[int, ...] = ()


class Root(NamedTuple):
    """What a region is asked for."""

    name: str
    value: int
    domain: int


@dataclass(eq=False)
class Recipe:
    """Values and domains by their numbers, and what is asked for."""

    values: list[Value]
    domains: list[Domain]
    roots: list[Root]
    walks: dict[Any, Any] = field(default_factory=dict)  # what is found out while running

    def __getstate__(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"walks": {}}

    def found(self, key: Any, make: Any) -> Any:
        """`make()`, the first time that it is asked for by this key."""
        if key not in self.walks:
            self.walks[key] = make()
        return self.walks[key]

    def op(self, number: int) -> Op:
        """A value that is one."""
        value = self.values[number]
        assert isinstance(value, Op)
        return value

    def demands(self, number: int) -> tuple[int, ...]:
        """The ops that a value needs on its own rows."""
        return self.found(("demands", number), functools.partial(self._demands, number))

    def _demands(self, number: int) -> tuple[int, ...]:
        value = self.values[number]
        if isinstance(value, Op):
            return (number,)
        if isinstance(value, Call) and value.domains is not None:
            return ()
        return tuple(dict.fromkeys(op for one in inputs(value) for op in self.demands(one)))

    def depth(self, op: int) -> int:
        """How many walks there are before its own: its arguments come from other ops."""
        value = self.op(op)
        below = [each for one in (value.cells, *value.args) for each in self.demands(one)]
        return 1 + max(map(self.depth, below), default=-1)

    def work(self, number: int) -> int:
        """What a value costs for a row."""
        return max((work_of(op.program) for op in self._ops(number)), default=NOTHING)

    def raises(self, number: int) -> bool:
        """Whether a row that fails may end the run."""
        return any(op.program.raises for op in self._ops(number))

    def _ops(self, number: int) -> list[Op]:
        seen: set[int] = set()
        todo, found = [number], []
        while todo:
            for one in self.demands(todo.pop()):
                if one not in seen:
                    seen.add(one)
                    found.append(self.op(one))
                    todo += self.op(one).args
        return found

    def in_order(self, parts: tuple[int, ...]) -> list[int]:
        """What needs no picture first, then what cannot raise, then by work.

        A user's function is called for no row that would not come so far as it was written.
        """
        ordered: list[int] = []
        block: list[int] = []
        for part in (*parts, None):
            if part is None or self.calls_users(part):
                ordered += sorted(block, key=self._rank)
                ordered += [] if part is None else [part]
                block = []
            else:
                block.append(part)
        return ordered

    def _rank(self, part: int) -> tuple[int, int]:
        work = self.work(part)
        return (0 if work == NOTHING else 1 + self.raises(part)), work

    def calls_users(self, number: int) -> bool:
        """Whether a user's function makes a value."""
        value = self.values[number]
        if isinstance(value, Call) and value.users:
            return True
        if isinstance(value, Op):
            return any(step.name == "apply" for step in value.program.steps)
        return any(map(self.calls_users, inputs(value)))

    def cheap(self, domain: int) -> list[int]:
        """The parts that narrow a domain before any picture is opened."""
        return list(itertools.takewhile(self._is_cheap, self.in_order(self.chain(domain))))

    def _is_cheap(self, part: int) -> bool:
        return self.work(part) == NOTHING and not self.calls_users(part)

    def chain(self, domain: int) -> tuple[int, ...]:
        """All that the rows of a domain pass, the lowest filter's first."""
        one = self.domains[domain]
        return () if one.parent is None else (*self.chain(one.parent), *one.parts)

    @property
    def programs(self) -> list[Program]:
        """Those of all ops."""
        return [value.program for value in self.values if isinstance(value, Op)]

    @functools.cached_property
    def opened(self) -> tuple[tuple[Any, Step], ...]:
        """Columns of the region's rows whose files are opened whatever filters say, and how.

        (The name is None where the rows are a column.)
        """
        first = [self._first_asked(root) for root in self.roots]
        columns: dict[Any, dict[str, Step]] = {}
        for op in dict.fromkeys(op for each in first for one in each for op in self.demands(one)):
            cells, program = self.op(op).cells, self.op(op).program
            while isinstance(value := self.values[cells], Named):
                cells = value.column
            frame = self.values[value.frame] if isinstance(value, Pick) else value
            if frame != Given(0) or self.depth(op) or not program.steps:
                continue
            name = value.name if isinstance(value, Pick) else None
            columns.setdefault(name, {}).setdefault(program.steps[0].name, program.steps[0])
        # (what is fetched tells the header too)
        chosen = {n: s.get("fetch") or s.get("header") for n, s in columns.items()}
        return tuple((name, step) for name, step in chosen.items() if step is not None)

    def _first_asked(self, root: Root) -> list[int]:
        """The values that are asked for of all rows: up to the first filter."""
        parts = self.in_order(self.chain(root.domain))
        if not parts:
            return [root.value]
        return [] if self.cheap(root.domain) else parts[:1]

    @property
    def aligns(self) -> bool:
        """Whether some value has rows of its own: it is made of a whole partition."""
        return any(isinstance(value, Call) and value.domains for value in self.values)

    @functools.cached_property
    def staged(self) -> dict[int, tuple[Program, ...]]:
        """Columns of cells that are walked over more than once, with all programs of them."""
        # where values are asked for: by a part, by roots of one domain, by what pandas aligns
        asked: list[tuple[Any, int]] = []
        for domain, one in enumerate(self.domains):
            asked += [(("part", domain, place), part) for place, part in enumerate(one.parts)]
        asked += [(("root", root.domain), root.value) for root in self.roots]
        for place, value in enumerate(self.values):
            if isinstance(value, Call) and value.domains is not None:
                asked += [(("aligned", place, one), one) for one in value.inputs]
        walks: dict[int, dict[Any, set[int]]] = {}
        for where, number in asked:
            todo = [*self.demands(number)]
            while todo:
                op = todo.pop()
                at = walks.setdefault(self.op(op).cells, {})
                at.setdefault((where, self.depth(op)), set()).add(op)
                todo += [each for one in self.op(op).args for each in self.demands(one)]
        return {
            cells: tuple(self.op(op).program for op in sorted(set().union(*at.values())))
            for cells, at in walks.items()
            if not _are_one(at)
            and any(self.op(op).program.steps for op in set().union(*at.values()))
        }


def _are_one(walks: dict[Any, set[int]]) -> bool:
    """Whether the first walk makes all that the others ask for, on at least their rows."""
    if len(walks) == 1:
        return True
    kinds = [where[0] for where, _ in walks]
    first, *others = [ops for (where, _), ops in walks.items() if where[0] == "part"] or [set()]
    return (
        "aligned" not in kinds
        and kinds.count("root") < 2  # so that the domains follow from one another
        and all(ops == first for ops in others)  # whichever part comes first
        and all(ops <= first for ops in walks.values())
    )


def work_of(program: Program) -> int:
    """What a program costs for a row."""
    if program.decodes:
        return PIXELS
    return HEADERS if any(step.name in ("header", "size") for step in program.steps) else NOTHING


def inputs(value: Value) -> tuple[int, ...]:
    """What a value is made of, row by row."""
    if isinstance(value, Pick):
        return (value.frame,)
    if isinstance(value, Named):
        return (value.column,)
    if isinstance(value, Call):
        return value.inputs
    return value.columns if isinstance(value, Columns) else ()


def composed(below: Op, program: Program, args: tuple[int, ...], name: Any) -> Op:
    """An op on the pictures that another one makes, as one on the cells of that."""
    return Op(below.cells, below.program.then(program, len(below.args)), name, below.args + args)


def is_pictures(value: Value) -> bool:
    """Whether a value is an op that makes pictures."""
    return isinstance(value, Op) and isinstance(value.program.dtype, ImageDtype)


def moved(program: Program, args: tuple[int, ...], slots: dict[int, int]) -> Program:
    """A program whose row-wise arguments are found at `slots`."""
    return program.renumber(lambda row: Row(slots[args[row.slot]]))
