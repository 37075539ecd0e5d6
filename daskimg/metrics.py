"""Counters that a pass adds to, one set a process: files fetched, headers read, pictures decoded.

A pass adds once per partition, so counting costs nothing per picture.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

__all__ = ["add", "reset", "snapshot"]

_lock = threading.Lock()
_total: Counter[str] = Counter()


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
