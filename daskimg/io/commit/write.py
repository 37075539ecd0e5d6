"""Running a write: every partition once, in the same pass as what is computed beside it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import dask
import dask.dataframe as dd
import pandas as pd

from daskimg import config, metrics, wanted
from daskimg.engine.lasting import Facts
from daskimg.engine.program import STRING
from daskimg.guard import limit
from daskimg.io.commit.begin import begin
from daskimg.io.commit.failures import count, more_failed, picture_columns, settled
from daskimg.io.commit.manifest import read_manifest
from daskimg.io.commit.names import FileNameError
from daskimg.io.commit.result import WriteResult
from daskimg.io.commit.run import Run
from daskimg.io.commit.target import Target
from daskimg.io.commit.writing import Mode
from daskimg.lazy.expr import Expr
from daskimg.lazy.nodes import ImageNode, computed, gather, stable
from daskimg.lazy.seen import watched
from daskimg.lazy.source import row_counts

__all__ = ["Job", "Output", "as_dask", "submit"]

WINDOW = 4096  # partitions in a graph
# What to do when a cluster gives up, by the name of its exception.
ADVICE = {
    "KilledWorker": (
        "The workers' logs say why they died. If their memory was full, make smaller partitions "
        "(files_per_partition=, repartition) or give them more memory or fewer threads"
    ),
    "FutureCancelledError": "The scheduler was lost: connect to another one",
}
# The failed rows of a partition that has none.
NOTHING = {"partition": 0, "rows": 0, "failed": 0, "missing": 0, "reasons": {}, "files": []}
TICKET = pd.DataFrame({"ticket": pd.Series([], dtype=STRING)})


@dataclass(frozen=True)
class Job:
    """A writer's work.

    Attributes
    ----------
    run : Run
    write : callable
        ``write(frame, run, partition)`` puts the files of one partition and gives its ticket; with
        ``"seen"``, which says why rows failed in writing, beside those that the frame tells.
    blank : callable, optional
        ``blank(run)`` puts the files of a frame without rows.
    errors : Job, optional
        Writes the rows that failed.
    numbers : tuple of int, optional
        The partitions to write, where a resumed run has others already.
    max_errors : int, optional
        How many rows may have failed, over all partitions.
    columns : tuple of str, optional
        The columns of pictures whose failures `write` counts; None: all.
    seen : mapping of str to str or None
        Columns, not to be written, that tell of failures of which no written cell tells, and the
        image column that each is about.
    """

    run: Run
    write: Callable[[pd.DataFrame, Any, int], dict[str, Any]]
    blank: Callable[[Run], list[dict[str, Any]]] | None = None
    errors: Job | None = None
    numbers: tuple[int, ...] | None = None
    max_errors: int | None = field(default_factory=config.max_errors)
    columns: tuple[str, ...] | None = None
    seen: Mapping[str, str | None] = field(default_factory=dict)

    def ticket(self, frame: pd.DataFrame, number: int) -> dict[str, Any]:
        """Write one partition, and say so."""
        self.run.announce()
        plain, others = settled(frame, self.seen)
        written = self.write(plain, self.run, number)
        in_writing = written.pop("seen", {})
        beside = {}
        if self.errors is not None and not self.errors.run.finished:
            kept: Any = self.errors.write
            errors = replace(self.errors, write=partial(kept, others=(others, in_writing)))
            beside = {"errors": errors.ticket(plain, number)}
        if others:
            columns = picture_columns(plain) if self.columns is None else self.columns
            written |= more_failed(written, count(plain, columns), count(plain, columns, others))
        ticket = {"partition": number, **written, **beside}
        self.run.record(ticket)
        return ticket

    def commit(self, tickets: list[dict[str, Any]]) -> WriteResult:
        """Publish what was written, or finish what was published before."""
        if self.run.finished:
            return self.finish()
        if self.errors is not None:
            none = [{**NOTHING, "partition": ticket["partition"]} for ticket in tickets]
            both = zip(tickets, none, strict=True)
            self.errors.commit([ticket.get("errors", nothing) for ticket, nothing in both])
        blank = self.blank is not None and not self.run.adds_to_files
        if self.blank is not None and blank and not any(ticket["files"] for ticket in tickets):
            self.run.announce()
            first = min(tickets, key=lambda ticket: int(ticket["partition"]))
            first["files"] = self.blank(self.run)
        return self.told(self.run.commit(tickets))

    def finish(self) -> WriteResult:
        """The result of a run that was committed before, all of it finished.

        Raises
        ------
        ValueError
            Where failed rows are asked for that were not kept then.
        """
        result = self.run.finish()
        if self.errors is not None and not self.errors.run.finished and result.failed:
            raise ValueError(
                f"{self.place} was written before, without errors=, and its {result.failed} failed "
                'rows were not kept: write it with mode="overwrite", or look at df.img.errors()'
            )
        if self.errors is not None:
            self.errors.commit([{**NOTHING}])
        return self.told(result)

    @property
    def done(self) -> tuple[int, ...]:
        """The partitions that an earlier attempt wrote, with the failed rows if asked for."""
        errors = None if self.errors is None else self.errors.run
        if errors is None or errors.finished or not self.run.done:
            return self.run.done
        sizes = errors.target.files()

        def whole(ticket: dict[str, Any]) -> bool:
            if "errors" not in ticket:
                return not ticket["failed"]
            return all(errors.holds(sizes, file) for file in ticket["errors"]["files"])

        return tuple(ticket["partition"] for ticket in self.run.tickets() if whole(ticket))

    def told(self, result: WriteResult) -> WriteResult:
        """`result`, which says where the failed rows are."""
        return replace(result, errors=None if self.errors is None else self.errors.place)

    @property
    def place(self) -> str:
        """Where it writes, to be shown."""
        return self.run.target.shown

    def discard(self) -> None:
        """Remove what was written."""
        self.run.discard()
        if self.errors is not None:
            self.errors.discard()


class Output(NamedTuple):
    """Where a writer's output goes, and how: the options that all writers have."""

    path: Any
    mode: Mode
    storage_options: Mapping[str, Any] | None
    compute: bool
    errors: Any  # a Parquet folder for failed rows

    @property
    def target(self) -> Target:
        """The folder (or file) to write."""
        return (
            self.path if isinstance(self.path, Target) else Target(self.path, self.storage_options)
        )

    def run(self, kind: str, query: Facts, part: Any = None) -> Run:
        """A run that writes into the target what `part` makes.

        Raises
        ------
        ValueError
            In mode "append", when what is there has other columns, as far as `part` can tell.
        """
        run = begin(self.target, self.mode, kind, query)
        if run.mode == "append" and not run.done and hasattr(part, "refuse_others"):
            known = read_manifest(run.target)
            there: Iterable[str] = run.target.files()
            if known is not None:  # one without rows goes when rows come
                there = [file["name"] for file in known["files"] if file.get("rows") != 0]
            part.refuse_others(run.target, there)
        return run


