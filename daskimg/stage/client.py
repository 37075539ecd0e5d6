"""Before a computation starts: the scheduler gets the plugin; who will wait is told."""

from __future__ import annotations

import logging
from typing import Any

from daskimg.clients import active_client, ensure, other_clients
from daskimg.errors import PlacementError
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


def no_worker(
    call: StageCall, workers: dict[str, dict[str, Any]], scheduler: str
) -> PlacementError:
    """What there is, and what to do. `workers`: address to name, nthreads and resources."""
    lines = [
        f"  {address} ({worker['name']}): {worker['nthreads']} threads, resources "
        + (", ".join(f"{k}={v:g}" for k, v in (worker.get("resources") or {}).items()) or "none")
        for address, worker in workers.items()
    ]
    listed = "\n".join(lines) or "  none"
    return PlacementError(
        f"{call.label} asks for {call.wants} on one worker, and after {call.timeout:g} s no live "
        f"worker offers it. Workers:\n{listed}\n"
        f"Start one: dask worker {scheduler} --resources {call.wants} (dask cuda worker for "
        "GPUs), or di.start_cluster(gpus=1). Or run it on CPU workers: num_gpus=0"
    )
