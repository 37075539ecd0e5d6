"""``.img`` on a DataFrame: names for whole-frame work, on pandas and Dask alike."""

from __future__ import annotations

from typing import Any

import dask.dataframe as dd
import pandas as pd
from dask.dataframe.extensions import register_dataframe_accessor as register_on_dask
from pandas.api.extensions import register_dataframe_accessor

from daskimg.column.dtype import ImageDtype

__all__ = ["FrameAccessor", "image_column"]


def image_column(frame: Any, column: str | None = None) -> str:
    """The name of the image column that is meant: `column`, or the only one there is.

    Raises
    ------
    KeyError
        When there is no such column.
    TypeError
        When it holds no pictures.
    ValueError
        When there is none, or more than one to choose from.
    """
    found = [
        name
        for name, dtype in frame.dtypes.items()
        if isinstance(dtype, ImageDtype) and not dtype.tensor
    ]
    if column is not None:
        if column not in frame.columns:
            raise KeyError(f"no column {column!r}; the columns are {', '.join(map(str, frame))}")
        if column not in found:
            raise TypeError(f"{column!r} is no image column, but {frame.dtypes[column]}")
        return column
    if len(found) != 1:
        told = f"it has {', '.join(map(repr, found))}" if found else "it has none"
        raise ValueError(f"column= is needed unless a frame has one image column; {told}")
    return str(found[0])


@register_dataframe_accessor("img")
@register_on_dask("img")
class FrameAccessor:
    """Work on whole rows: write them to files, list what failed.

    On any DataFrame, pandas or Dask. A column named ``img`` stays ``df["img"]``.
    """

    def __init__(self, frame: Any) -> None:
        self._frame = frame

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
            self._errors_of(name)
            for name, dtype in self._frame.dtypes.items()
            if isinstance(dtype, ImageDtype)
        ]
        if not frames:
            raise ValueError("the frame has no image column")
        if len(frames) == 1:
            return frames[0]
        return (pd if isinstance(self._frame, pd.DataFrame) else dd).concat(frames)

    def _errors_of(self, name: Any) -> Any:
        cells = self._frame[name]
        reason = cells.img.error if cells.dtype.holds_pixels else cells.img.check()
        found = cells.to_frame("cell").assign(path=cells.img.path, column=str(name), error=reason)
        found = found[["path", "column", "error"]]
        found = found[found["error"].notna()]
        stage = found["error"].str.extract(r"^([^:]*)", expand=False)
        return found.assign(stage=stage)[["path", "column", "stage", "error"]]
