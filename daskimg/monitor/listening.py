"""Hearing what is done: in this process, in its children, by the workers of its clients."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from daskimg import metrics
from daskimg.clients import ensure
from daskimg.monitor import children
from daskimg.monitor.tally import TOPIC, Event, Figures, Sums

__all__ = ["HERE", "Tally", "hear", "watch"]

logger = logging.getLogger("daskimg.monitor")

HERE = "client"  # this process, among workers

_lock = threading.Lock()
# a client has one handler for a topic
_hearing: weakref.WeakKeyDictionary[Any, list[Callable[[Event], object]]]
_hearing = weakref.WeakKeyDictionary()


def watch(client: Any) -> None:
    """See that the scheduler of a client, if there is one, has the page and the counters."""
    if client is None or client.asynchronous:
        return
    try:
        from daskimg.monitor.scheduler import MonitorPlugin

        ensure(MonitorPlugin, [client])
    except Exception as error:  # one that may not be given plugins: all else works
        logger.warning("the scheduler does not show what is done with pictures: %s", error)


def hear(client: Any, hearer: Callable[[Event], object]) -> Callable[[], None]:
    """Give `hearer` the events of a client's cluster, in the client's own thread.

    Returns
    -------
    callable
        Call it to end that.
    """
    from daskimg.monitor.scheduler import MonitorPlugin

    ensure(MonitorPlugin, [client])
    with _lock:
        hearers = _hearing.setdefault(client, [])
        hearers.append(hearer)
        first = len(hearers) == 1
    if first:
        client.subscribe_topic(TOPIC, lambda event: _heard(event[1]["told"], tuple(hearers)))

    def stop() -> None:
        with _lock:
            hearers.remove(hearer)
            last = not hearers
        if last and client.status == "running":
            client.unsubscribe_topic(TOPIC)

    return stop


def _heard(told: list[str], hearers: Iterable[Callable[[Event], object]]) -> None:
    for text in told:
        for event in json.loads(text):
            for each in hearers:
                each(event)


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
