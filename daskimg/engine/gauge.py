"""How long the steps of a pass take, how much they make and what becomes of its rows.

A gauge stands beside a pass and is looked at from outside: counting a row costs a pass nothing.
Runs, failures and sizes are counted one by one. Of rows that take less than two milliseconds one
in five is timed, and the time that went by since the last such row is shared out as that one's was:
all seconds are told; which steps of quick rows they were for is a sample.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, cycle
from operator import itemgetter, length_hint
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from daskimg import metrics
from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype
from daskimg.engine.glance import glance
from daskimg.engine.plan import Node
from daskimg.engine.program import CHEAP
from daskimg.errors import cause_of
from daskimg.kernels.resizing import Draft
from daskimg.secrets import mask_url

__all__ = ["HELD", "LATER", "OPENING", "READ", "Gauge", "became", "gauge_of", "read", "recorded"]

MEASURES = {
    *("luma", "levels", "moments", "moments_of", "first_moment", "second_moment", "min", "max"),
    *("sharpness", "entropy_of", "colorfulness", "hash", "blurriness", "percentile_of"),
    "transparency",
}
STAGES = {
    **dict.fromkeys(MEASURES, "measure"),
    **dict.fromkeys(("sketch", "glimpse"), "resize"),
    "export": "encode",
}
OPENING = ("decode", "header", "fetch")  # how far a pass opens files
LATER = "later steps"
READ, HELD = "pixels read", "cells read"  # by readers: no pass opens the ones, one may the others
WEIGHED = ("fetch", "decode", "encode")  # stages whose results are counted in bytes
SHOWN = 3  # failures of a pass
QUICK = 0.002  # seconds of a row, above which the next is timed too
FIRST = 4  # rows of a pass that are all timed
SKIPPED = (4, 3, 5)  # then, rows between two that are, in turn: files may take turns, too
# what is told of a stage, and where its tally has it
TOLD = {name: name for name in ("seconds", "bytes", "errors", "pixels")} | {"bytes in": "given"}
Figures = Counter[tuple[str, str]]


class Tally:
    """What a step has done."""

    __slots__ = (
        "at_hand", "by", "bytes", "errors", "given", "peek", "pixels", "runs", "seconds", "weighed",
    )  # fmt: skip

    def __init__(self, stage: str, by: metrics.Origin) -> None:
        self.by, self.weighed = by, stage in WEIGHED
        self.runs = self.bytes = self.errors = self.given = self.pixels = 0
        self.seconds = self.at_hand = 0.0  # of the row at hand, if it is timed
        self.peek = metrics.peek if stage == "decode" and metrics.peek.wanted else None

    def timed(
        self,
        kernel: Callable[..., Any],
        value: Any,
        params: Sequence[Any],
        options: Mapping[str, Any],
    ) -> Any:
        """Its result for a value, timed."""
        start = perf_counter()
        try:
            result = kernel(value, *params, **options)
        finally:
            self.at_hand += perf_counter() - start
        if self.peek is not None and start > self.peek.due:
            glance(result.pixels if type(result) is Draft else result, self.by)
        return result

    def failed(self, value: Any) -> None:
        """Count a failure, and what went in."""
        self.errors += 1
        kind = type(value)
        if kind is bytes or kind is memoryview:
            self.given += len(value)
        elif kind is np.ndarray or kind is Draft:
            self.given += value.nbytes

    def sizes(self, value: Any, result: Any) -> None:
        """Count what went in and came out."""
        kind = type(value)
        if kind is np.ndarray or kind is Draft:
            self.given += value.nbytes
            seen = value.pixels if kind is Draft else value
        else:
            if kind is bytes or kind is memoryview:
                self.given += len(value)
            seen = result.pixels if type(result) is Draft else result
        if type(seen) is np.ndarray and seen.ndim > 1:
            self.pixels += seen.shape[0] * seen.shape[1]
        if self.weighed:
            self.bytes += len(result) if type(result) is bytes else result.nbytes

    def always(self, kernel: Callable[..., Any]) -> Callable[..., Any]:
        """A kernel that is timed whenever it is called."""

        def run(value: Any, *params: Any, **options: Any) -> Any:
            self.runs += 1
            try:
                result = self.timed(kernel, value, params, options)
            except Exception:
                self.failed(value)
                raise
            finally:
                self.seconds, self.at_hand = self.seconds + self.at_hand, 0.0
            self.sizes(value, result)
            return result

        return run


class Gauge:
    """Counts what the steps below `root` do: each node has a `Tally` while it is on.

    What it has counted is told at the end of the pass, and before whenever somebody `flush`-es.
    """

    def __init__(self, root: Node, n: int = 0) -> None:
        self.tallies: list[tuple[str, Tally]] = []
        self.nodes: list[Node] = []
        names = {node.step.name for node in root.walk()}
        self.kind = next((name for name in OPENING if name in names), LATER)
        self.counts_rows = True  # not where several passes go over the same rows
        self.by = metrics.origin()
        self.before: Figures = Counter()
        self.rows: Iterator[int] = iter(())
        self.n, self.done = n, False
        self.gaps, self.left = chain([0] * (FIRST - 1), cycle(SKIPPED)), 0
        self.since = 0.0  # when the last row that was timed ended
        self.began = 0.0  # when the row at hand did, if it is
        self.lock = threading.Lock()
        for node in root.walk():
            name = node.step.name
            if isinstance(node.kernel, itemgetter):  # a part of what another has made
                continue
            if name in ("header", "size") or name not in CHEAP:
                stage = STAGES.get(name, name)
                node.tally = Tally(stage, self.by)
                self.nodes.append(node)
                self.tallies.append((stage, node.tally))

    def take_off(self) -> None:
        """Let go of the steps: the plan may be used again."""
        for node in self.nodes:
            node.tally = None

    def times(self, i: int) -> bool:
        """Whether row `i`, the next one, is timed; the one before is over."""
        if self.began:
            self._share_out()
        if self.left and i + 1 < self.n:
            self.left -= 1
            return False
        self.began = perf_counter()
        return True

    def _share_out(self) -> None:
        """The time since the last row that was timed, by what this one's went to."""
        now = perf_counter()
        took, self.began = now - self.began, 0.0
        factor, self.since = (now - self.since) / (took or 1.0), now
        for _, tally in self.tallies:
            tally.seconds += tally.at_hand * factor
            tally.at_hand = 0.0
        self.left = 0 if took > QUICK else next(self.gaps)

    def over(self, cells: ImageArray) -> Iterator[int]:
        """The rows of the pass. How many of them are left others see by looking at it."""
        self.rows, self.since = iter(range(self.n)), perf_counter()
        if cells.dtype.holds_pixels:
            self.kind = LATER
        return self.rows

    def flush(self) -> None:
        """Tell what was done since it was told last."""
        with self.lock:
            if not self.done:  # (who looked before it was may come late)
                metrics.told(self._new(), self.by)

    def _new(self) -> Figures:
        now = self._figures()
        new: Figures = Counter({key: n - self.before[key] for key, n in now.items()})
        self.before = now
        return new

    def _figures(self) -> Figures:
        """What was done from the beginning on."""
        found: Figures = Counter()
        measured = 0
        for stage, tally in self.tallies:
            if stage == "measure":  # one picture, whatever number of measures
                measured = max(measured, tally.runs)
            else:
                found[stage, "images"] += tally.runs
            for what, name in TOLD.items():
                if number := getattr(tally, name):
                    found[stage, what] += number
        if measured:
            found["measure", "images"] = measured
        if self.counts_rows and self.tallies:  # (else cells are made of paths, no more)
            # the row at hand is not done
            at = self.n if self.done else max(self.n - length_hint(self.rows) - 1, 0)
            found[metrics.ROWS + self.kind, "passed"] = at
        return found

    def tell(self, cells: ImageArray, failed: Mapping[int, str]) -> None:
        """Report the pass over `cells`, of which some `failed`: row to reason."""
        report = self._last()
        report.update(_rows(self.kind, cells, len(failed), failed.values()))
        metrics.tell(report, self.by, self.before)
        if failed and metrics.noting:
            self._note(cells, list(failed.items())[-SHOWN:])

    def _note(self, cells: ImageArray, failed: list[tuple[int, str]]) -> None:
        """Show a few of the last that failed."""
        paths = [None if cells.path is None else cells.path[i].as_py() for i, _ in failed]
        told = [
            [cause_of(reason), reason, mask_url(path or "")]
            for (_, reason), path in zip(failed, paths, strict=True)
        ]
        metrics.note({"failed": told}, self.by)

    def tell_steps(self) -> str:
        """Report what the steps did; how far the cells were opened, which tells the rows' kind."""
        metrics.tell(self._last(), self.by, self.before)
        return self.kind

    def _last(self) -> Figures:
        with self.lock:
            self.done = True
            if self.began:
                self._share_out()
            return self._new()


