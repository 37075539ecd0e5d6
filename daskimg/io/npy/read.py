"""NumPy files: rows of .npy and .npz as columns."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import dask.dataframe as dd
import numpy as np
import pandas as pd

from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype, check_policy
from daskimg.column.storage import Uniform
from daskimg.engine import gauge
from daskimg.engine.ops import policy_of
from daskimg.engine.program import STRING
from daskimg.errors import ImageError, quoted, reason_of, whole
from daskimg.io import shards as sh
from daskimg.io.listing.find import known_extensions
from daskimg.io.npy import format as nf
from daskimg.io.npy.layout import Layout
from daskimg.lazy.source import from_reader
from daskimg.transport import fetch
from daskimg.wanted import looking
from daskimg.words import READERS, known_as

__all__ = ["read_numpy"]

NAMES = re.compile(r"\.np[yz]$", re.IGNORECASE)
PART_BYTES, HEADERS = 32 * 2**20, 16  # of a partition in memory; headers read at once


@known_as(READERS)
def read_numpy(
    urlpath: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    column: str = "image",
    column_names: Sequence[str] | None = None,
    file_extensions: str | Sequence[str] | None = None,
    rows_per_partition: int | None = None,
    on_error: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> dd.DataFrame:
    """Read arrays whose first axis is the rows, none of them loaded before it is computed.

    Parameters
    ----------
    urlpath : str, path, or a list of these
        ``.npy`` and ``.npz`` files, a folder or a glob of them, on any fsspec filesystem. Their
        rows follow each other, sorted by path.
    column : str
        The name of the column that a plain array becomes.
    column_names : list of str, optional
        Which keys of ``.npz`` files, or fields of structured arrays, to read, in this order;
        None: all. Of an array ``(N, D)``: names for its D columns of numbers.
    file_extensions : str or list of str, optional
        Which files of a folder to take, ``"*"`` for all; None: ``.npy`` and ``.npz``.
    rows_per_partition : int, optional
        None: 32 MiB of values at most.
    on_error : {"raise", "null"}, optional
        What damage does: end the run, or make the rows null with a reason (where they are
        pictures or tensors; plain numbers have no such null, and end the run where they are
        asked for). A damaged array of a ``.npz`` file costs no other one.
    storage_options : dict, optional
        Options of the filesystem.

    Returns
    -------
    dask.dataframe.DataFrame
        Arrays ``(N, H, W)`` and ``(N, H, W, 1|3|4)`` are pictures of one shape
        (``image[uint8, HxWxC]``), ``(N, D)`` and others are tensors, ``(N,)`` plain columns.
        One RangeIndex, divisions known. Building it reads headers only.

    Raises
    ------
    FileNotFoundError
        When nothing matches.
    ValueError
        For pickled objects (never loaded), files whose arrays differ in shape or dtype (both
        are named), keys with different numbers of rows, files that are no arrays or end early.

    Examples
    --------
    >>> np.save("digits.npy", np.zeros((10, 28, 28), "uint8"))
    >>> df = di.read_numpy("digits.npy", column="digit")
    >>> df.dtypes.astype(str).to_dict(), len(df)
    ({'digit': 'image[uint8, 28x28]'}, 10)
    >>> np.savez("shop.npz", image=np.zeros((4, 8, 8, 3), "uint8"), label=np.arange(4))
    >>> di.read_numpy("shop.npz", column_names=["label", "image"]).dtypes.astype(str).tolist()
    ['int64', 'image[uint8, 8x8x3]']
    """
    if rows_per_partition is not None:
        rows_per_partition = whole("rows_per_partition", rows_per_partition)
    if isinstance(column_names, str):
        raise TypeError(f"column_names is a list of names; got {quoted(column_names)}")
    policy = check_policy(on_error)
    source = fetch.Source(storage_options)
    shards = sh.list_shards(urlpath, _names(file_extensions), source)
    with ThreadPoolExecutor(HEADERS) as pool:
        files = list(pool.map(lambda shard: _looked_at(shard, source, column_names), shards))
    good = [file for file in files if file.arrays]  # whole, or cut off behind what they say
    strict = policy_of(ImageDtype("encoded", on_error=policy)) == "raise"
    if strict or not good:
        _refuse_damaged(files)
    first = good[0]
    for file in good[1:]:
        _check_alike(first, file)
    layout = Layout.of(first.arrays, first.shard.shown, column, column_names, policy)
    if not all(isinstance(dtype, ImageDtype) for dtype in layout.dtypes.values()):
        _refuse_damaged(files)  # a plain column has nowhere to keep a reason
    most = rows_per_partition or max(1, PART_BYTES // max(1, first.row_bytes))
    parts, starts = _cut(files, most)
    meta = pd.DataFrame({name: pd.Series([], dtype=d) for name, d in layout.dtypes.items()})
    divisions = [*starts[:-1], max(starts[-1] - 1, 0)]
    reader = Reader(layout, source, strict)
    return from_reader(
        reader,
        parts,
        meta=meta,
        divisions=divisions,
        lengths=[sum(piece.rows for piece in part.pieces) for part in parts],
        label="read-numpy",
        stores=[file.shard.path for file in files],
    )


def _names(given: str | Sequence[str] | None) -> re.Pattern[str]:
    if given is None:
        return NAMES
    endings = known_extensions(given).extensions or [""]
    return re.compile(rf"({'|'.join(map(re.escape, sorted(endings)))})$", re.IGNORECASE)


# -- what the files hold --------------------------------------------------------------------------
class File(NamedTuple):
    """A file's arrays, or why they cannot be read."""

    shard: sh.Shard
    arrays: dict[str, nf.Header]  # by key; "" is the one of a .npy file
    error: str | None = None
    held: int | None = None  # rows that are there, of a file that ends early

    @property
    def rows(self) -> int:
        """Rows that the file should have; one for a file that nobody can read."""
        return next((head.shape[0] for head in self.arrays.values()), 1)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return sum(head.row_bytes for head in self.arrays.values())


