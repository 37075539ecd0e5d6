"""Parquet: image columns written so that every reader understands them, and read back equal."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import pyarrow as pa

from daskimg.column.dtype import ImageDtype
from daskimg.column.lists import ImageListArray, ImageListDtype, failing_with_cells
from daskimg.engine import onepass
from daskimg.engine.ops import build
from daskimg.engine.program import Program
from daskimg.errors import quoted
from daskimg.io.commit.failures import assigned, picture_columns
from daskimg.io.commit.write import Output, as_dask
from daskimg.io.commit.writing import Mode
from daskimg.io.parquet.failures import write_committed
from daskimg.io.parquet.part import Part
from daskimg.io.parquet.read import read_parquet
from daskimg.io.parquet.schema import Layout
from daskimg.lazy.tree import anchor
from daskimg.words import WRITERS, known_as

__all__ = ["read_parquet", "write_parquet"]


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
        frame = assigned(frame, {name: _embedded(frame[name]) for name in names})
    part = Part(Layout.of(frame._meta, _has_range(frame), keys), compression)
    out = Output(path, mode, storage_options, compute, errors)
    blank = partial(part.blank, frame._meta)
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
