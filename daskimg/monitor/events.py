"""What the workers of a cluster tell, for those in its client who listen."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

from daskimg.clients import ensure
from daskimg.monitor.topic import TOPIC, Event

__all__ = ["hear"]

logger = logging.getLogger("daskimg.monitor")

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
        client.subscribe_topic(TOPIC, lambda event: [each(event[1]) for each in tuple(hearers)])

    def stop() -> None:
        with _lock:
            hearers.remove(hearer)
            last = not hearers
        if last and client.status == "running":
            client.unsubscribe_topic(TOPIC)

    return stop
