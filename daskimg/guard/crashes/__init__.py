"""A picture that takes its worker along: the partition is tried again with care.

Dask runs the tasks of a worker that died once more, and gives up a task, and whatever else was
with it each time, after some deaths (``KilledWorker``). A scheduler plugin marks such tasks; a
pass that is marked opens its pictures in a child process (`daskimg.guard.isolate`), so that the
guilty one ends as a failed row that names it, and its neighbours as if nothing had been.
"""

from __future__ import annotations

import logging
import sys

from daskimg.clients import active_client, ensure, other_clients
from daskimg.guard.crashes.mark import suspect_all, suspected

__all__ = ["suspect_all", "suspected", "watch"]

logger = logging.getLogger("daskimg.guard.crashes")


def watch() -> None:
    """See that the scheduler of a computation about to start marks what may have killed workers."""
    if "distributed" not in sys.modules:
        return
    from daskimg.guard.crashes.plugin import CrashPlugin

    client = active_client()
    try:
        ensure(CrashPlugin, [client, *other_clients(client)])
    except Exception as error:  # a scheduler that may not be given plugins: all else works
        logger.warning("the scheduler does not mark what crashes workers: %s", error)
