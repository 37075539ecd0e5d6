"""What work was done: counters of a process, and reports to those who listen (`di.stats`).

A pass adds once per partition, so counting costs nothing per picture; its steps are timed only
where somebody wants a report. On a worker of a cluster Dask's dashboard does.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

__all__ = ["Report", "add", "listen", "reset", "snapshot", "tell", "wanted", "worker"]

# (stage, what) to a number: what is images, seconds, bytes or errors. Of the stages that begin
# with ROWS, what is "kept" or why rows failed.
Report: TypeAlias = Mapping[tuple[str, str], float]
ROWS = "rows of "
_UNITS = {"images": "count", "seconds": "seconds", "bytes": "bytes", "errors": "count"}

_lock = threading.Lock()
_total: Counter[str] = Counter()
_listeners: list[Callable[[Report], object]] = []


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


def listen(listener: Callable[[Report], object]) -> Callable[[], None]:
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
            _listeners.remove(listener)

    return stop


def wanted() -> bool:
    """Whether anybody wants a report of what this thread is about to do."""
    return bool(_listeners) or worker() is not None


def tell(report: Report) -> None:
    """What was done: to all who listen, and to the dashboard of the cluster."""
    for listener in tuple(_listeners):
        listener(report)
    if worker() is not None:
        from distributed.metrics import context_meter

        for (stage, what), number in report.items():
            if what in _UNITS and number:
                label = f"daskimg-{stage}" if what != "errors" else f"daskimg-{stage}-errors"
                context_meter.digest_metric(label, number, _UNITS[what])
