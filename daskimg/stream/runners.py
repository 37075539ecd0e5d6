"""Where pieces of a frame are made: threads of this process, a cluster, or the caller's thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import count
from typing import Any, NamedTuple

from daskimg.engine.rooms import Place
from daskimg.lazy.bare import Frame, joined, some_rows
from daskimg.transport.ahead import Feeds, feeding
from daskimg.wanted import Run

__all__ = ["Cluster", "Here", "Rows", "Runner", "Slice", "Source", "Threads", "cut"]

Source = Callable[[], Frame]
Rows = Callable[[Any], Frame]


class Slice(NamedTuple):
    """Some rows of a source: what `Runner.load` gave, or its frame."""

    loaded: Any
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def rows(self) -> Frame:
        return some_rows(self.loaded, self.start, self.stop)


def cut(rows: Rows, *slices: Slice) -> Frame:
    """The work on some rows, of one source or of several."""
    return rows(joined([each.rows() for each in slices]))


def _at(place: Place | None) -> tuple[Any, ...]:
    """How `cut` is called: its pictures are made in a place, where there is one."""
    return (cut,) if place is None else (place.around, cut)


def _ahead(work: Any, *frames: Frame) -> Feeds | None:
    """Files that `work` will want, on their way before it begins."""
    begin = getattr(work, "ahead", None)
    return None if begin is None else begin(*frames)


def _fed(feeds: Feeds, work: Callable[..., Frame], *args: Any) -> Frame:
    with feeding(feeds):
        return work(*args)


def _cut_held(rows: Rows, bounds: Sequence[tuple[int, int]], *frames: Frame) -> Frame:
    return cut(rows, *(Slice(frame, *ends) for frame, ends in zip(frames, bounds, strict=True)))


def _bare(work: Callable[..., Any]) -> Callable[..., Any]:
    """`work` without pandas, where it can do without."""
    return getattr(work, "bare", work)


class Runner:
    """Makes pieces; leaving it as a context manager ends all that it has begun."""

    workers = 0  # pieces that are made at the same time; 0: when they are asked for

    def load(self, source: Source, sliced: bool = False, light: bool = False) -> Any:
        """Begin to read a source: all of a piece, or rows that are `sliced` later.

        A `light` one holds paths and numbers: it may be read where the slices are handed out.
        """
        raise AssertionError("a runner loads")

    def ready(self, loaded: Any) -> bool:
        """Whether a source is there without waiting."""
        raise AssertionError("a runner knows what it has loaded")

    def count(self, loaded: Any) -> int:
        """Rows of a source."""
        raise AssertionError("a runner counts")

    def run(self, rows: Rows, slices: Sequence[Slice], place: Place | None = None) -> Any:
        """Begin the work on some rows of a source, or of several light ones.

        Its pictures may be made in a `place` that has been kept for them.
        """
        raise AssertionError("a runner runs")

    def result(self, future: Any) -> Frame:
        """What `run`, or `load` of a whole piece, gave."""
        frame: Frame = future.result()
        return frame

    def close(self) -> None:
        """Cancel what is under way, and wait until no thread is left, a second at most."""

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Here(Runner):
    """The caller's own thread: a piece is made when it is asked for."""

    def load(self, source: Source, sliced: bool = False, light: bool = False) -> Any:
        return _Later(_bare(source))

    def ready(self, loaded: Any) -> bool:
        return True

    def count(self, loaded: Any) -> int:
        return len(loaded.result())

    def run(self, rows: Rows, slices: Sequence[Slice], place: Place | None = None) -> Any:
        return _Later(*_at(place), _bare(rows), *map(_here, slices))


def _here(each: Slice) -> Slice:
    return Slice(each.loaded.result(), each.start, each.stop)


class _Later:
    def __init__(self, func: Callable[..., Any], *args: Any) -> None:
        self.func, self.args, self.made = func, args, None

    def result(self) -> Any:
        if self.made is None:
            self.made = self.func(*self.args)
        return self.made


LEAVING = 1.0  # seconds that threads which are not wanted any more are waited for


