"""The clusters that this process is connected to."""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import dask

__all__ = ["active_client", "all_threads", "ensure", "other_clients", "tell_of_threads", "threads"]

logger = logging.getLogger("daskimg.clients")

FED = 8  # threads that one process can feed: docs/deployment.md, "Many cores"
A_WORKER = 4  # threads of a process that `start_cluster` starts

_IN_THREADS = (None, "threads", "threading")
_told = False
_registered: weakref.WeakKeyDictionary[Any, set[Any]] = weakref.WeakKeyDictionary()


def active_client() -> Any:
    """The client that ``.compute()`` would use, or None."""
    if "distributed" not in sys.modules:
        return None
    from distributed import Client, get_client

    chosen = dask.config.get("scheduler", None)
    if isinstance(chosen, Client):
        return chosen
    if chosen not in (None, "distributed", "dask.distributed"):
        return None
    try:
        return get_client()  # of the worker, inside a task
    except ValueError:
        return None


def other_clients(active: Any) -> list[Any]:
    """Clients that were not made the default: ``client.compute(frame)`` may use one."""
    if "distributed" not in sys.modules:
        return []
    from distributed import Client

    clients = list(getattr(Client, "_instances", ()))
    return [each for each in clients if each.status == "running" and each is not active]


def ensure(plugin: Callable[[], Any], clients: Iterable[Any]) -> None:
    """See that a scheduler plugin is registered with these clients; it is done once for each.

    What an asynchronous client needs is awaited: its user registers it.
    """
    for client in clients:
        if client is not None and not client.asynchronous:
            done = _registered.setdefault(client, set())
            if plugin not in done:
                client.register_plugin(plugin())
                done.add(plugin)


def threads() -> int:
    """Threads that Dask computes with in this process."""
    number: int = dask.config.get("num_workers", None) or dask.system.CPU_COUNT
    return number


def all_threads() -> int:
    """Threads that ``.compute()`` has: those of the cluster where there is one."""
    client = active_client()
    if client is None:
        return threads()
    workers = client.scheduler_info(n_workers=-1).get("workers", {}).values()
    return sum(worker["nthreads"] for worker in workers) or 1


def tell_of_threads() -> None:
    """One line, once: a computation in threads of this process has more of them than it can feed.

    Between two calls of a codec a thread needs the interpreter, which they share.
    """
    global _told
    number = threads()
    if _told or number <= FED or dask.config.get("scheduler", None) not in _IN_THREADS:
        return
    active = active_client()
    if active is None and not other_clients(active):
        _told = True
        logger.warning(
            "%d threads are more than one process can feed where pictures are small: "
            "di.start_cluster() starts %d processes of %d threads, and under "
            'dask.config.set(scheduler="processes") iterators have processes of their own '
            "(num_workers=%d: no more than that, and this is not said)",
            *(number, number // A_WORKER, A_WORKER, FED),
        )
