"""What work was done: counters of a process, and reports to those who listen (`di.stats`).

A pass adds once per partition, so counting costs nothing per picture; its steps are timed only
where somebody wants a report. On a worker of a cluster Dask's dashboard does. What a pass has done
so far is told between two pictures by nobody: who wants to know it now calls `flush`.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple, Protocol, TypeAlias

__all__ = [
    "CALLER",
    "ROWS",
    "Job",
    "Listener",
    "Origin",
    "Report",
    "add",
    "flush",
    "handed",
    "job",
    "listen",
    "live",
    "origin",
    "reset",
    "snapshot",
    "tell",
    "timed",
    "told",
    "under_way",
    "wanted",
    "worker",
]

# (stage, what) to a number: what is images, seconds, bytes, ... Of the stages that begin with ROWS,
# what is "kept", "missing" (null without a reason), "passed" (all, as they are done) or why rows
# failed.
Report: TypeAlias = Mapping[tuple[str, str], float]
ROWS = "rows of "
CALLER = ROWS + "the caller"  # who takes batches: "seconds" in which they wait for it
STORES = ROWS + "stores"  # requests to stores by the client that made them, and SLOWED
SLOWED = "slowed"  # how often a store said that it was asked too much
_UNITS = {"images": "count", "seconds": "seconds", "bytes": "bytes", "errors": "count"}


class Origin(NamedTuple):
    """Who did it: the worker of a cluster, its task, the thread, and the child process."""

    worker: Any = None
    task: Any = None
    thread: int = 0
    child: int = 0  # 0: this process


Listener: TypeAlias = Callable[[Report, Origin], object]


class Live(Protocol):
    """Work under way that can tell what it has done so far."""

    by: Origin
    n: int  # rows

    def flush(self) -> None:
        """Tell what was done since it was told last."""


_lock = threading.Lock()
_total: Counter[str] = Counter()
_listeners: list[Listener] = []
_live: set[Any] = set()
Notes: TypeAlias = Mapping[str, Any]
noting: list[Callable[[Notes, Origin], object]] = []
TOLD_TO = "DASKIMG_MONITOR"  # the environment's word for a child process on who listens
# asked where nobody listens yet: a child process may find that its parent does
askers: list[Callable[[], object]] = []


def add(counts: Mapping[str, int]) -> None:
    """Add to this process's totals."""
    with _lock:
        _total.update(counts)


def snapshot() -> dict[str, int]:
    """This process's totals: a step's name (``fetch``, ``header``, ``decode``, ...) to its runs.

    Examples
    --------
    >>> reset()
    >>> add({"decode": 2})
    >>> snapshot()
    {'decode': 2}
    """
    with _lock:
        return dict(_total)


def reset() -> None:
    """Forget this process's totals."""
    with _lock:
        _total.clear()


def worker() -> Any:
    """The worker of a cluster whose task this thread runs; None elsewhere."""
    if "distributed" not in sys.modules:
        return None
    from distributed import get_worker

    try:
        return get_worker()
    except ValueError:
        return None


def origin() -> Origin:
    """Who this thread works for."""
    at = worker()
    return Origin(at, None if at is None else at.get_current_task(), threading.get_ident())


def listen(listener: Listener) -> Callable[[], None]:
    """Give all reports of this process to `listener`, in the threads that make them.

    Returns
    -------
    callable
        Call it to end that.
    """
    with _lock:
        _listeners.append(listener)

    def stop() -> None:
        with _lock:
            if listener in _listeners:
                _listeners.remove(listener)

    return stop


def wanted() -> bool:
    """Whether anybody wants a report of what this thread is about to do."""
    if _listeners or worker() is not None:
        return True
    for ask in askers:
        ask()
    return bool(_listeners)


