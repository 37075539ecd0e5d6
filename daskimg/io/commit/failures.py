"""Rows that were written, that failed and that are missing: each row is one of the three."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype
from daskimg.column.image import Image
from daskimg.column.lists import ImageListArray, ImageListDtype
from daskimg.engine.program import STRING
from daskimg.errors import cause_of

__all__ = [
    "Census",
    "Seen",
    "assigned",
    "count",
    "failed_rows",
    "image_column",
    "image_columns",
    "picture_columns",
    "settled",
]

OPENING = ("fetch", "read", "header", "format", "decode", "size")  # stages of what a file is


def image_columns(frame: Any) -> list[str]:
    """Names of the image (and tensor) columns of a frame."""
    return [name for name, dtype in frame.dtypes.items() if isinstance(dtype, ImageDtype)]


def picture_columns(frame: Any) -> list[str]:
    """Names of the columns of pictures, of tensors and of lists of pictures."""
    kinds = ImageDtype | ImageListDtype
    return [name for name, dtype in frame.dtypes.items() if isinstance(dtype, kinds)]


# Why rows failed where no cell tells (None elsewhere), by the column that it is about.
Seen: TypeAlias = Mapping[str | None, npt.NDArray[Any]]


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


def count(frame: pd.DataFrame, columns: Sequence[str], *others: Seen) -> Census:
    """Look at the cells of `columns`, and at failures told by `others`; nothing is read."""
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
    for about, reasons in (told for seen in others for told in seen.items()):
        new = ~failed & pd.notna(reasons)
        reason[new], column[new] = reasons[new], about
        failed |= new
    return Census(failed, null & ~failed, column, reason)


def more_failed(ticket: Mapping[str, Any], told: Census, all_told: Census) -> dict[str, Any]:
    """A ticket's numbers of failures, those of `all_told` that `told` lacks among them."""
    new = all_told.failed & ~told.failed
    more = Counter(cause_of(str(why)) for why in all_told.reason[new])
    reasons = Counter(ticket["reasons"]) + more
    return {
        "failed": ticket["failed"] + int(new.sum()),
        "missing": ticket["missing"] - int((told.missing & new).sum()),
        "reasons": dict(sorted(reasons.items())),
    }


def settled(frame: pd.DataFrame, about: Mapping[str, str | None]) -> tuple[pd.DataFrame, Seen]:
    """A partition without the columns that say what else failed of its rows, and what they say.

    A picture that could not be opened for one of those columns is a failed cell from here on.

    Parameters
    ----------
    frame : DataFrame
    about : mapping of str to str or None
        The columns (``"reason\\0path"`` or null), and the image column that each is about.
    """
    plain = frame.drop(columns=list(about))
    told: dict[str | None, npt.NDArray[Any]] = {}
    for name, column in about.items():
        rows = np.flatnonzero(frame[name].notna())
        if not len(rows):
            continue
        pairs = [text.split("\0", 1) for text in frame[name].iloc[rows]]
        reasons = told.setdefault(column, np.full(len(frame), None, object))
        reasons[rows] = [reason for reason, _ in pairs]
        broken = [n for n, (reason, _) in enumerate(pairs) if reason.split(":")[0] in OPENING]
        if column is not None and broken:
            cells = plain[column].array.copy()
            cells[rows[broken]] = [Image(None, pairs[n][1] or None, pairs[n][0]) for n in broken]
            plain = assigned(plain, {column: cells})
    return plain, told


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


def assigned(frame: Any, columns: Mapping[Any, Any]) -> Any:
    """``frame.assign`` of columns whose names may be no text.

    Raises
    ------
    TypeError
        Where the frame is Dask's, which assigns to names of text alone.
    """
    others = [name for name in columns if not isinstance(name, str)]
    if not others:
        return frame.assign(**columns) if columns else frame
    if not isinstance(frame, pd.DataFrame):
        name = others[0]
        raise TypeError(
            f"the name of an image column is text; got {name!r}: rename it first, "
            f'df.rename(columns={{{name!r}: "image"}})'
        )
    frame = frame.copy(deep=False)
    for name, cells in columns.items():
        frame[name] = cells
    return frame
