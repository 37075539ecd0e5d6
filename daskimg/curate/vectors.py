"""Vectors of a column, and the nearest of them: blocks of a matrix product, the best k kept."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from daskimg.accessor.base import neighbour
from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype
from daskimg.errors import quoted, whole

__all__ = ["F32", "I64", "Vectors", "best", "check", "measured", "scaled", "vectors_of"]

METRICS = ("cosine", "l2", "dot")
BLOCK = 2**15  # vectors that are compared at a time
F32: TypeAlias = npt.NDArray[np.float32]
I64: TypeAlias = npt.NDArray[np.int64]


def check(frame: Any, column: str, k: Any, metric: Any) -> None:
    """Explain what is no column of vectors, number of rows or metric."""
    dtype = neighbour(frame, column).dtype
    if not isinstance(dtype, ImageDtype) or not dtype.tensor:
        raise TypeError(f"vectors are a tensor[float32, d] column; {quoted(column)} is {dtype}")
    if metric not in METRICS:
        raise ValueError(f"metric is one of {', '.join(METRICS)}; got {quoted(metric)}")
    whole("k", k)


class Vectors(NamedTuple):
    """The vectors of a column.

    Parameters
    ----------
    values : ndarray of float32
        ``(n, d)``.
    squares : ndarray of float32
        The square of each one's length.
    good : ndarray of bool
        Which rows have one that is near to others: of finite numbers, their squares too.
    """

    values: F32
    squares: F32
    good: npt.NDArray[np.bool_]

    def of(self, rows: Any) -> Vectors:
        """Those of some rows."""
        return Vectors(self.values[rows], self.squares[rows], self.good[rows])


def measured(values: npt.ArrayLike, valid: Any = True) -> Vectors:
    """Vectors, those rows of them that are valid and of numbers being good."""
    values = np.asarray(values, np.float32)
    with np.errstate(over="ignore"):
        squares = np.einsum("ij,ij->i", values, values)
    return Vectors(values, squares, np.isfinite(squares) & valid)


def vectors_of(cells: ImageArray) -> Vectors:
    """The vectors of a column."""
    valid = np.asarray(cells.valid, bool)
    if cells.dtype.shape is not None and cells.dtype.cell_dtype is not None:
        data: Any = cells.data
        return measured(data.values.reshape(len(cells), math.prod(cells.dtype.shape)), valid)
    rows = np.flatnonzero(valid)
    found = [np.asarray(cells[int(i)]).ravel() for i in rows]
    lengths = sorted({len(one) for one in found})
    if len(lengths) > 1:
        told = ", ".join(map(str, lengths[:5]))
        raise ValueError(f"vectors are of one length; those of this column have {told}")
    values = np.zeros((len(cells), lengths[0] if lengths else 0), np.float32)
    for i, one in zip(rows, found, strict=True):
        values[i] = one
    return measured(values, valid)


def _lengths(vectors: Vectors) -> F32:
    """To divide by: not 0."""
    lengths: F32 = np.maximum(np.sqrt(vectors.squares), np.finfo(np.float32).tiny)
    return lengths


def scaled(queries: Vectors, metric: str) -> F32:
    """The good ones of some queries, for the cosine of length 1."""
    queries = queries.of(queries.good)
    if metric != "cosine":
        return queries.values
    return queries.values / _lengths(queries)[:, None]


def distances(queries: F32, block: Vectors, metric: str) -> F32:
    """From each query (of length 1 for the cosine) to each vector of a block."""
    products = queries @ block.values.T
    if metric == "dot":
        return np.negative(products, out=products)
    if metric == "cosine":
        products /= _lengths(block)
        return np.subtract(1, products, out=products)
    products *= -2
    products += block.squares
    products += np.einsum("ij,ij->i", queries, queries)[:, None]
    return np.sqrt(np.maximum(products, 0, out=products), out=products)


def best(queries: F32, vectors: Vectors, k: int, metric: str) -> tuple[F32, npt.NDArray[np.int64]]:
    """The k smallest distances of each query and the places of their vectors, -1 for none."""
    near: Any = np.full((len(queries), k), np.inf, np.float32)
    place: Any = np.full((len(queries), k), -1, np.int64)
    for start in range(0, len(vectors.values), BLOCK):
        block = vectors.of(slice(start, start + BLOCK))
        with np.errstate(invalid="ignore", over="ignore"):  # of rows that are not good
            found = distances(queries, block, metric)
        if not block.good.all():
            found[:, ~block.good] = np.inf
        if found.shape[1] > k:
            chosen = np.argpartition(found, k - 1, axis=1)[:, :k]
            found = np.take_along_axis(found, chosen, axis=1)
            if metric == "l2":  # of what is close, a difference of large squares says little
                for n, row in enumerate(chosen):
                    there = np.isfinite(found[n])
                    apart = block.values[row[there]] - queries[n]
                    found[n, there] = np.linalg.norm(apart, axis=1)
        else:
            chosen = np.broadcast_to(np.arange(found.shape[1]), found.shape)
        near = np.concatenate([near, found], axis=1)
        place = np.concatenate([place, chosen + start], axis=1)
        order = np.lexsort((place, near), axis=1)[:, :k]
        near, place = (np.take_along_axis(one, order, axis=1) for one in (near, place))
    place[np.isinf(near)] = -1
    return near, place