def tell(report: Report, by: Origin | None = None, whole: Report | None = None) -> None:
    """What was done: to all who listen, and to the dashboard of the cluster.

    Parameters
    ----------
    report : Report
        What nobody was told before.
    by : Origin, optional
        Whose work it is, where it is not that of this thread.
    whole : Report, optional
        With what was told before: the dashboard hears of it at the end.
    """
    by = by or origin()
    told(report, by)
    if by.worker is not None:
        from distributed.metrics import context_meter

        for (stage, what), number in (report if whole is None else whole).items():
            if what in _UNITS and number and not stage.startswith(ROWS):
                label = f"daskimg-{stage}" if what != "errors" else f"daskimg-{stage}-errors"
                context_meter.digest_metric(label, number, _UNITS[what])


def told(report: Report, by: Origin) -> None:
    """What was done so far, to all who listen."""
    for listener in tuple(_listeners):
        listener(report, by)


def handed(pieces: Iterable[Any]) -> Iterator[Any]:
    """`pieces`, one by one; who takes them is timed like a stage, where somebody wants to know."""
    if not wanted():
        yield from pieces
        return
    for piece in pieces:
        start = perf_counter()
        yield piece
        told({(CALLER, "seconds"): perf_counter() - start}, Origin())


# -- work under way -------------------------------------------------------------------------------
@contextmanager
def live(work: Live) -> Iterator[None]:
    """`work` is under way in this block."""
    with _lock:
        _live.add(work)
    watching = tuple(watchers)
    for each in watching:
        each.live(work)
    try:
        yield
    finally:
        with _lock:
            _live.discard(work)
        for each in watching:
            each.over(work)


def under_way() -> list[Any]:
    """All that is."""
    with _lock:
        return list(_live)


def flush() -> None:
    """Have all that is under way tell what it has done so far."""
    for work in under_way():
        work.flush()


class _Clock:
    """Time that one thread spends in a stage."""

    def __init__(self, stage: str) -> None:
        self.stage, self.by, self.n = stage, origin(), 0
        self.lock, self.done = threading.Lock(), False
        self.begun = self.since = perf_counter()

    def flush(self) -> None:
        with self.lock:
            if not self.done:
                now = perf_counter()
                told({(self.stage, "seconds"): now - self.since}, self.by)
                self.since = now


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Time spent in a stage, told while it goes by; for what takes milliseconds at least."""
    if not wanted():
        yield
        return
    clock = _Clock(stage)
    try:
        with live(clock):
            yield
    finally:
        with clock.lock:
            now = perf_counter()
            whole = {(stage, "seconds"): now - clock.begun}
            tell({(stage, "seconds"): now - clock.since}, clock.by, whole)
            clock.done = True


# -- what else there is to see --------------------------------------------------------------------
def note(notes: Notes, by: Origin | None = None) -> None:
    """Show something: ``failed``, a few of the last (cause, reason, path)."""
    by = by or origin()
    for listener in tuple(noting):
        listener(notes, by)


class Peek:
    """When a picture is to be looked at, for those who show some: never while nobody does."""

    def __init__(self) -> None:
        self.wanted, self.due = 0, 0.0


peek = Peek()


# -- jobs -----------------------------------------------------------------------------------------
@dataclass(eq=False)
class Job:
    """Something that a user waits for."""

    total: int | None = None  # rows, where they are known
    where: str | None = None  # what it writes


class Watcher(Protocol):
    """Who shows jobs."""

    def begin(self, job: Job) -> None:
        """One begins; it may lie within another."""

    def end(self, job: Job, failure: BaseException | None) -> None:
        """It is over."""

    def live(self, work: Live) -> None:
        """A pass begins."""

    def over(self, work: Live) -> None:
        """It is over."""


watchers: list[Watcher] = []


def _forked() -> None:
    """A child has nobody to tell, but for its parent: see `askers`."""
    global _lock
    _lock = threading.Lock()
    for each in (_listeners, noting, watchers):
        each.clear()  # type: ignore[attr-defined]
    _live.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@contextmanager
def job(total: int | None = None, where: str | None = None) -> Iterator[Job]:
    """A block that a user waits for, told to those who watch."""
    made, watching = Job(total, where), tuple(watchers)
    for each in watching:
        each.begin(made)
    failure: BaseException | None = None
    try:
        yield made
    except GeneratorExit:  # a loop that was left
        raise
    except BaseException as error:
        failure = error
        raise
    finally:
        for each in watching:
            each.end(made, failure)
