"""The row-wise part of a query over one source, as one task for each partition.

A region is the largest group of row-wise expressions between a source (a reader, a merge, a
shuffle, a stage) and what is made of it; `daskimg.lazy.evaluate` runs it. While Dask simplifies,
its expressions are what they always are. Then (Dask's stage "tune") an op becomes a region, and
whatever stands above and works row by row is taken into it, Dask's own expressions too. Regions
over one source become one in the second simplify.

What is row-wise is asked of an expression, not looked up in a list: `Elemwise`, or what leaves
rows out. What numbers rows, looks at a whole partition or reads a number that is made of pictures
is not.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from daskimg import wanted
from daskimg.clients import tell_of_threads
from daskimg.guard import crashes
from daskimg.lazy import foresight
from daskimg.lazy.chunks import narrowed, run, taken
from daskimg.lazy.compile import compiled
from daskimg.lazy.expr import (
    Assign,
    Blockwise,
    Expr,
    Projection,
    RepartitionToFewer,
    Task,
    TaskRef,
    new_collection,
    operand,
)
from daskimg.lazy.fusion import Together, fusion
from daskimg.lazy.hints import reaches_out
from daskimg.lazy.nodes import (
    ImageNode,
    Once,
    Persisted,
    opens,
    replaced,
    sort_key,
    users_of,
    with_operand,
    with_operands,
)
from daskimg.lazy.rowwise import Hole, Pictures, is_rowwise
from daskimg.lazy.tree import is_column

__all__ = ["Region", "Take", "decodes", "every_node", "take_of"]

KEY = "\0key"  # of rows that are sorted by what is no column of theirs


def take_of(expr: Expr) -> Take | None:
    """`expr`, if it is row-wise, with all such work below it as one region over one source."""
    if not (isinstance(expr, ImageNode) or is_rowwise(expr)):
        return None
    expr = replaced(expr, _unfolded, {})
    rows, others = _frontier(expr)
    if len(rows) != 1:
        return None
    below = [*rows.values(), *others.values()]
    holes = {node._name: Hole(_like(node), place) for place, node in enumerate(below)}
    root = replaced(expr, lambda node: holes.get(node._name), {})
    return Take(Region((root,), *below), (root,))


def _like(node: Expr) -> Any:
    return node._meta if is_column(node) else None


def _frontier(expr: Expr) -> tuple[dict[str, Expr], dict[str, Expr]]:
    """What the row-wise work reads from outside: what has rows, and what all rows share."""
    rows: dict[str, Expr] = {}
    others: dict[str, Expr] = {}
    seen: set[str] = set()
    todo = [expr]
    while todo:
        node = todo.pop()
        if node._name not in seen:
            seen.add(node._name)
            if isinstance(node, ImageNode) or is_rowwise(node):
                todo += node.dependencies()
            elif is_column(node):
                rows[node._name] = node
            else:
                others[node._name] = node
    return rows, others


def _unfolded(node: Expr) -> Expr | None:
    """What a region's part of row-wise work was made of; what is not row-wise stays."""
    if isinstance(node, Take) and node.is_open:
        return node.whole()
    return None if is_rowwise(node) or isinstance(node, ImageNode) else node


def _column(expr: Expr) -> Expr:
    """What makes one column: Dask keeps all that an `Assign` makes where nothing else is left."""
    while isinstance(expr, Projection) and isinstance(expr.operands[0], Assign):
        made, name = expr.operands[0], expr.operand("columns")
        if isinstance(name, list):
            break
        given = dict(zip(made.operands[1::2], made.operands[2::2], strict=True))
        expr = given[name] if name in given else Projection(made.operands[0], name)
    return expr.simplify()


