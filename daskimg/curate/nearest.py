"""The rows whose vectors are nearest to some: exact, partition by partition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from daskimg.column.dtype import ImageDtype
from daskimg.curate.compared import ID, ROWS, light
from daskimg.curate.vectors import Vectors, best, check, measured, scaled, vectors_of
from daskimg.errors import quoted
from daskimg.lazy.nodes import numbered

__all__ = ["nearest"]

HEAD = ("query", "rank", "distance")  # the first columns of what is found


def nearest(
    frame: Any,
    queries: Any,
    column: str = "embedding",
    *,
    k: int = 10,
    metric: Literal["cosine", "l2", "dot"] = "cosine",
) -> Any:
    """The rows whose vectors are nearest to each query: exact, whatever the number of rows.

    Parameters
    ----------
    queries : array, DataFrame, str or list of str
        Vectors, ``(n, d)`` or ``(d,)``; a column of them, or a frame with a column of that name (of
        Dask they are computed at once: queries are few); or the paths of rows of this frame (column
        ``path``).
    column : str
        The vectors, ``tensor[float32, d]``.
    k : int
        How many rows for each query.
    metric : {"cosine", "l2", "dot"}
        1 less the cosine of the angle; Euclidean distance; or the dot product, negative so that
        the nearest has the smallest.

    Returns
    -------
    DataFrame
        ``query`` (the number of an array's row, the index of a frame's, the path), ``rank`` (1 and
        on), ``distance`` (float32), and the light columns of the rows found. Of equal distances
        the first row. A null vector, or one that holds NaN or is longer than 1.8e19 (its square is
        no float32), is near to nothing; fewer than `k` rows come back where there are no more.

    Raises
    ------
    ValueError
        For vectors of different lengths, here or among the queries.

    Examples
    --------
    >>> vectors = np.array([[1, 0], [0, 1], [1, 1]], "float32")
    >>> df = pd.DataFrame({"name": ["x", "y", "xy"], "embedding": pd.array(
    ...     list(vectors), dtype="tensor[float32, 2]")})
    >>> df.img.nearest([2, 1], k=2).round(3)
       query  rank  distance name
    0      0     1     0.051   xy
    1      0     2     0.106    x
    """
    check(frame, column, k, metric)
    names, vectors = _queries(frame, queries, column)
    search = _Search(vectors, column, k, metric, _beside(frame, column))
    told = _Named(names, k)
    if isinstance(frame, pd.DataFrame):
        return told(search(frame, 0))
    meta = search(frame._meta, 0)
    rows = numbered(frame[[*search.beside, column]], search, meta)
    return rows.reduction(
        _Best(k), aggregate=told, combine=_Best(k), meta=told(meta), split_every=8
    )


def _beside(frame: Any, column: str) -> list[Any]:
    return [name for name in light(frame) if name != column and name not in HEAD]


def _queries(frame: Any, queries: Any, column: str) -> tuple[list[Any], Vectors]:
    """The names of queries, and their vectors, those that are good."""
    if isinstance(getattr(queries, "dtype", None), ImageDtype):  # a column of vectors
        queries = queries.to_frame(column) if hasattr(queries, "index") else list(queries)
    elif isinstance(queries, pd.Series | pd.Index):
        queries = queries.tolist()
    if isinstance(queries, str) or (
        isinstance(queries, Sequence) and len(queries) and isinstance(queries[0], str)
    ):
        paths = [queries] if isinstance(queries, str) else list(queries)
        if "path" not in frame.columns:
            raise KeyError("queries by path need a column 'path' in the frame")
        rows = frame[frame["path"].isin(paths)][["path", column]]
        rows = rows if isinstance(rows, pd.DataFrame) else rows.compute()
        rows = rows.drop_duplicates("path").set_index("path")
        if gone := [path for path in paths if path not in rows.index]:
            raise KeyError(f"no row has the path {quoted(gone[0])}")
        names: list[Any] = paths
        vectors = vectors_of(rows.loc[paths, column].array)
    elif hasattr(queries, "columns"):
        if column not in queries.columns:
            raise KeyError(f"the queries have no column {quoted(column)}")
        rows = queries[[column]]
        rows = rows if isinstance(rows, pd.DataFrame) else rows.compute()
        names = rows.index.tolist()
        vectors = vectors_of(rows[column].array)
    else:
        try:
            values = np.atleast_2d(np.asarray(queries, np.float32))
        except ValueError:
            raise ValueError("queries are vectors of numbers, all of one length") from None
        if values.ndim != 2:
            raise ValueError(f"queries are (n, d) vectors; got an array of shape {values.shape}")
        names, vectors = list(range(len(values))), measured(values)
    return [name for name, ok in zip(names, vectors.good, strict=True) if ok], vectors


class _Search:
    """The best rows of a partition for each query."""

    def __init__(
        self, vectors: Vectors, column: str, k: int, metric: str, beside: list[Any]
    ) -> None:
        self.queries = scaled(vectors, metric)
        self.column, self.k, self.metric, self.beside = column, k, metric, beside

    def __call__(self, part: pd.DataFrame, number: int) -> pd.DataFrame:
        vectors = vectors_of(part[self.column].array)
        near, place = np.empty((0, 0), np.float32), np.empty((0, 0), np.int64)
        if vectors.good.any() and len(self.queries):
            if vectors.values.shape[1] != self.queries.shape[1]:
                raise ValueError(
                    f"the queries have {self.queries.shape[1]} numbers each, the vectors of "
                    f"{quoted(self.column)} {vectors.values.shape[1]}"
                )
            near, place = best(self.queries, vectors, self.k, self.metric)
        query, rank = np.nonzero(place >= 0)
        rows = place[query, rank]
        found = part[self.beside].take(rows).reset_index(drop=True)
        head = pd.DataFrame({"query": query.astype(np.int64), "distance": near[query, rank]})
        return pd.concat([head, found], axis=1).assign(**{ID: rows + (number << ROWS)})


class _Best:
    """The best rows for each query, of those of several partitions."""

    def __init__(self, k: int) -> None:
        self.k = k

    def __call__(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows.sort_values(["query", "distance", ID]).groupby("query").head(self.k)


class _Named(_Best):
    """The same with ranks, and queries by their names."""

    def __init__(self, names: list[Any], k: int) -> None:
        super().__init__(k)
        self.names = pd.Series(names)

    def __call__(self, rows: pd.DataFrame) -> pd.DataFrame:
        rows = super().__call__(rows).reset_index(drop=True)
        rank = rows.groupby("query").cumcount() + 1
        names = self.names.take(rows["query"].to_numpy()).array
        others = rows.drop(columns=["query", "distance", ID])
        head = {"query": names, "rank": rank.astype(np.int64), "distance": rows["distance"]}
        return pd.concat([pd.DataFrame(head, index=rows.index), others], axis=1)
