"""Where pictures come from: the folder that was listed, and what is left of a path below it.

A listing knows its folder, and the dtype of the image column takes it along (through ops, joins,
stages and files): names below it are decided picture by picture, and nothing is computed for them.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from daskimg.column.dtype import ImageDtype, common_root
from daskimg.io.listing.walk import own_part
from daskimg.lazy.expr import FromPandas
from daskimg.lazy.tree import source_of

__all__ = ["held_root", "name_below", "root_of", "root_of_paths", "rooted"]


def name_below(path: str, root: str | None) -> str:
    """What a picture's file is called below `root`; its whole path where that is elsewhere.

    Examples
    --------
    >>> name_below("/shop/cats/1.png", "/shop/"), name_below("s3://shop/cats/1.png", None)
    ('cats/1.png', 'shop/cats/1.png')
    """
    own = own_part(path)
    rest = own[len(root) :] if root and own.startswith(root) else own.rpartition("://")[2]
    return "/".join(part for part in rest.split("/") if part not in ("", "."))


def root_of_paths(paths: Any) -> str | None:
    """The folder that all of these are in: of an Arrow array or a Series of strings.

    Examples
    --------
    >>> root_of_paths(pd.Series(["/shop/cats/1.png", None, "/shop/dogs/1.png"]))
    '/shop/'
    """
    found = pc.min_max(paths if isinstance(paths, pa.Array) else pa.array(paths, from_pandas=True))
    ends = [end for end in found.as_py().values() if end is not None]
    return common_root(map(own_part, ends))


def rooted(meta: pd.DataFrame, root: str | None) -> pd.DataFrame:
    """No rows, whose image columns say that their files are below `root`."""
    meta = meta.copy(deep=False)
    for name, dtype in meta.dtypes.items():
        if isinstance(dtype, ImageDtype):
            meta[name] = pd.Series(
                [], meta.index, dtype.derive(dtype.cells, dtype.shape, root=root)
            )
    return meta


def root_of(frame: Any, column: str) -> str | None:
    """The folder that the files of an image column were listed in.

    That of the column itself; else of all pictures that the frame was made of, where a function
    that declared dtypes of its own did not say.
    """
    root: str | None = frame.dtypes[column].root
    if root is None:
        # (a delayed value, such as those of an `isin`, has no dtypes)
        found = {one for node in frame.expr.walk() if node.ndim for one in _roots(node)}
        root = common_root(found)
    return root


def _roots(node: Any) -> list[str]:
    """Roots of the pictures in a frame or column, as far as it tells."""
    if isinstance(node, FromPandas):
        held = node.frame._data
        columns = [held[name] for name in held.columns] if held.ndim == 2 else [held]
        found = [
            series.dtype.root or root_of_paths(series.array.path)
            for series in columns
            if isinstance(series.dtype, ImageDtype) and series.array.path is not None
        ]
    else:
        meta = node._meta
        dtypes = meta.dtypes if isinstance(meta, pd.DataFrame) else [getattr(meta, "dtype", None)]
        found = [dtype.root for dtype in dtypes if isinstance(dtype, ImageDtype)]
    return [root for root in found if root is not None]


def held_root(series: Any) -> str | None:
    """The folder that paths share where they are in memory; of others nothing is computed."""
    if not isinstance(series, pd.Series):
        below, column = source_of(series.expr)
        if not isinstance(below, FromPandas):
            return None
        held = below.frame._data
        series = held if column is None else held[column]
    if isinstance(series.dtype, ImageDtype):
        return series.dtype.root
    return root_of_paths(series)
