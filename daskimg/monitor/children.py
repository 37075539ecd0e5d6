"""Child processes (the ``processes`` scheduler, a ``DataLoader``) tell their parent what they do.

The parent listens at a socket that its own user can open (a pipe on Windows), under a key; address
and key stand in an environment variable, which children inherit. What comes is JSON. A child waits
for the answer, so that whoever has the result of a task has heard of the work.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterator
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from daskimg import metrics
from daskimg.monitor.usage import Usage

__all__ = ["hearing", "usage"]

logger = logging.getLogger("daskimg.monitor")

EVERY = 0.25  # seconds between what a child tells within a partition
WAITING = 64  # children that come at once

usage: dict[int, dict[str, Any]] = {}  # what each has taken; see `Usage`

_lock = threading.Lock()
_users = 0
_parent: _Parent | None = None


@contextlib.contextmanager
def hearing() -> Iterator[None]:
    """Hear of the work of child processes that are started within; it is told as if done here."""
    global _users, _parent
    with _lock:
        if not _users:
            _parent = _listening()
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users and _parent is not None:
                _parent.close()
                _parent = None


def _listening() -> _Parent | None:
    try:
        return _Parent()
    except OSError as error:  # no place for a socket: all else works
        logger.warning("what child processes do is not seen: %s", error)
        return None


class _Parent:
    def __init__(self) -> None:
        self.key = os.urandom(32)
        self.listener = Listener(backlog=WAITING, authkey=self.key)
        self.over = False
        address = self.listener.address
        os.environ[metrics.TOLD_TO] = json.dumps([os.getpid(), address, self.key.hex()])
        threading.Thread(target=self._accept, daemon=True, name="daskimg-children").start()

    def close(self) -> None:
        self.over = True
        os.environ.pop(metrics.TOLD_TO, None)
        with contextlib.suppress(OSError, EOFError, AuthenticationError):
            Client(self.listener.address, authkey=self.key).close()  # wakes the thread
        self.listener.close()

    def _accept(self) -> None:
        while not self.over:
            try:
                child = self.listener.accept()
            except (OSError, EOFError, AuthenticationError):  # a child that went at once
                continue
            threading.Thread(target=_hear, args=(child,), daemon=True).start()


def _hear(child: Connection[Any, Any]) -> None:
    with child, contextlib.suppress(OSError, EOFError):
        while True:
            told = json.loads(child.recv_bytes())
            report = {(stage, what): number for stage, what, number in told["report"]}
            usage[told["process"]] = told["usage"]
            metrics.told(report, metrics.Origin(thread=told["thread"], child=told["process"]))
            child.send_bytes(b"heard")


# -- in the child ---------------------------------------------------------------------------------
class _Child:
    def __init__(self, parent: Connection[Any, Any]) -> None:
        self.parent, self.lock = parent, threading.Lock()
        self.over = threading.Event()
        self.usage = Usage()
        self.stop = metrics.listen(self._tell)
        threading.Thread(target=self._flush, daemon=True, name="daskimg-child").start()

    def _tell(self, report: metrics.Report, by: metrics.Origin) -> None:
        rows = [[stage, what, number] for (stage, what), number in report.items() if number]
        if by.worker is not None or self.over.is_set() or not rows:
            return
        told = {"process": os.getpid(), "thread": by.thread, "report": rows}
        told["usage"] = self.usage.read()
        try:
            with self.lock:
                self.parent.send_bytes(json.dumps(told).encode())
                self.parent.recv_bytes()
        except (OSError, EOFError):  # nobody listens any more
            self.over.set()
            self.stop()

    def _flush(self) -> None:
        while not self.over.wait(EVERY):
            self.usage.look()
            metrics.flush()


_known: str | None = None


def _ask() -> None:
    """See whether the parent of this process wants to know what it does."""
    global _known
    told_to = os.environ.get(metrics.TOLD_TO)
    if told_to == _known:
        return
    with _lock:
        if told_to == _known:
            return
        _known = told_to
        if told_to is None:
            return
        parent, address, key = json.loads(told_to)
        if parent == os.getpid():
            return
        try:
            _Child(Client(address, authkey=bytes.fromhex(key)))
        except (OSError, EOFError, AuthenticationError) as error:
            logger.info("the process %d does not listen any more: %s", parent, error)


metrics.askers.append(_ask)
