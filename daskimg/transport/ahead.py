"""Bytes fetched ahead of the passes that want them: one budget for the process, on one loop.

A pass tells in which order its rows want files, and takes each when the row comes. A `Feed` is
such an order; a row of it belongs to that feed alone, so that two passes over the same files do
not take each other's. Requests are made on fsspec's own loop. All that the process asks object
stores for comes by here, read ahead or not: never more than ``daskimg.fetch-connections`` requests
are under way. Bytes under way and not yet taken stay below ``daskimg.fetch-ahead``; what a thread
waits for is asked for whatever they are.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from fsspec.asyn import get_loop

from daskimg import config, metrics
from daskimg.transport.doors import served
from daskimg.transport.pace import Pace
from daskimg.wanted import EVERY, check

__all__ = ["Ask", "Feed", "Feeds", "Request", "begin", "feeding", "hungry", "now"]

Ask = Callable[[], Awaitable[Any]]

LONGEST = 300.0  # seconds that one request may take, its body included
FIRST_GUESS = 2**22  # bytes of a file, before any has come
RESERVE = 4  # this part of the budget is kept for passes that are at work
WAITING, UNDER_WAY, HERE, GONE = range(4)


class Request:
    """What is asked of a store, once."""

    __slots__ = ("answer", "ask", "error", "event", "feed", "path", "size", "state", "task")

    def __init__(self, path: Any, ask: Ask, feed: Feed | None = None) -> None:
        self.path, self.ask, self.feed = path, ask, feed
        self.state = WAITING
        self.size = 0  # bytes that it stands for in the budget
        self.answer: Any = None
        self.error: BaseException | None = None
        self.event: threading.Event | None = None  # that somebody waits for
        self.task: asyncio.Task[None] | None = None

    def result(self) -> Any:
        """The answer, waited for as long as it is wanted; what it failed with is raised."""
        return _process().wait(self)

    def drop(self) -> None:
        """Nobody wants it: it is cancelled if it is under way."""
        _process().drop(self)


class Feed:
    """Files that rows of one pass want, or spans of one file, in their order.

    Parameters
    ----------
    asking : callable
        The request for a path or span; None where it cannot be made ahead.
    most : int, optional
        Bytes of an answer at most.
    size : callable, optional
        Bytes of an answer, where they are known before.
    """

    def __init__(
        self,
        asking: Callable[[Any], Ask | None],
        most: int | None = None,
        size: Callable[[Any], int] | None = None,
    ) -> None:
        self.asking, self.most, self.size = asking, most, size
        self.rows: deque[Request] = deque()  # not taken, in order
        self.waiting: deque[Request] = deque()  # of these, not begun
        self.expected: Counter[Any] = Counter()
        self.at_work = False  # a pass takes from it
        self.home = _process()
        self.home.add(self)

    def expect(self, paths: Iterable[Any]) -> None:
        """Rows of these paths come, if they are not expected already."""
        left = self.expected.copy()
        new = []
        for path in paths:
            if left[path] > 0:
                left[path] -= 1
            elif (ask := self.asking(path)) is not None:
                new.append(Request(path, ask, self))
        if new:
            self.home.expect(self, new)

    def take(self, path: Any) -> Request | None:
        """The request for the next row of this path; the rows before it are not wanted."""
        return self.home.take(self, path) if self.expected[path] > 0 else None

    def close(self) -> None:
        """Nothing more is wanted of it: what is under way is cancelled."""
        self.home.close(self)


class Feeds:
    """The feeds of what one task does, by what they ask for."""

    def __init__(self) -> None:
        self.found: dict[Any, Feed] = {}
        self.over = False

    def of(self, key: Any, make: Callable[[], Feed]) -> Feed:
        """The feed of a key, made when it is first asked for."""
        if key not in self.found:
            self.found[key] = make()
        return self.found[key]

    def close(self) -> None:
        """The task is done, or not wanted."""
        self.over = True
        for feed in self.found.values():
            feed.close()


_mine: ContextVar[Feeds | None] = ContextVar("daskimg-feeds", default=None)


@contextmanager
def feeding(given: Feeds | None = None) -> Iterator[Feeds]:
    """Around what one task does: its feeds, those of the task around it where there is one."""
    around = _mine.get()
    if given is None and around is not None:
        yield around
        return
    feeds = given or Feeds()
    token = _mine.set(feeds)
    try:
        yield feeds
    finally:
        _mine.reset(token)
        feeds.close()
        if feeds.found:
            _process().tell()


def begin(ask: Ask) -> Request:
    """A request that is made now, before all that is read ahead."""
    request = Request("", ask)
    _process().urge(request)
    return request


def now(ask: Ask) -> Any:
    """What is asked for, before all that is read ahead."""
    return begin(ask).result()


def hungry() -> bool:
    """Whether there are connections for more than what is expected so far."""
    return _process().hungry()


class _Process:
    """All requests of this process."""

    def __init__(self) -> None:
        self.loop = get_loop()
        self.lock = threading.Lock()
        self.urgent: deque[Request] = deque()  # that threads wait for
        self.feeds: list[Feed] = []
        self.active = 0  # requests under way
        self.held = 0  # bytes under way, or here and not taken
        self.guess = float(FIRST_GUESS)  # bytes of a file
        self.woken = False
        self.pace = Pace()
        self.told: Counter[str] = Counter()

    # -- what threads say ------------------------------------------------------------------------
    def add(self, feed: Feed) -> None:
        with self.lock:
            self.feeds.append(feed)

    def expect(self, feed: Feed, requests: list[Request]) -> None:
        with self.lock:
            feed.rows.extend(requests)
            feed.waiting.extend(requests)
            feed.expected.update(request.path for request in requests)
            self._wake()

    def hungry(self) -> bool:
        most = config.fetch_connections()
        with self.lock:
            return sum(len(feed.waiting) for feed in self.feeds) < most

    def tell(self) -> None:
        """Report the requests since the last time, to those who want to know."""
        with self.lock:
            done = Counter(served)
            done[metrics.SLOWED] = self.pace.lowered
            report = {(metrics.STORES, what): n - self.told[what] for what, n in done.items()}
            self.told = done
        if metrics.wanted():
            metrics.tell({key: n for key, n in report.items() if n})

    def urge(self, request: Request) -> None:
        with self.lock:
            self.urgent.append(request)
            self._wake()

    def take(self, feed: Feed, path: Any) -> Request | None:
        with self.lock:
            feed.at_work = True
            while feed.rows:
                request = feed.rows.popleft()
                feed.expected[request.path] -= 1
                if request.path != path:
                    self._drop([request])
                    continue
                if request.state == WAITING:
                    self.urgent.append(request)
                    self._wake()
                return request
            return None

    def close(self, feed: Feed) -> None:
        with self.lock:
            if feed in self.feeds:
                self.feeds.remove(feed)
            self._drop(feed.rows)
            feed.rows.clear()
            feed.waiting.clear()
            feed.expected.clear()
            self._more()

    def drop(self, request: Request) -> None:
        with self.lock:
            self._drop([request])

    def wait(self, request: Request) -> Any:
        with self.lock:
            event = None
            if request.state in (WAITING, UNDER_WAY):
                event = request.event = threading.Event()
        try:
            while event is not None and not event.wait(EVERY):
                check()
        finally:
            with self.lock:
                answer, error = request.answer, request.error
                self._drop([request])
                self._more()
        if error is not None:
            raise error
        return answer

    def _drop(self, requests: Iterable[Request]) -> None:
        """Nobody wants them any more; the lock is held."""
        under_way = []
        for request in requests:
            if request.state == UNDER_WAY:
                under_way.append(request)
            if request.state in (UNDER_WAY, HERE):
                self.held -= request.size
            request.state = GONE
            request.answer = request.error = None
        if under_way:
            self.loop.call_soon_threadsafe(_cancel, under_way)

    def _more(self) -> None:
        """Bytes are free again: a good many, so that the loop is not woken for each picture."""
        budget = config.fetch_ahead()
        if self.held <= budget - budget // 8 and any(feed.waiting for feed in self.feeds):
            self._wake()

    def _wake(self) -> None:
        if not self.woken:
            self.woken = True
            self.loop.call_soon_threadsafe(self._begin)

    # -- on the loop -----------------------------------------------------------------------------
    def _begin(self) -> None:
        """Begin as many requests as there is room for."""
        budget, most = config.fetch_ahead(), self.pace.limit(config.fetch_connections())
        with self.lock:
            self.woken = False
            while self.active < most and (request := self._next(budget)) is not None:
                request.state = UNDER_WAY
                self.active += 1
                self.held += request.size
                request.task = self.loop.create_task(self._run(request))

    def _next(self, budget: int) -> Request | None:
        while self.urgent:
            request = self.urgent.popleft()
            if request.state == WAITING:
                request.size = self._size(request)
                return request
        for feed in sorted(self.feeds, key=_rank):
            room = budget if feed.at_work else budget - budget // RESERVE
            while feed.waiting:
                if feed.waiting[0].state != WAITING:
                    feed.waiting.popleft()
                    continue
                size = self._size(feed.waiting[0])
                if self.held and self.held + size > room:
                    break
                request = feed.waiting.popleft()
                request.size = size
                return request
        return None

    def _size(self, request: Request) -> int:
        feed = request.feed
        if feed is not None and feed.size is not None:
            return feed.size(request.path)
        most = None if feed is None else feed.most
        return int(self.guess) if most is None else min(most, int(self.guess))

    async def _run(self, request: Request) -> None:
        answer: Any = None
        error: BaseException | None = None
        start = self.loop.time()
        try:
            async with asyncio.timeout(LONGEST) as limit:
                answer = await request.ask()
        except asyncio.CancelledError:
            error = ConnectionAbortedError("the request was cancelled")
        except Exception as found:
            error = found
            if isinstance(found, TimeoutError) and limit.expired():
                error = TimeoutError(f"no answer within {LONGEST:.0f} s")
        with self.lock:
            self.active -= 1
            self.pace.saw(error, start, self.loop.time())
            event, request.event, request.task = request.event, None, None
            if request.state == UNDER_WAY:
                size = len(answer) if isinstance(answer, bytes) else 0
                feed = request.feed
                if size and (feed is None or (feed.most is None and feed.size is None)):
                    self.guess = max(size, self.guess * 0.9 + size * 0.1)
                self.held += size - request.size
                request.size, request.state = size, HERE
                request.answer, request.error = answer, error
        if event is not None:
            event.set()
        self._begin()


def _rank(feed: Feed) -> tuple[bool, int]:
    """Those at work come first, whichever has least under way; then the others in order."""
    return not feed.at_work, len(feed.rows) - len(feed.waiting) if feed.at_work else 0


def _cancel(requests: list[Request]) -> None:
    for request in requests:
        if request.task is not None:
            request.task.cancel()


_here: dict[int, _Process] = {}
_making = threading.Lock()


def _process() -> _Process:
    found = _here.get(os.getpid())
    if found is None:
        with _making:
            found = _here.setdefault(os.getpid(), _Process())
    return found


def _forked() -> None:
    """A child has none of the threads and requests of its parent."""
    global _making
    _here.clear()
    _making = threading.Lock()
    _mine.set(None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
