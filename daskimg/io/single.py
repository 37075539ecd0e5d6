"""One file written in one go: all partitions' bytes joined, then put under the name at once."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
from dask.tokenize import tokenize

from daskimg import fetch
from daskimg.io.commit import MODES, Mode, WriteResult
from daskimg.io.failures import count, image_columns
from daskimg.io.parquet import failures_job
from daskimg.io.target import Target
from daskimg.io.write import Job, tell
from daskimg.lazy.expr import gather
from daskimg.program import STRING

__all__ = ["write_single"]

DATA: Any = pd.ArrowDtype(pa.large_binary())
PIECE = pd.DataFrame({"data": pd.array([], DATA), "ticket": pd.array([], STRING)})


class FileResult(WriteResult):
    """What was written into one file, which is its own manifest."""

    @property
    def files(self) -> list[str]:  # type: ignore[override]
        """The file."""
        return [self.manifest]


@dataclass(frozen=True)
class Piece:
    """Makes the bytes of one partition, and its ticket."""

    encode: Callable[[pd.DataFrame], bytes]
    errors: Job | None

    def __call__(
        self, frame: pd.DataFrame, partition_info: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        number = (partition_info or {"number": 0})["number"]
        start = perf_counter()
        ticket = {"partition": number, **count(frame, image_columns(frame)).ticket()}
        if self.errors is not None:
            ticket["errors"] = self.errors.ticket(frame, number)
        encoded = self.encode(frame)
        tell(ticket, len(encoded), perf_counter() - start)
        data = pd.array([encoded], DATA)
        return pd.DataFrame({"data": data, "ticket": pd.array([json.dumps(ticket)], STRING)})


@dataclass(frozen=True)
class Join:
    """Writes the file."""

    target: Target
    name: str
    join: Callable[[list[bytes]], bytes]
    mode: Mode
    errors: Job | None

    def __call__(self, parts: list[pd.DataFrame]) -> WriteResult:
        data = self.join([piece for part in parts for piece in part["data"]])
        tickets = [json.loads(text) for part in parts for text in part["ticket"]]
        if self.mode == "resume" and self.target.has(self.name):
            if self.target.read(self.name) != data:
                raise ValueError(
                    f'{self.target.href(self.name)} holds something else: mode="resume" goes on '
                    'with the same call only; use mode="overwrite", or another path'
                )
        else:
            refuse(self.target, self.name, self.mode)
            self.target.put(self.name, data)
        if self.errors is not None and not self.errors.run.finished:
            self.errors.commit([ticket["errors"] for ticket in tickets])
        return self.result(tickets)

    def result(self, tickets: list[dict[str, Any]]) -> WriteResult:
        """The sum of the tickets."""
        reasons: dict[str, int] = {}
        for ticket in tickets:
            for reason, number in ticket["reasons"].items():
                reasons[reason] = reasons.get(reason, 0) + number
        return FileResult(
            sum(ticket["rows"] for ticket in tickets),
            sum(ticket["failed"] for ticket in tickets),
            self.target.href(self.name),
            sum(ticket["missing"] for ticket in tickets),
            dict(sorted(reasons.items())),
            None if self.errors is None else self.errors.place,
            self.target.source,
        )


def refuse(target: Target, name: str, mode: Mode) -> None:
    """Stop where there is a file already that is not to be replaced."""
    if mode == "error" and target.has(name):
        text = 'The file exists: use mode="overwrite"'
        raise FileExistsError(errno.EEXIST, text, fetch.mask_url(target.href(name)))


def write_single(
    frame: dd.DataFrame,
    path: str | os.PathLike[str],
    encode: Callable[[pd.DataFrame], bytes],
    join: Callable[[list[bytes]], bytes],
    *,
    mode: Mode,
    storage_options: Mapping[str, Any] | None,
    compute: bool,
    errors: str | os.PathLike[str] | None,
) -> Any:
    """Write ``join`` of what ``encode`` makes of every partition as one file.

    Raises
    ------
    FileExistsError
        In mode "error", when there is such a file.
    ValueError
        In mode "append", for a file cannot be appended to without a moment when it is half there.
    """
    if mode not in MODES:
        raise ValueError(f"mode is one of {', '.join(MODES)}; got {mode!r}")
    if mode == "append":
        raise ValueError(f"one file cannot be appended to: give a folder for {os.fspath(path)!r}")
    whole = Target(path, storage_options)
    folder, _, name = whole.url.rpartition("/")
    target = Target(folder or "/", whole.source)
    refuse(target, name, mode)
    beside = None
    if errors is not None:
        query = tokenize(frame, encode, join)
        beside = failures_job(frame._meta, Target(errors, storage_options), mode, query)
    pieces = frame.map_partitions(
        Piece(encode, beside), meta=PIECE, enforce_metadata=False, align_dataframes=False
    )
    finish = Join(target, name, join, mode, beside)
    result = gather(pieces, finish, finish.result([]))
    return result.optimize().compute() if compute else result
