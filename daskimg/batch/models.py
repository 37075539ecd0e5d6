"""Models that stay loaded: a light spec travels in the graph, instances stay in the process.

An instance is made by the first batch that needs it, and the next ones find it: those of every
partition, thread and run of the process, until nobody has used it for a while.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import pickle
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import cloudpickle

from daskimg import config
from daskimg.engine.lasting import Facts, content_of, named

__all__ = ["Spec", "borrow", "loaded", "release", "room", "spec_of"]


@dataclass(frozen=True)
class Spec:
    """How to make an instance of a class.

    Parameters
    ----------
    name : str
        The class, for messages.
    payload : bytes
        The class and its arguments, pickled.
    token : str
        Equal for equal payloads.
    limit : int
        Most instances in a process, where calls must not overlap.
    idle : float
        Seconds after which an instance that nobody uses is freed.
    """

    name: str
    payload: bytes = field(repr=False)
    token: str
    limit: int
    idle: float


def spec_of(cls: type[Any], args: tuple[Any, ...], kwargs: dict[str, Any], limit: int) -> Spec:
    """The spec of ``cls(*args, **kwargs)``; makes no instance.

    Raises
    ------
    TypeError
        When instances cannot be called, or class or arguments do not pickle.
    """
    name = cls.__qualname__
    if "__call__" not in dir(cls):
        raise TypeError(f"{name} has no __call__: a model is called with each batch")
    try:
        payload = cloudpickle.dumps((cls, args, kwargs))
    except Exception as error:
        raise TypeError(
            f"{name} and its arguments travel to the workers, and do not pickle "
            f"({type(error).__name__}: {error}); open files, locks and connections in __init__"
        ) from error
    token = hashlib.blake2b(payload, digest_size=16).hexdigest()
    return Spec(name, payload, token, limit, config.seconds("model-idle"))


@content_of.register
def _content(value: Spec, facts: Facts) -> Any:
    made, args, kwargs = cloudpickle.loads(value.payload)  # our own pickle, of this process
    given = facts.add(f"the constructor arguments of {value.name}", named([args, kwargs], facts))
    return [named(made, facts), given]


class _Pool:
    """The instances of one spec in this process."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.changed = threading.Condition()
        self.free: list[Any] = []
        self.made = self.busy = 0
        self.shared: Any = None
        self.by_thread: dict[int, Any] = {}
        self.used = time.monotonic()

    @contextmanager
    def borrow(self) -> Iterator[Any]:
        instance = self._take()
        try:
            yield instance
        finally:
            with self.changed:
                self.busy -= 1
                self.used = time.monotonic()
                if instance is not self.shared and not _per_thread(instance):
                    self.free.append(instance)
                self.changed.notify()

    def _take(self) -> Any:
        with self.changed:
            while True:
                if self.shared is not None:
                    instance = self.shared
                else:
                    instance = self.by_thread.get(threading.get_ident())
                if instance is None and self.free:
                    instance = self.free.pop()
                if instance is not None:
                    self.busy += 1
                    return instance
                if self.made < self.spec.limit or self.by_thread:
                    self.made += 1  # others wait for this one, or make theirs
                    self.busy += 1
                    break
                self.changed.wait()
        return self._make()

    def _make(self) -> Any:
        try:
            instance = _construct(self.spec)
        except BaseException:
            with self.changed:
                self.made -= 1
                self.busy -= 1
                self.changed.notify_all()
            raise
        with self.changed:
            if getattr(instance, "thread_safe", False):
                self.shared = instance
            elif _per_thread(instance):
                self.by_thread[threading.get_ident()] = instance
            self.changed.notify_all()
        return instance


def _per_thread(instance: Any) -> bool:
    return bool(getattr(instance, "per_thread", False))


def _construct(spec: Spec) -> Any:
    try:
        cls, args, kwargs = pickle.loads(spec.payload)
        return cls(*args, **kwargs)
    except Exception as error:
        raise RuntimeError(
            f"{spec.name} could not be constructed: {type(error).__name__}: {error}"
        ) from error


_pools: dict[tuple[str, int], _Pool] = {}
_lock = threading.Lock()
_sweeping = False


@contextmanager
def borrow(spec: Spec) -> Iterator[Any]:
    """An instance of `spec` for one batch; waits while all of them are busy.

    Calls of one instance never overlap, but for a class with ``thread_safe = True`` (one
    instance, called by all threads at once). A class with ``per_thread = True`` has an instance
    a thread.
    """
    key = (spec.token, spec.limit)
    with _lock:
        pool = _pools.get(key)
        if pool is None:
            pool = _pools[key] = _Pool(spec)
            _start_sweep()
        pool.used = time.monotonic()
    with pool.borrow() as instance:
        yield instance


_rooms: dict[tuple[str, int], threading.Semaphore] = {}


def room(token: str, num_cpus: float | None) -> AbstractContextManager[Any]:
    """Entered around a batch that takes `num_cpus` of the process's threads, it waits for them."""
    if num_cpus is None or num_cpus <= 1:
        return nullcontext()
    at_once = max(1, int(_threads() / num_cpus))
    with _lock:
        return _rooms.setdefault((token, at_once), threading.Semaphore(at_once))


def _threads() -> int:
    """Threads that run tasks in this process."""
    if "distributed" in sys.modules:
        from distributed import get_worker

        with suppress(ValueError):
            return int(get_worker().state.nthreads)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def loaded() -> dict[str, int]:
    """Instances in this process, by the name of their class."""
    with _lock:
        counts: dict[str, int] = {}
        for pool in _pools.values():
            counts[pool.spec.name] = counts.get(pool.spec.name, 0) + pool.made
    return counts


def release(idle: float | None = 0) -> None:
    """Free the models that no batch uses: those idle for `idle` seconds, None: each its own."""
    now = time.monotonic()
    with _lock:
        unused = [
            key
            for key, pool in _pools.items()
            if not pool.busy and now - pool.used >= (pool.spec.idle if idle is None else idle)
        ]
        for key in unused:
            del _pools[key]
    torch = sys.modules.get("torch")
    if unused and torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _start_sweep() -> None:
    """Look for idle models now and then, for as long as there are models (called locked)."""
    global _sweeping
    if not _sweeping:
        _sweeping = True
        threading.Thread(target=_sweep, name="daskimg-models", daemon=True).start()


def _sweep() -> None:
    global _sweeping
    while True:
        with _lock:
            if not _pools:
                _sweeping = False
                return
            wait = min(pool.spec.idle for pool in _pools.values()) / 4
        time.sleep(min(max(wait, 0.05), 30))
        release(None)


atexit.register(release)
