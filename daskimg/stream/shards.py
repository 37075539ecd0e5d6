"""Which rows one reader of many takes: each row goes to one of them, once an epoch.

The readers of a training run are its ranks, and in each rank the workers of its DataLoader.
Where rows can be counted without reading pictures, every rank gets as many as the others (but
for one), else whole partitions are dealt out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import cloudpickle
import dask
import numpy as np
import pandas as pd

from daskimg.engine.program import Program
from daskimg.io.commit.write import as_dask
from daskimg.kernels import augment
from daskimg.lazy.partitions import Parts, counted, parts, plain, settled, with_programs
from daskimg.stream.window import Work, is_light, with_pixels

__all__ = ["Dataset", "Reader", "plan_batches", "reseeded"]

LIGHT = 4_000_000  # rows of paths that a reader may hold to shuffle all of them
PIECE = 256  # rows of a source cut from them


class Reader(NamedTuple):
    """Which reader this is."""

    rank: int = 0
    ranks: int = 1
    worker: int = 0
    workers: int = 1

    def bounds(self, n: int) -> tuple[int, int]:
        """Of `n` rows, those from start to stop are this reader's."""
        first, last = _share(n, self.rank, self.ranks)
        start, stop = _share(last - first, self.worker, self.workers)
        return first + start, first + stop


def _share(n: int, i: int, of: int) -> tuple[int, int]:
    return n * i // of, n * (i + 1) // of


