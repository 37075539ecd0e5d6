"""The two physical layouts of cells. No pandas here.

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

__all__ = [
    "BYTES",
    "CODES",
    "DTYPES",
    "KINDS",
    "PATH",
    "Ragged",
    "Uniform",
    "held_by",
    "mixed",
]

Array = npt.NDArray[Any]
Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# A cell's dtype is stored as its place in this list.
_NAMES = ("uint8", "uint16", "float32", "bool", "int8", "int16", "uint32", "int32", "uint64")
DTYPES = [np.dtype(name) for name in (*_NAMES, "int64", "float16", "float64")]
CODES = {dtype: code for code, dtype in enumerate(DTYPES)}
# What a cell is where each is of its own kind, and this one no array.
BYTES, PATH = len(DTYPES), len(DTYPES) + 1
PADDING = 64  # bytes that Arrow rounds buffers up to
KINDS = [*(dtype.name for dtype in DTYPES), "bytes", "path"]


def held_by(array: Array | None) -> int:
    """Bytes of the memory that an array keeps, with those around a view."""
    if array is None:
        return 0
    while isinstance(array.base, np.ndarray):
        array = array.base
    try:
        return int(array.nbytes if array.base is None else memoryview(array.base).nbytes)
    except TypeError:  # of somebody who does not tell
        return int(array.nbytes)


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

    content = cell

    def take(self, index: Index, missing: Mask | None = None) -> Uniform:
        """Rows at `index` (all in range); zeros where `missing`."""
        values = self.values[index]
        if missing is not None:
            values[missing] = 0
        return Uniform(values)

    def put(self, rows: Index, new: Uniform | None) -> Uniform:
        """A copy in which `rows` hold `new`, zeros where it is None."""
        values = self.values.copy()
        values[rows] = 0 if new is None else new.values
        return Uniform(values)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return held_by(self.values)

    @property
    def row_bytes(self) -> int:
        """Bytes of the rows alone."""
        return int(self.values.nbytes)

    def apart(self) -> Uniform:
        """The same rows in memory that holds no others: themselves, where it does not."""
        alone = self.nbytes <= self.row_bytes + PADDING
        return self if alone else Uniform(self.values.copy())

    def tight(self) -> Uniform:
        """The same rows, contiguous: views where they are."""
        return Uniform(np.ascontiguousarray(self.values))

    def ragged(self, valid: Mask) -> Ragged:
        """The same cells on the same memory, each with its shape; null where not `valid`."""
        values = np.ascontiguousarray(self.values)
        n, shape = len(values), values.shape[1:]
        size = np.full((n, max(3, len(shape))), -1, np.int32)
        size[:, : len(shape)] = shape
        step = values.nbytes // n if n else 0
        cells = Ragged(
            values.reshape(-1).view(np.uint8) if values.size else np.empty(0, np.uint8),
            np.arange(n, dtype=np.int64) * step,
            np.full(n, step, np.int64),
            size,
            np.full(n, CODES[values.dtype], np.uint8),
        )
        return cells if valid.all() else cells.blank(~valid)

    @staticmethod
    def concat(parts: Sequence[Uniform]) -> Uniform:
        """Rows of `parts`, one after the other: where they lie so already, a view of them."""
        values = [part.values for part in parts]
        whole = _in_a_row(values)
        return Uniform(np.concatenate(values) if whole is None else whole)

    @staticmethod
    def empty(n: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Uniform:
        """`n` cells of zeros."""
        return Uniform(np.zeros((n, *shape), dtype))


@dataclass(frozen=True, eq=False)
class Ragged:
    """Cells of any size: bytes, or arrays whose shape and dtype stand beside them.

    `buffer` is flat uint8; `start` and `length` (int64) are in bytes. `shape` is ``(N, D)`` int32
    padded with -1, `code` the place of each cell's dtype in `DTYPES` (of a cell that is no array:
    `BYTES` or `PATH`); both None for plain bytes. A null cell has no bytes and no axes.
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
        size, code = self.shape[i], self.code[i]
        if code >= BYTES:
            return flat
        dtype = DTYPES[code]
        shape = size[size >= 0]
        if flat.ctypes.data % dtype.itemsize:  # cells of 1 and 4 bytes a value share the buffer
            flat = flat.copy()
        pixels: Array = flat.view(dtype).reshape(shape)
        return pixels

    def content(self, i: int) -> memoryview | Array | None:
        """What one row holds: a view of encoded bytes, pixels, or None of a path."""
        code = BYTES if self.code is None else self.code[i]
        if code == PATH:
            return None
        cell = self.cell(i)
        return memoryview(cell.data) if code == BYTES else cell

    def blank(self, rows: Any) -> Ragged:
        """The same cells, those of `rows` (an index or a mask) null."""

        def cleared(values: Any, empty: int) -> Any:
            if values is not None:
                values = values.copy()
                values[rows] = empty
            return values

        return Ragged(
            self.buffer,
            cleared(self.start, 0),
            cleared(self.length, 0),
            cleared(self.shape, -1),
            cleared(self.code, 0),
        )

    def take(self, index: Index, missing: Mask | None = None) -> Ragged:
        """Rows at `index` (all in range), null where `missing`.

        Under half of the buffer's bytes are copied, so that the buffer can be freed.
        """
        rows = self._rows(index)
        if missing is not None:
            rows = rows.blank(missing)
        return rows.gather() if 2 * int(rows.length.sum()) < self.buffer.nbytes else rows

    def put(self, rows: Index, new: Ragged | None) -> Ragged:
        """A copy in which `rows` hold `new`, null where it is None."""
        if new is None:
            return self.blank(rows)
        order = np.arange(len(self), dtype=np.int64)
        order[rows] = len(self) + np.arange(len(new))
        return Ragged.concat([self.blank(rows), new]).take(order)

    @property
    def nbytes(self) -> int:
        """Bytes held, positions included."""
        return sum(map(held_by, (self.buffer, self.start, self.length, self.shape, self.code)))

    @property
    def row_bytes(self) -> int:
        """Bytes of the rows alone, their positions included."""
        extra = sum(a.nbytes for a in (self.shape, self.code) if a is not None)
        return int(self.length.sum()) + self.start.nbytes + self.length.nbytes + extra

    def apart(self) -> Ragged:
        """The same rows in memory that holds no others: themselves, where it does not."""
        if self.nbytes <= self.row_bytes + 5 * PADDING:
            return self
        rows = self.gather()
        shape = None if rows.shape is None else rows.shape.copy()
        code = None if rows.code is None else rows.code.copy()
        return Ragged(rows.buffer, rows.start, rows.length.copy(), shape, code)

    def tight(self) -> Ragged:
        """The same rows one after the other in a buffer they fill: a view where they are so."""
        filled = self.length > 0
        start, length = self.start[filled], self.length[filled]
        ends = np.cumsum(length)
        if len(start) and not bool((start - start[0] == ends - length).all()):
            return self.gather()
        first = int(start[0]) if len(start) else 0
        last = first + int(ends[-1]) if len(start) else 0
        return Ragged(
            self.buffer[first:last],
            np.cumsum(self.length) - self.length,
            np.ascontiguousarray(self.length),
            None if self.shape is None else np.ascontiguousarray(self.shape),
            None if self.code is None else np.ascontiguousarray(self.code),
        )

    def gather(self) -> Ragged:
        """The same rows, one after the other in a buffer of their own."""
        ends = np.cumsum(self.length)
        buffer = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
        self._write(buffer, ends)
        return Ragged(buffer, ends - self.length, self.length, self.shape, self.code)

    def _write(self, buffer: npt.NDArray[np.uint8], ends: Index) -> None:
        """The bytes of the rows into `buffer`, where they end at `ends`; runs of them at once."""
        if not len(self):
            return
        gaps = np.diff(self.start) != self.length[:-1]
        first = np.flatnonzero(np.concatenate([[True], gaps]))
        last = np.concatenate([first[1:], [len(self)]]) - 1
        starts, stops = self.start[first], self.start[last] + self.length[last]
        for start, stop, end in zip(
            starts.tolist(), stops.tolist(), ends[last].tolist(), strict=True
        ):
            buffer[end - (stop - start) : end] = self.buffer[start:stop]

    @staticmethod
    def concat(parts: Sequence[Ragged]) -> Ragged:
        """Rows of `parts`, one after the other."""
        length = np.concatenate([part.length for part in parts])
        ends = np.cumsum(length)
        buffer = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
        row = 0
        for part in parts:
            part._write(buffer, ends[row : row + len(part)])
            row += len(part)
        shape = code = None
        if any(part.shape is not None for part in parts):
            depth = max(part.shape.shape[1] for part in parts if part.shape is not None)
            shape = np.concatenate([_pad_shape(part, depth) for part in parts])
            code = np.concatenate(
                [np.zeros(len(p), np.uint8) if p.code is None else p.code for p in parts]
            )
        return Ragged(buffer, ends - length, length, shape, code)

    @staticmethod
    def of_bytes(cells: Iterable[bytes | memoryview | Array | None]) -> Ragged:
        """Encoded pictures, one copy each into the common buffer."""
        flat = [_as_bytes(cell) for cell in cells]
        length = np.array([part.nbytes for part in flat], np.int64)
        return Ragged(_join(flat), np.cumsum(length) - length, length)

    @staticmethod
    def of_cells(cells: Iterable[Array | bytes | memoryview | str | None]) -> Ragged:
        """Arrays of any shape and dtype, one copy each into the common buffer.

        Bytes among them are encoded pictures; of a path (str) it is kept that there is one.
        """
        contents = [_plain(cell) if isinstance(cell, np.ndarray) else cell for cell in cells]
        depth = max([3, *(cell.ndim for cell in contents if isinstance(cell, np.ndarray))])
        shape = np.full((len(contents), depth), -1, np.int32)
        code = np.zeros(len(contents), np.uint8)
        flat = []
        for i, cell in enumerate(contents):
            if isinstance(cell, np.ndarray):
                shape[i, : cell.ndim] = cell.shape
                code[i] = CODES[cell.dtype]
                flat.append(cell.reshape(-1).view(np.uint8))
            elif isinstance(cell, str):
                code[i] = PATH
                flat.append(_as_bytes(None))
            else:
                code[i] = 0 if cell is None else BYTES
                flat.append(_as_bytes(cell))
        length = np.array([part.nbytes for part in flat], np.int64)
        start = np.cumsum(length) - length
        return Ragged(_join(flat), start, length, shape, code)


