"""How long the steps of a pass take, how much they make and what becomes of its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from daskimg import metrics
from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype
from daskimg.engine.plan import Node
from daskimg.engine.program import CHEAP
from daskimg.errors import cause_of

__all__ = ["HELD", "LATER", "OPENING", "READ", "Gauge", "gauge_of", "read", "recorded", "tell_rows"]

MEASURES = {
    *("luma", "moments", "first_moment", "second_moment", "min", "max"),
    *("sharpness", "entropy", "colorfulness", "hash"),
}
STAGES = {**dict.fromkeys(MEASURES, "measure"), "export": "encode"}
OPENING = ("decode", "header", "fetch")  # how far a pass opens files
LATER = "later steps"
READ, HELD = "pixels read", "cells read"  # by readers: no pass opens the ones, one may the others
WEIGHED = ("fetch", "decode", "encode")  # stages whose results are counted in bytes
RUNS, SECONDS, BYTES, ERRORS = range(4)


class Gauge:
    """Times the steps below `root`: their kernels are replaced by ones that count."""

    def __init__(self, root: Node) -> None:
        self.counts: list[tuple[str, list[float]]] = []
        names = {node.step.name for node in root.walk()}
        self.kind = next((name for name in OPENING if name in names), LATER)
        for node in root.walk():
            name = node.step.name
            if name in ("header", "size") or name not in CHEAP:
                stage, count = STAGES.get(name, name), [0.0] * 4
                self.counts.append((stage, count))
                node.kernel = _timed(node.kernel, count, stage in WEIGHED)

    def tell(self, cells: ImageArray, failed: Mapping[int, str]) -> None:
        """Report the pass over `cells`, of which some `failed`: row to reason."""
        kind = self.tell_steps(cells)
        tell_rows(kind, int(cells.valid.sum()) - len(failed), failed.values(), recorded(cells))

    def tell_steps(self, cells: ImageArray) -> str:
        """Report what the steps did; how far the cells were opened, which tells the rows' kind."""
        report: Counter[tuple[str, str]] = Counter()
        measured = 0.0
        for stage, count in self.counts:
            if stage == "measure":  # one picture, whatever number of measures
                measured = max(measured, count[RUNS])
            else:
                report[stage, "images"] += count[RUNS]  # type: ignore[assignment]
            for what, place in (("seconds", SECONDS), ("bytes", BYTES), ("errors", ERRORS)):
                report[stage, what] += count[place]  # type: ignore[assignment]
        if measured:
            report["measure", "images"] = measured  # type: ignore[assignment]
        metrics.tell(report)
        return LATER if cells.dtype.holds_pixels else self.kind


def tell_rows(kind: str, kept: int, failed: Iterable[str], before: Iterable[str]) -> None:
    """Report what became of the rows of a pass, and which had failed `before`."""
    rows = metrics.ROWS + kind
    report = Counter({(rows, "kept"): kept})
    for reason in (*failed, *(before if kind in OPENING else ())):
        report[rows, cause_of(reason)] += 1
    metrics.tell(report)


def read(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame that a reader made, of whose pictures those are told who want a report."""
    if metrics.wanted():
        report: Counter[tuple[str, str]] = Counter()
        for _, column in frame.items():
            if isinstance(column.dtype, ImageDtype):
                cells: ImageArray = column.array
                rows = metrics.ROWS + (READ if cells.dtype.holds_pixels else HELD)
                report[rows, "kept"] += int(cells.valid.sum())
                for reason in recorded(cells):
                    report[rows, cause_of(reason)] += 1
        metrics.tell(report)
    return frame


def recorded(cells: ImageArray) -> list[str]:
    """The failures that cells hold: they were recorded before, in a file perhaps."""
    if cells.error is None:
        return []
    return [cells.error[i].as_py() for i in np.flatnonzero(~cells.valid & cells.has_error)]


def gauge_of(root: Node) -> Gauge | None:
    """A gauge where somebody wants a report."""
    return Gauge(root) if metrics.wanted() else None


def _timed(kernel: Callable[..., Any], count: list[float], weighed: bool) -> Callable[..., Any]:
    def run(*args: Any, **options: Any) -> Any:
        start = perf_counter()
        try:
            result = kernel(*args, **options)
        except Exception:
            count[ERRORS] += 1
            raise
        finally:
            count[SECONDS] += perf_counter() - start
            count[RUNS] += 1
        if weighed:
            count[BYTES] += result.nbytes if isinstance(result, np.ndarray) else len(result)
        return result

    return run
