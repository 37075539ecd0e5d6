"""Rows that were written, that failed and that are missing: each row is one of the three."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype
from daskimg.column.lists import ImageListArray, ImageListDtype
from daskimg.errors import cause_of

__all__ = ["Census", "count", "failed_rows", "image_column", "image_columns", "picture_columns"]

STRING = pd.StringDtype("pyarrow")


def image_columns(frame: Any) -> list[str]:
    """Names of the image (and tensor) columns of a frame."""
    return [name for name, dtype in frame.dtypes.items() if isinstance(dtype, ImageDtype)]


def picture_columns(frame: Any) -> list[str]:
    """Names of the columns of pictures, of tensors and of lists of pictures."""
    kinds = ImageDtype | ImageListDtype
    return [name for name, dtype in frame.dtypes.items() if isinstance(dtype, kinds)]


class Census(NamedTuple):
    """What became of each row, looking at some image columns."""

    failed: npt.NDArray[np.bool_]
    missing: npt.NDArray[np.bool_]
    column: npt.NDArray[Any]  # the first that failed, of each row
    reason: npt.NDArray[Any]

    def ticket(self) -> dict[str, Any]:
        """The numbers of a ticket."""
        reasons = Counter(cause_of(str(why)) for why in self.reason[self.failed])
        return {
            "rows": len(self.failed),
            "failed": int(self.failed.sum()),
            "missing": int(self.missing.sum()),
            "reasons": dict(sorted(reasons.items())),
        }


def count(frame: pd.DataFrame, columns: Sequence[str]) -> Census:
    """Look at the cells of `columns`; nothing is read."""
    n = len(frame)
    failed, null = np.zeros(n, bool), np.zeros(n, bool)
    column, reason = np.full(n, None, object), np.full(n, None, object)
    for name in columns:
        cells: ImageArray | ImageListArray = frame[name].array
        bad = ~cells.valid & cells.has_error
        new = bad & ~failed
        error = cells.error
        if new.any() and error is not None:
            rows = np.flatnonzero(new)
            reason[rows] = error.take(pa.array(rows)).to_pylist()
            column[rows] = name
        failed |= bad
        null |= ~cells.valid
    return Census(failed, null & ~failed, column, reason)


def failed_rows(frame: pd.DataFrame, census: Census) -> pd.DataFrame:
    """The failed rows to try again: pictures as the files they came from, and why they failed.

    A column ``path`` is made where there is none, of the cell that failed; ``column`` names it,
    ``error`` says why.
    """
    rows = np.flatnonzero(census.failed)
    kept = frame.iloc[rows]
    out = kept.copy(deep=False)
    path = np.full(len(kept), None, object)
    for name in picture_columns(kept):
        cells: ImageArray | ImageListArray = kept[name].array
        mine = cells.dtype.item if isinstance(cells.dtype, ImageListDtype) else cells.dtype
        if mine.tensor:
            out = out.drop(columns=name)
            continue
        dtype = mine.derive("file", mode=None)
        paths = cells.path
        known = np.zeros(len(kept), bool) if paths is None else paths.is_valid().to_numpy(False)
        out[name] = ImageArray(dtype, known, None, paths)
        if paths is not None:
            first = census.column[rows] == name
            path[first] = np.array(paths.to_pylist(), object)[first]
    if "path" not in out:
        out["path"] = pd.array(path, STRING)
    out["column"] = pd.array(census.column[rows], STRING)
    out["error"] = pd.array(census.reason[rows], STRING)
    return out


def image_column(frame: Any, column: str | None = None) -> str:
    """The image column that is meant: `column`, or the only one of pictures.

    Raises
    ------
    ValueError
        When there is none, several to choose from, or `column` is none of them.
    """
    found = [name for name in image_columns(frame) if not frame[name].dtype.tensor]
    if column is None and len(found) == 1:
        return found[0]
    if column in found:
        return str(column)
    told = ", ".join(map(repr, found)) or "none"
    asked = "give column=" if column is None else f"{column!r} is not one of them"
    raise ValueError(f"the image columns of this frame: {told}; {asked}")
