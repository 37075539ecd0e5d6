"""Writes that are committed, with the failed rows as Parquet in a folder of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from daskimg.engine.lasting import Facts
from daskimg.io.commit.failures import Seen, count, failed_rows, picture_columns
from daskimg.io.commit.query import query_of
from daskimg.io.commit.run import Run
from daskimg.io.commit.target import Target
from daskimg.io.commit.write import Job, Output, submit
from daskimg.io.parquet.part import Part
from daskimg.io.parquet.schema import Layout
from daskimg.lazy.prune import pruned
from daskimg.words import WRITERS, known_as

__all__ = ["failures_job", "write_committed"]


@dataclass(frozen=True)
class Failures:
    """Writes the failed rows of one partition."""

    part: Part
    columns: tuple[str, ...]

    def refuse_others(self, target: Target, names: Iterable[str]) -> None:
        """Stop where the files that are there have other columns."""
        self.part.refuse_others(target, names)

    def __call__(
        self, frame: pd.DataFrame, run: Run, number: int, others: Sequence[Seen] = ()
    ) -> dict[str, Any]:
        rows = failed_rows(frame, count(frame, self.columns, *others))
        counts = {"rows": len(rows), "failed": 0, "missing": 0, "reasons": {}}
        return {**counts, "files": self.part.write(rows, run, number)}


def failures_job(
    frame: Any,
    out: Output,
    query: Facts,
    columns: Sequence[str] | None = None,
    compression: str | None = "zstd",
) -> Job | None:
    """What writes the rows in which one of `columns` (all image columns) failed, if wanted."""
    if out.errors is None:
        return None
    if Target(out.errors, out.storage_options).url == out.target.url:
        raise ValueError(f"errors= is a place of its own; got that of the rows, {out.target.shown}")
    meta = frame._meta
    names = tuple(picture_columns(meta) if columns is None else columns)
    like = failed_rows(meta, count(meta, names))
    failures = Failures(Part(Layout.of(like), compression), names)
    run = out._replace(path=out.errors).run("parquet", query, failures)
    return Job(run, failures, partial(failures.part.blank, like))


@known_as(WRITERS)
def write_committed(
    frame: Any,
    part: Callable[..., dict[str, Any]],
    out: Output,
    kind: str,
    blank: Callable[[Run], list[dict[str, Any]]] | None = None,
    *,
    columns: Sequence[str] | None = None,
    compression: str | None = "zstd",
) -> Any:
    """Run `part` over the partitions of `frame` as one committed write.

    `blank` puts the files of a frame without rows; `columns` are those whose failures count, and
    `compression` that of the failed rows' files.
    """
    frame = pruned(frame)
    query = query_of(frame, part)
    errors = failures_job(frame, out, query, columns, compression)
    counted = None if columns is None else tuple(columns)
    job = Job(out.run(kind, query, part), part, blank, errors, columns=counted)
    return submit(frame, job, out.compute)
