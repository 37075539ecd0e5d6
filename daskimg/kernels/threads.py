"""One thread for each library call inside a pass: the pass itself is what runs in parallel."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

__all__ = ["one_thread"]

_lock = threading.Lock()
_inside = 0  # passes running now
_before = 1  # PyTorch's threads before the first of them


@contextmanager
def one_thread(torch: ModuleType | None) -> Iterator[None]:
    """PyTorch on one thread while this thread is inside, and as before afterwards.

    PyTorch keeps the number for each thread, and a common one that new threads start with; the
    number from before the first of several passes is what all of them give back.

    Examples
    --------
    >>> with one_thread(None):
    ...     pass
    """
    global _inside, _before
    if torch is None:
        yield
        return
    with _lock:
        if _inside == 0:
            _before = torch.get_num_threads()
        _inside += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            torch.set_num_threads(_before)
