"""The parts of `stats` and of the dashboard's page that run on workers."""

from __future__ import annotations

import threading
from typing import Any

from distributed import WorkerPlugin

from daskimg import metrics
from daskimg.monitor.tally import TOPIC
from daskimg.monitor.usage import Usage

__all__ = ["Teller", "measure", "usage_of"]

EVERY = 0.25  # seconds between what is told within a partition


class Teller(WorkerPlugin):
    """Sends what a worker does as events: at the end of a pass, and now and then within.

    An event is on its way before the task is told to be done: who has the result has heard of the
    work, also when the worker is killed afterwards.
    """

    name = "daskimg-teller"

    def __init__(self, thumbnails: bool = False) -> None:
        self.thumbnails = thumbnails

    def setup(self, worker: Any) -> None:
        """The worker starts, or the telling does."""
        self.worker = worker
        self.usage = Usage()
        self.usages: dict[str, Usage] = {}  # of those who measure what it takes, by their names
        self.stop = metrics.listen(self._send)
        metrics.noting.append(self._show)
        metrics.peek.wanted += self.thumbnails
        self.over = threading.Event()
        threading.Thread(target=self._flush, daemon=True, name="daskimg-teller").start()

    def teardown(self, worker: Any) -> None:
        """The worker ends."""
        self.over.set()
        self.stop()
        if self._show in metrics.noting:
            metrics.noting.remove(self._show)
            metrics.peek.wanted -= self.thumbnails

    def _flush(self) -> None:
        while not self.over.wait(EVERY):
            for usage in (*self.usages.values(), self.usage):
                usage.look()
            for work in metrics.under_way():
                if work.by.worker is self.worker:  # several workers may share a process
                    work.flush()

    def _send(self, report: metrics.Report, by: metrics.Origin) -> None:
        if by.worker is not self.worker:
            return
        rows = [[stage, what, number] for (stage, what), number in report.items() if number]
        if rows:
            self._tell(by, {"report": rows})

    def _show(self, notes: metrics.Notes, by: metrics.Origin) -> None:
        if by.worker is not self.worker:
            return
        if not self.thumbnails:  # those of another cluster in this process are looked at
            notes = {what: note for what, note in notes.items() if what != "thumbnails"}
        if notes:
            self._tell(by, {"notes": dict(notes)})

    def _tell(self, by: metrics.Origin, what: dict[str, Any]) -> None:
        who = {"worker": self.worker.address, "task": str(by.task), "thread": by.thread}
        self.worker.log_event(TOPIC, {**who, **what})


def measure(name: str, dask_worker: Any = None) -> None:
    """Measure from here on what a worker takes, under a name."""
    dask_worker.plugins[Teller.name].usages[name] = Usage()


def usage_of(name: str, over: bool = False, dask_worker: Any = None) -> dict[str, Any]:
    """Memory and processor time of a worker since `measure`, or since it is there; `over`: no
    more."""
    teller = dask_worker.plugins[Teller.name]
    used = teller.usages.get(name, teller.usage).read()
    if over:
        teller.usages.pop(name, None)
    return used
