"""Files of the tasks that wait on a worker of a cluster, fetched while others run.

A plugin of the worker sees its queue. What a task that is ready will open is begun
(`daskimg.lazy.hints`), and its pass takes that over; what leaves the queue is let go.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from distributed import WorkerPlugin

from daskimg.lazy.chunks import QUEUE
from daskimg.lazy.hints import Wanted, wants
from daskimg.transport.ahead import Feeds, hungry

__all__ = ["Queue"]

RUNS = ("executing", "long-running")


class Queue(WorkerPlugin):
    """Begins what the next tasks of a worker will want: as many as it runs at once.

    The worker's loop only hands them to a thread: to sign on to a store may take its time.
    """

    name = QUEUE
    idempotent = True  # (of several clients)

    def setup(self, worker: Any) -> None:
        """The worker starts, or a client asks for it."""
        self.worker = worker
        self.ready: dict[Any, None] = {}  # tasks in order, not looked at yet
        self.begun: dict[Any, Future[Wanted | None]] = {}  # for those that wait
        self.running: dict[Any, Future[Wanted | None]] = {}  # for those that have a thread
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="daskimg-queue")

    def teardown(self, worker: Any) -> None:
        """The worker ends."""
        for found in (*self.begun.values(), *self.running.values()):
            _drop(found)
        self.thread.shutdown(wait=False)

    def transition(self, key: Any, start: Any, finish: Any, **kwargs: Any) -> None:
        """A task waits for a thread, has one, or is not wanted here any more."""
        if finish == "ready":
            self.ready[key] = None
        else:
            self.ready.pop(key, None)
            found = self.begun.pop(key, None) or self.running.pop(key, None)
            if found is not None and finish in RUNS:
                self.running[key] = found
            elif found is not None:
                _drop(found)
        self._more()

    def _more(self) -> None:
        for key in list(self.ready):
            if self.begun and (len(self.begun) >= self.worker.state.nthreads or not hungry()):
                return
            del self.ready[key]
            task = self.worker.state.tasks.get(key)
            if task is not None:
                # (what other tasks have made may be on disk: rows that come with the task count)
                self.begun[key] = self.thread.submit(wants, task.run_spec, {})

    def take(self, mark: Any) -> Feeds | None:
        """What was begun for the task of this thread, and rows that have a mark."""
        key = self.worker.get_current_task()
        found = self.running.get(key)
        if found is None or found.cancel() or (wanted := found.result()) is None:
            return None
        if wanted.mark != mark or self.running.pop(key, None) is None:
            return None
        return wanted.feeds


def _drop(found: Future[Wanted | None]) -> None:
    """Let go of it, now or when it is there."""
    if not found.cancel():
        found.add_done_callback(_close)


def _close(found: Future[Wanted | None]) -> None:
    wanted = None if found.exception() is not None else found.result()
    if wanted is not None and wanted.feeds is not None:
        wanted.feeds.close()
