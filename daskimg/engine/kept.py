"""Walks that come after one another over the same pictures, each opened and decoded once.

What a filter reads of a picture and what is made of those that pass are two walks. What the first
fetched and decoded (and what a user's function made) is kept for the second, for as long as a
`Kept` lives: the rows of a chunk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from daskimg import metrics
from daskimg.column.array import ImageArray
from daskimg.engine.gauge import LATER, OPENING, Gauge, became, recorded
from daskimg.engine.onepass import Walk
from daskimg.engine.plan import Held, Node, Plan
from daskimg.engine.program import Program
from daskimg.kernels.resizing import Size

__all__ = ["Kept", "sizes_of"]

KEPT = ("fetch", "decode", "apply")


def sizes_of(programs: Sequence[Program]) -> dict[Any, tuple[Size, ...] | None]:
    """What each decode of any of the programs is resized to; None for one needed in full."""
    return {
        path: node.options.get("sizes")
        for path, node in _paths(Plan(tuple(programs)).root)
        if node.step.name == "decode"
    }


class Kept:
    """What was made of the pictures of some rows so far."""

    def __init__(self, sizes: dict[Any, tuple[Size, ...] | None]) -> None:
        self.sizes = sizes
        self.results: dict[Any, dict[int, tuple[bool, Any, list[str]]]] = {}
        self.nbytes = 0  # that were kept, told when it is closed
        # for those who measure: how far pictures were opened, and what became of them
        self.kinds: set[str] = set()
        self.well: dict[int, bool] = {}
        self.before: dict[int, str] = {}
        self.failed: dict[int, str] = {}

    def walk(
        self, plan: Plan, cells: ImageArray, args: list[list[Any]], alone: bool, places: Any
    ) -> Walk:
        """A walk over some of the rows: `places` tells which."""
        work = _Later(plan, cells, args, alone)
        work.kept = self
        if work.gauge is not None:
            work.gauge.counts_rows = False
        work.places = places.tolist() if isinstance(places, np.ndarray) else list(places)
        for path, node in _paths(plan.root):
            if node.step.name in KEPT:
                work.keep(node, path)
        return work

    def close(self) -> None:
        """No more walks: each row is reported once, however many there were."""
        if self.kinds:
            kind = next((name for name in OPENING if name in self.kinds), LATER)
            n, valid, before = len(self.well), sum(self.well.values()), self.before.values()
            well = valid - len(self.failed)
            report = became(kind, well, self.failed.values(), before, n - valid - len(before))
            metrics.tell({**report, (metrics.ROWS + kind, "passed"): n})
        for rows in self.results.values():
            self.nbytes += sum(_size(result) for _, result, _ in rows.values())
        self.results.clear()  # (kernels that remember them refer to each other)


def _paths(root: Node, path: tuple[Any, ...] = ()) -> list[tuple[Any, Node]]:
    found = []
    for child in root.children:
        below = (*path, child.step.key)
        found += [(below, child), *_paths(child, below)]
    return found


def _size(result: Any) -> int:
    return len(result) if isinstance(result, bytes) else getattr(result, "nbytes", 0)


class _Later(Walk):
    kept: Kept
    places: list[int]
    place = 0

    def keep(self, node: Node, path: Any) -> None:
        """Let a node look up what was made before."""
        kept = self.kept
        node.options.pop("scratch", None)  # its memory would be written over
        node.target = None
        if path in kept.sizes:
            node.options.pop("sizes", None)
            if (sizes := kept.sizes[path]) is not None:
                node.options["sizes"] = sizes
        results = kept.results.setdefault(path, {})
        counts = self.runs if node.counted else None
        node.counted = False
        holder = node.kernel if isinstance(node.kernel, Held) else node
        kernel = holder.kernel
        if node.tally is not None:  # what is looked up is not done again
            kernel, node.tally = node.tally.always(kernel), None
        holder.kernel = self.remembered(kernel, results, node.step.name, counts)

    def remembered(
        self,
        kernel: Callable[..., Any],
        results: dict[int, tuple[bool, Any, list[str]]],
        name: str,
        counts: Counter[str] | None,
    ) -> Callable[..., Any]:
        def run(value: Any, *params: Any, on_partial: Any = None, **options: Any) -> Any:
            if self.place not in results:
                if counts is not None:
                    counts[name] += 1
                notes: list[str] = []
                if on_partial is not None:
                    options["on_partial"] = notes.append
                try:
                    results[self.place] = True, kernel(value, *params, **options), notes
                except Exception as error:
                    results[self.place] = False, error, notes
            well, result, notes = results[self.place]
            for note in notes if on_partial is not None else ():
                on_partial(note)
            if not well:
                raise result
            return result

        return run

    def _row(self, i: int) -> None:
        self.place = self.places[i]
        super()._row(i)

    def _report(self, gauge: Gauge) -> None:
        kept = self.kept
        kept.kinds.add(gauge.tell_steps())
        for i, place in enumerate(self.places):
            kept.well[place] = bool(self.cells.valid[i])
            if i in self.failed:
                kept.failed[place] = self.failed[i]
        before = np.flatnonzero(~self.cells.valid & self.cells.has_error).tolist()
        kept.before.update(zip((self.places[i] for i in before), recorded(self.cells), strict=True))