def _cut_once(expr: Expr) -> Expr | None:
    """A sort by what is made of pictures, of rows that are made, with their key, at once."""
    key = sort_key(expr)
    if key is None or not decodes(_column(replaced(key, _unfolded, {}).simplify())):
        return None
    frame, other = expr.operand("frame"), operand(expr, "_other")
    both = take_of(Assign(frame, KEY, other)) if isinstance(other, Take) else None
    if both is None:
        takes = [x for x in expr.operands if isinstance(x, Take) and x.is_open]
        once = {take._name: Once(take, Persisted(take)) for take in takes}
    else:
        rows = new_collection(Once(both, Persisted(both)))
        once = {
            frame._name: rows[list(frame.columns)].expr,
            other._name: rows[KEY].rename(other._meta.name).expr,
        }
    return with_operands(expr, lambda x: once.get(x._name, x) if isinstance(x, Expr) else x)


def every_node(expr: Expr) -> Iterator[Expr]:
    """All expressions below, those within regions too."""
    for node in expr.walk():
        yield node
        if isinstance(node, Region):
            for root in node.operand("roots"):
                yield from root.walk()


def decodes(expr: Expr) -> bool:
    """Whether pictures are opened for it."""
    return any(map(opens, every_node(expr)))


class Region(Pictures):
    """Row-wise expressions (`roots`, in which a `Hole` stands for what follows), evaluated."""

    _parameters = ["roots"]  # noqa: RUF012

    @functools.cached_property
    def _meta(self) -> Any:
        return self.operands[1]._meta

    @functools.cached_property
    def _name(self) -> str:
        return f"image-pass-{self.deterministic_token}"

    def _divisions(self) -> Any:
        return self.operands[1].divisions

    def _broadcast_dep(self, dep: Expr) -> bool:
        # (asked for divisions here, a scheduler in this process may wait for ever: see `compile`)
        return bool(dep._name != self.operands[1]._name)

    @functools.cached_property
    def recipe(self) -> Any:
        """What its tasks do."""
        return compiled(self.operand("roots"))

    @functools.cached_property
    def level(self) -> int:
        """A region that reads a number made by another over the same rows must not join it."""
        rows = self.operands[1]._name
        below = [
            node
            for other in self.operands[2:]
            for node in other.walk()
            if isinstance(node, Region) and node.operands[1]._name == rows
        ]
        return 1 + max((node.level for node in below), default=-1)

    @functools.cached_property
    def varies(self) -> bool:
        """Whether failures are counted, by partition."""
        return any(program.max_errors is not None for program in self.recipe.programs)

    @property
    def drops_rows(self) -> bool:
        """Whether it leaves out rows that it reads."""
        recipe, asked = self.recipe, {root.domain for root in self.recipe.roots}
        unseen = isinstance(self.operands[1], Narrowed) and len(asked) == 1
        return any(
            len(recipe.chain(domain)) > (len(recipe.cheap(domain)) if unseen else 0)
            for domain in asked
        )

    def narrowed(self) -> Region:
        """The same, reading only rows that pass what needs no picture."""
        recipe = self.recipe
        if not all(recipe.cheap(root.domain) for root in recipe.roots):
            return self
        roots, rows, *others = self.operands
        return Region(roots, Narrowed(rows, roots, *others), *others)

    def _task(self, name: Any, index: int) -> Any:
        given = [self._blockwise_arg(one, index) for one in self.operands[1:]]
        part = {"part": (self._name, index)} if self.varies else {}
        return Task(name, run, self.recipe, *given, **part)

    def _lower(self) -> None:
        crashes.watch()
        wanted.watch()
        if reaches_out(self.recipe):
            foresight.watch()
        if any(program.decodes for program in self.recipe.programs):
            tell_of_threads()

    def siblings(self, dependents: Any) -> dict[str, Region]:
        """The regions over the same rows on the same level, this one too."""
        rows = self.operands[1]
        found = {
            node._name: node
            for node in users_of(rows, dependents)
            if isinstance(node, Region)
            and node.operands[1]._name == rows._name
            and node.level == self.level
        }
        return {**found, self._name: self}

    def _simplify_up(self, parent: Expr, dependents: Any) -> Expr | None:
        """Regions over the same rows become one."""
        if not isinstance(parent, Take):
            return None
        found = self.siblings(dependents)
        outside = {node._name: node for name in sorted(found) for node in found[name].operands[2:]}
        places = {name: place for place, name in enumerate(outside, 1)}

        def moved(region: Region, root: Expr) -> Expr:
            def hole(node: Expr) -> Expr | None:
                if not isinstance(node, Hole):
                    return None
                place = node.operand("place")
                below = region.operands[1 + place]._name
                return Hole(node.operand("like"), places[below]) if place else node

            return replaced(root, hole, {})

        roots = {
            root._name: root
            for region in found.values()
            for root in (moved(region, one) for one in region.operand("roots"))
        }
        if roots.keys() <= {root._name for root in self.operand("roots")}:
            return None
        every = tuple(roots[name] for name in sorted(roots))
        union = Region(every, self.operands[1], *outside.values())
        return Take(union, (moved(self, parent.operand("root")[0]),))