def plan_batches(n: int, reader: Reader, size: int, drop_last: bool) -> list[int] | None:
    """Rows of each batch, such that all ranks make the same number of batches.

    Where the last batches of some ranks would be one more than those of the others, the others
    split their last batch in two: no row is left out or seen twice. None where that cannot be
    (fewer rows than ranks, or batches of one row that do not come out even).

    Examples
    --------
    >>> [plan_batches(65, Reader(rank, 2), 32, False) for rank in (0, 1)]
    [[16, 16], [32, 1]]
    >>> plan_batches(65, Reader(), 32, True)
    [32, 32]
    """
    shares = [reader._replace(rank=rank).bounds(n) for rank in range(reader.ranks)]
    rows = [stop - start for start, stop in shares]
    mine = rows[reader.rank]
    if drop_last:
        return [size] * (min(rows) // size)
    steps = max(-(-k // size) for k in rows)
    if min(rows) < steps and min(rows) != max(rows):
        return None
    full, rest = divmod(mine, size)
    plan = [size] * full + [rest] * bool(rest)
    if len(plan) < steps:
        last = plan.pop()
        plan += [last - last // 2, last // 2]
    return plan


def reseeded(frame: Any, epoch: int) -> Any:
    """A settled frame whose random ops are `epoch` epochs on."""

    def later(program: Program) -> Program:
        steps = tuple(
            step._replace(params=(*step.params[:2], step.params[2] + epoch, *step.params[3:]))
            if step.name in augment.__all__
            else step
            for step in program.steps
        )
        return program if steps == program.steps else Program(steps, program.dtype)

    return with_programs(frame, later)


class SomeRows:
    """Some rows of a source, in their order or by a seed."""

    def __init__(
        self, source: Callable[[], pd.DataFrame], start: int, stop: int | None, seed: Any = None
    ) -> None:
        self.source, self.start, self.stop, self.seed = source, start, stop, seed

    def __call__(self) -> pd.DataFrame:
        frame = self.source()
        if self.seed is None:
            return frame.iloc[self.start : self.stop]
        order = np.random.default_rng(self.seed).permutation(len(frame))
        return frame.take(order[self.start : self.stop])


class Given:
    """Rows in memory as a source."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame

    def __call__(self) -> pd.DataFrame:
        return self.frame


class Dataset:
    """A frame that is read epoch by epoch, by one reader of many. It pickles.

    Parameters
    ----------
    frame : DataFrame
        Dask or pandas; its files and encoded pictures are decoded.
    """

    def __init__(self, frame: Any) -> None:
        frame = as_dask(frame)
        wanted = with_pixels(frame)
        self.meta = wanted._meta
        # in this process, whatever cluster there is: other readers get it with the dataset
        with dask.config.set({"dataframe.shuffle.method": "tasks"}):
            self.frame = settled(wanted, scheduler="threads")
        self.lengths = self._count(frame)

    @cached_property
    def parts(self) -> Parts:
        """The frame as tasks."""
        return parts(self.frame)

    @cached_property
    def light(self) -> bool:
        """Whether a source holds paths and numbers, no pictures."""
        return is_light(self.parts.source.dtypes)

    def _count(self, frame: Any) -> list[int] | None:
        """Rows of each source, where no picture is opened and no function called to know them."""
        found = self.parts
        if found.rows is None or found.dear:
            return None
        if found.counts is not None:
            return list(found.counts)
        if self.light and found.plain:
            return [len(source()) for source in found.sources]
        if found.filters:
            return None
        column = counted(frame)
        if not plain(column):
            return None
        lengths = column.map_partitions(len, meta=(None, "int64"), enforce_metadata=False)
        return [int(n) for n in lengths.compute(scheduler="threads")]

    def __reduce__(self) -> tuple[Any, ...]:
        state = (self.frame, self.meta, self.lengths)
        return _loaded, (cloudpickle.dumps(state),)

    @cached_property
    def table(self) -> pd.DataFrame:
        """All rows of a light source."""
        return pd.concat([source() for source in self.parts.sources])

    def rows(self) -> int | None:
        """How many rows there are, where that is known."""
        return None if self.lengths is None or self.parts.filters else sum(self.lengths)

    def work(self, reader: Reader, epoch: int, seed: int | None) -> Work:
        """What one reader has to do; in the frame's order where `seed` is None."""
        found = self.parts
        if epoch and (later := reseeded(self.frame, epoch)) is not self.frame:
            found = parts(later)
        draw = None if seed is None else [seed, epoch]
        if self.lengths is None:
            rows = None if found.rows is None or found.dear else found.rows
            sources = found.whole if rows is None else found.sources
            return Work(list(_dealt(sources, reader, draw)), rows, self.meta)
        if draw is not None and self.light and sum(self.lengths) <= LIGHT:
            start, stop = reader.bounds(sum(self.lengths))
            order = np.random.default_rng(draw).permutation(sum(self.lengths))[start:stop]
            pieces = [self.table.take(order[i : i + PIECE]) for i in range(0, len(order), PIECE)]
            return Work([Given(piece) for piece in pieces], found.rows, self.meta)
        return Work(list(self._spans(found, reader, draw)), found.rows, self.meta, self.light)

    def _spans(self, found: Parts, reader: Reader, draw: list[int] | None) -> Iterator[SomeRows]:
        lengths = self.lengths or []
        start, stop = reader.bounds(sum(lengths))
        at = 0
        for i in _order(len(lengths), draw):
            low, high = max(start - at, 0), min(stop - at, lengths[i])
            if low < high:
                yield SomeRows(found.sources[i], low, high, None if draw is None else [*draw, i])
            at += lengths[i]


def _order(n: int, draw: list[int] | None) -> list[int]:
    if draw is None:
        return list(range(n))
    order: list[int] = np.random.default_rng(draw).permutation(n).tolist()
    return order


def _dealt(
    sources: Sequence[Callable[[], pd.DataFrame]], reader: Reader, draw: list[int] | None
) -> Iterator[SomeRows]:
    """Whole partitions, one by one to each reader in turn."""
    readers = reader.ranks * reader.workers
    mine = reader.rank + reader.ranks * reader.worker
    for i in _order(len(sources), draw)[mine::readers]:
        yield SomeRows(sources[i], 0, None, None if draw is None else [*draw, i])


def _loaded(state: bytes) -> Dataset:
    made = Dataset.__new__(Dataset)
    made.frame, made.meta, made.lengths = cloudpickle.loads(state)
    return made
