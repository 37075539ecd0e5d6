"""Pictures in files: `read_images` lists them, `images` takes paths that a table holds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
from dask.tokenize import tokenize
from pandas.arrays import ArrowStringArray

from daskimg import fetch, onepass
from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype, check_policy
from daskimg.errors import quoted
from daskimg.io.listing import (
    given_paths,
    list_images,
    parse_partitions,
    shuffle_order,
    split_rows,
)
from daskimg.io.roots import held_root
from daskimg.kernels import geometry, headers
from daskimg.lazy.fusion import bare
from daskimg.lazy.passes import image_op
from daskimg.lazy.source import from_reader
from daskimg.lazy.table import Table
from daskimg.ops import cells_of
from daskimg.program import Program
from daskimg.stores import local_path, parse
from daskimg.words import READERS, known_as

__all__ = ["images", "read_images"]

PATH = pd.StringDtype("pyarrow")


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
        geometry.resize_shape(1, 1, *_pair(size))
    if mode is not None:
        cells_of(mode)
    policy = check_policy(on_error)
    source = fetch.Source(storage_options)
    roots = given_paths(urlpath, source)
    found = list_images(
        roots,
        file_extensions=file_extensions,
        recursive=recursive,
        ignore_missing_paths=ignore_missing_paths,
        storage_options=source,
    )
    extra = parse_partitions(found, partitioning)
    order = shuffle_order(len(found), seed) if shuffle else None
    listed = pd.DataFrame({"path": pd.array(found.paths, PATH), **extra}, copy=False)
    sizes = found.sizes
    if order is not None:
        listed = listed.iloc[order].reset_index(drop=True)
        sizes = None if sizes is None else sizes[order]
    bounds = split_rows(len(found), sizes, files_per_partition, blocksize)
    frame = _from_listing(listed, bounds)
    column = _pictures(frame["path"], _source(roots, source), policy, found.root)
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
    if not all(hasattr(side, "__index__") for side in sides):
        raise ValueError(
            "size is (height, width) in whole pixels, or (height, None), which keeps the aspect; "
            f"got {quoted(size)}"
        )
    return height, width


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


bare(_list_rows, _listed)


def _as_pandas(column: pa.ChunkedArray, nullable: bool) -> Any:
    if pa.types.is_large_string(column.type) or pa.types.is_string(column.type):
        return ArrowStringArray(column)
    if nullable:
        return pd.array(column.to_pylist(), pd.Int64Dtype())
    return column.to_pandas().array


def _from_listing(listed: pd.DataFrame, bounds: np.ndarray[Any, Any]) -> dd.DataFrame:
    """A listing as a lazy frame: a partition's task holds its own rows, as Arrow."""
    table = pa.Table.from_pandas(listed, preserve_index=False).replace_schema_metadata(None)
    nullable = frozenset(
        str(name) for name in listed if isinstance(listed[name].dtype, pd.Int64Dtype)
    )
    parts = Partitions(Rows(table, nullable=nullable), bounds)
    meta = _list_rows(Rows(table.slice(0, 0), nullable=nullable))
    divisions = [*(int(a) for a in bounds[:-1]), max(int(bounds[-1]) - 1, 0)]
    return from_reader(
        _list_rows,
        parts,
        meta=meta,
        divisions=divisions,
        lengths=np.diff(bounds).tolist(),
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


@known_as(READERS)
def images(
    series: Any,
    *,
    kind: Literal["path", "base64"] = "path",
    storage_options: Mapping[str, Any] | None = None,
    on_error: str | None = None,
) -> Any:
    """A column of paths as an image column; nothing is fetched.

    What a column holds is data, wherever it came from. Local paths and plain URLs (http, s3, gs,
    abfs, ...) are opened. Chains of filesystems (``::``) and what opens more than the path
    (reference, zip, caches, ...) are failed rows, unless ``daskimg.allow-paths`` lists their
    store (``zip://::s3://bucket/x.zip``); `read_images` opens any that you write in code.
    `storage_options` are used for object stores, whose endpoint is theirs (s3, gs, ...), and sent
    to another host (http, sftp, ...) only if ``daskimg.allow-paths`` lists it: what a row names
    is no reason to send a password there.

    Parameters
    ----------
    series : Series, Index or sequence
        Paths (str, pathlib), pandas or Dask; nulls stay missing. A path may be a data URL
        (``data:image/png;base64,...``). Objects may also be what else a cell holds: bytes,
        pictures of Pillow, arrays, ``{"bytes": ..., "path": ...}``.
    kind : {"path", "base64"}
        What text is: where a picture is, or the base64 of its file.
    storage_options : dict, optional
        Credentials of the paths' filesystem. They travel with the column's ops, masked. Of web
        servers: ``with dask.config.set({"daskimg.allow-paths": ["https://host"]})`` around the
        lines that make columns.
    on_error : {"raise", "null"}, optional
        What a picture that fails does; None follows ``daskimg.on-error``.

    Returns
    -------
    Series
        Of dtype ``image[file]`` for paths, ``image[encoded]`` for base64; of objects, what they
        hold (``image[mixed]`` on Dask, where nobody has looked).

    Raises
    ------
    TypeError
        When the values are numbers, or hold pictures already.

    Examples
    --------
    >>> di.images(pd.Series(["a.jpg", "b.png"])).dtype
    image[file]
    >>> di.images(["iVBORw0KGgo="], kind="base64").dtype
    image[encoded]
    """
    if kind not in ("path", "base64"):
        raise ValueError(f'kind is "path" or "base64"; got {quoted(kind)}')
    if not isinstance(series, pd.Series) and not hasattr(series, "dask"):
        series = pd.Series(series)
    dtype = series.dtype
    policy = check_policy(on_error)
    if isinstance(dtype, ImageDtype):
        if not dtype.holds_paths:
            raise TypeError(f"{series.name!r} holds pictures already ({dtype})")
    elif _numbers(series):
        raise TypeError(f"images() takes paths (strings); {series.name!r} is {dtype}")
    elif kind == "base64":
        return ("data:;base64," + series).astype(ImageDtype("encoded", on_error=policy))
    source = fetch.Source(storage_options)
    if dtype == np.dtype(object) or not (
        isinstance(dtype, ImageDtype) or pd.api.types.is_string_dtype(dtype)
    ):
        cells = _kind_of(series)
        return series.astype(ImageDtype(cells, on_error=policy, source=source.handle))
    return _pictures(series, source, policy, held_root(series))


def _pictures(series: Any, opened: fetch.Source, policy: str | None, root: str | None) -> Any:
    """A column of paths below `root` as pictures."""
    dtype, cells, source = series.dtype, "file", opened.handle
    if isinstance(dtype, ImageDtype):
        cells, policy, source = dtype.cells, policy or dtype.on_error, source or dtype.source
    target = ImageDtype(cells, on_error=policy, source=source, root=root)
    program = Program((), target)
    if isinstance(series, pd.Series):
        return onepass.run(series, [program])[0]
    return image_op(series, program, [])


def _numbers(series: Any) -> bool:
    """Whether a column is of numbers; floats may be no more than missing values."""
    if not pd.api.types.is_numeric_dtype(series.dtype):
        return False
    if isinstance(series, pd.Series):
        return not series.isna().all()
    return series.dtype.kind != "f"


def _kind_of(series: Any) -> str:
    """What kind of cell a column holds that is none of pictures, as far as that is known."""
    dtype = series.dtype
    nested = isinstance(dtype, pd.ArrowDtype) and pa.types.is_struct(dtype.pyarrow_dtype)
    if dtype != np.dtype(object) and not nested:
        return "file"
    if not isinstance(series, pd.Series):
        return "mixed"
    if series.isna().all():
        return "file"
    cells: ImageArray = series.astype(ImageDtype("infer")).array
    return cells.dtype.cells
