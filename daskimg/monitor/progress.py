"""`di.progress`: pictures done of all, a second, failed, time left; on threads and on a cluster.

What is shown is what was told (see `daskimg.metrics`), so it is the same for a ``compute()``, a
writer, an iterator and a cluster, and moves while the first partition is under way. The line is
tqdm's: it needs nothing else, and knows terminals, notebooks and Windows.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from typing import Any

from dask.callbacks import Callback

from daskimg import config, metrics, wanted
from daskimg.clients import active_client
from daskimg.metrics import Job
from daskimg.monitor.amount import rows_of
from daskimg.monitor.line import Line, in_notebook, write_line
from daskimg.monitor.listening import hear, watch
from daskimg.monitor.tally import Event

__all__ = ["Progress", "offer", "progress"]

PATIENCE = 1.0  # seconds that a job takes before it is shown where nobody asked for it

_lock = threading.RLock()
_running: list[Progress] = []  # one at most
_silenced = [False]  # by the switch
_own = threading.local()  # graphs that a thread has begun


def progress(show: bool = True) -> Progress:
    """Show how far a computation is: on threads, in processes, on the active cluster.

    A line on the standard error stream tells pictures done of all, pictures a second now, how many
    failed, the time left and what is waited for, and a last one what was done and what failed for
    what. It is on by itself in an interactive terminal and in a notebook, for what takes more than
    a second (``daskimg.progress``: ``auto``, ``on`` or ``off``). As a context manager it shows all
    within the block; called alone it is a switch.

    Parameters
    ----------
    show : bool
        False switches it off, also where it is on by itself.

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
    with _lock:
        bars.before, _silenced[0] = _silenced[0], not show
        asked = any(not other.patience for other in _running)
        for other in () if show and asked else tuple(_running):
            other.stop()
        if show and not asked:
            bars.start()
    return bars


class Progress:
    """Shows jobs until the end of a block, or until it is switched off.

    Parameters
    ----------
    patience : float
        Seconds that a job takes before it is shown.
    """

    before = False  # whether nothing was to be shown before

    def __init__(self, patience: float = 0.0) -> None:
        self.patience = patience
        self._jobs: list[Job] = []  # the first is the one that is waited for
        self._runs: dict[Any, Job] = {}  # of passes, of Dask's own schedulers, of a cluster
        self._line: Line | None = None
        self._stops: list[Any] = []
        self._clients: list[Any] = []

    def start(self) -> None:
        """Show what begins from here on."""
        _running.append(self)
        metrics.watchers.append(self)
        self._stops = [metrics.listen(_ignore)]  # so that steps are counted
        self.about_to()

    def stop(self) -> None:
        """Show no more."""
        with _lock:
            if self not in _running:
                return
            _running.remove(self)
            metrics.watchers.remove(self)
            self._jobs.clear()
            self._runs.clear()
            line, self._line = self._line, None
        for stop in self._stops:
            stop()
        if line is not None:
            line.close()
        offer()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *failure: object) -> None:
        _silenced[0] = self.before
        self.stop()

    def about_to(self) -> None:
        """Something is about to be computed, by Dask's schedulers here or by a cluster."""
        # (said each time: Dask forgets callbacks when two computations overlap)
        Callback(start=_begun, finish=_ended).register()
        client = active_client()
        if client is None or client.asynchronous or client in self._clients:
            return
        self._clients.append(client)
        try:
            self._stops.append(hear(client, lambda event: self._heard(client, event)))
        except Exception as error:  # a scheduler that takes no plugins: all else works
            write_line(f"daskimg: how far the cluster is cannot be shown: {error}")

    # -- jobs begin and end -----------------------------------------------------------------------
    def begin(self, job: Job) -> None:
        """A job begins, perhaps within another."""
        if metrics.worker() is not None:  # a part of what a client waits for
            return
        with _lock:
            self._jobs.append(job)
            if self._line is None:
                self._line = Line(job, self.patience, active_client())
            else:
                self._line.totals.append(job.total)

    def end(self, job: Job, failure: BaseException | None) -> None:
        """A job is over."""
        line = None
        with _lock:
            if job not in self._jobs:
                return
            self._jobs.remove(job)
            if failure is not None and self._line is not None:
                self._line.failure = failure
            if not self._jobs:
                line, self._line = self._line, None
        if line is not None:
            line.close()

    def run_begins(self, run: Any, rows: int | None) -> None:
        """Somebody else than ourselves began it."""
        with _lock:
            job = self._runs[run] = Job(rows)
            self.begin(job)

    def run_ends(self, run: Any, well: bool) -> None:
        """It is over."""
        job = self._runs.pop(run, None)
        if job is not None:
            self.end(job, None if well else RuntimeError())

    def live(self, work: metrics.Live) -> None:
        """A pass that nobody announced is a job too: pandas, without Dask."""
        if not self._jobs and work.n and work.by.worker is None:
            self.run_begins(work, work.n)

    def over(self, work: metrics.Live) -> None:
        """It is over."""
        self.run_ends(work, True)

    def _heard(self, client: Any, event: Event) -> None:
        if event.get("client") != client.id:
            return
        if "begin" in event:
            self.run_begins((client.id, event["begin"]), event["rows"])
        elif "end" in event:
            self.run_ends((client.id, event["end"]), event["well"])


def _ignore(report: metrics.Report, by: metrics.Origin) -> None:
    pass


# -- Dask's own schedulers ------------------------------------------------------------------------
def _begun(graph: Any) -> None:
    runs: list[Any] = vars(_own).setdefault("runs", [])
    runs.append(object())
    ours, rows = rows_of(graph.values()) if _running else (False, None)
    for each in tuple(_running) if ours else ():
        each.run_begins(runs[-1], rows)


def _ended(graph: Any, state: Any, failed: bool) -> None:
    runs = vars(_own).get("runs")
    run = runs.pop() if runs else None
    for each in tuple(_running):
        each.run_ends(run, not failed)


# -- by itself ------------------------------------------------------------------------------------
def offer() -> None:
    """Show progress where nobody said anything and somebody is looking; the page in any case."""
    watch(active_client())
    with _lock:
        if not _running and not _silenced[0] and _looked_at():
            Progress(PATIENCE).start()
        for each in tuple(_running):
            if each.patience and not _looked_at():
                each.stop()
            else:
                each.about_to()


def _looked_at() -> bool:
    wish = config.choice("progress", "auto", "on", "off")
    if wish != "auto":
        return wish == "on"
    if multiprocessing.parent_process() is not None or os.environ.get("CI"):
        return False
    try:
        return in_notebook() or sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


wanted.watchers.append(offer)
