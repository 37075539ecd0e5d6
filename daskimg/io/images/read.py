"""Pictures in files: `read_images`, which lists them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from time import perf_counter
from typing import Any, NamedTuple

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
from dask.tokenize import tokenize
from pandas.arrays import ArrowStringArray

from daskimg import metrics
from daskimg.column.dtype import check_policy
from daskimg.engine.ops import cells_of
from daskimg.engine.program import STRING
from daskimg.errors import quoted
from daskimg.io.images.of_column import pictures_of
from daskimg.io.listing.find import list_images
from daskimg.io.listing.partitions import parse_partitions, shuffle_order, split_rows
from daskimg.kernels import headers, resizing
from daskimg.lazy.bare import Table
from daskimg.lazy.fusion import bare
from daskimg.lazy.source import from_reader
from daskimg.transport import fetch
from daskimg.transport.stores import local_path, parse
from daskimg.words import READERS, known_as

__all__ = ["read_images"]


@known_as(READERS, file_format=lambda given: {"file_extensions": headers.extensions_of(given)})
def read_images(
    urlpath: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    file_extensions: str | Iterable[str] | None = None,
    recursive: bool = True,
    partitioning: str | Sequence[str] | None = None,
    size: tuple[int, int | None] | None = None,
    mode: str | None = None,
    include_paths: bool = True,
    on_error: str | None = None,
    shuffle: bool = False,
    seed: int | None = None,
    ignore_missing_paths: bool = False,
    files_per_partition: int | None = None,
    blocksize: int | str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> dd.DataFrame:
    """List picture files as a Dask DataFrame; none of them is opened.

    Parameters
    ----------
    urlpath : str, path, or a list of these
        A file, a folder or a glob, ``{a,b}`` and ``{00..99}`` in it too, on any fsspec filesystem.
    file_extensions : str or list of str, optional
        Which files to take, without case; None takes every one that a codec is known for.
    recursive : bool
        Also the folders below.
    partitioning : "hive", list of str, or template, optional
        Columns from the folders: ``k=v`` names, a name for each level below the root, or a
        template such as ``"{category}/{product_id:d}_{n}.jpg"`` for the path below it;
        ``"{**}/{label}/{name}"`` counts from the end.
    size : (height, width), optional
        Decode and resize to this size; a width of None keeps the aspect.
    mode : str, optional
        Decode to this colour mode (``"RGB"``, ``"L"``, ...).
    include_paths : bool
        Keep the column ``path``.
    on_error : {"raise", "null"}, optional
        What a picture that fails does: end the run with an `ImageError`, or become null with a
        reason. None follows ``daskimg.on-error`` ("raise").
    shuffle : bool
        Random order of the files, by `seed`; else sorted by path, and a list in its own order.
    seed : int, optional
        Seed of `shuffle`.
    ignore_missing_paths : bool
        Skip entries of a list that do not exist.
    files_per_partition : int, optional
        None: ``clip(n // 128, 16, 256)``, and at most 32 MiB of encoded bytes.
    blocksize : int or str, optional
        Encoded bytes of a partition at most (``"64MiB"``).
    storage_options : dict, optional
        Options of the filesystem (credentials travel masked).

    Returns
    -------
    dask.dataframe.DataFrame
        Columns ``path`` (absolute, with protocol unless local), ``image`` (``image[file]``;
        pixels with `size` or `mode`), then the partition columns. One global RangeIndex,
        divisions known.

    Raises
    ------
    FileNotFoundError
        When nothing matches, or a path does not exist; it names the path.
    ValueError
        For a size of zero or below, an unknown mode, a path that does not fit `partitioning`.

    Examples
    --------
    >>> df = di.read_images(folder)
    >>> df.dtypes.astype(str).tolist()
    ['string', 'image[file]']
    >>> df.image.img.width.compute().tolist()
    [24, 24, 24, 24]
    """
    if size is not None:
        resizing.resize_shape(1, 1, *_pair(size))
    if mode is not None:
        cells_of(mode)
    policy = check_policy(on_error)
    source = fetch.Source(storage_options)
    start = perf_counter()
    found = list_images(
        urlpath,
        file_extensions=file_extensions,
        recursive=recursive,
        ignore_missing_paths=ignore_missing_paths,
        storage_options=source,
    )
    if metrics.wanted():
        listing = {"images": len(found), "seconds": perf_counter() - start}
        metrics.tell({("list", what): n for what, n in listing.items()})
    extra = parse_partitions(found, partitioning)
    order = shuffle_order(len(found), seed) if shuffle else None
    listed = pd.DataFrame({"path": pd.array(found.paths, STRING), **extra}, copy=False)
    sizes = found.sizes
    if order is not None:
        listed = listed.iloc[order].reset_index(drop=True)
        sizes = None if sizes is None else sizes[order]
    bounds = split_rows(len(found), sizes, files_per_partition, blocksize)
    frame = _from_listing(listed, bounds, sizes)
    column = pictures_of(frame["path"], _source(found.given, source), policy, found.root)
    if size is not None or mode is not None:
        column = column.img.decode(mode)
    if size is not None:
        column = column.img.resize(*size)
    names = ["path", "image", *extra] if include_paths else ["image", *extra]
    return frame.assign(image=column)[names]


def _source(roots: Sequence[str], source: fetch.Source) -> fetch.Source:
    """The options, for what was listed; what no paths can go astray with names no store."""
    remote = [root for root in roots if local_path(root) is None]
    if not source.options and all(parse(root).plain for root in remote):
        return source
    return source.within(remote if len(remote) == len(roots) else ["file://", *remote])


def _pair(size: Any) -> tuple[int, int | None]:
    if isinstance(size, str) or not hasattr(size, "__len__") or len(size) != 2:
        raise ValueError(f"size is (height, width); got {quoted(size)}")
    height, width = size
    sides = (height,) if width is None else (height, width)
    if not all(isinstance(x, Real) and x == x // 1 and not isinstance(x, bool) for x in sides):
        raise ValueError(
            "size is (height, width) in whole pixels, or (height, None), which keeps the aspect; "
            f"got {quoted(size)}"
        )
    return int(height), None if width is None else int(width)


@dataclass(frozen=True, repr=False)
class Rows:
    """Rows of a listing, and where they start."""

    table: pa.Table
    start: int = 0
    nullable: frozenset[str] = frozenset()  # whole numbers of which some are missing

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return tokenize(self.table), self.start, len(self.table), self.nullable

    def __repr__(self) -> str:
        return f"<rows {self.start} to {self.start + len(self.table)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # paths of a folder have much in common: a million take megabytes in a graph, not a hundred
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_stream(sink, self.table.schema, options=options) as writer:
            writer.write_table(self.table)
        return _unpacked, (sink.getvalue().to_pybytes(), self.start, self.nullable)


class Partitions(Sequence[Rows]):
    """The rows of each partition, cut from the listing when they are asked for."""

    def __init__(self, listing: Rows, bounds: np.ndarray[Any, Any], token: str = "") -> None:
        self.listing, self.bounds = listing, bounds
        self.token = token or tokenize(listing, bounds)  # once: Dask asks for it at every op

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self[k] for k in range(len(self))[i]]
        i = range(len(self))[i]
        start, stop = int(self.bounds[i]), int(self.bounds[i + 1])
        table = self.listing.table.slice(start, stop - start)
        return replace(self.listing, table=table, start=start)

    def beside(self, several: int) -> Partitions:
        """The same rows, `several` partitions as one."""
        bounds = np.append(self.bounds[:-1:several], self.bounds[-1])
        return Partitions(self.listing, bounds, f"{self.token}-{several}")

    def __dask_tokenize__(self) -> str:
        return self.token

    def __reduce__(self) -> tuple[Any, ...]:
        return Partitions, (self.listing, self.bounds, self.token)


def _unpacked(packed: bytes, *rest: Any) -> Rows:
    return Rows(pa.ipc.open_stream(packed).read_all(), *rest)


def _list_rows(rows: Rows, columns: list[str] | None = None) -> pd.DataFrame:
    return _listed(rows, columns).pandas()


def _listed(rows: Rows, columns: list[str] | None = None) -> Table:
    table = rows.table if columns is None else rows.table.select(columns)
    # column by column: a task has few rows, and Table.to_pandas costs more than all of them
    arrays = {
        name: _as_pandas(table.column(name), name in rows.nullable) for name in table.column_names
    }
    return Table(pd.RangeIndex(rows.start, rows.start + len(rows.table)), arrays)


bare(_list_rows, _listed, light=True)


def _as_pandas(column: pa.ChunkedArray, nullable: bool) -> Any:
    if pa.types.is_large_string(column.type) or pa.types.is_string(column.type):
        return ArrowStringArray(column)
    if nullable:
        return pd.array(column.to_pylist(), pd.Int64Dtype())
    return column.to_pandas().array


def _from_listing(
    listed: pd.DataFrame, bounds: np.ndarray[Any, Any], sizes: np.ndarray[Any, Any] | None
) -> dd.DataFrame:
    """A listing as a lazy frame: a partition's task holds its own rows, as Arrow."""
    table = pa.Table.from_pandas(listed, preserve_index=False).replace_schema_metadata(None)
    nullable = frozenset(
        str(name) for name in listed if isinstance(listed[name].dtype, pd.Int64Dtype)
    )
    parts = Partitions(Rows(table, nullable=nullable), bounds)
    pa.default_memory_pool().release_unused()  # sorting and comparing took ten times what is kept
    meta = _list_rows(Rows(table.slice(0, 0), nullable=nullable))
    divisions = [*(int(a) for a in bounds[:-1]), max(int(bounds[-1]) - 1, 0)]
    return from_reader(
        _list_rows,
        parts,
        meta=meta,
        divisions=divisions,
        lengths=np.diff(bounds).tolist(),
        weights=None if sizes is None else np.diff(np.append(0, np.cumsum(sizes))[bounds]).tolist(),
        known=ListedColumns(tuple(table.column_names)),
        label="list-images",
    )


class ListedColumns(NamedTuple):
    """A listing is all in the graph."""

    columns: tuple[str, ...]

    def rows(self, parts: Sequence[Rows], columns: Sequence[str]) -> tuple[pd.DataFrame, Any]:
        """The rows of the listing, and the part of each."""
        table = pa.concat_tables([part.table.select(columns) for part in parts])
        sizes = [len(part.table) for part in parts]
        frame = _list_rows(Rows(table, 0, parts[0].nullable))
        return frame, np.repeat(np.arange(len(parts)), sizes)
