"""The nearest other rows of every row: each partition against each, or an index of all."""

from __future__ import annotations

from typing import Any, Literal

import dask
import dask.dataframe as dd
import numpy as np
import numpy.typing as npt
import pandas as pd

from daskimg.curate.vectors import F32, I64, Vectors, best, check, scaled, vectors_of
from daskimg.errors import quoted

__all__ = ["neighbours"]

MANY = 100_000  # rows above which neighbours are looked up in an index, where there is one
QUERIES = 512  # that are compared at a time
SEARCHED = 128  # rows that a search of an index looks at: more find more, and take longer


def neighbours(
    frame: Any,
    column: str = "embedding",
    *,
    k: int = 10,
    metric: Literal["cosine", "l2", "dot"] = "cosine",
    index: Literal["auto", "exact", "usearch"] = "auto",
) -> Any:
    """The nearest other rows of every row.

    Parameters
    ----------
    column, k, metric
        As in `nearest`.
    index : {"auto", "exact", "usearch"}
        "exact": each partition against each, in bounded memory. "usearch": an HNSW index of all
        vectors in one place (``pip install 'daskimg[index]'``), much faster for many, of which a
        few neighbours may be missed: of those of 5,000 to 20,000 vectors it found 99 % or more.
        "auto": that for more than 100,000 rows where it is installed.

    Returns
    -------
    DataFrame
        ``query`` (the number of a row in the frame, from 0), ``neighbour`` (that of the other),
        ``rank`` and ``distance``. Rows without a vector have none.

    Examples
    --------
    >>> vectors = np.array([[1, 0], [0, 1], [1, 1]], "float32")
    >>> df = pd.DataFrame({"embedding": pd.array(list(vectors), dtype="tensor[float32, 2]")})
    >>> df.img.neighbours(k=1)[["query", "neighbour"]].values.tolist()
    [[0, 2], [1, 2], [2, 0]]
    """
    check(frame, column, k, metric)
    if index not in ("auto", "exact", "usearch"):
        raise ValueError(f'index is "auto", "exact" or "usearch"; got {quoted(index)}')
    if index == "auto":
        index = "usearch" if _usearch() is not None and len(frame) > MANY else "exact"
    elif index == "usearch" and _usearch() is None:
        raise ModuleNotFoundError("index='usearch' needs usearch: pip install 'daskimg[index]'")
    call = _Vectors(column)
    if isinstance(frame, pd.DataFrame):
        return _everywhere([call(frame)], k, metric, index)
    part = dask.delayed
    parts = [part(call)(one) for one in frame[[column]].to_delayed()]
    if index == "usearch":
        found = [part(_everywhere)(parts, k, metric, index)]
    else:
        lengths = [part(_length)(one) for one in parts]
        found = []
        for n, mine in enumerate(parts):
            each = [part(_against)(mine, theirs, k + 1, metric) for theirs in parts]
            found.append(part(_together)(mine, each, lengths, n, k))
    meta = _everywhere([call(frame._meta)], k, metric, "exact")
    return dd.from_delayed(found, meta=meta, verify_meta=False)


def _usearch() -> Any:
    try:
        import usearch.index
    except ImportError:
        return None
    return usearch.index


class _Vectors:
    """The vectors of a partition, and which rows have one."""

    def __init__(self, column: str) -> None:
        self.column = column

    def __call__(self, part: pd.DataFrame) -> Vectors:
        return vectors_of(part[self.column].array)


def _length(part: Vectors) -> int:
    return len(part.good)


def _everywhere(parts: list[Vectors], k: int, metric: str, index: str) -> pd.DataFrame:
    """The neighbours of all rows of some parts."""
    if index == "usearch":
        return _indexed(parts, k, metric)
    lengths = [_length(one) for one in parts]
    tables = [
        _together(mine, [_against(mine, one, k + 1, metric) for one in parts], lengths, n, k)
        for n, mine in enumerate(parts)
    ]
    return pd.concat(tables, ignore_index=True)


def _against(mine: Vectors, theirs: Vectors, k: int, metric: str) -> tuple[F32, I64]:
    """The best of another part for each row of one that has a vector."""
    queries = scaled(mine, metric)
    if not len(queries) or not theirs.good.any():
        return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    if queries.shape[1] != theirs.values.shape[1]:
        raise ValueError("vectors are of one length; those of some partitions differ")
    steps = range(0, len(queries), QUERIES)
    found = [best(queries[n : n + QUERIES], theirs, k, metric) for n in steps]
    near, place = zip(*found, strict=True)
    return np.concatenate(near), np.concatenate(place)


def _together(
    mine: Vectors, found: list[tuple[F32, I64]], lengths: list[int], which: int, k: int
) -> pd.DataFrame:
    """The best of all parts for the rows of one."""
    firsts = np.cumsum([0, *lengths])
    near = np.concatenate([near for near, _ in found], axis=1)
    places = [
        np.where(place < 0, -1, place + first)
        for (_, place), first in zip(found, firsts[:-1], strict=True)
    ]
    place = np.concatenate(places, axis=1)
    order = np.lexsort((place, near), axis=1)[:, : k + 1]
    rows = np.flatnonzero(mine.good) + firsts[which]
    return _table(np.take_along_axis(near, order, 1), np.take_along_axis(place, order, 1), rows, k)


def _indexed(parts: list[Vectors], k: int, metric: str) -> pd.DataFrame:
    """The neighbours of all rows, by an index of them."""
    good = np.concatenate([one.good for one in parts])
    lengths = {one.values.shape[1] for one in parts if one.good.any()}
    if len(lengths) > 1:
        raise ValueError("vectors are of one length; those of some partitions differ")
    rows = np.flatnonzero(good)
    if not len(rows):
        return _table(np.empty((0, 0), np.float32), np.empty((0, 0), np.int64), rows, k)
    vectors = np.concatenate([one.values[one.good] for one in parts if one.good.any()])
    kinds = {"cosine": "cos", "l2": "l2sq", "dot": "ip"}
    made = _usearch().Index(
        ndim=vectors.shape[1],
        metric=kinds[metric],
        dtype="f32",
        expansion_search=max(SEARCHED, 2 * (k + 1)),
    )
    made.add(rows.astype(np.uint64), vectors)
    found = made.search(vectors, min(k + 1, len(rows)))
    near = np.asarray(found.distances, np.float32).reshape(len(rows), -1)
    near = np.sqrt(near) if metric == "l2" else near - 1 if metric == "dot" else near
    place = np.asarray(found.keys).astype(np.int64).reshape(len(rows), -1)
    place[np.arange(place.shape[1]) >= np.asarray(found.counts).reshape(-1, 1)] = -1
    return _table(near, place, rows, k)


def _table(near: F32, place: npt.NDArray[np.int64], rows: Any, k: int) -> pd.DataFrame:
    """Neighbours as rows, none of them the row itself."""
    there = (place >= 0) & (place != rows[:, None])
    rank = np.cumsum(there, axis=1)
    there &= rank <= k
    query, column = np.nonzero(there)
    return pd.DataFrame(
        {
            "query": np.asarray(rows, np.int64)[query],
            "neighbour": place[query, column],
            "rank": rank[query, column].astype(np.int64),
            "distance": near[query, column].astype(np.float32),
        }
    )
