"""What was told, added up by process: here, on workers, in child processes."""

from __future__ import annotations

import threading
from array import array
from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeAlias

from daskimg import metrics

__all__ = ["TOPIC", "WORK", "Event", "Figures", "Sums", "added"]

WORK = "daskimg-work"  # under which workers tell the scheduler what they do
TOPIC = "daskimg"  # under which it tells clients
Event: TypeAlias = dict[str, Any]
Figures: TypeAlias = "Counter[tuple[str, str]]"
Keys: TypeAlias = tuple[tuple[str, str], ...]


def added(done: Mapping[str, Figures]) -> Figures:
    """What all processes did."""
    total: Figures = Counter()
    for figures in done.values():
        total.update(figures)
    return total


class Sums:
    """Adds up what is told; what a dead worker did and another does again counts once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: dict[str, Figures] = {}
        self._threads: dict[str, set[int]] = {}
        # task: worker: what it told, as numbers, of which there may be many
        self._tasks: dict[str, dict[str, dict[Keys, array[float]]]] = {}
        self._known: dict[Keys, Keys] = {}
        self._gone: set[str] = set()

    def hear(self, event: Event) -> None:
        """What a cluster tells."""
        if "gone" in event:
            self._gone.add(event["gone"])
        elif "report" in event:
            report = {(stage, what): number for stage, what, number in event["report"]}
            self.count(event["worker"], report, event["thread"], event["task"])

    def count(
        self, process: str, report: metrics.Report, thread: int, task: str | None = None
    ) -> None:
        """What a process tells."""
        with self._lock:
            self._done.setdefault(process, Counter()).update(report)  # type: ignore[arg-type]
            if thread:
                self._threads.setdefault(process, set()).add(thread)
            if task is not None:
                self._remember(process, task, report)

    def _remember(self, process: str, task: str, report: metrics.Report) -> None:
        told = self._tasks.setdefault(task, {})
        for worker in self._gone & {*told}:
            for keys, numbers in told.pop(worker).items():
                self._done[worker].subtract(dict(zip(keys, numbers, strict=True)))
        keys = tuple(report)
        keys = self._known.setdefault(keys, keys)
        mine = told.setdefault(process, {})
        if keys in mine:
            mine[keys] = array("d", map(sum, zip(mine[keys], report.values(), strict=True)))
        else:
            mine[keys] = array("d", report.values())

    # -- the figures ------------------------------------------------------------------------------
    def by_process(self) -> dict[str, Figures]:
        """What each process has done so far."""
        with self._lock:
            return {process: Counter(done) for process, done in self._done.items()}

    def total(self) -> Figures:
        """What all have."""
        return added(self.by_process())

    def threads(self) -> dict[str, int]:
        """How many threads of each process were at work."""
        with self._lock:
            return {process: len(threads) for process, threads in self._threads.items()}
