"""Vectors of a column, and the nearest of them: blocks of a matrix product, the best k kept."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype
from daskimg.errors import quoted

__all__ = ["F32", "I64", "best", "check", "scaled", "vectors_of"]

METRICS = ("cosine", "l2", "dot")
BLOCK = 2**15  # vectors that are compared at a time
F32: TypeAlias = npt.NDArray[np.float32]
I64: TypeAlias = npt.NDArray[np.int64]


def check(frame: Any, column: str, k: Any, metric: Any) -> None:
    """Explain what is no column of vectors, number of rows or metric."""
    if column not in frame.columns:
        told = ", ".join(map(str, frame.columns))
        raise KeyError(f"no column {quoted(column)}; the columns are {told}")
    dtype = frame.dtypes[column]
    if not isinstance(dtype, ImageDtype) or not dtype.tensor:
        raise TypeError(f"vectors are a tensor[float32, d] column; {quoted(column)} is {dtype}")
    if metric not in METRICS:
        raise ValueError(f"metric is one of {', '.join(METRICS)}; got {quoted(metric)}")
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise ValueError(f"k is a whole number, 1 or more; got {quoted(k)}")


def vectors_of(cells: ImageArray) -> tuple[F32, npt.NDArray[np.bool_]]:
    """Vectors of a column as ``(n, d)``, and which rows have one (of numbers)."""
    good = np.array(cells.valid, bool)
    if cells.dtype.shape is not None and cells.dtype.cell_dtype is not None:
        data: Any = cells.data
        values = data.values.reshape(len(cells), math.prod(cells.dtype.shape))
    else:
        rows = np.flatnonzero(good)
        found = [np.asarray(cells[int(i)]).ravel() for i in rows]
        lengths = sorted({len(one) for one in found})
        if len(lengths) > 1:
            told = ", ".join(map(str, lengths[:5]))
            raise ValueError(f"vectors are of one length; those of this column have {told}")
        values = np.zeros((len(cells), lengths[0] if lengths else 0), np.float32)
        for i, one in zip(rows, found, strict=True):
            values[i] = one
    values = values.astype(np.float32, copy=False)
    good &= np.isfinite(values.sum(1, dtype=np.float64))
    return values, good


def scaled(vectors: F32, metric: str) -> F32:
    if metric != "cosine":
        return vectors
    norm = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return vectors / np.maximum(norm, np.finfo(np.float32).tiny)[:, None]


def distances(queries: F32, block: F32, metric: str) -> F32:
    """From each query (of length 1 for the cosine) to each vector of a block."""
    products = queries @ block.T
    if metric == "dot":
        return np.negative(products, out=products)
    squares = np.einsum("ij,ij->i", block, block)
    if metric == "cosine":
        products /= np.maximum(np.sqrt(squares), np.finfo(np.float32).tiny)
        return np.subtract(1, products, out=products)
    products *= -2
    products += squares
    products += np.einsum("ij,ij->i", queries, queries)[:, None]
    return np.sqrt(np.maximum(products, 0, out=products), out=products)


def best(
    queries: F32, vectors: F32, good: npt.NDArray[np.bool_], k: int, metric: str
) -> tuple[F32, npt.NDArray[np.int64]]:
    """The k smallest distances of each query and the places of their vectors, -1 for none."""
    near: Any = np.full((len(queries), k), np.inf, np.float32)
    place: Any = np.full((len(queries), k), -1, np.int64)
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        found = distances(queries, block, metric)
        found[:, ~good[start : start + BLOCK]] = np.inf
        if found.shape[1] > k:
            chosen = np.argpartition(found, k - 1, axis=1)[:, :k]
            found = np.take_along_axis(found, chosen, axis=1)
            if metric == "l2":  # of what is close, a difference of large squares says little
                for n, row in enumerate(chosen):
                    there = np.isfinite(found[n])
                    found[n, there] = np.linalg.norm(block[row[there]] - queries[n], axis=1)
        else:
            chosen = np.broadcast_to(np.arange(found.shape[1]), found.shape)
        near = np.concatenate([near, found], axis=1)
        place = np.concatenate([place, chosen + start], axis=1)
        order = np.lexsort((place, near), axis=1)[:, :k]
        near, place = (np.take_along_axis(one, order, axis=1) for one in (near, place))
    place[np.isinf(near)] = -1
    return near, place