def _rows(kind: str, cells: ImageArray, failed: int, reasons: Iterable[str]) -> Figures:
    valid, before = int(cells.valid.sum()), recorded(cells)
    return became(kind, valid - failed, reasons, before, len(cells) - valid - len(before))


def became(
    kind: str, kept: int, failed: Iterable[str], before: Iterable[str], missing: int
) -> Figures:
    """What became of rows, of which some had failed `before`."""
    rows = metrics.ROWS + kind
    report = Counter({(rows, "kept"): kept})
    if kind != LATER:
        report[rows, "missing"] = missing
    for reason in (*failed, *(before if kind != LATER else ())):
        report[rows, cause_of(reason)] += 1
    return report


def read(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame that a reader made, of whose pictures those are told who want a report."""
    if metrics.wanted():
        report: Figures = Counter()
        for _, column in frame.items():
            if isinstance(column.dtype, ImageDtype):
                cells: ImageArray = column.array
                kind = READ if cells.dtype.holds_pixels else HELD
                report.update(_rows(kind, cells, 0, ()))
                report[metrics.ROWS + kind, "passed"] += len(cells)
        metrics.tell(report)
    return frame


def recorded(cells: ImageArray) -> list[str]:
    """The failures that cells hold: they were recorded before, in a file perhaps."""
    if cells.error is None:
        return []
    return [cells.error[i].as_py() for i in np.flatnonzero(~cells.valid & cells.has_error)]


def gauge_of(root: Node, n: int = 0) -> Gauge | None:
    """A gauge for a pass over `n` rows, where somebody wants a report."""
    return Gauge(root, n) if metrics.wanted() else None
