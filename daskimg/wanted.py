"""Whether what a thread works on is still wanted: a pass looks between two pictures.

A thread cannot be interrupted from outside. After Ctrl-C, an error in another partition, or the
end of a loop that left its iterator, whoever began the run says that it is over, and the threads
at work for it leave at the next picture, batch or file. A run is known by a context variable,
which Dask's threads get with each task. On a cluster the worker knows: the state of a task that
was cancelled says so.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401  (what it does at the end comes after ours)
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any, TypeVar

__all__ = [
    "Run",
    "Unwanted",
    "carried",
    "check",
    "current",
    "looking",
    "pause",
    "watch",
    "watchers",
]

T = TypeVar("T")

EVERY = 0.1  # seconds between two looks of those who wait


class Unwanted(BaseException):
    """Nobody wants what this thread works on. No failure: it passes those who record them."""


class Run:
    """Something that is computed, in threads of this process.

    Examples
    --------
    >>> run = Run()
    >>> run.call(max, 1, 2)
    2
    >>> run.end()
    >>> run.call(max, 1, 2)
    Traceback (most recent call last):
    ...
    daskimg.wanted.Unwanted
    """

    def __init__(self) -> None:
        self.over = False
        self.above = _current.get()  # what it is a part of
        self.token: Token[Any] | None = None
        self.begun: Any = None  # for its tasks, ahead of them: closed in the end
        _runs.add(self)

    def check(self) -> None:
        """Leave, where it is over."""
        if self.over:
            raise Unwanted
        if self.above is not None:
            self.above.check()

    def end(self) -> None:
        """Nobody wants it any more."""
        self.over = True
        if self.begun is not None:
            self.begun.close()

    def call(self, func: Callable[..., T], *args: Any) -> T:
        """``func(*args)`` as a part of it, unless it is over."""
        self.check()
        token = _current.set(self)
        try:
            return func(*args)
        finally:
            _current.reset(token)


class _TaskOfWorker:
    """A task of a cluster, which its client may cancel."""

    def __init__(self, task: Any) -> None:
        self.task = task

    def check(self) -> None:
        if self.task.state == "cancelled":
            raise Unwanted

    call = Run.call


watchers: list[Callable[[], object]] = []  # called when something is about to be computed
_current: ContextVar[Any] = ContextVar("daskimg-run", default=None)
_runs: weakref.WeakSet[Run] = weakref.WeakSet()


def check() -> None:
    """Leave, where what this thread works on is not wanted any more."""
    run = _current.get()
    if run is not None:
        run.check()


def current() -> Run | None:
    """The run that this thread works for, where it is one of this process's threads."""
    run = _current.get()
    return run if isinstance(run, Run) else None


def pause(seconds: float) -> None:
    """Sleep, as long as what this thread works on is wanted."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check()
        time.sleep(min(left, EVERY))


def carried(func: Callable[..., T]) -> Callable[..., T]:
    """`func` for other threads, as a part of what this one works on."""
    run = _current.get()
    return func if run is None else lambda *args: run.call(func, *args)


@contextmanager
def looking() -> Iterator[Callable[[], None]]:
    """Around the work on a partition: what it calls between pictures, to leave when unwanted.

    On a cluster a task that leaves asks to be run again: nobody does so for one that was cancelled,
    and where somebody else has come to want it meanwhile, its result is not lost.
    """
    run = _current.get()
    task = _task_of_worker() if run is None else None
    if task is None:
        yield _never if run is None else run.check
        return
    token = _current.set(task)
    left = False
    try:
        yield task.check
    except Unwanted:
        left = True
    finally:
        _current.reset(token)
    if left:
        from distributed import Reschedule

        raise Reschedule


def _never() -> None:
    pass


def _task_of_worker() -> _TaskOfWorker | None:
    """The task of a cluster that this thread runs."""
    if "distributed" not in sys.modules:
        return None
    from distributed import get_worker

    try:
        worker = get_worker()
        task = worker.state.tasks.get(worker.get_current_task())
    except (ValueError, KeyError):  # no worker; not the thread of a task
        return None
    return None if task is None else _TaskOfWorker(task)


# -- Dask's own threads ---------------------------------------------------------------------------
def watch() -> None:
    """See that a computation about to start, in threads of this process, is a run.

    It is said each time: Dask forgets callbacks when two computations overlap.
    """
    from dask.callbacks import Callback

    Callback(start=_begin, finish=_finish).register()
    for each in watchers:
        each()


def _begin(graph: Any) -> None:
    run = Run()
    run.token = _current.set(run)


def _finish(graph: Any, state: Any, failed: bool) -> None:
    run = _current.get()
    if isinstance(run, Run) and run.token is not None:
        run.end()
        _current.reset(run.token)


def _end_all() -> None:
    for run in list(_runs):
        run.end()


# The interpreter waits for the threads of an iterator that somebody still holds when it ends. (It
# has no public word for "before threads are joined"; atexit comes after.)
if hasattr(threading, "_register_atexit"):
    threading._register_atexit(_end_all)
