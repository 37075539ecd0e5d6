"""All that is told from a moment on: here, in child processes, by a cluster."""

from __future__ import annotations

import contextlib
from typing import Any

from daskimg import metrics
from daskimg.monitor import children
from daskimg.monitor.events import hear
from daskimg.monitor.tally import Figures, Sums

__all__ = ["HERE", "Tally"]

HERE = "client"  # this process, among workers


class Tally(Sums):
    """Listens, and adds up."""

    def __init__(self) -> None:
        super().__init__()
        self._open = contextlib.ExitStack()

    def start(self, client: Any = None) -> None:
        """Listen here, and to a cluster."""
        self._open.enter_context(children.hearing())
        self._open.callback(metrics.listen(self._own))
        if client is not None:
            self._open.callback(hear(client, self.hear))

    def stop(self) -> None:
        """Listen no more."""
        self._open.close()

    def _own(self, report: metrics.Report, by: metrics.Origin) -> None:
        if by.worker is None:  # (that of a worker in this process comes as an event)
            self.count(f"process {by.child}" if by.child else HERE, report, by.thread)

    def by_process(self) -> dict[str, Figures]:
        """What each process has done so far, with what is under way here."""
        metrics.flush()
        return super().by_process()
