"""Columns of what holds pictures - paths, base64, objects - as columns of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa

from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype, check_policy
from daskimg.column.json import JsonDtype
from daskimg.engine import onepass
from daskimg.engine.program import Program
from daskimg.errors import quoted, shown
from daskimg.io.listing.roots import held_root
from daskimg.kernels.inline import as_base64
from daskimg.lazy.image_op import image_op
from daskimg.lazy.origin import stores_of
from daskimg.transport import fetch
from daskimg.words import READERS, known_as

__all__ = ["images", "pictures_of"]


@known_as(READERS)
def images(
    series: Any,
    *,
    kind: Literal["path", "base64"] = "path",
    storage_options: Mapping[str, Any] | None = None,
    on_error: str | None = None,
) -> Any:
    """A column of paths as an image column; nothing is fetched.

    Local paths and plain URLs (http, s3, gs, abfs, ...) are opened. Chains of filesystems (``::``)
    and what opens more than the path (reference, zip, caches, ...) are failed rows, unless
    ``daskimg.allow-paths`` lists their store (``zip://::s3://bucket/x.zip``); `read_images` opens
    any that you write in code.

    Text that stands in remote files is data: where a Dask frame was read from s3, http or another
    store (by daskimg's readers, ``dd.read_parquet``, ``dd.read_csv``), its own column names paths
    of that store only, and of those that ``daskimg.allow-paths`` lists (``"https://"``: any web
    server). That holds for ``astype("image[file]")`` and what is ``.img`` of it too, through
    filters, joins and concatenations. A frame in memory is yours, and so is what you make of a
    column in code: ``"https://host/" + df.name``, ``map``, ``.str``, `map_batches`.

    `storage_options` are used for object stores, whose endpoint is theirs (s3, gs, ...), and sent
    to another host (http, sftp, ...) only if ``daskimg.allow-paths`` lists it, or the data came
    from there: what a row names is no reason to send a password there.

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
    if isinstance(series, dd.Index):
        series = series.to_series()
    if getattr(series, "ndim", 1) != 1:
        raise TypeError(
            f"images() takes a column; got a {type(series).__name__} of {series.ndim} axes: "
            "df[name] is a column of a table, di.from_array takes arrays of pictures"
        )
    if not isinstance(series, pd.Series | dd.Series):
        series = pd.Series(series)
    dtype = series.dtype
    policy = check_policy(on_error)
    if isinstance(dtype, ImageDtype):
        if not dtype.holds_paths:
            raise TypeError(f"{series.name!r} holds pictures already ({dtype})")
    elif _numbers(series):
        raise TypeError(f"images() takes paths (strings); {series.name!r} is {dtype}")
    elif kind == "base64":
        encoded = ImageDtype("encoded", on_error=policy)
        if isinstance(series, pd.Series):
            return _of_base64(series, encoded)
        meta = pd.Series([], dtype=encoded, name=series.name)
        return series.map_partitions(_of_base64, encoded, meta=meta, enforce_metadata=False)
    source = fetch.Source(storage_options)
    if hasattr(series, "dask") and (stores := stores_of(series)):
        source = source.kept_to(fetch.Source().within(stores))
    if dtype == np.dtype(object) or not (
        isinstance(dtype, ImageDtype) or pd.api.types.is_string_dtype(dtype)
    ):
        cells = _kind_of(series)
        return series.astype(ImageDtype(cells, on_error=policy, source=source.handle))
    return pictures_of(series, source, policy, held_root(series))


def _of_base64(series: pd.Series, dtype: ImageDtype) -> pd.Series:
    data = [None if pd.isna(x) else as_base64(_text(x)) for x in series.array]
    return pd.Series(data, dtype=dtype, index=series.index, name=series.name)


def _text(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("latin-1")
    if not isinstance(value, str):
        raise TypeError(f'kind="base64" takes text; got {shown(value)}')
    return value


def pictures_of(series: Any, opened: fetch.Source, policy: str | None, root: str | None) -> Any:
    """A column of paths below `root` as pictures."""
    dtype, cells, source = series.dtype, "file", opened.handle
    if isinstance(dtype, ImageDtype):
        cells, policy = dtype.cells, policy or dtype.on_error
        source = opened.kept_to(fetch.recall(dtype.source)).handle or dtype.source
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
    nested = isinstance(dtype, JsonDtype) or (
        isinstance(dtype, pd.ArrowDtype) and pa.types.is_struct(dtype.pyarrow_dtype)
    )
    if dtype != np.dtype(object) and not nested:
        return "file"
    if not isinstance(series, pd.Series):
        return "mixed"
    if series.isna().all():
        return "file"
    cells: ImageArray = series.astype(ImageDtype("infer")).array
    return cells.dtype.cells
