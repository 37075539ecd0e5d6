"""Rows as they come, made into batches: cut to size, shuffled, without nulls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from daskimg.batch.batches import to_batch
from daskimg.column.array import ImageArray
from daskimg.column.storage import Uniform
from daskimg.errors import ImageError
from daskimg.lazy.bare import Frame, arrays_of, as_pandas, joined, some_rows

__all__ = ["NullCellError", "batch_of", "cut", "dropped", "shuffled"]


class NullCellError(ImageError):
    """A batch would hold a null cell, and `on_null` is "raise"."""

    def __init__(self, reason: str, path: str | None = None) -> None:
        super().__init__(reason, path)
        where = f" ({path})" if path else ""
        self.args = (
            f'{reason}{where}. on_null="drop" leaves such rows out of the batches, "fill" puts '
            "zeros in their place.",
        )

    def __reduce__(self) -> tuple[type[NullCellError], tuple[str, str | None]]:
        return NullCellError, (self.reason, self.path)


def images_in(frame: Frame) -> Iterator[tuple[Any, ImageArray]]:
    """The image and tensor columns."""
    return ((name, cells) for name, cells in arrays_of(frame) if isinstance(cells, ImageArray))


def dropped(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The rows that have all their pictures."""
    for frame in frames:
        good = np.ones(len(frame), bool)
        for _, cells in images_in(frame):
            good &= cells.valid
        yield frame if good.all() else as_pandas(frame)[good]


def cut(frames: Iterable[Frame], sizes: Iterable[int], drop_last: bool) -> Iterator[Frame]:
    """Frames of `sizes` rows: views where the rows lie in one of `frames`."""
    wanted = iter(sizes)
    size = next(wanted, 0)
    held: list[Frame] = []
    have = 0
    for frame in frames:
        start = 0
        while size and have + len(frame) - start >= size:
            stop = start + size - have
            held.append(some_rows(frame, start, stop))
            yield joined(held)
            held, have, start = [], 0, stop
            size = next(wanted, 0)
        if not size:
            return
        if start < len(frame):
            held.append(some_rows(frame, start, len(frame)))
            have += len(frame) - start
    if held and not drop_last:
        yield joined(held)


def shuffled(frames: Iterable[Frame], size: int, seed: Any) -> Iterator[pd.DataFrame]:
    """The same rows out of order: each is held back among `size` others, and drawn by `seed`.

    What comes out depends on the order of the rows alone, not on how they are cut into frames.
    """
    rng = np.random.default_rng(seed)
    held: dict[int, pd.DataFrame] = {}
    slots = np.empty((0, 2), np.int64)  # (frame, row) of each row held back

    def rows(places: np.ndarray[Any, Any]) -> pd.DataFrame:
        order = np.argsort(places[:, 0], kind="stable")
        numbers, starts = np.unique(places[order, 0], return_index=True)
        found = [
            held[int(number)].take(places[mine, 1])
            for number, mine in zip(numbers, np.split(order, starts[1:]), strict=True)
        ]
        return pd.concat(found).take(np.argsort(order, kind="stable"))

    for number, frame in enumerate(frames):
        if not len(frame):
            continue
        held[number] = as_pandas(frame)
        new = np.column_stack([np.full(len(frame), number), np.arange(len(frame))])
        room = max(size - len(slots), 0)
        slots, new = np.concatenate([slots, new[:room]]), new[room:]
        drawn = (rng.random(len(new)) * size).astype(np.int64)
        out = np.empty_like(new)
        for i, slot in enumerate(drawn.tolist()):
            out[i] = slots[slot]
            slots[slot] = new[i]
        if len(out):
            yield rows(out)
        left = set(slots[:, 0].tolist())
        held = {n: f for n, f in held.items() if n in left}
        if sum(map(len, held.values())) > 2 * size:  # most of what is held has gone out
            held = {number: rows(slots)}
            slots = np.column_stack([np.full(size, number), np.arange(size)])
    if len(slots):
        yield rows(slots[rng.permutation(len(slots))])


def batch_of(rows: Frame, batch_format: str, on_null: str) -> Any:
    """`rows` in a format of `daskimg.batch.batches.FORMATS`, nulls as `on_null` says."""
    gaps = [(name, cells) for name, cells in images_in(rows) if not cells.valid.all()]
    if gaps and on_null == "raise":
        raise _null(*gaps[0])
    return to_batch(rows, batch_format, "cpu") if not gaps else _filled(rows, batch_format, gaps)


def _filled(frame: Frame, batch_format: str, gaps: list[tuple[Any, ImageArray]]) -> Any:
    """Zeros for the pictures that are null; None in a list of pictures of many shapes."""
    rows: pd.DataFrame = as_pandas(frame).copy(deep=False)
    ragged: dict[Any, np.ndarray[Any, Any]] = {}
    for name, cells in gaps:
        if isinstance(cells.data, Uniform) and batch_format != "pandas":
            rows[name] = pd.Series(_zeros(cells), index=rows.index, copy=False)
        elif batch_format in ("numpy", "torch", "cupy"):
            ragged[name] = cells.valid
    if not ragged:
        return to_batch(rows, batch_format, "cpu")
    made = to_batch(rows.drop(columns=list(ragged)), batch_format, "cpu")
    for name, valid in ragged.items():
        good = iter(to_batch(rows.loc[valid, [name]], batch_format, "cpu")[str(name)])
        made[str(name)] = [next(good) if ok else None for ok in valid]
    return {str(name): made[str(name)] for name in rows.columns}


def _null(name: Any, cells: ImageArray) -> NullCellError:
    i = int(np.flatnonzero(~cells.valid)[0])
    path, error = (None if t is None else t[i].as_py() for t in (cells.path, cells.error))
    return NullCellError(error or f"missing: {name!r} has no picture in this row", path)


def _zeros(cells: ImageArray) -> ImageArray:
    """Zeros where the cell is null."""
    values = cells.data.values.copy()  # type: ignore[union-attr]
    values[~cells.valid] = 0
    return ImageArray(cells.dtype, np.ones(len(cells), bool), Uniform(values), cells.path)
