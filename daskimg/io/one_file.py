"""One file from all partitions: its rows wait beside it, then stand under its name at once.

Rows that were written, and the tickets of finished partitions, are in a hidden folder
``.<name>.daskimg`` until the file is complete. Where the number of rows of each partition is known
on a local disk, each writes its rows at their place in the file; else each has a piece of its own,
and the commit copies one after the other. No more than a partition's rows are in memory.
"""

from __future__ import annotations

import errno
import gzip
import itertools
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, BinaryIO, NamedTuple

import dask.dataframe as dd
import pandas as pd

from daskimg.io.commit.failures import count, image_columns
from daskimg.io.commit.manifest import parse_ticket
from daskimg.io.commit.query import query_of
from daskimg.io.commit.result import WriteResult
from daskimg.io.commit.run import Run
from daskimg.io.commit.target import Target
from daskimg.io.commit.write import Job, Output, submit
from daskimg.io.commit.writing import checksum
from daskimg.io.parquet.failures import failures_job
from daskimg.lazy.prune import pruned
from daskimg.lazy.source import row_counts
from daskimg.secrets import mask_url
from daskimg.transport import fetch

__all__ = ["Whole", "write_single"]

BLOCK = 8 * 2**20  # copied at a time


class Whole(NamedTuple):
    """What a file is besides its rows.

    Attributes
    ----------
    header : callable
        ``header(nbytes)`` stands before so many bytes of rows; its length is always the same.
    packed : bool
        Whether the file is a gzip file.
    row_bytes : int, optional
        Of each row, where all have as many.
    """

    header: Callable[[int], bytes]
    packed: bool = False
    row_bytes: int | None = None


class FileResult(WriteResult):
    """What was written into one file, which is its own manifest."""

    @property
    def files(self) -> list[str]:  # type: ignore[override]
        """The file."""
        return [self.manifest]


@dataclass(frozen=True)
class Piece:
    """Writes the rows of a partition."""

    encode: Callable[[pd.DataFrame], Any]

    def __call__(self, frame: pd.DataFrame, run: FileRun, number: int) -> dict[str, Any]:
        ticket = count(frame, image_columns(frame)).ticket()
        return {**ticket, "files": [run.keep(number, self.encode(frame))]}


def write_single(
    frame: dd.DataFrame, encode: Callable[[pd.DataFrame], Any], whole: Whole, out: Output
) -> Any:
    """Write what ``encode`` makes of every partition as one file.

    Raises
    ------
    FileExistsError
        In mode "error", when there is such a file, or an unfinished one.
    ValueError
        In mode "append", for a file cannot be appended to without a moment when it is half there.
    """
    if out.mode == "append":
        raise ValueError(f"one file cannot be appended to: give a folder for {out.target.shown!r}")
    folder, _, name = out.target.url.rpartition("/")
    final = Target(f"{folder}/", out.target.source)
    refuse(final, name, out.mode)
    frame = pruned(frame)
    query = query_of(frame, Piece(encode), whole)
    beside = Target(final.href(f".{name}.daskimg"), final.source)
    run = out._replace(path=beside).run("file", query)
    known = {field.name: getattr(run, field.name) for field in fields(Run)}
    starts = places(frame, whole) if final.local else ()
    run = FileRun(**known, final=final, name=name, whole=whole, starts=starts, asked=out.mode)
    run = replace(run, finished=run.target.has(run.placed))
    job = Job(run, Piece(encode), None, failures_job(frame, out, query))
    return submit(frame, job, out.compute)


def refuse(final: Target, name: str, mode: str) -> None:
    """Stop where there is a file already that is not to be replaced."""
    if mode == "error" and final.has(name):
        text = 'The file exists: use mode="overwrite"'
        raise FileExistsError(errno.EEXIST, text, mask_url(final.href(name)))


def places(frame: dd.DataFrame, whole: Whole) -> tuple[int, ...]:
    """Where the rows of each partition begin and the last end, if that is known."""
    rows = row_counts(frame)
    if rows is None or whole.row_bytes is None or whole.packed:
        return ()
    first = len(whole.header(0))
    return tuple(first + whole.row_bytes * n for n in itertools.accumulate(rows, initial=0))


