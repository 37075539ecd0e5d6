"""Writes that are there in full or not at all.

A write is a run: each partition writes its files and a ticket, a small JSON file that says what it
wrote. The commit reads all tickets, checks them, publishes the files and writes the manifest, then
the completion mark. On a filesystem files wait under ``_daskimg/run-.../`` and are renamed at the
commit; on an object store they are put once, under their final names, and the manifest decides
what counts::

    target/
      part-00000.parquet
      _daskimg/
        manifest.json       what was written: partitions, rows, files with size and checksum
        _SUCCESS            the manifest's checksum, written last
        run-<mode>-<generation>-<query>/
          00000.json        a partition's ticket; gone once committed
          files/...         its files until then (filesystems)

A run that died leaves tickets and no mark; the same query in ``mode="resume"`` goes on from there.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeAlias

import dask
import dask.dataframe as dd
import pandas as pd

from daskimg import fetch
from daskimg.io.target import OWN, FileNameError, Target, check_name
from daskimg.lazy.expr import gather

__all__ = ["FileNameError", "Mode", "Run", "WriteResult", "as_dask", "begin", "submit"]

Mode: TypeAlias = Literal["error", "overwrite", "append", "resume"]
MODES = ("error", "overwrite", "append", "resume")
MANIFEST, MARK = f"{OWN}/manifest.json", f"{OWN}/_SUCCESS"
TICKET = pd.DataFrame({"ticket": pd.array([], pd.StringDtype("pyarrow"))})
THREADS = 16  # that read tickets


@dataclass(frozen=True)
class WriteResult:
    """What a writer did.

    Attributes
    ----------
    rows : int
        Rows that went through the writer: written, failed and missing ones.
    failed : int
        Rows that hold a cell that failed.
    manifest : str
        Where the list of the files is.
    missing : int
        Rows that hold a null cell without a reason.
    reasons : dict
        How many rows failed for what.

    Examples
    --------
    >>> result = di.read_images(folder).img.write_parquet("shop")
    >>> result
    WriteResult(4 written)
    >>> [file.rpartition("/")[2] for file in result.files]
    ['part-00000.parquet']
    """

    rows: int
    failed: int
    manifest: str
    missing: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    source: fetch.Source = field(default=fetch.Source.default, repr=False, compare=False)

    @property
    def written(self) -> int:
        """Rows without a null cell."""
        return self.rows - self.failed - self.missing

    @cached_property
    def files(self) -> list[str]:
        """Paths of all files that count in the target, read from the manifest."""
        root = self.manifest[: -len(MANIFEST)]
        listed = json.loads(fetch.read_bytes(self.manifest, self.source))["files"]
        return [root + file["name"] for file in listed]

    def __repr__(self) -> str:
        text = f"{self.written:,} written"
        if self.failed:
            why = sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))
            shown = ", ".join(f"{n:,} {reason}" for reason, n in why[:5])
            text += f", {self.failed:,} failed" + (f": {shown}" if shown else "")
            text += ", ..." if len(why) > 5 else ""
        if self.missing:
            text += f", {self.missing:,} missing"
        return f"WriteResult({text})"


@dataclass(frozen=True)
class Run:
    """One write into one target; every worker has it."""

    target: Target
    kind: str
    query: str
    mode: str
    generation: int = 0
    done: tuple[int, ...] = ()
    finished: bool = False

    @property
    def folder(self) -> str:
        """Where tickets, and files until they are published, are."""
        return f"{OWN}/run-{self.mode}-{self.generation}-{self.query}"

    def part_name(self, partition: int, extension: str) -> str:
        """The name of a partition's file: appended ones tell their generation."""
        later = f"-{self.generation}" if self.generation else ""
        return f"part-{partition:05d}{later}{extension}"

    def put(self, name: str, data: Any) -> dict[str, Any]:
        """Write a file of this run; its line of the manifest."""
        size = memoryview(data).nbytes
        checksum = hashlib.blake2b(data, digest_size=16).hexdigest()
        if self.target.renames:
            self.target.put(f"{self.folder}/files/{name}", data)
        else:
            if self.mode == "append" and self.target.has(name):
                raise _collision(self.target, name)
            self.target.put(name, data)
        return {"name": name, "bytes": size, "blake2b": checksum}

    def record(self, ticket: dict[str, Any]) -> None:
        """Note that a partition is done."""
        text = json.dumps(ticket, sort_keys=True)
        self.target.put(f"{self.folder}/{ticket['partition']:05d}.json", text.encode())

    def tickets(self) -> list[dict[str, Any]]:
        """Those of an earlier attempt."""
        names = [f"{self.folder}/{number:05d}.json" for number in self.done]
        with ThreadPoolExecutor(THREADS) as pool:
            return [json.loads(text) for text in pool.map(self.target.read, names)]

    # -- the end --------------------------------------------------------------------------
    def commit(self, tickets: Sequence[dict[str, Any]]) -> WriteResult:
        """Publish what the tickets list: files, the manifest, the mark.

        Raises
        ------
        FileNameError
            When two files have one name. Nothing is published then.
        """
        tickets = sorted(tickets, key=lambda ticket: int(ticket["partition"]))
        files = [file for ticket in tickets for file in ticket["files"]]
        old = read_manifest(self.target)
        try:
            self._check(file["name"] for file in files)
        except FileNameError:
            self.discard(files)
            raise
        manifest = self._manifest(tickets, files, old)
        text = json.dumps(manifest, indent=1).encode()
        target = self.target
        target.remove([MARK])
        if target.renames:
            for file in files:
                self._publish(file)
        target.put(MANIFEST, text)
        self._clean({file["name"] for file in manifest["files"]})
        target.put(MARK, hashlib.blake2b(text, digest_size=16).hexdigest().encode())
        return self.result(tickets)

    def result(self, tickets: Iterable[dict[str, Any]]) -> WriteResult:
        """The sum of tickets."""
        tickets = list(tickets)
        reasons: Counter[str] = Counter()
        for ticket in tickets:
            reasons.update(ticket["reasons"])
        return WriteResult(
            sum(ticket["rows"] for ticket in tickets),
            sum(ticket["failed"] for ticket in tickets),
            self.target.href(MANIFEST),
            sum(ticket["missing"] for ticket in tickets),
            dict(sorted(reasons.items())),
            self.target.source,
        )

    def discard(self, files: Iterable[dict[str, Any]] = ()) -> None:
        """Forget this run and what it wrote."""
        if not self.target.renames:
            known = {
                file["name"] for file in (read_manifest(self.target) or {"files": []})["files"]
            }
            self.target.remove({file["name"] for file in files} - known)
        self.target.remove(self.target.files(self.folder))
        self.target.prune(OWN)

    def _check(self, names: Iterable[str]) -> None:
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise _collision(self.target, name)
            seen.add(name)
        for name in seen:
            folder = name.rpartition("/")[0]
            while folder:
                if folder in seen:
                    raise _collision(self.target, folder)
                folder = folder.rpartition("/")[0]
            if self.target.renames and self.mode != "overwrite":
                waits = self.target.has(f"{self.folder}/files/{name}")
                if waits and self.target.has(name):
                    raise _collision(self.target, name)

    def _publish(self, file: dict[str, Any]) -> None:
        staged = f"{self.folder}/files/{file['name']}"
        # a commit that was killed half-way has renamed some files already
        if self.target.has(staged) or not self.target.has(file["name"]):
            self.target.move(staged, file["name"])

    def _manifest(
        self,
        tickets: list[dict[str, Any]],
        files: list[dict[str, Any]],
        old: dict[str, Any] | None,
    ) -> dict[str, Any]:
        before: dict[str, Any] = {"rows": 0, "failed": 0, "missing": 0, "files": []}
        if self.mode == "append":
            before = old or {**before, "files": _foreign(self.target, files)}
        total = self.result(tickets)
        counts = ("partition", "rows", "failed", "missing")
        return {
            "version": 1,
            "format": self.kind,
            "generation": self.generation,
            "query": self.query,
            "rows": before["rows"] + total.rows,
            "failed": before["failed"] + total.failed,
            "missing": before["missing"] + total.missing,
            "reasons": total.reasons,
            "partitions": [{key: ticket[key] for key in counts} for ticket in tickets],
            "files": before["files"] + files,
        }

    def _clean(self, kept: set[str]) -> None:
        """Remove what the manifest does not list: the run's own, and what is overwritten."""
        below = "" if self.mode == "overwrite" else self.folder
        gone = self.target.files(below)
        self.target.remove(name for name in gone if name not in kept and name != MANIFEST)
        self.target.prune(below)


