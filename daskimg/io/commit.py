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
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from daskimg.io.result import MANIFEST, WriteResult
from daskimg.io.target import OWN, FileNameError, Target, clash_of

__all__ = [
    "FileNameError",
    "Mode",
    "Run",
    "begin",
    "checksum",
    "published",
    "read_manifest",
]

Mode: TypeAlias = Literal["error", "overwrite", "append", "resume"]
MODES = ("error", "overwrite", "append", "resume")
MARK = f"{OWN}/_SUCCESS"
THREADS = 16  # that read tickets
SIDE_FILES = {"_metadata", "_common_metadata"}  # of a Parquet folder, about files that go


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
        digest = checksum(data)
        if self.target.renames:
            try:
                self.target.put(f"{self.folder}/files/{name}", data)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                # a file and a folder of one name
                raise _collision(self.target, name) from None
        else:
            if self.mode == "append" and self.target.has(name):
                raise _collision(self.target, name)
            self.target.put(name, data)
        return {"name": name, "bytes": size, "crc32": digest}

    def record(self, ticket: dict[str, Any]) -> None:
        """Note that a partition is done."""
        text = json.dumps(ticket)
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
        if self.mode == "error" and old is not None and old["query"] != self.query:
            raise FileExistsError(
                errno.EEXIST, "Another write was committed meanwhile", self.target.shown
            )
        try:
            self._check(file["name"] for file in files)
        except FileNameError:
            self.discard()
            raise
        manifest = self._manifest(tickets, files, old)
        text = json.dumps(manifest, indent=1).encode()
        target = self.target
        target.remove([MARK])
        if target.renames:
            for file in files:
                self._publish(file)
        target.put(MANIFEST, text)
        self._clean(manifest)
        target.put(MARK, _mark(text))
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
            source=self.target.source,
        )

    def finish(self) -> WriteResult:
        """The result of a run that was committed before; its mark may be missing still."""
        text = self.target.read(MANIFEST)
        manifest = json.loads(text)
        if not self.target.has(MARK):
            self._clean(manifest)
            self.target.put(MARK, _mark(text))
        return self.result([manifest])

    def discard(self) -> None:
        """Forget this run and what it wrote."""
        own = self.target.files(self.folder)
        if not self.target.renames:  # its files have their names already
            old = {file["name"] for file in (read_manifest(self.target) or {"files": []})["files"]}
            tickets = [json.loads(self.target.read(name)) for name in own]
            put = {file["name"] for ticket in tickets for file in ticket["files"]}
            self.target.remove(put - old)
        self.target.remove(own)
        self.target.prune(OWN)

    def _check(self, names: Iterable[str]) -> None:
        names = list(names)
        clash = clash_of(names)
        if clash is not None:
            raise _collision(self.target, clash)
        for name in names:
            if self.target.renames and self.mode == "append":
                waits = self.target.has(f"{self.folder}/files/{name}")
                if waits and self.target.has(name):
                    raise _collision(self.target, name)

    def _publish(self, file: dict[str, Any]) -> None:
        try:
            self.target.move(f"{self.folder}/files/{file['name']}", file["name"])
        except FileNotFoundError:
            # a commit that was killed half-way has renamed it, or one of the same run elsewhere
            if not self.target.has(file["name"]):
                raise

    def _manifest(
        self,
        tickets: list[dict[str, Any]],
        files: list[dict[str, Any]],
        old: dict[str, Any] | None,
    ) -> dict[str, Any]:
        before: dict[str, Any] = {"rows": 0, "failed": 0, "missing": 0, "files": []}
        if self.mode == "append":
            before = _before(self, old) if old else {**before, "files": _foreign(self, files)}
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
            "before": {**before, "files": len(before["files"])},
            "partitions": [{key: ticket[key] for key in counts} for ticket in tickets],
            "files": before["files"] + files,
            "replaces": self._replaced(files, old),
        }

    def _replaced(self, files: list[dict[str, Any]], old: dict[str, Any] | None) -> list[str]:
        """What "overwrite" removes: files of the write before, and others of their kind.

        Never anything else: pictures beside them may be the very ones that are read.
        """
        if self.mode != "overwrite":
            return []
        listed = {file["name"] for file in old["files"]} if old else set()
        kinds = {os.path.splitext(file["name"])[1] for file in files} - {""}
        if self.kind == "images":
            kinds = set()
        kept = {file["name"] for file in files}
        found = [name for name in self.target.files() if not name.startswith(f"{OWN}/")]
        return sorted(
            name
            for name in found
            if name not in kept
            and (name in listed or os.path.splitext(name)[1] in kinds or name in SIDE_FILES)
        )

    def _clean(self, manifest: dict[str, Any]) -> None:
        """Remove what the manifest replaces, then the run's own files."""
        self.target.remove(manifest["replaces"])
        self.target.remove(self.target.files(self.folder))
        # what a commit that was killed left of a manifest or mark
        own = self.target.files(OWN)
        self.target.remove(name for name in own if name.startswith(f"{OWN}/."))
        self.target.prune("" if self.mode == "overwrite" else OWN)


def _before(run: Run, old: dict[str, Any]) -> dict[str, Any]:
    """What a manifest counted before this run, which may have written it already."""
    if _told(old) != (run.query, run.generation):
        return {key: old[key] for key in ("rows", "failed", "missing", "files")}
    return {**old["before"], "files": old["files"][: old["before"]["files"]]}


def _told(manifest: dict[str, Any]) -> tuple[str, int]:
    """Which run wrote a manifest."""
    return manifest["query"], manifest["generation"]


def _foreign(run: Run, new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Files that somebody else wrote into the target before."""
    ours = {file["name"] for file in new}
    return [
        {"name": name, "bytes": size}
        for name, size in run.target.files().items()
        if name not in ours and not name.startswith((OWN, "_", "."))
    ]


def checksum(data: Any) -> str:
    """What the manifest tells of a file's bytes: damage shows, at a fifth of a digest's time."""
    return f"{zlib.crc32(data):08x}"


def _mark(manifest: bytes) -> bytes:
    return hashlib.blake2b(manifest, digest_size=16).hexdigest().encode()


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
    """The files that a committed write lists; None where nobody committed one.

    Raises
    ------
    ValueError
        For a write that never finished.
    """
    if not target.has(MARK) and target.files(OWN):
        raise ValueError(
            f"the write into {target.shown} never finished: call the writer again with "
            'mode="resume", or "overwrite"'
        )
    manifest = read_manifest(target)
    return None if manifest is None else manifest["files"]


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
    manifest = read_manifest(target)
    runs = {parts[1] for parts in names if parts[1].startswith("run-")}
    for run in sorted(runs):
        mode, generation, token = run.removeprefix("run-").split("-")
        if token == query:
            if manifest is not None and _told(manifest) == (query, int(generation)):
                return Run(target, kind, query, mode, int(generation), finished=True)
            tickets = [p[2] for p in names if p[1] == run and len(p) == 3 and p[2][0] != "."]
            done = tuple(sorted(int(ticket.removesuffix(".json")) for ticket in tickets))
            return Run(target, kind, query, mode, int(generation), done)
    if manifest is None and not target.files():  # it died having made a folder
        return Run(target, kind, query, "error")
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
