"""The pieces of a frame, in order, a bounded number of them under way.

A piece is a partition, or some rows of one where pixels are large: first the source's rows are
read (paths, encoded bytes), then slices of them go through the row-wise work (decode, resize),
so that what is in flight stays bounded whatever the size of partitions and pictures.
"""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

import dask
import numpy as np
import pandas as pd
import pyarrow as pa

from daskimg.clients import active_client, tell_of_threads, threads
from daskimg.column.dtype import ImageDtype
from daskimg.engine.rooms import Place, Room
from daskimg.errors import ImageError
from daskimg.io.commit.failures import assigned
from daskimg.lazy.bare import Frame, arrays_of
from daskimg.lazy.partitions import parts, settled
from daskimg.lazy.source import row_counts
from daskimg.stream.processes import Processes
from daskimg.stream.runners import Cluster, Here, Rows, Runner, Slice, Source, Threads

__all__ = ["Work", "is_light", "pieces", "runner", "work_of"]

BYTES = 2**24  # pixels of one piece, about: memory that is used again, not mapped anew
LARGEST = 2**26  # of a piece that is one batch, so that the batch is a view of it
MERGED = 256  # rows up to which small partitions make one piece
FIRST = 16  # rows of the first pieces, while the size of a picture is not known
FILES = 2**23  # bytes of the files that a piece reads: large pictures are for all threads
SMALL = 2**18  # ... and below which it is not cut for the last rows to be for all threads


class Work(NamedTuple):
    """A frame as sources of rows, and what is done to any of their rows."""

    sources: Sequence[Source]
    rows: Rows | None
    meta: pd.DataFrame
    light: bool = False  # sources hold paths and numbers, no pictures
    total: int | None = None  # rows, where they are known
    weight: float = 0.0  # bytes of a row's file, 0 where they are not known


def is_light(dtypes: Iterable[Any]) -> bool:
    """Whether columns of these dtypes hold paths, numbers and words."""
    return all(map(_small, dtypes))


def _small(dtype: Any) -> bool:
    if isinstance(dtype, ImageDtype):
        return dtype.cells == "file"
    if isinstance(dtype, pd.ArrowDtype):
        return not (pa.types.is_nested(kind := dtype.pyarrow_dtype) or "binary" in str(kind))
    return not (isinstance(dtype, np.dtype) and dtype.kind == "O")


