"""The clusters that this process is connected to."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import dask

__all__ = ["active_client", "ensure", "other_clients"]

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
