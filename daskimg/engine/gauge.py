"""How long the steps of a pass take, how much they make and what becomes of its rows.

A gauge stands beside a pass and is looked at from outside: counting a row costs a pass nothing.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
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
RUNS, SECONDS, BYTES, ERRORS, GIVEN, PIXELS = range(6)
TOLD = {
    "seconds": SECONDS,
    "bytes": BYTES,
    "errors": ERRORS,
    "bytes in": GIVEN,
    "pixels": PIXELS,
}
Figures = Counter[tuple[str, str]]


class Gauge:
    """Times the steps below `root`: their kernels are replaced by ones that count.

    What it has counted is told at the end of the pass, and before whenever somebody `flush`-es.
    """

    def __init__(self, root: Node, n: int = 0) -> None:
        self.counts: list[tuple[str, list[float]]] = []
        self.kernels: list[tuple[Node, Callable[..., Any]]] = []  # as they were
        names = {node.step.name for node in root.walk()}
        self.kind = next((name for name in OPENING if name in names), LATER)
        self.counts_rows = True  # not where several passes go over the same rows
        self.by = metrics.origin()
        self.before: Figures = Counter()
        self.rows: Iterator[int] = iter(())
        self.n, self.done = n, False
        self.lock = threading.Lock()
        for node in root.walk():
            name = node.step.name
            if isinstance(node.kernel, itemgetter):  # a part of what another has made
                continue
            if name in ("header", "size") or name not in CHEAP:
                self.kernels.append((node, node.kernel))
                stage, count = STAGES.get(name, name), [0.0] * 6
                self.counts.append((stage, count))
                node.kernel = _timed(node.kernel, count, stage, self.by)

    def take_off(self) -> None:
        """Give the steps their kernels back: the plan may be used again."""
        for node, kernel in self.kernels:
            node.kernel = kernel

    def over(self, cells: ImageArray) -> Iterator[int]:
        """The rows of the pass. How many of them are left others see by looking at it."""
        self.rows = iter(range(self.n))
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
        measured = 0.0
        for stage, count in self.counts:
            if stage == "measure":  # one picture, whatever number of measures
                measured = max(measured, count[RUNS])
            else:
                found[stage, "images"] += count[RUNS]  # type: ignore[assignment]
            for what, place in TOLD.items():
                if count[place]:
                    found[stage, what] += count[place]  # type: ignore[assignment]
        if measured:
            found["measure", "images"] = measured  # type: ignore[assignment]
        if self.counts_rows and self.counts:  # (else cells are made of paths, no more)
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


def _timed(
    kernel: Callable[..., Any], count: list[float], stage: str, by: metrics.Origin
) -> Callable[..., Any]:
    weighed = stage in WEIGHED
    peek = metrics.peek if stage == "decode" and metrics.peek.wanted else None

    def run(value: Any, *args: Any, **options: Any) -> Any:
        kind = type(value)
        pixels = kind is np.ndarray or kind is Draft
        if pixels:
            count[GIVEN] += value.nbytes
        elif kind is bytes or kind is memoryview:
            count[GIVEN] += len(value)
        start = perf_counter()
        try:
            result = kernel(value, *args, **options)
        except Exception:
            count[ERRORS] += 1
            raise
        finally:
            count[SECONDS] += perf_counter() - start
            count[RUNS] += 1
        if peek is not None and start > peek.due:
            glance(result.pixels if type(result) is Draft else result, by)
        seen = value if pixels else result
        if type(seen) is Draft:
            seen = seen.pixels
        if type(seen) is np.ndarray and seen.ndim > 1:
            count[PIXELS] += seen.shape[0] * seen.shape[1]
        if weighed:
            count[BYTES] += len(result) if isinstance(result, bytes) else result.nbytes
        return result

    return run