class _Given:
    """A frame in memory as a source."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame

    def __call__(self) -> pd.DataFrame:
        return self.frame


def with_pixels(frame: Any) -> Any:
    """`frame` with the files and encoded pictures in it decoded, where nothing else is said."""
    names = [
        name
        for name, dtype in frame.dtypes.items()
        if isinstance(dtype, ImageDtype) and not dtype.holds_pixels
    ]
    return assigned(frame, {name: frame[name].img.decode() for name in names})


def work_of(frame: Any) -> Work:
    """What has to be done for the rows of `frame`, with pixels in its image columns."""
    if isinstance(frame, pd.DataFrame):
        meta = with_pixels(frame.iloc[:0])
        rows = None if meta.dtypes.equals(frame.dtypes) else with_pixels
        return Work([_Given(frame)], rows, meta, total=len(frame))
    frame = with_pixels(frame)
    counts = row_counts(frame)
    total = None if counts is None else sum(counts)
    found = parts(settled(frame))
    meta = frame._meta
    wide = any(isinstance(dtype, ImageDtype) for dtype in meta.dtypes)
    light = found.source is not None and is_light(found.source.dtypes)
    few = light and max(found.counts or (MERGED,)) < MERGED  # which are put together
    if found.rows is None or found.dear or not (wide or few):
        return Work(found.whole, None, meta, total=total)
    return Work(found.sources, found.rows, meta, light, total, found.weight)


def runner() -> Runner:
    """Where Dask would compute now: a cluster, this thread, processes, or threads."""
    client = active_client()
    if client is not None:
        return Cluster(client)
    if dask.config.get("scheduler", None) in ("sync", "synchronous", "single-threaded"):
        return Here()
    if dask.config.get("scheduler", None) in ("processes", "multiprocessing") and _may_begin():
        return Processes(threads())
    tell_of_threads()
    return Threads(threads())


def _may_begin() -> bool:
    """Whether this process may begin others: a worker of a `DataLoader` may not."""
    return not multiprocessing.current_process().daemon


class _Size:
    """How many rows make a piece."""

    def __init__(
        self,
        meta: pd.DataFrame,
        batch: int,
        most: int | None,
        workers: int = 0,
        left: int | None = None,
        weight: float = 0.0,
        whole: bool = True,
    ) -> None:
        self.batch, self.most, self.workers = batch, most, workers
        self.left, self.weight = left, weight  # rows not handed out yet, bytes of a row's file
        self.at, self.whole = 0, whole  # rows handed out; whether batches are made in one array
        self.room: tuple[int, Room] | None = None  # of the batch that is being handed out
        kinds = [dtype for dtype in meta.dtypes if isinstance(dtype, ImageDtype)]
        known = [
            int(np.prod(kind.shape)) * kind.cell_dtype.itemsize
            for kind in kinds
            if kind.shape is not None and kind.cell_dtype is not None
        ]
        self.known = len(known) == len(kinds)
        self.row_bytes = sum(known)

    def rows(self) -> int:
        n = BYTES // max(self.row_bytes, 1) if self.known else FIRST
        if self.known and n < self.batch <= LARGEST // max(self.row_bytes, 1):
            n = self.batch
        if self.most is not None:
            n = min(n, self.most)
        return self._even(min(n, self._shared()))

    def _shared(self) -> int:
        """Rows up to which the threads that there are have as much to do, to the end."""
        most = int(FILES / self.weight) if self.weight else LARGEST
        if self.left is not None and self.workers > 1:
            small = int(SMALL / self.weight) if self.weight else 1
            most = min(most, max(-(-self.left // (2 * self.workers)), small))
        return max(most, 1)

    def _even(self, n: int) -> int:
        """Whole batches, each of which is a view of a piece, or equal parts of one."""
        if n >= self.batch:
            return n // self.batch * self.batch
        return -(-self.batch // -(-self.batch // max(n, 1)))

    def merged(self, source: int) -> int:
        """Rows of a piece where those of small sources, such as this one, may be put together.

        A batch within one piece is a view of it, and a task for each 16 pictures costs. Rows
        without pixels are copied for next to nothing: they need not be a whole batch.
        """
        n = min(self.rows(), max(source, MERGED))
        if n >= self.batch or not self.row_bytes:
            return self._even(n)
        return min(n, max(source, 1))

    def up_to(self, n: int) -> int:
        """Of the next `n` rows those up to the last end of a batch among them."""
        over = (self.at + n) % self.batch
        return n - over if n > over else n

    def took(self, rows: int) -> Place | None:
        """So many rows have been handed out; the place for what is made of a part of a batch."""
        at, self.at = self.at, self.at + rows
        before = self.left
        if self.left is not None:
            self.left = max(self.left - rows, 0)
        start = at % self.batch
        if not self.whole or rows >= self.batch or start + rows > self.batch:
            return None
        if self.room is None or at // self.batch != self.room[0]:
            most = self.batch if before is None else min(self.batch, start + before)
            self.room = at // self.batch, Room(most)
        return Place(self.room[1], start, rows)

    def saw(self, piece: Frame) -> None:
        if len(piece):
            used = sum(a.row_bytes for _, a in arrays_of(piece) if isinstance(a.dtype, ImageDtype))
            self.row_bytes = max(self.row_bytes, used // len(piece))
            self.known = True


def pieces(
    work: Work,
    run: Runner,
    *,
    ahead: int = 2,
    batch: int = 1,
    most: int | None = None,
    whole: bool = True,
) -> Iterator[Frame]:
    """The rows of `work`, in order, piece by piece.

    Parameters
    ----------
    work : Work
    run : Runner
        Closed at the end, however that comes.
    ahead : int
        Pieces under way beyond those that the runner's threads work on.
    batch : int
        Rows that are wanted at once: so many are under way in any case.
    most : int, optional
        Rows of a piece at most.
    whole : bool
        Whether they are wanted as they come: pieces of one batch are then made in one array.
    """
    with _short_switch_interval(run.workers), run:
        window = max(run.workers + ahead, 1) if run.workers else 1
        if work.rows is None:
            waiting: deque[Any] = deque()
            for source in work.sources:
                waiting.append(run.load(source))
                if len(waiting) >= window:
                    yield run.result(waiting.popleft())
            while waiting:
                yield run.result(waiting.popleft())
            return
        size = _Size(work.meta, batch, most, run.workers, work.total, work.weight, whole)
        yield from _sliced(work, work.rows, run, window, size)


class _Piece(NamedTuple):
    slices: list[Slice]
    future: Any


class _Rows:
    """Rows of sources, taken in order; the sources to come are read ahead."""

    def __init__(self, work: Work, run: Runner, ahead: int) -> None:
        self.run, self.ahead, self.light = run, ahead, work.light
        self.sources = (run.load(source, sliced=True, light=work.light) for source in work.sources)
        self.loading = deque(islice(self.sources, ahead))
        self.loaded, self.start, self.end = None, 0, 0
        self.held: list[Slice] = []  # a piece that waits for more rows

    def _most(self, size: _Size) -> int:
        return size.merged(self.end) if self.light else size.rows()

    def take(self, size: _Size, wait: bool) -> tuple[list[Slice], Place | None]:
        """Slices of the next piece; none at the end, and, unless told to `wait`, not yet.

        With the place for what is made of them.
        """
        while self.start < self.end or self.loading:
            if self.start >= self.end:
                if not wait and not self.run.ready(self.loading[0]):
                    return [], None
                self.loaded, self.start = self.loading.popleft(), 0
                self.end = self.run.count(self.loaded)
                wanted = self.ahead * min(-(-self._most(size) // max(self.end, 1)), 16)
                self.loading.extend(islice(self.sources, max(wanted - len(self.loading), 1)))
                continue
            have, most = sum(map(len, self.held)), size.up_to(self._most(size))
            stop = min(self.start + max(most - have, 1), self.end)
            self.held.append(Slice(self.loaded, self.start, stop))
            self.start = stop
            if have + len(self.held[-1]) >= most or not self.light:
                break
        found, self.held = self.held, []
        return found, size.took(sum(map(len, found)))


def _sliced(work: Work, rows: Rows, run: Runner, window: int, size: _Size) -> Iterator[Frame]:
    left = _Rows(work, run, window if run.workers else 1)
    under_way: deque[_Piece] = deque()
    while True:
        while (
            len(under_way) < window
            or sum(len(each) for piece in under_way for each in piece.slices) < size.batch
        ):
            slices, place = left.take(size, wait=not under_way)
            if not slices:
                break
            under_way.append(_Piece(slices, run.run(rows, slices, place)))
        if not under_way:
            return
        piece = under_way.popleft()
        try:
            made = run.result(piece.future)
        except ImageError:
            # those before the one that failed are good
            for each in piece.slices:
                for i in range(each.start, each.stop):
                    yield run.result(run.run(rows, [Slice(each.loaded, i, i + 1)]))
            continue
        size.saw(made)
        yield made
        del made, piece


_lock = threading.Lock()
_users = 0
_before = 0.005


INTERVAL, FEW = 0.0005, 4  # seconds for a few threads; of more, each asks as much less often


@contextmanager
def _short_switch_interval(workers: int) -> Iterator[None]:
    """Threads that decode wait less for Python code that runs between batches.

    A consumer in pure Python holds the interpreter for 5 ms each time that a codec hands back. To
    ask for it wakes a thread: where many wait for one another, that is most of what they do.
    """
    global _users, _before
    with _lock:
        if _users == 0:
            _before = sys.getswitchinterval()
            sys.setswitchinterval(min(INTERVAL * max(workers / FEW, 1), _before))
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                sys.setswitchinterval(_before)