def as_dask(df: Any) -> dd.DataFrame:
    """A frame as a Dask frame: a pandas one is one partition, nothing in it converted."""
    if isinstance(df, pd.DataFrame):
        with dask.config.set({"dataframe.convert-string": False}):
            if df.index.nlevels == 1 and not df.index.hasnans:
                return dd.from_pandas(df, npartitions=1, sort=False)
            # which looks for nulls in the index, for its divisions
            return dd.from_map(_given, [df], meta=df.iloc[:0], enforce_metadata=False)
    if not isinstance(df, dd.DataFrame):
        raise TypeError(f"expected a pandas or Dask DataFrame; got {type(df).__name__}")
    return df


def _given(frame: pd.DataFrame) -> pd.DataFrame:
    return frame


def submit(frame: dd.DataFrame, job: Job, compute: bool) -> Any:
    """Run a job over all partitions; a `WriteResult`, or a Dask scalar that computes to one."""
    if job.run.finished:
        result = job.finish()
        return result if compute else dask.delayed(result)
    frame, seen = watched(frame, "__daskimg_seen_")
    run = replace(job.run, done=job.done)
    job = replace(job, run=run, seen=seen)
    # (a sort would have to look at all keys to tell how many it makes, and is not separable)
    windows = compute and _separable(frame.expr) and frame.npartitions > WINDOW
    if run.done or windows:  # partitions are counted as they will be when the frame is optimised
        frame = frame.optimize()
        job = replace(job, numbers=tuple(sorted({*range(frame.npartitions)} - {*run.done})))
    wanted.watch()
    numbers = job.numbers
    if numbers == ():
        result = _Finish(job)([])
        return result if compute else dask.delayed(result)
    counts = row_counts(frame) if compute else None
    if counts is not None and numbers is not None:
        counts = tuple(counts[number] for number in numbers)
    total = None if counts is None else sum(counts)
    try:
        with metrics.job(total, run.target.shown) if compute else nullcontext():
            return _run(frame, job, compute, windows)
    except FileNameError:
        run.rest()
        job.discard()
        raise
    except Exception as error:
        advice = ADVICE.get(type(error).__name__)
        if advice is not None:
            error.add_note(f'{advice}, and call the writer again with mode="resume".')
        raise


