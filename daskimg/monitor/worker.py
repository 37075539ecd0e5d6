"""The parts of `stats` and of the dashboard's page that run on workers."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any

from distributed import WorkerPlugin

from daskimg import metrics
from daskimg.monitor.tally import WORK, Figures
from daskimg.monitor.usage import Usage

__all__ = ["Teller", "measure", "usage_of"]

EVERY = 0.5  # seconds between what is told within a partition


class Teller(WorkerPlugin):
    """Sends what a worker does as events: at the end of a task, and now and then within.

    A message of its own would cost worker and scheduler a millisecond, more than all the counting:
    what was done goes out in the one that says that the task is done, before that. Who has the
    result has heard of the work, also when the worker is killed afterwards.
    """

    name = "daskimg-teller"

    def __init__(self, thumbnails: bool = False) -> None:
        self.thumbnails = thumbnails

    def setup(self, worker: Any) -> None:
        """The worker starts, or the telling does."""
        self.worker = worker
        self.usage = Usage()
        self.usages: dict[str, Usage] = {}  # of those who measure what it takes, by their names
        self.lock = threading.Lock()
        self.untold: dict[tuple[str, int], Figures] = {}  # by task and thread
        self.stop = metrics.listen(self._count)
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

    def transition(self, key: Any, start: Any, finish: Any, **kwargs: Any) -> None:
        """A task goes from one state to another; the scheduler is told of it after this."""
        if finish in ("memory", "error"):
            self._tell()

    def _flush(self) -> None:
        while not self.over.wait(EVERY):
            for usage in (*self.usages.values(), self.usage):
                usage.look()
            for work in metrics.under_way():
                if work.by.worker is self.worker:  # several workers may share a process
                    work.flush()
            if self.untold:
                self.worker.loop.add_callback(self._tell)

    def _count(self, report: metrics.Report, by: metrics.Origin) -> None:
        if by.worker is self.worker:
            with self.lock:
                mine = self.untold.setdefault((str(by.task), by.thread), Counter())
                mine.update(report)  # type: ignore[arg-type]

    def _tell(self) -> None:
        if not self.untold:
            return
        with self.lock:
            untold, self.untold = self.untold, {}
        told = [
            {
                "worker": self.worker.address,
                "task": task,
                "thread": thread,
                "report": [[stage, what, n] for (stage, what), n in report.items() if n],
            }
            for (task, thread), report in untold.items()
        ]
        # (as one text: Dask weighs and packs each list and number of a message on its way)
        self.worker.log_event(WORK, {"told": json.dumps(told)})

    def _show(self, notes: metrics.Notes, by: metrics.Origin) -> None:
        if by.worker is not self.worker:
            return
        if not self.thumbnails:  # those of another cluster in this process are looked at
            notes = {what: note for what, note in notes.items() if what != "thumbnails"}
        if notes:
            self.worker.log_event(WORK, {"notes": dict(notes)})


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