class _Pool:
    """Threads for one run. Once closed, they leave with the picture that they are at."""

    def __init__(self, n: int, name: str) -> None:
        self.run = Run()
        self.threads = ThreadPoolExecutor(n, thread_name_prefix=name)
        self.open: set[Future[Any]] = set()

    def submit(self, func: Callable[..., Any], *args: Any) -> Future[Any]:
        future = self.threads.submit(self.run.call, func, *args)
        self.open.add(future)
        future.add_done_callback(self.open.discard)
        return future

    def close(self) -> None:
        """End the run; the threads are gone, but for those in a user's function that goes on."""
        if self.run.over:  # at the interpreter's end: its threads are gone
            return
        self.run.end()
        self.threads.shutdown(wait=False, cancel_futures=True)
        if not wait(list(self.open), LEAVING).not_done:
            self.threads.shutdown(wait=True)


class Threads(Runner):
    """Threads of this process, as many as Dask would use."""

    def __init__(self, n: int) -> None:
        self.workers = n
        self.pool = _Pool(n, "daskimg-stream")

    def load(self, source: Source, sliced: bool = False, light: bool = False) -> Future[Frame]:
        return self._begin(_ahead(source), _bare(source))

    def ready(self, loaded: Any) -> bool:
        return bool(loaded.done())

    def count(self, loaded: Any) -> int:
        return len(loaded.result())

    def run(self, rows: Rows, slices: Sequence[Slice], place: Place | None = None) -> Future[Frame]:
        here = [*map(_here, slices)]
        feeds = _ahead(rows, *(each.rows() for each in here))
        return self._begin(feeds, *_at(place), _bare(rows), *here)

    def _begin(self, feeds: Feeds | None, work: Callable[..., Frame], *args: Any) -> Future[Frame]:
        """Work whose files are on their way already."""
        if feeds is None:
            return self.pool.submit(work, *args)
        future = self.pool.submit(_fed, feeds, work, *args)
        future.add_done_callback(lambda _: feeds.close())  # it may never begin
        return future

    def close(self) -> None:
        self.pool.close()


_numbers = count()


class Cluster(Runner):
    """The workers of a client. Results come over while the caller is busy with those before."""

    def __init__(self, client: Any) -> None:
        self.client = client
        threads = client.nthreads()
        self.workers = sum(threads.values()) or 1
        # workers of this machine can be reached for sure; others perhaps through the scheduler only
        self.direct = all("://127.0.0.1:" in address for address in threads) or None
        self.pool = _Pool(4 * self.workers + 16, "daskimg-fetch")
        self.open: set[Any] = set()
        self.lock = threading.Lock()
        self.name = f"stream-{client.id}-{next(_numbers)}"
        self.keys = count()

    def _begun(self, future: Any) -> Any:
        with self.lock:
            self.open.add(future)
        return future

    def _fetch(self, future: Any) -> Any:
        try:
            return self.client.gather(future, direct=self.direct)
        finally:
            with self.lock:
                self.open.discard(future)

    def load(self, source: Any, sliced: bool = False, light: bool = False) -> Any:
        if light and not getattr(source, "held", ()):
            return self.pool.submit(source)
        key = (self.name, next(self.keys))
        named = getattr(source, "named", None)
        if named is None:
            future = self.client.submit(source, key=key, pure=False)
        else:  # as a graph: the scheduler sees the stages in it, and places them
            (future,) = self.client.get(named(key), [key], sync=False)
        self._begun(future)
        if not sliced:
            return self.pool.submit(self._fetch, future)
        rows = self.client.submit(len, future, key=(self.name, next(self.keys)), pure=False)
        return future, self.pool.submit(self._fetch, self._begun(rows))

    def ready(self, loaded: Any) -> bool:
        return bool((loaded[1] if isinstance(loaded, tuple) else loaded).done())

    def count(self, loaded: Any) -> int:
        return int(loaded[1].result()) if isinstance(loaded, tuple) else len(loaded.result())

    def run(self, rows: Rows, slices: Sequence[Slice], place: Place | None = None) -> Any:
        if isinstance(slices[0].loaded, tuple):
            bounds = [(each.start, each.stop) for each in slices]
            task: tuple[Any, ...] = (_cut_held, rows, bounds, *(s.loaded[0] for s in slices))
        else:  # no more rows than are worked on travel
            task = (cut, rows, *(Slice(s := _here(each).rows(), 0, len(s)) for each in slices))
        future = self.client.submit(*task, key=(self.name, next(self.keys)), pure=False)
        return self.pool.submit(self._fetch, self._begun(future))

    def close(self) -> None:
        with self.lock:
            left = list(self.open)
        if left and self.client.status == "running":
            self.client.cancel(left, reason="the iterator was closed")
        self.pool.close()
