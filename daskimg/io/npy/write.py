"""Pixels of one shape as .npy shards, what stands beside them as Parquet."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype
from daskimg.column.storage import Uniform
from daskimg.io.commit.failures import count, image_column, image_columns, picture_columns
from daskimg.io.commit.run import Run
from daskimg.io.commit.target import Target, path_of
from daskimg.io.commit.write import Output, as_dask
from daskimg.io.commit.writing import Mode
from daskimg.io.listing.walk import own_part
from daskimg.io.npy import format as nf
from daskimg.io.one_file import Whole, write_single
from daskimg.io.parquet.failures import write_committed
from daskimg.io.parquet.part import Part as ParquetPart
from daskimg.io.parquet.schema import Layout
from daskimg.transport import fetch
from daskimg.words import WRITERS, known_as

__all__ = ["write_numpy"]

INDEX = "index.parquet"


@known_as(WRITERS)
def write_numpy(
    df: Any,
    path: str | os.PathLike[str],
    column: str | None = None,
    *,
    mode: Mode = "error",
    storage_options: Mapping[str, Any] | None = None,
    compute: bool = True,
    errors: str | os.PathLike[str] | None = None,
) -> Any:
    """Write the pictures of a column, all of one shape, as NumPy arrays.

    A folder holds ``part-00000.npy`` and so on, an array ``(N, H, W[, C])`` of each partition,
    and, where there are other columns, ``index.parquet``, a folder of Parquet files of these and
    the index, in the order of the rows. Rows without a picture are in neither; they are counted.

    Parameters
    ----------
    df : DataFrame
        Dask or pandas.
    path : str or path
        A folder; or a name that ends in ``.npy``, for one array of a frame with no other column.
    column : str, optional
        The image or tensor column; None: the only image column.
    mode, storage_options, compute, errors
        As in `write_parquet`; one file cannot be appended to.

    Returns
    -------
    WriteResult
        Or, with ``compute=False``, a Dask scalar that computes to one.

    Raises
    ------
    FileExistsError
        In mode "error", when there is something already.
    ValueError
        For a column whose cells have no common shape.

    Examples
    --------
    >>> df = di.read_images(folder, size=(8, 8), mode="RGB")
    >>> df.assign(label=1).img.write_numpy("arrays")
    WriteResult(4 written)
    >>> np.load("arrays/part-00000.npy").shape
    (4, 8, 8, 3)
    >>> pd.read_parquet("arrays/index.parquet").label.tolist()
    [1, 1, 1, 1]
    """
    frame = as_dask(df)
    name = _column(frame, column)
    dtype: ImageDtype = frame.dtypes[name]
    if dtype.shape is None or dtype.cell_dtype is None:
        raise ValueError(
            f"an array has one shape, and {name!r} is {dtype}: use "
            '.img.decode("RGB").img.resize(height, width) first'
        )
    out = Output(path, mode, storage_options, compute, errors)
    if own_part(path_of(path)).lower().endswith(".npy"):
        if others := [other for other in frame.columns if other != name]:
            raise ValueError(
                f"one .npy file has no place for the columns {others}: select df[[{name!r}]], or "
                "write into a folder"
            )
        header = partial(array_header, dtype.cell_dtype, dtype.shape)
        row = int(np.prod(dtype.shape)) * dtype.cell_dtype.itemsize
        return write_single(frame, Rows(name), Whole(header, row_bytes=row), out)
    beside = frame._meta.drop(columns=name)
    layout = Layout.of(beside) if len(beside.columns) else None
    part = Part(name, dtype, None if layout is None else ParquetPart(layout, "zstd"))
    return write_committed(frame, part, out, "numpy", partial(part.files, frame._meta))


def _column(frame: Any, column: str | None) -> str:
    found = image_columns(frame)
    if column in found or (column is None and len(found) == 1):
        return column or found[0]
    return image_column(frame, column)


@dataclass(frozen=True)
class Part:
    """Writes the array of one partition, and the columns beside it."""

    column: str
    dtype: ImageDtype
    beside: ParquetPart | None

    def refuse_others(self, target: Target, names: Iterable[str]) -> None:
        """Stop where arrays of other rows are, or others columns beside them."""
        names = list(names)
        first = next((name for name in names if name.endswith(".npy")), None)
        if first is not None:
            with fetch.open_head(target.href(first), target.source) as file:
                there = nf.read_headers(file)[""]
            if (there.dtype, there.shape[1:]) != (self.dtype.cell_dtype, self.dtype.shape):
                raise ValueError(
                    f"{target.shown} holds rows of shape {there.shape[1:]}, {there.dtype}, and "
                    f"these are {self.dtype}. Nothing was written: write into another folder"
                )
        if self.beside is not None:
            self.beside.refuse_others(target, names)

    def __call__(self, frame: pd.DataFrame, run: Run, number: int) -> dict[str, Any]:
        ticket = count(frame, picture_columns(frame)).ticket()
        rows = np.flatnonzero(frame[self.column].array.valid)
        return {**ticket, "files": self.files(frame.iloc[rows], run, number) if len(rows) else []}

    def files(self, frame: pd.DataFrame, run: Run, number: int = 0) -> list[dict[str, Any]]:
        """Put the files of these rows; their lines of the manifest."""
        data = array_bytes(values_of(frame[self.column].array))
        files = [run.put(run.part_name(number, ".npy"), data)]
        if self.beside is not None:
            index = self.beside.encode(frame.drop(columns=self.column))
            files.append(run.put(f"{INDEX}/{run.part_name(number, '.parquet')}", index))
        return files


@dataclass(frozen=True)
class Rows:
    """The values of one partition."""

    column: str

    def __call__(self, frame: pd.DataFrame) -> memoryview:
        cells: ImageArray = frame[self.column].array
        values = values_of(cells)
        return flat_bytes(values if cells.valid.all() else values[cells.valid])


def values_of(cells: ImageArray) -> Any:
    """All cells as one array, zeros where a cell is null."""
    if isinstance(cells.data, Uniform):
        return np.ascontiguousarray(cells.data.values)
    out = np.zeros((len(cells), *(cells.dtype.shape or ())), cells.dtype.cell_dtype)
    for row in np.flatnonzero(cells.valid):
        out[row] = cells.as_ragged().cell(int(row))
    return out


def flat_bytes(values: Any) -> memoryview:
    """The bytes of an array, not copied."""
    return memoryview(values.reshape(-1).view(np.uint8))


def array_header(dtype: np.dtype[Any], shape: tuple[int, ...], nbytes: int) -> bytes:
    """What a .npy file begins with."""
    rows = nbytes // max(1, int(np.prod(shape)) * dtype.itemsize)
    described = np.lib.format.dtype_to_descr(dtype)
    out = io.BytesIO()
    known = {"descr": described, "fortran_order": False, "shape": (rows, *shape)}
    np.lib.format.write_array_header_1_0(out, known)
    return out.getvalue()


def array_bytes(values: Any) -> memoryview:
    """A .npy file."""
    out = io.BytesIO()
    np.lib.format.write_array(out, values, allow_pickle=False)
    return out.getbuffer()