def _foreign(target: Target, new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Files that somebody else wrote into the target before."""
    ours = {file["name"] for file in new}
    return [
        {"name": name, "bytes": size}
        for name, size in target.files().items()
        if name not in ours and not name.startswith((OWN, "_", "."))
    ]


def _collision(target: Target, name: str) -> FileNameError:
    return FileNameError(
        f"two files would be called {name!r} in {target.shown}: nothing is published. Give names "
        "that differ with filename="
    )


def read_manifest(target: Target) -> dict[str, Any] | None:
    """What counts in a target, or None where nothing was committed."""
    if not target.has(MANIFEST):
        return None
    manifest: dict[str, Any] = json.loads(target.read(MANIFEST))
    return manifest


def published(target: Target) -> list[dict[str, Any]] | None:
    """The files that a committed write lists; None where nobody committed one."""
    manifest = read_manifest(target)
    return None if manifest is None else manifest["files"]


def unfinished(target: Target) -> bool:
    """Whether there is a write that was not committed, and none that was."""
    return bool(target.files(OWN)) and not target.has(MANIFEST)


def begin(target: Target, mode: str, kind: str, query: str) -> Run:
    """Start (or go on with) a run that writes what `query` names.

    Raises
    ------
    FileExistsError
        In mode "error", when there is something in the target.
    ValueError
        For an unknown mode; in mode "resume", when another query was being written.
    """
    if mode not in MODES:
        raise ValueError(f"mode is one of {', '.join(MODES)}; got {mode!r}")
    if target.is_file():
        raise FileExistsError(errno.EEXIST, "A folder is written, and this is a file", target.shown)
    if target.is_empty():
        return Run(target, kind, query, "error" if mode == "resume" else mode)
    if mode == "resume":
        return _resumed(target, kind, query)
    if mode == "error":
        raise FileExistsError(
            errno.EEXIST,
            'The target is not empty: use mode="overwrite", "append" or "resume"',
            target.shown,
        )
    old = read_manifest(target)
    if mode == "append" and old is not None and old["format"] != kind:
        raise ValueError(f"{target.shown} holds {old['format']}; {kind} cannot be appended")
    return Run(target, kind, query, mode, 1 if old is None else old["generation"] + 1)


def _resumed(target: Target, kind: str, query: str) -> Run:
    names = [name.split("/") for name in target.files(OWN)]
    runs = {parts[1] for parts in names if parts[1].startswith("run-")}
    for run in sorted(runs):
        mode, generation, token = run.removeprefix("run-").split("-")
        if token == query:
            tickets = [p[2] for p in names if p[1] == run and len(p) == 3 and p[2][0] != "."]
            done = tuple(sorted(int(ticket.removesuffix(".json")) for ticket in tickets))
            return Run(target, kind, query, mode, int(generation), done)
    manifest = read_manifest(target)
    if manifest is not None and manifest["query"] == query and not runs:
        return Run(target, kind, query, "error", manifest["generation"], finished=True)
    if runs or manifest is not None:
        raise ValueError(
            f'{target.shown} holds another query\'s output: mode="resume" goes on with the same '
            'call only; use mode="overwrite", or another path'
        )
    raise FileExistsError(
        errno.EEXIST, "The target is not empty, and there is no write to resume", target.shown
    )


# -- running ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Job:
    """A writer's work on a partition, and the run (and the run of failed rows) it is part of."""

    run: Run
    write: Callable[..., dict[str, Any]]
    errors: Run | None = None
    failures: Callable[..., list[dict[str, Any]]] | None = None
    numbers: tuple[int, ...] | None = None


def as_dask(df: Any) -> dd.DataFrame:
    """A frame as a Dask frame: a pandas one is one partition, nothing in it converted."""
    if isinstance(df, pd.DataFrame):
        with dask.config.set({"dataframe.convert-string": False}):
            return dd.from_pandas(df, npartitions=1, sort=False)
    if not isinstance(df, dd.DataFrame):
        raise TypeError(f"expected a pandas or Dask DataFrame; got {type(df).__name__}")
    return df


def submit(frame: dd.DataFrame, job: Job, compute: bool) -> Any:
    """Run a job over all partitions; a `WriteResult`, or a Dask scalar that computes to one."""
    run = job.run
    if run.finished:
        result = _reread(run)
        return result if compute else dask.delayed(result)
    if run.done:
        frame = frame.optimize()
        job = replace(job, numbers=tuple(sorted({*range(frame.npartitions)} - {*run.done})))
        frame = frame.partitions[list(job.numbers or ())] if job.numbers else frame.partitions[:0]
    tickets = frame.map_partitions(
        write_one, job=job, meta=TICKET, enforce_metadata=False, align_dataframes=False
    )
    result = gather(tickets, _Finish(job), WriteResult(0, 0, run.target.href(MANIFEST)))
    if not compute:
        return result
    try:
        return result.optimize().compute()
    except FileNameError:
        run.discard()
        raise


def write_one(
    frame: pd.DataFrame, job: Job, partition_info: dict[str, Any] | None = None
) -> pd.DataFrame:
    """Write one partition; its ticket."""
    number = (partition_info or {"number": 0})["number"]
    if job.numbers is not None:
        number = job.numbers[number]
    ticket = {"partition": number, **job.write(frame, job.run, number)}
    if job.errors is not None and job.failures is not None:
        ticket["errors"] = job.failures(frame, job.errors, number)
    job.run.record(ticket)
    return pd.DataFrame({"ticket": pd.array([json.dumps(ticket)], TICKET.ticket.dtype)})


@dataclass(frozen=True)
class _Finish:
    """The last task of a write."""

    job: Job

    def __call__(self, parts: list[pd.DataFrame]) -> WriteResult:
        run, errors = self.job.run, self.job.errors
        tickets = run.tickets() if run.done else []
        tickets += [json.loads(text) for part in parts for text in part["ticket"]]
        if errors is not None:
            errors.commit([_of_failures(ticket) for ticket in tickets])
        return run.commit(tickets)


def _of_failures(ticket: dict[str, Any]) -> dict[str, Any]:
    rows = ticket["failed"]
    counts = {"rows": rows, "failed": 0, "missing": 0, "reasons": {}}
    return {"partition": ticket["partition"], **counts, "files": ticket["errors"]}


def _reread(run: Run) -> WriteResult:
    manifest = read_manifest(run.target) or {}
    return run.result([manifest])


def safe_names(names: Sequence[str]) -> Sequence[str]:
    """`names`, each safe and no two equal, before any of them is written."""
    for name, count in Counter(map(check_name, names)).items():
        if count > 1:
            raise FileNameError(
                f"{count} rows of a partition would be written to {name!r}: give names that "
                "differ with filename="
            )
    return names
