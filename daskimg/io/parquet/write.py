"""Parquet: image columns written so that every reader understands them, and read back equal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from daskimg import compat
from daskimg.column.dtype import ImageDtype
from daskimg.column.lists import ImageListArray, ImageListDtype, failing_with_cells
from daskimg.engine import onepass
from daskimg.engine.lasting import Facts
from daskimg.engine.ops import build
from daskimg.engine.program import Program
from daskimg.errors import quoted
from daskimg.io.commit.failures import Seen, count, failed_rows, picture_columns
from daskimg.io.commit.query import query_of
from daskimg.io.commit.run import Mode, Run
from daskimg.io.commit.target import Target, check_name, folder_name
from daskimg.io.commit.write import Job, Output, as_dask, submit
from daskimg.io.parquet.read import read_parquet
from daskimg.io.parquet.scan import read_footers
from daskimg.io.parquet.schema import Layout
from daskimg.io.parquet.types import schemas_of
from daskimg.lazy.prune import pruned
from daskimg.lazy.tree import anchor
from daskimg.words import WRITERS, known_as

__all__ = ["failures_job", "read_parquet", "write_committed", "write_parquet"]

GROUP_BYTES = 32 * 2**20  # of a row group in memory
GROUP_ROWS = 2**20


@known_as(WRITERS)
def write_parquet(
    df: Any,
    path: str | os.PathLike[str],
    *,
    compression: str | None = "zstd",
    partition_cols: str | Sequence[str] | None = None,
    embed: bool = True,
    mode: Mode = "error",
    storage_options: Mapping[str, Any] | None = None,
    compute: bool = True,
    errors: str | os.PathLike[str] | None = None,
) -> Any:
    """Write a frame as a folder of Parquet files that any Parquet reader can read.

    Encoded pictures are Hugging Face image columns (``struct<bytes, path>``), pixels of one shape
    are Arrow tensor columns, other pixels a struct of data, shape and dtype; `read_parquet` gives
    the frame back as it was. Null cells are written as nulls, with their reason. Lists of pictures
    are lists of these, Hugging Face's ``List(Image)``; a row of which a picture fails is null.

    Other readers understand pixels of one shape as far as they know tensors: in pandas and DuckDB
    a row's arrive flat, and ``np.stack(table.image).reshape(-1, height, width, channels)`` is their
    ``(N, H, W, C)`` array.

    Parameters
    ----------
    df : DataFrame
        Dask or pandas.
    path : str or path
        A folder, on any filesystem.
    compression : str, optional
        ``"zstd"`` (level 1), ``"snappy"``, ``"lz4"``, ``"gzip"``, ``"brotli"`` or None: the
        default writes pixels almost as fast as none, and smaller than the next two.
    partition_cols : str or list of str, optional
        Columns whose values become ``name=value`` folders.
    embed : bool
        Whether columns of files are read and their bytes written; else references are.
    mode : {"error", "overwrite", "append", "resume"}
        What happens when there is something in `path`.
    storage_options : dict, optional
        Options of the filesystem of `path`.
    compute : bool
        False: a Dask scalar, to be computed together with other results in one pass.
    errors : str or path, optional
        Another Parquet folder for the rows that failed: `read_parquet` of it gives a frame to try
        again.

    Returns
    -------
    WriteResult
        Or, with ``compute=False``, a Dask scalar that computes to one.

    Raises
    ------
    FileExistsError
        In mode "error", when `path` is not empty.

    Examples
    --------
    >>> df = di.read_images(folder)
    >>> df.img.write_parquet("pictures")
    WriteResult(4 written)
    >>> pd.read_parquet("pictures").image[0]["bytes"][:3]
    b'\\xff\\xd8\\xff'
    """
    frame = as_dask(df)
    keys = _partition_cols(frame, partition_cols)
    if compression is not None and not pa.Codec.is_available(compression):
        raise ValueError(f"compression: {quoted(compression)} is not available to pyarrow")
    if embed:
        names = picture_columns(frame)
        frame = frame.assign(**{name: _embedded(frame[name]) for name in names})
    part = Part(Layout.of(frame._meta, _has_range(frame), keys), compression)
    out = Output(path, mode, storage_options, compute, errors)
    blank = Blank(frame._meta, compression)
    return write_committed(frame, part, out, "parquet", blank, compression=compression)


def _embedded(column: Any) -> Any:
    """A column of pictures, or of lists of these, with the bytes of its files."""
    dtype = column.dtype
    if isinstance(dtype, ImageDtype):
        return column.img._op("embed") if dtype.holds_paths else column
    if not dtype.item.holds_paths:
        return column
    program = build(dtype.item, "embed")
    meta = pd.Series([], dtype=ImageListDtype(program.dtype), name=column.name)
    return column.map_partitions(_embed_lists, program, meta=meta, enforce_metadata=False)


def _embed_lists(column: pd.Series, program: Program) -> pd.Series:
    rows = column.array.tight()
    cells = onepass.run(pd.Series(rows.cells, copy=False), [program])[0].array
    made = failing_with_cells(ImageListArray(rows.ends, rows.valid, cells))
    return pd.Series(made, index=column.index, name=column.name, copy=False)


def _partition_cols(frame: Any, given: str | Sequence[str] | None) -> tuple[str, ...]:
    keys = (given,) if isinstance(given, str) else tuple(given or ())
    for key in keys:
        if key not in frame.columns:
            raise ValueError(f"partition_cols: no column {key!r}; there are {list(frame.columns)}")
        if key in picture_columns(frame):
            raise ValueError(f"partition_cols: {key!r} holds pictures, which name no folder")
    if keys and len(keys) == len(frame.columns):
        raise ValueError("partition_cols: all columns are named, none is left to write")
    return keys


def _has_range(frame: Any) -> bool:
    """Whether the index is the rows' number, as nothing but row-wise ops came after reading."""
    plain = isinstance(frame._meta.index, pd.RangeIndex)
    return plain and not anchor(frame.expr).dependencies()


