"""Everything that Dask is told about image columns."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from typing import Any

import numpy as np
from dask.dataframe.extensions import make_array_nonempty
from dask.sizeof import sizeof
from dask.tokenize import normalize_token

import daskimg.lazy.accessor  # noqa: F401  (registers .img)
from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype
from daskimg.column.image import Image
from daskimg.column.lists import ImageListArray, ImageListDtype
from daskimg.kernels import codec
from daskimg.lazy.bare import Column, Table
from daskimg.lazy.chunks import Results
from daskimg.lazy.expr import unlock

__all__: list[str] = []

unlock()  # what Dask has imported by now, and ours


SIDE = 64  # of what Dask tries functions on: most crops fit in


@cache
def _black() -> bytes:
    return codec.encode(np.zeros((SIDE, SIDE, 3), np.uint8), "png")


@make_array_nonempty.register(ImageDtype)
def _nonempty(dtype: ImageDtype) -> ImageArray:
    """Two cells that Dask may try a user's functions on: black pictures, no file is opened."""
    if dtype.holds_paths:
        cell = Image(path=f"data:image/png;base64,{b64encode(_black()).decode()}")
    elif dtype.cells == "encoded":
        cell = Image(_black(), path="picture.png")
    else:
        axis = () if dtype.channels == 0 else (dtype.channels or 3,)
        shape = dtype.shape or ((2,) if dtype.tensor else (SIDE, SIDE, *axis))
        cell = Image(np.zeros(shape, dtype.cell_dtype or np.uint8), path="picture.png")
    return ImageArray.of([cell, cell], dtype)


@make_array_nonempty.register(ImageListDtype)
def _nonempty_lists(dtype: ImageListDtype) -> ImageListArray:
    cells = _nonempty(dtype.item)
    return ImageListArray(np.array([0, 1, 2]), np.ones(2, bool), cells)


@normalize_token.register(ImageListArray)
def _lists_token(array: ImageListArray) -> Any:
    return ("daskimg.ImageListArray", normalize_token(array.token()))


@normalize_token.register(ImageListDtype)
def _lists_dtype_token(dtype: ImageListDtype) -> Any:
    return dtype.__dask_tokenize__()


@normalize_token.register(ImageArray)
def _token(array: ImageArray) -> Any:
    # Dask would hash the objects of np.asarray(array), one scalar per cell
    return ("daskimg.ImageArray", normalize_token(array.token()))


@normalize_token.register(ImageDtype)
def _dtype_token(dtype: ImageDtype) -> Any:
    # Dask would take the name of any extension dtype, which leaves policy and credentials out
    return dtype.__dask_tokenize__()


@sizeof.register(Results)
def _sizeof(results: Results) -> int:
    return sum(sizeof(value) for value in results.values())


@sizeof.register((Table, Column))
def _sizeof_bare(rows: Table | Column) -> int:
    size: int = sizeof(rows.pandas())  # which looks into objects
    return size