@dataclass(frozen=True, kw_only=True)
class FileRun(Run):
    """One write of one file; its target is the folder beside it."""

    final: Target  # the folder of the file
    name: str
    whole: Whole
    starts: tuple[int, ...]  # where the rows of each partition are in it, and where they end
    asked: str  # the mode

    def keep(self, number: int, data: Any) -> dict[str, Any]:
        """Write the rows of a partition; where they are."""
        size = memoryview(data).nbytes
        known = {"bytes": size, "crc32": checksum(data)}
        if not self.starts:
            self.target.put(f"{self.folder}/files/{number:05d}", data)
            return {"name": f"{number:05d}", "start": 0, **known}
        start, end = self.starts[number : number + 2]
        if start + size > end:
            raise ValueError(f"partition {number} has more rows than it was said to have")
        with self._opened() as file:
            file.seek(start)
            file.write(data)
        return {"name": "rows", "start": start, **known}

    def _waiting(self, piece: dict[str, Any]) -> str:
        return f"{self.folder}/files/{piece['name']}"

    @property
    def _rows(self) -> str:
        return f"{self.folder}/files/rows"

    def _opened(self) -> BinaryIO:
        """The file of rows that have their places, made if it is not there."""
        path = self.target.at(self._rows)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")

    # -- the end --------------------------------------------------------------------------
    def commit(self, tickets: Sequence[dict[str, Any]]) -> WriteResult:
        """Put the file under its name: of tickets in order, all in one go.

        Raises
        ------
        FileExistsError
            When somebody else made the file meanwhile.
        ValueError
            When an earlier one, which is to be what this run makes, holds something else.
        """
        tickets = sorted(tickets, key=lambda ticket: int(ticket["partition"]))
        pieces = [file for ticket in tickets for file in ticket["files"] if file["bytes"]]
        exists = self.final.has(self.name)
        moved = exists and self.starts and not self.target.has(self._rows)
        if not (moved and self.asked == "resume"):  # else it died when the file was in its place
            with self._made(pieces) as path:
                if self.asked == "resume" and exists:
                    self._compare(path)
                else:
                    refuse(self.final, self.name, self.asked)
                    self._publish_file(path)
        self._tell(tickets)
        self.discard()
        return self.result(tickets)

    def _tell(self, tickets: Sequence[dict[str, Any]]) -> None:
        """Note that the file is in its place: from here on nothing of the run is needed."""
        total = super().result(tickets)
        known = {"rows": total.rows, "failed": total.failed, "missing": total.missing}
        text = json.dumps({"partition": 0, **known, "reasons": total.reasons, "files": []})
        self.target.put(self.placed, text.encode(), settled=True)

    @property
    def placed(self) -> str:
        """What tells that the file is in its place."""
        return f"{self.folder}/placed.json"

    def finish(self) -> WriteResult:
        """The result of a run that died when the file was in its place."""
        told = parse_ticket(self.target.read(self.placed), 0)
        self.discard()
        return self.result([told or {}])

    def result(self, tickets: Any) -> WriteResult:
        """The sum of the tickets."""
        told = vars(super().result(tickets))
        return FileResult(**{**told, "manifest": self.final.href(self.name)})

    def discard(self) -> None:
        """Remove what is beside the file, last what tells that it is in its place."""
        self.target.remove(name for name in self.target.files() if name != self.placed)
        self.target.remove([self.placed])
        if self.target.renames and self.target.fs.isdir(self.target.at("")):
            self.target.fs.rm(self.target.at("").rstrip("/"), recursive=True)

    @contextmanager
    def _made(self, pieces: list[dict[str, Any]]) -> Iterator[str]:
        """The path of the file as it will be, on the target's disk or a temporary one."""
        header = self.whole.header(sum(piece["bytes"] for piece in pieces))
        ends = [len(header), *(piece["start"] + piece["bytes"] for piece in pieces)]
        if self.starts and all(p["start"] == end for p, end in zip(pieces, ends, strict=False)):
            with self._opened() as file:
                held = max(file.seek(0, os.SEEK_END), len(header))
                if held < ends[-1]:
                    gone = f"{ends[-1] - held:,} bytes of it are gone"
                    raise OSError(errno.EIO, gone, self.target.shown)
                file.seek(0)
                file.write(header)
                file.truncate(ends[-1])
            yield self.target.at(self._rows)
            return
        with tempfile.TemporaryDirectory() as folder:
            if self.target.local:  # where it can be renamed
                folder = self.target.at(f"{self.folder}/files")
                os.makedirs(folder, exist_ok=True)
            path = os.path.join(folder, "whole")
            with open(path, "wb") as out:
                self._fill(out, header, pieces)
            yield path

    def _fill(self, out: BinaryIO, header: bytes, pieces: list[dict[str, Any]]) -> None:
        packed = self.whole.packed
        file: Any = gzip.GzipFile("", "wb", 6, out, mtime=0) if packed else out
        file.write(header)
        for piece in pieces:
            if not self.target.local:
                file.write(self.target.read(self._waiting(piece)))
                continue
            with open(self.target.at(self._waiting(piece)), "rb") as rows:
                rows.seek(piece["start"])
                left = piece["bytes"]
                while left and (block := rows.read(min(BLOCK, left))):
                    left -= file.write(block)
                if left:
                    raise OSError(errno.EIO, f"{left:,} bytes of it are gone", self.target.shown)
        if packed:
            file.close()

    def _publish_file(self, path: str) -> None:
        final = self.final.at(self.name)
        if self.final.local:
            self.final.settle([], [path])  # else a power cut could leave the name without the rows
            os.replace(path, final)
            self.final.settle([], [os.path.dirname(final)])
        elif self.final.renames:
            waiting = f"{self.folder}/files/whole"
            self.target.upload(path, waiting)
            self.final.fs.mv(self.target.at(waiting), final)
        else:
            self.final.upload(path, self.name)

    def _compare(self, path: str) -> None:
        there = self.final.href(self.name)
        with open(path, "rb") as new, fetch.open_head(there, self.final.source) as old:
            same = all(
                new.read(BLOCK) == old.read(BLOCK)
                for _ in range(os.path.getsize(path) // BLOCK + 2)
            )
        if not same:
            self.discard()
            raise ValueError(
                f'{mask_url(there)} holds something else: mode="resume" goes on with the '
                'same call only; use mode="overwrite", or another path'
            )
