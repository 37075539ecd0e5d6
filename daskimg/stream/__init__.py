"""Rows of a frame as batches, in order, while the next ones are made.

``runners``  where pieces are made: threads, a cluster, the caller's thread
``window``   pieces of a frame in order, a bounded number of them under way
``batches``  pieces made into batches: cut to size, shuffled, nulls
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any, Literal

import pandas as pd

from daskimg import metrics
from daskimg.batch.batches import check_format
from daskimg.column.dtype import ImageDtype
from daskimg.column.image import Image
from daskimg.errors import quoted, whole
from daskimg.lazy.bare import Frame, as_pandas
from daskimg.stream.batches import batch_of, cut, dropped, shuffled
from daskimg.stream.runners import Runner
from daskimg.stream.window import Work, pieces, runner, work_of
from daskimg.words import FEEDS, SAME, known_as

__all__ = ["iter_batches", "iter_rows", "take_batch"]

OnNull = Literal["raise", "drop", "fill"]


@known_as(FEEDS, **SAME)
def iter_batches(
    frame: Any,
    batch_size: int = 256,
    batch_format: str = "numpy",
    prefetch_partitions: int = 2,
    drop_last: bool = False,
    shuffle_buffer: int | None = None,
    seed: int | None = None,
    on_null: OnNull = "raise",
    *,
    columns: Sequence[str] | None = None,
) -> Iterator[Any]:
    """Batches of rows, in order, while the next ones are read and decoded.

    Pictures in files or encoded are decoded. A bounded number of partitions (or of parts of
    them, where pictures are large) is under way; closing the iterator cancels them.

    Parameters
    ----------
    frame : DataFrame
        Of Dask or of pandas. The work is done where Dask would do it: on the active
        ``distributed.Client``, in threads, or, with ``dask.config.set(scheduler="processes")``, in
        processes of this machine, for more cores than the threads of one can use.
    batch_size : int
        Rows of a batch. Batches cross the borders of partitions.
    batch_format : {"numpy", "pandas", "arrow", "torch", "cupy"}
        ``"numpy"``: a dict of read-only arrays, pictures as ``(N, H, W, C)`` where they are of
        one shape, else as a list; no copy is made of a batch that lies within a partition of
        pixels of one shape.
    prefetch_partitions : int
        How many partitions are made beyond those that the threads work on.
    drop_last : bool
        Leave out the last batch when it is not full.
    shuffle_buffer : int, optional
        Hold so many rows back and draw from them at random.
    seed : int, optional
        Of `shuffle_buffer`: the same order each time, on any scheduler.
    on_null : {"raise", "drop", "fill"}
        What a row without its picture does: raise an `ImageError` that names it, be left out, or
        hold zeros (None in a list of pictures of many shapes).
    columns : list of str, optional
        The columns that batches hold; what the others need is not read.

    Returns
    -------
    iterator

    Raises
    ------
    ImageError
        Where the row that failed would come; the batches before it are good.

    Examples
    --------
    >>> df = di.read_images(folder, size=(8, 8), mode="RGB")
    >>> [batch["image"].shape for batch in df.img.iter_batches(batch_size=3)]
    [(3, 8, 8, 3), (1, 8, 8, 3)]
    """
    check_batches(batch_size, batch_format, on_null, shuffle_buffer)
    if prefetch_partitions < 0:
        raise ValueError(f"prefetch_partitions is 0 or more; got {prefetch_partitions}")
    frame = chosen(frame, columns)

    def batches() -> Iterator[Any]:
        found = row_frames(
            work_of(frame),
            runner(),
            ahead=prefetch_partitions,
            batch=batch_size,
            drop=on_null == "drop",
            shuffle_buffer=shuffle_buffer,
            seed=seed,
        )
        try:
            for rows in cut(found, repeat(batch_size), drop_last):
                yield batch_of(rows, batch_format, on_null)
        finally:
            found.close()

    return batches()


def row_frames(
    work: Work,
    run: Runner,
    *,
    ahead: int = 2,
    batch: int = 1,
    most: int | None = None,
    drop: bool = False,
    shuffle_buffer: int | None = None,
    seed: Any = None,
) -> Any:
    """A generator of the frames that batches are cut from; closing it ends the run."""
    rows = max(batch, shuffle_buffer or 0)
    found = pieces(work, run, ahead=ahead, batch=rows, most=most, whole=shuffle_buffer is None)
    try:
        frames: Iterator[Frame] = dropped(found) if drop else found
        with metrics.job(work.total):
            yield from metrics.handed(
                frames if shuffle_buffer is None else shuffled(frames, shuffle_buffer, seed)
            )
    finally:
        found.close()  # type: ignore[attr-defined]


def chosen(frame: Any, columns: Sequence[str] | None) -> Any:
    """`frame` with `columns` alone."""
    if columns is None:
        return frame
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        known = ", ".join(map(repr, frame.columns))
        raise KeyError(f"no column {quoted(missing[0])}; the columns are {known}")
    return frame[list(columns)]


def check_batches(size: Any, batch_format: str, on_null: str, buffer: int | None) -> None:
    whole("batch_size", size)
    check_format(batch_format)
    if on_null not in ("raise", "drop", "fill"):
        raise ValueError(f'on_null is "raise", "drop" or "fill"; got {on_null!r}')
    if buffer is not None:
        whole("shuffle_buffer", buffer)


def iter_rows(frame: Any) -> Iterator[dict[str, Any]]:
    """Rows as dicts, in order: pictures as read-only arrays, None where a value is null.

    Parameters
    ----------
    frame : DataFrame
        Of Dask or pandas.

    Returns
    -------
    iterator of dict

    Examples
    --------
    >>> df = di.read_images(folder, size=(8, 8))
    >>> [row["image"].shape for row in df.img.iter_rows()]
    [(8, 8, 3), (8, 8, 3), (8, 8, 3), (8, 8, 3)]
    """

    def rows() -> Iterator[dict[str, Any]]:
        found = row_frames(work_of(frame), runner())
        try:
            for part in map(as_pandas, found):
                names = [str(name) for name in part.columns]
                columns = [_values(part[name]) for name in part.columns]
                for values in zip(*columns, strict=True):
                    yield dict(zip(names, values, strict=True))
        finally:
            found.close()

    return rows()


def _values(series: pd.Series) -> list[Any]:
    if isinstance(series.dtype, ImageDtype):
        cells = [cell.data if isinstance(cell, Image) else cell for cell in series.array]
        return [None if cell is pd.NA else cell for cell in cells]
    null = series.isna() & (series.dtype.kind != "f")
    return [None if gone else x for x, gone in zip(series.tolist(), null, strict=True)]


@known_as(FEEDS, **SAME)
def take_batch(
    frame: Any, batch_size: int = 20, batch_format: str = "numpy", on_null: OnNull = "raise"
) -> Any:
    """The first rows as one batch; little more of the frame is read than it holds.

    Parameters
    ----------
    frame : DataFrame
        Of Dask or pandas.
    batch_size : int
        Rows at most.
    batch_format, on_null
        As in `iter_batches`.

    Examples
    --------
    >>> di.read_images(folder, size=(8, 8)).img.take_batch(2)["image"].shape
    (2, 8, 8, 3)
    """
    check_batches(batch_size, batch_format, on_null, None)
    work = work_of(frame)
    run = runner()
    one = -run.workers  # pieces under way: no more than one
    found = row_frames(work, run, ahead=one, most=batch_size, drop=on_null == "drop")
    try:
        rows = next(cut(found, [batch_size], False), work.meta)
    finally:
        found.close()
    return batch_of(rows, batch_format, on_null)
