"""Before a computation starts: the scheduler gets the plugin; who will wait is told."""

from __future__ import annotations

import logging
from typing import Any

from daskimg.clients import active_client, ensure, other_clients
from daskimg.stage.call import StageCall

__all__ = ["prepare", "register"]

logger = logging.getLogger("daskimg.stage")


def register(client: Any) -> Any:
    """Make the scheduler of `client` place stages. It is done once, and without being asked.

    Needed by hand only where frames are computed through an asynchronous client: then await it.
    """
    from daskimg.stage.plugin import StagePlugin

    return client.register_plugin(StagePlugin())


def prepare(call: StageCall) -> None:
    """See that a computation about to start can place `call`."""
    from daskimg.stage.plugin import StagePlugin

    client = active_client()
    others = other_clients(client)
    ensure(StagePlugin, [client, *others])
    if not call.resources:
        return
    if client is None:
        if not others:
            call.check_local()
    elif not client.asynchronous:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        if not any(call.offered_by(worker.get("resources")) for worker in workers):
            # the tasks are handed in all the same: a cluster that adapts starts workers for them
            logger.warning(
                "%s waits up to %g s for a worker with %s", call.label, call.timeout, call.wants
            )