class Narrowed(Blockwise):  # type: ignore[misc]
    """The rows that a region reads, without those that no root of it asks for."""

    _parameters = ["frame", "roots"]  # noqa: RUF012

    @functools.cached_property
    def _meta(self) -> Any:
        return self.operand("frame")._meta

    @functools.cached_property
    def recipe(self) -> Any:
        return compiled(self.operand("roots"))

    def _task(self, name: Any, index: int) -> Any:
        rows = [self.operand("frame"), *self.operands[2:]]
        return Task(name, narrowed, self.recipe, *(self._blockwise_arg(x, index) for x in rows))


class Take(Blockwise):  # type: ignore[misc]
    """One of the things that a region is asked for."""

    _parameters = ["frame", "root"]  # noqa: RUF012
    varies = False

    @functools.cached_property
    def _meta(self) -> Any:
        return self.operand("root")[0]._meta

    @functools.cached_property
    def _name(self) -> str:
        return f"image-take-{self.deterministic_token}"

    def _task(self, name: Any, index: int) -> Any:
        root = self.operand("root")[0]._name
        return Task(name, taken, TaskRef((self.operand("frame")._name, index)), root)

    @property
    def is_open(self) -> bool:
        """Whether its region can still grow: it is no part of a query that was optimised before."""
        return isinstance(self.operand("frame"), Region)

    def whole(self) -> Expr:
        """What it is made of."""
        region, root = self.operand("frame"), self.operand("root")[0]

        def outside(node: Expr) -> Expr | None:
            return region.operands[1 + node.operand("place")] if isinstance(node, Hole) else None

        return replaced(root, outside, {})

    def _tune_up(self, parent: Expr) -> Expr | None:
        if isinstance(parent, Region | Take) or not self.is_open:
            return None
        cut = _cut_once(parent)
        return take_of(parent) if cut is None else cut

    def _simplify_up(self, parent: Expr, dependents: Any) -> Expr | None:
        """Once its region is whole, what stands below other work than ours becomes one task."""
        if isinstance(parent, Region | Take) or not self.is_open:
            return None
        if (made := self._tune_up(parent)) is not None:  # Dask has lowered it just now
            return made
        regions = [node for node in self.walk() if isinstance(node, Region)]
        if any(len(region.siblings(dependents)) > 1 for region in regions):
            return None
        region = self.operand("frame")
        if len(region.operand("roots")) > 1:  # others take from it too: it runs once for all
            one = fusion(region, dependents)
            return (
                None if one is None else with_operand(parent, self, Take(one, self.operand("root")))
            )
        last = isinstance(parent, RepartitionToFewer) and len(users_of(self, dependents)) == 1
        fused = fusion(self, dependents, bare=last)
        if fused is None:
            return None
        return Together(fused, parent.new_partitions) if last else with_operand(parent, self, fused)