@dataclass(frozen=True)
class Part:
    """Writes one partition."""

    layout: Layout
    compression: str | None

    def __call__(self, frame: pd.DataFrame, run: Run, number: int) -> dict[str, Any]:
        ticket = count(frame, [column.name for column in self.layout.images]).ticket()
        return {**ticket, "files": self.write(frame, run, number)}

    def refuse_others(self, target: Target, names: Iterable[str]) -> None:
        """Stop where the files that are there have other columns."""
        first = next((name for name in names if name.endswith((".parquet", ".pq"))), None)
        if first is not None:
            footers = read_footers([target.href(first)], target.source)
            self.layout.refuse_others(schemas_of(footers)[0], target.shown)

    def write(self, frame: pd.DataFrame, run: Run, number: int) -> list[dict[str, Any]]:
        """A file for each folder of this partition; their lines of the manifest."""
        last = run.part_name(number, ".parquet")
        pieces = list(split(frame, self.layout.partition_cols))
        names = [check_name(f"{folder}/{last}" if folder else last) for folder, _ in pieces]
        return [
            {**run.put(name, self.encode(piece)), "rows": len(piece)}
            for name, (_, piece) in zip(names, pieces, strict=True)
        ]

    def encode(self, frame: pd.DataFrame) -> pa.Buffer:
        """The bytes of a Parquet file of these rows."""
        plain = self.layout.table(frame)
        step = _group_rows(frame)
        sink = pa.BufferOutputStream()
        first = self.layout.fill(plain.slice(0, step), frame.iloc[:step])
        plain_names = [name for name in first.column_names if name not in self.layout.image_names]
        looked_up, split = self.layout.encodings(self.compression is not None)
        with compat.ParquetWriter(
            sink,
            first.schema,
            compression=self.compression or "none",
            use_dictionary=[*plain_names, *looked_up],
            write_statistics=plain_names,
            column_encoding=split or None,
        ) as writer:
            writer.write_table(first, step)
            for start in range(step, len(frame), step):
                rows = slice(start, start + step)
                writer.write_table(
                    self.layout.fill(plain.slice(start, step), frame.iloc[rows]), step
                )
        return sink.getvalue()


