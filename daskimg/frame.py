"""``.img`` on a DataFrame: names for whole-frame work, on pandas and Dask alike. No logic."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import dask.dataframe as dd
import pandas as pd
from dask.dataframe.extensions import register_dataframe_accessor as register_on_dask
from pandas.api.extensions import register_dataframe_accessor

from daskimg import batch, curate, export, stream
from daskimg.accessor.base import listed, neighbour
from daskimg.column.dtype import ImageDtype
from daskimg.io import csv_file
from daskimg.io.commit.failures import image_column
from daskimg.io.images import write as files
from daskimg.io.npy import write as npy_write
from daskimg.io.parquet import write as parquet
from daskimg.io.tfrecord import shards as tfrecord
from daskimg.io.webdataset import shards as webdataset
from daskimg.show import ContactSheet

__all__ = ["FrameAccessor"]


# What the parts of daskimg are for, to who looks for a method.
GROUPS = {"batch": "functions", "stream": "iterate", "export": "train", "io": "write"}


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a frame as a method: the same doc, and a signature without the frame."""

    @functools.wraps(function)
    def call(self: FrameAccessor, *args: Any, **kwargs: Any) -> Any:
        return function(self._frame, *args, **kwargs)

    signature = inspect.signature(function)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    rest = list(signature.parameters.values())[1:]
    call.__signature__ = signature.replace(parameters=[own, *rest])  # type: ignore[attr-defined]
    return call


@register_dataframe_accessor("img")
@register_on_dask("img")
class FrameAccessor:
    """Work on whole rows: write them to files, list what failed.

    On any DataFrame, pandas or Dask. A column named ``img`` stays ``df["img"]``.
    """

    def __init__(self, frame: Any) -> None:
        self._given = frame

    @property
    def _frame(self) -> Any:
        """The frame, each of whose columns has a name of its own."""
        names = self._given.columns
        if not names.is_unique:
            twice = ", ".join(map(repr, dict.fromkeys(names[names.duplicated()])))
            raise ValueError(
                f"several columns are named {twice}: rename them, .img needs columns with names of "
                f"their own; got {list(names)}"
            )
        return self._given

    map = _method(batch.map)
    map_batches = _method(batch.map_batches)
    iter_batches = _method(stream.iter_batches)
    iter_rows = _method(stream.iter_rows)
    take_batch = _method(stream.take_batch)
    iter_torch_batches = _method(export.iter_torch_batches)
    to_torch = _method(export.to_torch)
    to_tf = _method(export.to_tf)
    near_duplicates = _method(curate.near_duplicates)
    duplicate_groups = _method(curate.duplicate_groups)
    drop_near_duplicates = _method(curate.drop_near_duplicates)
    audit = _method(curate.audit)
    nearest = _method(curate.nearest)
    neighbours = _method(curate.neighbours)
    write_images = _method(files.write_images)
    write_parquet = _method(parquet.write_parquet)
    write_numpy = _method(npy_write.write_numpy)
    write_tfrecords = _method(tfrecord.write_tfrecords)
    write_webdataset = _method(webdataset.write_webdataset)
    write_csv = _method(csv_file.write_csv)

    def __repr__(self) -> str:
        """The image columns, and what there is, by the part of daskimg it comes from.

        Examples
        --------
        >>> print(pd.DataFrame({"image": pictures}).img)
        .img of a frame with image: image[pixels]
        ...write_images() write_parquet()...
        """
        found = {k: d for k, d in self._given.dtypes.items() if isinstance(d, ImageDtype)}
        told = ", ".join(f"{name}: {dtype}" for name, dtype in found.items())
        groups: dict[str, list[str]] = {}
        for name, value in vars(FrameAccessor).items():
            if not name.startswith("_"):
                part = value.__module__.split(".")[1]
                groups.setdefault(GROUPS.get(part, part), []).append(f"{name}()")
        return listed(f".img of a frame with {told or 'no image column'}", groups)

    def show(
        self, column: str | None = None, n: int = 16, columns: int = 4, label: Any = None
    ) -> ContactSheet:
        """The first pictures of a column on one sheet; no others are read.

        Parameters
        ----------
        column : str, optional
            None: the only image column.
        n : int
            How many.
        columns : int
            Pictures in a row.
        label : str, Series or list, optional
            A text below each picture: the name of a column, or as in ``df.image.img.show``.

        Returns
        -------
        PIL.Image.Image
            A gallery in a notebook. A failed picture shows its reason.

        Examples
        --------
        >>> df = pd.DataFrame({"image": pictures, "kind": ["red", "grey", None]})
        >>> df.img.show(n=2, label="kind").size
        (344, 192)
        """
        if isinstance(label, str):
            label = neighbour(self._frame, label)
        cells = self._frame[image_column(self._frame, column)]
        sheet: ContactSheet = cells.img.show(n, columns, label)
        return sheet

    def hist(
        self, of: Any = "brightness", column: str | None = None, bins: int = 30, n: int = 4
    ) -> ContactSheet:
        """How a measure of the pictures, or a column, is spread; the pictures at both ends.

        Parameters
        ----------
        of : str or Series
            A column of numbers (a model's score), or a measure (``"sharpness"``).
        column : str, optional
            Of which pictures; None: the only image column.
        bins : int
            Bars of the histogram.
        n : int
            Pictures of the lowest values, and as many of the highest.

        Returns
        -------
        PIL.Image.Image

        Examples
        --------
        >>> df = pd.DataFrame({"image": pictures, "score": [0.5, 0.25, None]})
        >>> df.img.hist("score", n=1).size
        (712, 360)
        """
        if isinstance(of, str) and of in self._frame.columns:
            of = self._frame[of]
        cells = self._frame[image_column(self._frame, column)]
        sheet: ContactSheet = cells.img.hist(of, bins, n)
        return sheet

    def errors(self) -> Any:
        """Every failed cell: ``path``, ``column``, ``stage`` and ``error``, a row each.

        Cells that are not decoded yet are decoded to see (`check`); never raises itself.

        Examples
        --------
        >>> df = pd.DataFrame({"image": pd.Series([b"not a picture"], dtype="image")})
        >>> df.img.errors()[["column", "stage"]].values.tolist()
        [['image', 'decode']]
        """
        frames = [
            _errors_of(self._frame[name])
            for name, dtype in self._frame.dtypes.items()
            if isinstance(dtype, ImageDtype)
        ]
        if not frames:
            raise ValueError("the frame has no image column")
        if len(frames) == 1:
            return frames[0]
        return (pd if isinstance(self._frame, pd.DataFrame) else dd).concat(frames)


def _errors_of(cells: Any) -> Any:
    reason = cells.img.error if cells.dtype.holds_pixels else cells.img.check()
    columns = {"path": cells.img.path, "column": str(cells.name), "error": reason}
    found = cells.to_frame("cell").assign(**columns)[["path", "column", "error"]]
    found = found[~found["error"].isna()]
    stage = found["error"].str.extract(r"^([^:]*)", expand=False)
    return found.assign(stage=stage)[["path", "column", "stage", "error"]]
