"""`di.progress`: a bar for what is being computed, on threads and on a cluster."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from dask.diagnostics import ProgressBar
from dask.utils import format_time

from daskimg.clients import active_client

__all__ = ["Progress", "progress"]

EVERY = 0.2  # seconds between questions to the scheduler
WIDTH = 40
DONE = ("memory", "erred", "forgotten", "released")

_lock = threading.Lock()
_running: list[Progress] = []  # one at most


def progress(show: bool = True) -> Progress:
    """Show a bar while something is computed, on threads or on the active cluster.

    Bars are text on the standard error stream, in a terminal and in a notebook. As a context
    manager it shows them within the block; called alone it is a switch.

    Parameters
    ----------
    show : bool
        False switches the bars off.

    Returns
    -------
    Progress

    Examples
    --------
    >>> with di.progress():
    ...     widths = di.read_images(folder).image.img.width.compute()
    >>> _ = di.progress()  # from here on
    >>> _ = di.progress(False)
    """
    bars = Progress()
    if show:
        bars.start()
    else:
        for other in tuple(_running):
            other.stop()
    return bars


class Progress:
    """Bars that are shown until the end of a block, or until they are switched off."""

    def start(self) -> None:
        """Show bars, unless they are shown already."""
        with _lock:
            if _running:
                return
            _running.append(self)
        self._over = threading.Event()
        self._local = ProgressBar(out=sys.stderr)
        self._local.register()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="daskimg-progress")
        self._thread.start()

    def stop(self) -> None:
        """No more bars, if these are the ones that are shown."""
        with _lock:
            if self not in _running:
                return
            _running.remove(self)
        self._local.unregister()
        self._over.set()
        self._thread.join()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def _watch(self) -> None:
        """Ask the scheduler of the active client what is under way, until it is over."""
        began: dict[str, float] = {}
        over = False
        while not over:
            over = self._over.wait(EVERY)  # one more look: what ended since has ended
            try:
                client = active_client()
                if client is None or client.asynchronous or client.status != "running":
                    continue
                found = client.run_on_scheduler(_computations)
            except Exception:  # the cluster goes: there is nothing to show
                continue
            for name, states in found:
                total = sum(states.values())
                done = sum(states.get(state, 0) for state in DONE)
                if done < total:
                    now = time.perf_counter()
                    _draw(done / total, now - began.setdefault(name, now))
                elif name in began:
                    _draw(1, time.perf_counter() - began.pop(name), "\n")


def _computations(dask_scheduler: Any) -> list[tuple[str, dict[str, int]]]:
    """The latest computations: how many of their tasks are in which state."""
    latest = list(dask_scheduler.computations)[-4:]
    return [(str(each.id), dict(each.states)) for each in latest]


def _draw(fraction: float, seconds: float, end: str = "") -> None:
    bar, percent = "#" * int(WIDTH * fraction), int(100 * fraction)
    text = f"\r[{bar:<{WIDTH}}] | {percent}% Completed | {format_time(seconds)}"
    sys.stderr.write(text + end)
    sys.stderr.flush()