def split(frame: pd.DataFrame, keys: Sequence[str]) -> Iterable[tuple[str, pd.DataFrame]]:
    """The rows of each hive folder; no rows make no folder, and no file."""
    if not len(frame):
        return
    if not keys:
        yield "", frame
        return
    groups = frame.groupby(list(keys), sort=True, dropna=False, observed=True).ngroup().to_numpy()
    for group in range(groups.max() + 1):
        rows = frame.iloc[np.flatnonzero(groups == group)]
        yield folder_name((key, rows[key].iloc[0]) for key in keys), rows


def _group_rows(frame: pd.DataFrame) -> int:
    size = sum(frame[name].array.nbytes for name in picture_columns(frame))
    per_row = max(1, size // max(1, len(frame)))
    return int(min(max(1, GROUP_BYTES // per_row), GROUP_ROWS))


@dataclass(frozen=True)
class Blank:
    """Writes a file without rows, which has the columns all the same; it goes when rows come.

    In no folder of `partition_cols`: of one for nulls alone, pyarrow cannot tell the type.
    """

    meta: pd.DataFrame
    compression: str | None

    def __call__(self, run: Run) -> list[dict[str, Any]]:
        part = Part(Layout.of(self.meta), self.compression)
        return [{**run.put(run.part_name(0, ".parquet"), part.encode(self.meta)), "rows": 0}]


@dataclass(frozen=True)
class Failures:
    """Writes the failed rows of one partition."""

    part: Part
    columns: tuple[str, ...]

    def refuse_others(self, target: Target, names: Iterable[str]) -> None:
        """Stop where the files that are there have other columns."""
        self.part.refuse_others(target, names)

    def __call__(
        self, frame: pd.DataFrame, run: Run, number: int, others: Sequence[Seen] = ()
    ) -> dict[str, Any]:
        rows = failed_rows(frame, count(frame, self.columns, *others))
        counts = {"rows": len(rows), "failed": 0, "missing": 0, "reasons": {}}
        return {**counts, "files": self.part.write(rows, run, number)}


def failures_job(
    frame: Any,
    out: Output,
    query: Facts,
    columns: Sequence[str] | None = None,
    compression: str | None = "zstd",
) -> Job | None:
    """What writes the rows in which one of `columns` (all image columns) failed, if wanted."""
    if out.errors is None:
        return None
    meta = frame._meta
    names = tuple(picture_columns(meta) if columns is None else columns)
    like = failed_rows(meta, count(meta, names))
    failures = Failures(Part(Layout.of(like), compression), names)
    run = out._replace(path=out.errors).run("parquet", query, failures)
    return Job(run, failures, Blank(like, compression))


@known_as(WRITERS)
def write_committed(
    frame: Any,
    part: Callable[..., dict[str, Any]],
    out: Output,
    kind: str,
    blank: Callable[[Run], list[dict[str, Any]]] | None = None,
    *,
    columns: Sequence[str] | None = None,
    compression: str | None = "zstd",
) -> Any:
    """Run `part` over the partitions of `frame` as one committed write.

    `blank` puts the files of a frame without rows; `columns` are those whose failures count, and
    `compression` that of the failed rows' files.
    """
    frame = pruned(frame)
    query = query_of(frame, part)
    errors = failures_job(frame, out, query, columns, compression)
    counted = None if columns is None else tuple(columns)
    job = Job(out.run(kind, query, part), part, blank, errors, columns=counted)
    return submit(frame, job, out.compute)