def _looked_at(shard: sh.Shard, source: fetch.Source, names: Sequence[str] | None) -> File:
    try:
        with sh.open_shard(shard, source, head=True) as file:
            arrays = nf.read_headers(file, names, shard.size)
        head = arrays.get("")
        if head is None or shard.size is None or shard.size >= head.end:
            return File(shard, arrays)
        held = 0 if head.fortran else max(0, shard.size - head.offset) // max(1, head.row_bytes)
        text = f"the file ends after {shard.size:,} of {head.end:,} bytes"
        return File(shard, arrays, reason_of("read", EOFError(text)), held)
    except nf.RefusedError as error:
        raise ValueError(f"{shard.shown}: {error}") from None
    except (ValueError, OSError, EOFError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        return File(shard, {}, reason_of("read", error))


def _refuse_damaged(files: Sequence[File]) -> None:
    for file in files:
        if file.error is not None:
            raise ImageError(file.error, file.shard.path)


def _check_alike(first: File, file: File) -> None:
    one, other = first.arrays, file.arrays
    if one.keys() != other.keys():
        raise ValueError(
            f"{first.shard.shown} holds {[*one]} and {file.shard.shown} holds {[*other]}: read "
            "files of the same keys together, or name those that all have with column_names="
        )
    for key, head in one.items():
        if (head.shape[1:], head.dtype) != (other[key].shape[1:], other[key].dtype):
            raise ValueError(
                f"arrays differ: {first.shard.shown} has rows of {_row(head)}, "
                f"{file.shard.shown} of {_row(other[key])}; read them apart, each with its own "
                "read_numpy"
            )


def _row(head: nf.Header) -> str:
    return f"shape {head.shape[1:]}, {head.dtype}"


# -- rows -----------------------------------------------------------------------------------------
class Piece(NamedTuple):
    """Rows of one file."""

    shard: sh.Shard
    first: int
    rows: int
    head: nf.Header | None  # of a .npy file
    error: str | None
    held: int | None


class Lost(NamedTuple):
    """Why an array's rows cannot be read."""

    reason: str
    error: Exception


class Part(NamedTuple):
    """Rows of a partition."""

    row: int  # the index of the first
    pieces: tuple[Piece, ...]


def _cut(files: Sequence[File], most: int) -> tuple[list[Part], list[int]]:
    """Parts of at most `most` rows, and where they begin and the last one ends."""
    parts: list[Part] = []
    pieces: list[Piece] = []
    row = held = 0
    for file in files:
        for first in itertools.count(0, most):
            rows = min(most, file.rows - first)
            if rows <= 0:
                break
            if pieces and held + rows > most:
                parts.append(Part(row, tuple(pieces)))
                row, pieces, held = row + held, [], 0
            head = file.arrays.get("")
            pieces.append(Piece(file.shard, first, rows, head, file.error, file.held))
            held += rows
    if pieces or not parts:
        parts.append(Part(row, tuple(pieces)))
    return parts, [*(part.row for part in parts), row + held]


@dataclass(frozen=True)
class Reader:
    """Reads one part."""

    layout: Layout
    source: fetch.Source
    strict: bool  # damage ends the run

    def __call__(self, part: Part, columns: Sequence[str]) -> pd.DataFrame:
        with looking() as check:
            found = self._found(part, columns, check)
        made = {name: self._column(found[name], self.layout.dtypes[name], part) for name in columns}
        rows = sum(piece.rows for piece in part.pieces)
        index = pd.RangeIndex(part.row, part.row + rows)
        return gauge.read(pd.DataFrame(made, index=index, copy=False))

    def _found(
        self, part: Part, columns: Sequence[str], check: Callable[[], None]
    ) -> dict[str, list[Any]]:
        """The values of each column, piece by piece."""
        dtypes, places = self.layout.dtypes, self.layout.places
        found: dict[str, list[Any]] = {name: [] for name in columns}
        keys = {places[name][0] for name in columns}
        for piece in part.pieces:
            check()
            arrays = self._arrays(piece, keys)
            for name in columns:
                key, field = places[name]
                values = arrays[key]
                if isinstance(values, Lost):
                    if self.strict or not isinstance(dtypes[name], ImageDtype):
                        raise ImageError(values.reason, piece.shard.path) from values.error
                elif isinstance(field, str):
                    values = values[field]
                elif field is not None:
                    values = values[:, field]
                found[name].append(values)
        return found

    def _arrays(self, piece: Piece, keys: Iterable[str]) -> dict[str, Any]:
        """The rows of a piece by key, those of a damaged file that are there; or why not."""
        rows = piece.rows
        if piece.error is not None:
            rows = min(max(0, (piece.held or 0) - piece.first), rows)
            if not rows:
                return dict.fromkeys(keys, Lost(piece.error, EOFError(piece.error)))
        found: dict[str, Any] = {}
        for key in keys:
            try:
                found[key] = self._array(piece, key, rows)
            except (ValueError, EOFError, OSError) as error:
                found[key] = Lost(reason_of("read", error), error)
        return found

    def _array(self, piece: Piece, key: str, rows: int) -> Any:
        if piece.head is None:
            with sh.open_shard(piece.shard, self.source, head=True) as file:
                return nf.read_member(file, key, piece.first, rows)
        if piece.head.fortran:
            local = fetch.local_path(piece.shard.path)
            data: Any = local or sh.open_shard(piece.shard, self.source).read()
            return piece.head.strided(data, piece.first, rows)
        start, end = piece.head.span(piece.first, rows)
        return piece.head.values(sh.read_range(piece.shard, self.source, start, end), rows)

    def _column(self, values: list[Any], dtype: Any, part: Part) -> Any:
        if isinstance(dtype, ImageDtype):
            return self._cells(values, dtype, part.pieces)
        if not values:
            return pd.array([], dtype)
        joined = np.concatenate(values)
        if dtype == STRING:
            if joined.dtype.kind == "S":
                joined = np.char.decode(joined, "utf-8")
            return pd.array(joined.astype(object), STRING)
        return joined.astype(joined.dtype.newbyteorder("="))  # a copy: its own, writable

    def _cells(self, values: list[Any], dtype: ImageDtype, pieces: Sequence[Piece]) -> ImageArray:
        total = sum(piece.rows for piece in pieces)
        if len(values) == 1 and not isinstance(values[0], Lost) and len(values[0]) == total:
            whole = np.ascontiguousarray(values[0], dtype.cell_dtype)
            return ImageArray(dtype, np.ones(total, bool), Uniform(whole))
        data = Uniform.empty(total, dtype.cell_dtype, dtype.shape)  # type: ignore[arg-type]
        valid = np.zeros(total, bool)
        paths: list[str | None] = [None] * total
        errors: list[str | None] = [None] * total
        row = 0
        for piece, some in zip(pieces, values, strict=True):
            error = piece.error
            if isinstance(some, Lost):
                error, some = some.reason, ()
            held, end = row + len(some), row + piece.rows
            if len(some):
                data.values[row:held] = some
                valid[row:held] = True
            lost = end - held
            paths[held:end] = [piece.shard.path] * lost
            errors[held:end] = [error] * lost
            row = end
        return ImageArray(dtype, valid, data, paths, errors)
