"""The part of `stats` that runs on workers."""

from __future__ import annotations

from typing import Any

from distributed import WorkerPlugin

from daskimg import metrics
from daskimg.monitor.usage import Usage

__all__ = ["Meter", "usage_of"]


class Meter(WorkerPlugin):
    """Sends what a worker did, partition by partition, as events of a topic.

    An event is on its way before the task is told to be done: who has the result has heard of the
    work, also when the worker is killed afterwards.
    """

    def __init__(self, topic: str) -> None:
        self.name = topic

    def setup(self, worker: Any) -> None:
        """The worker starts, or the measuring does."""
        self.worker, self.usage = worker, Usage()
        self.stop = metrics.listen(self._send)

    def teardown(self, worker: Any) -> None:
        """The measuring is over."""
        self.stop()
        self.usage.stop()

    def _send(self, report: metrics.Report) -> None:
        if metrics.worker() is self.worker:  # several workers may share a process
            rows = [[stage, what, number] for (stage, what), number in report.items()]
            self.worker.log_event(self.name, {"worker": self.worker.address, "report": rows})


def usage_of(topic: str, dask_worker: Any = None) -> dict[str, Any]:
    """Memory and processor time of a worker since its `Meter` was set up."""
    found: dict[str, Any] = dask_worker.plugins[topic].usage.read()
    return found
