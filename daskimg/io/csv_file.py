"""Tables as CSV: the plain columns of a frame."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd

from daskimg.errors import quoted
from daskimg.io.commit.failures import count, picture_columns
from daskimg.io.commit.run import Run
from daskimg.io.commit.target import Target, path_of
from daskimg.io.commit.write import Output, as_dask
from daskimg.io.commit.writing import Mode
from daskimg.io.listing.walk import own_part
from daskimg.io.one_file import Whole, write_single
from daskimg.io.parquet.failures import write_committed
from daskimg.secrets import mask_url
from daskimg.transport import fetch
from daskimg.words import WRITERS, known_as

__all__ = ["write_csv"]


@known_as(WRITERS)
def write_csv(
    df: Any,
    path: str | os.PathLike[str],
    *,
    sep: str = ",",
    index: bool | None = None,
    compression: str | None = None,
    mode: Mode = "error",
    storage_options: Mapping[str, Any] | None = None,
    compute: bool = True,
    errors: str | os.PathLike[str] | None = None,
) -> Any:
    """Write a frame without pictures as CSV: a folder of files, or one file.

    Parameters
    ----------
    df : DataFrame
        Dask or pandas.
    path : str or path
        One that ends in ``.csv`` (or ``.csv.gz``) is one file; else a folder with a file for each
        partition, each with a header.
    sep : str
        Between values.
    index : bool, optional
        Whether the index is the first column. None: if it has a name.
    compression : {None, "gzip"}
        Of each file of a folder; of one file its name tells.
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
    TypeError
        For an image column, which a CSV file cannot hold.

    Examples
    --------
    >>> df = di.read_images(folder)
    >>> sizes = df.assign(width=df.image.img.width).drop(columns=["image", "path"])
    >>> sizes.img.write_csv("sizes.csv")
    WriteResult(4 written)
    >>> pd.read_csv("sizes.csv").width.tolist()
    [24, 24, 24, 24]
    """
    frame = as_dask(df)
    for name in picture_columns(frame):
        raise TypeError(
            f"write_csv: the column {name!r} is {frame.dtypes[name]}, and a CSV file holds no "
            "pictures: drop it or write its .img.path; pictures go to write_parquet, write_images"
        )
    if compression not in (None, "gzip"):
        raise ValueError(f'compression is None or "gzip"; got {compression!r}')
    if not isinstance(sep, str) or len(sep) != 1:
        raise ValueError(f"sep is one character; got {sep!r}")
    named = any(name is not None for name in frame._meta.index.names)
    with_index = named if index is None else bool(index)
    ending = own_part(path_of(path)).lower()
    single = ending.endswith((".csv", ".csv.gz"))
    if compression is not None and single and not ending.endswith(".gz"):
        raise ValueError(
            f'one file is compressed if it ends in ".csv.gz"; got {mask_url(ending)!r}'
        )
    packed = ending.endswith(".gz") if single else compression == "gzip"
    part = Part(sep, with_index, packed)
    out = Output(path, mode, storage_options, compute, errors)
    if single:
        header = partial(_header, part.header(frame._meta))
        return write_single(frame, part.rows, Whole(header, packed), out)
    part = replace(part, head=part.header(frame._meta))
    return write_committed(frame, part, out, "csv", partial(part.files, frame._meta))


def _header(text: bytes, nbytes: int) -> bytes:
    return text


@dataclass(frozen=True)
class Part:
    """Writes the file of one partition."""

    sep: str
    index: bool
    packed: bool
    head: bytes = b""  # the first line

    def __call__(self, frame: pd.DataFrame, run: Run, number: int) -> dict[str, Any]:
        ticket = count(frame, []).ticket()
        return {**ticket, "files": self.files(frame, run, number) if len(frame) else []}

    def refuse_others(self, target: Target, names: Iterable[str]) -> None:
        """Stop where a file with another first line is."""
        first = next((name for name in names if name.endswith((".csv", ".csv.gz"))), None)
        if first is None:
            return
        with fetch.open_head(target.href(first), target.source) as file:
            lines: Any = gzip.GzipFile(fileobj=file) if first.endswith(".gz") else file
            there, mine = lines.readline().rstrip(), self.head.rstrip()
        if there != mine:
            raise ValueError(
                f"{target.shown} holds files that begin with {quoted(there)}, and these with "
                f"{quoted(mine)}. Nothing was written: write into another folder"
            )

    def files(self, frame: pd.DataFrame, run: Run, number: int = 0) -> list[dict[str, Any]]:
        """Put a file with a header; its line of the manifest."""
        data = self.header(frame) + self.rows(frame)
        if self.packed:  # always to the same bytes
            data = gzip.compress(data, 6, mtime=0)
        return [run.put(run.part_name(number, ".csv.gz" if self.packed else ".csv"), data)]

    def rows(self, frame: pd.DataFrame) -> bytes:
        """The lines of a frame, without a header."""
        return self._text(frame, header=False)

    def header(self, frame: pd.DataFrame) -> bytes:
        """The first line."""
        return self._text(frame.iloc[:0], header=True)

    def _text(self, frame: pd.DataFrame, header: bool) -> bytes:
        text = frame.to_csv(sep=self.sep, index=self.index, header=header, lineterminator="\n")
        return text.encode()
