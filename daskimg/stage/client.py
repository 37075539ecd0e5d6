"""Before a computation starts: is the plugin registered, does a worker have the resource?"""

from __future__ import annotations

import logging
import time
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
        _await_worker(client, call)


def _await_worker(client: Any, call: StageCall) -> None:
    deadline, told = time.monotonic() + call.timeout, False
    while True:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        if any(call.offered_by(worker.get("resources")) for worker in workers.values()):
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise no_worker(call, workers, client.scheduler.address)
        if not told:
            told = True
            logger.warning(
                "%s waits up to %g s for a worker with %s", call.label, call.timeout, call.wants
            )
        time.sleep(min(0.2, left))


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
