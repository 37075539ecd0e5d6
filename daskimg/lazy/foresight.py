"""Who reads ahead of the tasks of a computation: threads of this process, workers of a cluster."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

from daskimg import wanted
from daskimg.clients import active_client, ensure, other_clients
from daskimg.lazy.chunks import Hints
from daskimg.lazy.hints import hint
from daskimg.transport.ahead import hungry

__all__ = ["watch"]

logger = logging.getLogger("daskimg.lazy.foresight")


def watch() -> None:
    """See that a computation about to start reads files elsewhere ahead of its tasks.

    In threads of this process it is said each time: Dask forgets callbacks when two computations
    overlap.
    """
    from dask.callbacks import Callback

    Callback(pretask=_before).register()
    if "distributed" in sys.modules:
        from daskimg.lazy.queued import Queue

        client = active_client()
        try:
            ensure(Queue, [client, *other_clients(client)])
        except Exception as error:  # workers that may not be given plugins: all else works
            logger.warning("workers do not read ahead of their tasks: %s", error)


def _before(key: Any, graph: Mapping[Any, Any], state: Mapping[str, Any]) -> None:
    """A task is about to start: what those that come next will want is begun."""
    run = wanted.current()
    if run is None:
        return
    hints = run.begun = run.begun or Hints()
    for after in reversed(state["ready"]):
        if hints.over or (hints.feeds and not hungry()):
            return
        if after not in hints.keys:
            hints.keys.add(after)
            if not hint(hints, graph[after], state["cache"]):
                return  # one question at a time, where files are local
