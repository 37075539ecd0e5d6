"""The two physical layouts of cells, and the text that goes with them. No pandas here.

`Uniform` is one ``(N, ...)`` array; `Ragged` is one flat buffer with a start and a length per
cell. Slices of both are views. `take` copies what it keeps when that is under half of the buffer,
so that four rows kept of four hundred do not hold the other 396 in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["Ragged", "Text", "Uniform", "concat_text", "take_text", "text"]

Array = npt.NDArray[Any]
Index = npt.NDArray[np.int64]
Text = pa.LargeStringArray | None

# A cell's dtype is stored as its place in this list.
DTYPES = [
    np.dtype(name)
    for name in (
        "uint8 uint16 float32 bool int8 int16 uint32 int32 uint64 int64 float16 float64".split()
    )
]
CODES = {dtype: code for code, dtype in enumerate(DTYPES)}


# -- text: paths and reasons, an Arrow array or None where every value is null --------------------
def text(values: Sequence[str | None] | Text) -> Text:
    """An Arrow array of strings; None when there is none in it."""
    if values is None or isinstance(values, pa.Array):
        return values
    if all(value is None for value in values):
        return None
    return pa.array(values, pa.large_string())


def take_text(values: Text, index: Index, missing: npt.NDArray[np.bool_] | None = None) -> Text:
    """Values at `index`; null where `missing`."""
    if values is None:
        return None
    return values.take(pa.array(index, mask=missing))


def concat_text(parts: Sequence[tuple[Text, int]]) -> Text:
    """One array of several, each given with its length."""
    if all(part is None for part, _ in parts):
        return None
    return pa.concat_arrays(
        [pa.nulls(n, pa.large_string()) if part is None else part for part, n in parts]
    )


def compact_text(values: Text) -> Text:
    """A copy that holds no bytes of rows outside a slice."""
    if values is None or values.null_count == len(values):
        return None
    held = values.get_total_buffer_size() > values.nbytes + 64  # (buffers are padded)
    return pa.concat_arrays([values]) if held or values.offset else values


def text_nbytes(values: Text) -> int:
    """Bytes of a slice."""
    return 0 if values is None else int(values.nbytes)


# -- pixels and bytes -----------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Uniform:
    """Cells of one shape and dtype: `values` is ``(N, *shape)``."""

    values: Array

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> Uniform:
        return Uniform(self.values[rows])

    def cell(self, i: int) -> Array:
        """Pixels of one row: a view."""
        view: Array = self.values[i]
        return view

    def take(self, index: Index) -> Uniform:
        """Rows at `index` (all in range)."""
        return Uniform(self.values[index])

    @property
    def nbytes(self) -> int:
        """Bytes of the rows."""
        return int(self.values.nbytes)

    def compact(self) -> Uniform:
        """The same rows holding no other memory."""
        return Uniform(np.ascontiguousarray(self.values)) if self.values.base is not None else self

    @staticmethod
    def concat(parts: Sequence[Uniform]) -> Uniform:
        """Rows of `parts`, one after the other."""
        return Uniform(np.concatenate([part.values for part in parts]))

    @staticmethod
    def empty(n: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Uniform:
        """`n` cells of zeros."""
        return Uniform(np.zeros((n, *shape), dtype))


@dataclass(frozen=True, eq=False)
class Ragged:
    """Cells of any size: bytes, or arrays whose shape and dtype stand beside them.

    `buffer` is flat uint8; `start` and `length` (int64) are in bytes. `shape` is ``(N, D)`` int32
    padded with -1, `code` the place of each cell's dtype in `DTYPES`; both None for plain bytes.
    """

    buffer: npt.NDArray[np.uint8]
    start: Index
    length: Index
    shape: npt.NDArray[np.int32] | None = None
    code: npt.NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.start)

    def _rows(self, rows: Any) -> Ragged:
        shape = None if self.shape is None else self.shape[rows]
        code = None if self.code is None else self.code[rows]
        return Ragged(self.buffer, self.start[rows], self.length[rows], shape, code)

    def __getitem__(self, rows: slice) -> Ragged:
        return self._rows(rows)

    def cell(self, i: int) -> Array:
        """Pixels (or, without a shape, uint8 bytes) of one row: a view."""
        start = int(self.start[i])
        flat = self.buffer[start : start + int(self.length[i])]
        if self.shape is None or self.code is None:
            return flat
        size = self.shape[i]
        dtype = DTYPES[self.code[i]]
        shape = size[size >= 0]
        if start % dtype.itemsize:  # a buffer that came from elsewhere need not be aligned
            flat = flat.copy()
        return flat.view(dtype).reshape(shape)

    def take(self, index: Index) -> Ragged:
        """Rows at `index` (all in range)."""
        rows = self._rows(index)
        return rows.compact() if 2 * rows.nbytes < self.buffer.nbytes else rows

    @property
    def nbytes(self) -> int:
        """Bytes of the rows, their positions included."""
        extra = sum(a.nbytes for a in (self.shape, self.code) if a is not None)
        return int(self.length.sum()) + self.start.nbytes + self.length.nbytes + extra

    @property
    def dense(self) -> bool:
        """Whether the cells follow each other in the buffer and fill it."""
        ends = np.cumsum(self.length)
        total = int(ends[-1]) if len(ends) else 0
        return self.buffer.nbytes == total and bool((self.start == ends - self.length).all())

    def compact(self) -> Ragged:
        """The same rows in a buffer of their own, in order."""
        if self.dense:
            return self
        ends = np.cumsum(self.length)
        first = int(self.start[0]) if len(self) else 0
        if len(self) and bool((self.start - first == ends - self.length).all()):
            buffer = self.buffer[first : first + int(ends[-1])].copy()
        else:
            buffer = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
            for start, length, end in zip(
                self.start.tolist(), self.length.tolist(), ends.tolist(), strict=True
            ):
                buffer[end - length : end] = self.buffer[start : start + length]
        return Ragged(buffer, ends - self.length, self.length, self.shape, self.code)

    @staticmethod
    def concat(parts: Sequence[Ragged]) -> Ragged:
        """Rows of `parts`, one after the other."""
        parts = [part.compact() for part in parts]
        base = np.cumsum([0, *(part.buffer.nbytes for part in parts)])
        start = [part.start + offset for part, offset in zip(parts, base[:-1], strict=True)]
        shape = code = None
        if any(part.shape is not None for part in parts):
            depth = max(part.shape.shape[1] for part in parts if part.shape is not None)
            shape = np.concatenate([_pad_shape(part, depth) for part in parts])
            code = np.concatenate(
                [np.zeros(len(p), np.uint8) if p.code is None else p.code for p in parts]
            )
        return Ragged(
            np.concatenate([part.buffer for part in parts]),
            np.concatenate(start),
            np.concatenate([part.length for part in parts]),
            shape,
            code,
        )

    @staticmethod
    def of_bytes(cells: Iterable[bytes | memoryview | Array | None]) -> Ragged:
        """Encoded pictures, one copy each into the common buffer."""
        flat = [_as_bytes(cell) for cell in cells]
        length = np.array([part.nbytes for part in flat], np.int64)
        return Ragged(_join(flat), np.cumsum(length) - length, length)

    @staticmethod
    def of_arrays(cells: Iterable[Array | None]) -> Ragged:
        """Arrays of any shape and dtype, one copy each into the common buffer."""
        arrays = [None if cell is None else np.ascontiguousarray(cell) for cell in cells]
        depth = max([3, *(a.ndim for a in arrays if a is not None)])
        shape = np.full((len(arrays), depth), -1, np.int32)
        code = np.zeros(len(arrays), np.uint8)
        flat = []
        for i, cell in enumerate(arrays):
            if cell is None:
                flat.append(np.empty(0, np.uint8))
                continue
            if cell.dtype not in CODES:
                raise TypeError(f"pixels are numbers or booleans; got an array of {cell.dtype}")
            shape[i, : cell.ndim] = cell.shape
            code[i] = CODES[cell.dtype]
            flat.append(cell.reshape(-1).view(np.uint8))
        length = np.array([part.nbytes for part in flat], np.int64)
        start = np.cumsum(length) - length
        return Ragged(_join(flat), start, length, shape, code)


def _as_bytes(cell: bytes | memoryview | Array | None) -> Array:
    return np.empty(0, np.uint8) if cell is None else np.frombuffer(cell, np.uint8)


def _join(flat: list[Array]) -> npt.NDArray[np.uint8]:
    return np.concatenate(flat) if flat else np.empty(0, np.uint8)


def _pad_shape(part: Ragged, depth: int) -> npt.NDArray[np.int32]:
    out = np.full((len(part), depth), -1, np.int32)
    if part.shape is not None:
        out[:, : part.shape.shape[1]] = part.shape
    return out
