"""Reading Parquet: image columns recognised, row groups as partitions, nothing read in vain."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dask.dataframe as dd
import numpy as np
import pandas as pd
from dask.utils import parse_bytes

from daskimg.column.dtype import check_policy
from daskimg.engine import gauge
from daskimg.errors import quoted, reason_of
from daskimg.io.listing.walk import own_part
from daskimg.io.parquet import scan
from daskimg.io.parquet.cells import recognise
from daskimg.io.parquet.common_schema import common_schema, schemas_of
from daskimg.io.parquet.contents import Counts, counts_of, kinds_of
from daskimg.io.parquet.damage import lost_file, salvaged
from daskimg.io.parquet.reader import Reader
from daskimg.io.parquet.scan import Group, Rows
from daskimg.io.parquet.schema import Column
from daskimg.lazy.source import from_reader
from daskimg.transport import fetch
from daskimg.transport.spans import Spans
from daskimg.words import READERS, known_as

__all__ = ["read_parquet"]

BLOCKSIZE = 64 * 2**20
NOTHING = Counts(0, 0)


@known_as(READERS)
def read_parquet(
    urlpath: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    columns: Sequence[str] | None = None,
    filters: Any = None,
    image_columns: str | Sequence[str] | None = None,
    on_error: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    blocksize: int | str | None = None,
) -> dd.DataFrame:
    """Read Parquet files whose image columns any of several programs wrote.

    Image columns are those that `write_parquet` or ``dd.to_parquet`` wrote, Hugging Face's
    (``struct<bytes, path>``; some rows may hold bytes and others a path), tensors as Arrow, Ray
    Data and Hugging Face (``Array3D``) write them (``(H, W)`` and ``(H, W, 1|3|4)`` are pictures,
    other shapes tensors; of several shapes, all with two or three axes), and columns of bytes or
    paths that are named. Lists of such structs, Hugging Face's ``List(Image)``, are
    ``list[image[encoded]]``: `explode` makes them an image column. Structs of pictures are ``json``
    columns of dicts, whose ``{"bytes", "path"}`` are cells for ``astype("image[encoded]")``. A
    column that nobody uses is not read.

    Where files differ, a column's type is the one that Arrow promotes theirs to (whole numbers and
    fractions: fractions), and null in the rows of a file that lacks it.

    Parameters
    ----------
    urlpath : str, path, or a list of these
        A file, a folder or a glob, ``{a,b}`` and ``{00..99}`` in it too, on any fsspec
        filesystem. ``k=v`` folders become columns.
    columns : list of str, optional
        Which to read.
    filters : list of tuples, or list of lists of tuples, optional
        ``[("price", ">", 5), ("kind", "in", ["a", "b"])]``: all of them; a list of such lists:
        any of those. Rows keep the index they have unfiltered.
    image_columns : list of str, optional
        Columns of bytes or of paths, or of lists of these, that are pictures; with an empty list
        only those that daskimg wrote are.
    on_error : {"raise", "null"}, optional
        What a picture that fails does; None: as it was written. With "null" what is damaged
        does not end the run: where a page is broken, the column's cells of that row group are
        failed (nulls and a warning, if they are no pictures); a file without its end is one
        failed row at the end. For their sake whole numbers and booleans have nullable dtypes.
    storage_options : dict, optional
        Options of the filesystem. A picture that the files name by its path is opened in their
        own store, with these options, and in places that ``daskimg.allow-paths`` lists; elsewhere
        it fails. A relative path is one below the dataset's folder, of local Parquet below the
        working directory.
    blocksize : int or str, optional
        Bytes in the file that a partition holds at most, in whole row groups; default 64 MiB.

    Returns
    -------
    dask.dataframe.DataFrame
        With the index that was written, else one global RangeIndex and known divisions.

    Raises
    ------
    FileNotFoundError
        When nothing matches.
    ValueError
        For columns that are not there, columns of types that have nothing in common, a write that
        never finished.

    Examples
    --------
    >>> result = di.read_images(folder).img.write_parquet("shop")
    >>> df = di.read_parquet("shop")
    >>> df.dtypes.astype(str).tolist()
    ['string', 'image[encoded]']
    >>> df.image.img.width.compute().tolist()
    [24, 24, 24, 24]
    """
    policy, source = check_policy(on_error), fetch.Source(storage_options)
    limit = BLOCKSIZE if blocksize is None else parse_bytes(blocksize)
    if limit <= 0:
        raise ValueError(f"blocksize has to be at least one byte; got {quoted(blocksize)}")
    listing = scan.list_files(urlpath, source)
    paths = listing.paths.to_pylist()
    tolerant = policy == "null"
    found = scan.read_footers(paths, source, damaged=tolerant)
    lost = {k: each for k, each in enumerate(found) if isinstance(each, scan.DamagedError)}
    whole = [k for k in range(len(found)) if k not in lost]
    if not whole:
        raise ValueError(f"no file can be read, the first for: {found[0]}")
    good = [paths[k] for k in whole]
    footers: list[Any] = [found[k] for k in whole]
    schemas = schemas_of(footers)
    schema = common_schema(good, schemas)
    all_keys = scan.folder_keys(listing, paths, schema)
    keys = {name: values.iloc[whole] for name, values in all_keys.items()}
    counts = counts_of(footers)
    dnf = scan.normal_filters(filters)
    kinds = kinds_of(counts, good, source)
    images = tuple(
        _with(column, policy, source.within(paths))
        for column in recognise(schema, schemas, image_columns, kinds)
        if column.name not in keys
    )
    nullable = tuple(
        name
        for name in schema.names
        if tolerant  # a row of what is damaged has no values
        or any(name not in one.names for one in schemas)
        or counts.get(name, NOTHING).nulls != 0
    )
    layout = schema.serialize().to_pybytes()
    folders = {own_part(path)[:n] for path, n in zip(paths, listing.roots, strict=True)}
    remote = tuple(sorted((f for f in folders if fetch.local_path(f) is None), reverse=True))
    reader = Reader(layout, images, tuple(keys), nullable, dnf, source, tolerant, remote)
    reader.check(columns)
    start = scan.range_start(footers)
    sizes = None if listing.sizes is None else listing.sizes[whole]
    parts = scan.cut(good, footers, keys, dnf, limit, start, sizes)
    meta = reader.frame(reader.no_rows, np.empty(0, np.int64), ())
    meta = meta.astype({name: values.dtype for name, values in keys.items()})
    total = start + sum(footer.num_rows for footer in footers)
    for k, error in lost.items():
        values = tuple(series.iloc[k] for series in all_keys.values())
        parts.append(Rows(paths[k], (Group(0, total),), values, 1, reason_of("read", error)))
        total += 1
    divisions = None
    if not reader.index_names:
        divisions = [part.groups[0].start if part.groups else start for part in parts]
        divisions.append(max(total - 1, divisions[-1]))
        meta.index = pd.RangeIndex(0, name=reader.range_name) if dnf is None else meta.index
    if columns is not None:
        meta = meta[list(columns)]
    dtypes = tuple(keys[name].dtype for name in keys)
    return from_reader(
        Read(reader, dtypes, None if columns is None else tuple(columns)),
        parts,
        meta=meta,
        divisions=divisions,
        lengths=[part.rows for part in parts] if dnf is None else None,
        known=FolderColumns(keys) if keys else None,
        stores=paths,
        label="read-parquet",
        enforce_metadata=False,
    )


class FolderColumns:
    """What folders spell is the same for all rows of a file."""

    def __init__(self, keys: Mapping[str, pd.Series]) -> None:
        self.dtypes: dict[str, Any] = {name: values.dtype for name, values in keys.items()}

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return "daskimg.FolderColumns", tuple(self.dtypes), *map(str, self.dtypes.values())

    @property
    def columns(self) -> list[str]:
        """Their names."""
        return [*self.dtypes]

    def rows(self, parts: Sequence[Rows], columns: Sequence[str]) -> tuple[pd.DataFrame, Any]:
        """One row for each part."""
        values = zip(*(part.keys for part in parts), strict=True)
        found = dict(zip(self.columns, values, strict=True))
        frame = {name: pd.array(list(found[name]), dtype=self.dtypes[name]) for name in columns}
        return pd.DataFrame(frame), np.arange(len(parts))


def _with(column: Column, policy: str | None, source: fetch.Source) -> Column:
    dtype = column.dtype
    # paths need credentials and a store; bytes and pixels are here already
    handle = source.handle if dtype.holds_paths else None
    dtype = dtype.derive(dtype.cells, dtype.shape, on_error=policy or dtype.on_error, source=handle)
    return replace(column, dtype=dtype)


@dataclass(frozen=True)
class Read:
    """Reads the row groups of a partition."""

    reader: Reader
    dtypes: tuple[Any, ...]  # of what folders spell
    chosen: tuple[str, ...] | None

    def _names(self, columns: Sequence[str] | None) -> list[str]:
        known = self.reader.columns if self.chosen is None else self.chosen
        return list(known if columns is None else columns)

    def spans(self, rows: Rows, columns: Sequence[str] | None) -> Spans | None:
        """What is read of a file elsewhere, where that is known."""
        if rows.held is None:
            return None
        stored = self.reader.stored(self._names(columns))
        return rows.held.spans(rows.path, self.reader.source, stored)

    def __call__(self, rows: Rows, columns: Sequence[str] | None = None) -> pd.DataFrame:
        reader, names = self.reader, self._names(columns)
        keys = {
            name: (value, dtype)
            for name, value, dtype in zip(reader.keys, rows.keys, self.dtypes, strict=True)
        }
        if rows.error is not None:
            return gauge.read(lost_file(reader, rows, names, keys))
        try:
            table, index = reader.table(rows, names, keys)
            frame = reader.frame(table, index, tuple(keys.items()), rows.path)[names]
        except scan.DamagedError:
            if not reader.tolerant:
                raise
            frame = salvaged(reader, rows, names, keys)
        return gauge.read(frame)