def _run(frame: dd.DataFrame, job: Job, compute: bool, windows: bool) -> Any:
    """All partitions that are not there yet."""
    numbers = job.numbers
    if windows and numbers is not None:
        return _in_windows(frame, job, numbers)
    if numbers is not None:
        frame = frame.partitions[list(numbers)]
    result = _gathered(frame, job, _Finish(job))
    return computed(result) if compute else result


def _separable(expr: Expr) -> bool:
    """Whether windows of partitions can be computed one by one, and none is computed twice."""
    counted = any(
        isinstance(node, ImageNode) and node.program.max_errors is not None for node in expr.walk()
    )  # over the whole run, which is one graph then
    return stable(expr) and not counted


def _in_windows(frame: dd.DataFrame, job: Job, numbers: tuple[int, ...]) -> WriteResult:
    """Write so many partitions at a time that no scheduler has to hold the whole graph."""
    parts: list[pd.DataFrame] = []
    for start in range(0, len(numbers), WINDOW):
        window = numbers[start : start + WINDOW]
        chosen = frame.partitions[list(window)]
        result = _gathered(chosen, replace(job, numbers=window), _collected)
        parts += computed(result)
    return _Finish(job)(parts)


def _gathered(frame: dd.DataFrame, job: Job, finish: Callable[[list[pd.DataFrame]], Any]) -> Any:
    """A Dask scalar: `finish` of all tickets."""
    tickets = frame.map_partitions(
        _write_part, job=job, meta=TICKET, enforce_metadata=False, align_dataframes=False
    )
    return gather(tickets, finish, WriteResult(0, 0, job.run.target.href("")))


def _tell(ticket: dict[str, Any], nbytes: int) -> None:
    """Report a partition that was written, to those who measure."""
    report = {"images": ticket["rows"], "bytes": nbytes}
    metrics.tell({("write", what): number for what, number in report.items()})


def _collected(parts: list[pd.DataFrame]) -> list[pd.DataFrame]:
    return [pd.concat(parts, ignore_index=True)]


def _write_part(
    frame: pd.DataFrame, job: Job, partition_info: dict[str, Any] | None = None
) -> pd.DataFrame:
    number = (partition_info or {"number": 0})["number"]
    if job.numbers is not None:
        number = job.numbers[number]
    with job.run.at_work(), wanted.looking(), metrics.timed("write"):
        ticket = job.ticket(frame, number)
    _tell(ticket, sum(file["bytes"] for file in ticket["files"]))
    if job.max_errors is not None:
        failed = Counter(ticket["reasons"]).elements()
        limit.tally(job.max_errors, (f"write-{job.run.query}", number), failed)
    text = json.dumps(ticket)
    return pd.DataFrame({"ticket": pd.Series([text], dtype=STRING)})


@dataclass(frozen=True)
class _Finish:
    """The last task of a write."""

    job: Job

    def __call__(self, parts: list[pd.DataFrame]) -> WriteResult:
        tickets = self.job.run.tickets() if self.job.run.done else []
        tickets += [json.loads(text) for part in parts for text in part["ticket"]]
        return self.job.commit(tickets)