def mixed(data: Ragged | Uniform | None, valid: Mask) -> Ragged:
    """The same cells, each of a kind of its own; None: the valid ones are paths."""
    if isinstance(data, Uniform):
        return data.ragged(valid)
    if data is not None and data.code is not None:
        return data
    n = len(valid)
    code = np.where(valid, PATH if data is None else BYTES, 0).astype(np.uint8)
    shape = np.full((n, 3), -1, np.int32)
    if data is None:
        nothing = np.zeros(n, np.int64)
        return Ragged(np.empty(0, np.uint8), nothing, nothing, shape, code)
    return Ragged(data.buffer, data.start, data.length, shape, code)


def _as_bytes(cell: bytes | memoryview | Array | None) -> Array:
    return np.empty(0, np.uint8) if cell is None else np.frombuffer(cell, np.uint8)


def _plain(cell: Array) -> Array:
    """`cell` contiguous and in native byte order."""
    dtype = cell.dtype.newbyteorder("=")
    if dtype not in CODES:
        raise TypeError(f"pixels are numbers or booleans; got an array of {cell.dtype}")
    return np.ascontiguousarray(cell, dtype).reshape(cell.shape)


def _in_a_row(parts: list[Array]) -> Array | None:
    """The rows of `parts` where they lie one after the other in an array that has few besides."""
    whole = parts[0].base
    if not isinstance(whole, np.ndarray) or not whole.flags.c_contiguous:
        return None
    first = parts[0].ctypes.data - whole.ctypes.data
    at = first
    for part in parts:
        same = part.base is whole and part.dtype == whole.dtype and part.flags.c_contiguous
        if not same or part.shape[1:] != whole.shape[1:]:
            return None
        if part.ctypes.data - whole.ctypes.data != at:
            return None
        at += part.nbytes
    if first % max(whole[:1].nbytes, 1) or 2 * (at - first) < whole.nbytes or not at - first:
        return None
    start = first // whole[:1].nbytes
    return whole[start : start + sum(map(len, parts))]


def _join(flat: list[Array]) -> npt.NDArray[np.uint8]:
    return np.concatenate(flat) if flat else np.empty(0, np.uint8)


def _pad_shape(part: Ragged, depth: int) -> npt.NDArray[np.int32]:
    out = np.full((len(part), depth), -1, np.int32)
    if part.shape is not None:
        out[:, : part.shape.shape[1]] = part.shape
    return out
