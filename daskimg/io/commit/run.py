"""Writes that are there in full or not at all.

A write is a run: each partition writes its files and a ticket, a small JSON file that says what it
wrote. The commit reads all tickets, compares the files with them, publishes these and writes the
manifest, then the completion mark. On a filesystem files wait under ``_daskimg/run-.../`` and are
renamed at the commit; on an object store they are put once, under names that no other run has,
and the manifest decides what counts::

    target/
      part-00000.parquet    (part-00000-1f3a9c2e.parquet where another run has that name)
      _daskimg/
        manifest.json       what was written: partitions, rows, files with size and checksum
        _SUCCESS            the manifest's checksum, written last
        commit-<generation> which run is being committed, made by the first that comes
        run-<mode>-<generation>-<query>/
          query.json        what the call was, to tell what differs from another; see `query`
          00000.json        a partition's ticket; gone once committed
          files/...         its files until then (filesystems)

A run that died leaves tickets and no mark; the same query in ``mode="resume"`` goes on from there,
with the partitions that have a ticket whose files are whole.
"""

from __future__ import annotations

import errno
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from daskimg import wanted
from daskimg.io.commit.manifest import (
    MARK,
    compose,
    mark_of,
    parse_ticket,
    read_manifest,
    told,
)
from daskimg.io.commit.result import MANIFEST, WriteResult
from daskimg.io.commit.target import OWN, FileNameError, Target, clash_of

__all__ = [
    "CLAIM",
    "RUN",
    "FileNameError",
    "Mode",
    "Run",
    "checksum",
    "number_of",
    "told",
]

Mode: TypeAlias = Literal["error", "overwrite", "append", "resume"]
THREADS = 16  # that read tickets
_announced: dict[tuple[str, str], bool] = {}  # runs; whether nobody can take their names
RUN = re.compile(rf"{OWN}/run-(error|overwrite|append)-(\d+)-(\w+)/(.+)")
CLAIM = re.compile(rf"{OWN}/commit-(\d+)")


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
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def folder(self) -> str:
        """Where tickets, and files until they are published, are."""
        return f"{OWN}/run-{self.mode}-{self.generation}-{self.query}"

    def part_name(self, partition: int, extension: str) -> str:
        """The name of a partition's file: appended ones tell their generation."""
        later = f"-{self.generation}" if self.generation else ""
        return f"part-{partition:05d}{later}{extension}"

    def announce(self) -> None:
        """Have it known that this run is going on, and what it is; once in a process."""
        place = self.target.url, self.folder
        if place not in _announced:
            name, text = f"{self.folder}/query.json", json.dumps(self.facts).encode()
            created = self.target.create(name, text)
            # whether the store keeps to "only if it is not there": some do not know the words
            _announced[place] = self.target.creates and not (
                created and self.target.create(name, text)
            )

    def put(self, name: str, data: Any) -> dict[str, Any]:
        """Write a file of this run; its line of the manifest."""
        wanted.check()
        size = memoryview(data).nbytes
        digest = checksum(data)
        if self.target.renames:
            try:
                self.target.put(f"{self.folder}/files/{name}", data)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                # a file and a folder of one name
                raise _collision(self.target, name) from None
        elif self.kind == "images" and self.mode == "overwrite":
            self.target.put(name, data)
        elif self.kind != "images" and not _announced.get((self.target.url, self.folder)):
            name = self._own(name)
            self.target.put(name, data)
        elif not self.target.create(name, data):
            if self.target.read(name) == bytes(data):  # by an earlier attempt
                return {"name": name, "bytes": size, "crc32": digest, "found": True}
            if self.kind == "images":  # names are the user's own
                raise _collision(self.target, name)
            name = self._own(name)
            self.target.put(name, data)
        return {"name": name, "bytes": size, "crc32": digest}

    def _own(self, name: str) -> str:
        """A name that no other run has."""
        folder, slash, last = name.rpartition("/")
        stem, dot, endings = last.partition(".")
        return f"{folder}{slash}{stem}-{self.query[:8]}{dot}{endings}"

    def record(self, ticket: dict[str, Any]) -> None:
        """Note that a partition is done."""
        text = json.dumps(ticket)
        self.target.put(f"{self.folder}/{ticket['partition']:05d}.json", text.encode())

    def tickets(self) -> list[dict[str, Any]]:
        """Those of an earlier attempt."""

        def read(number: int) -> dict[str, Any] | None:
            return parse_ticket(self.target.read(f"{self.folder}/{number:05d}.json"), number)

        with ThreadPoolExecutor(THREADS) as pool:
            return [ticket for ticket in pool.map(read, self.done) if ticket is not None]

    def holds(self, sizes: Mapping[str, int], file: Mapping[str, Any]) -> bool:
        """Whether a file of a ticket is there with all its bytes, waiting or published."""
        waits, name = f"{self.folder}/files/{file['name']}", file["name"]
        if "start" in file:  # rows of one file, which may be in its place already
            return bool(sizes.get(waits, 2**63) >= file["start"] + file["bytes"])
        return file["bytes"] == (sizes.get(name) if waits not in sizes else sizes[waits])

    @property
    def adds_to_files(self) -> bool:
        """Whether there are files already that these come beside."""
        others = (name for name in self.target.files() if not name.startswith((OWN, "_", ".")))
        return self.mode == "append" and any(others)

    # -- the end --------------------------------------------------------------------------
    def commit(self, tickets: Sequence[dict[str, Any]]) -> WriteResult:
        """Publish what the tickets list: files, the manifest, the mark.

        Raises
        ------
        FileNameError
            When two files have one name. Nothing is published then.
        """
        tickets = sorted(tickets, key=lambda ticket: int(ticket["partition"]))
        files = [_line(file) for ticket in tickets for file in ticket["files"]]
        target = self.target
        self._claim()
        try:
            old = read_manifest(target)
            if old is not None and told(old) != told(vars(self)):
                self._refuse_later(old)
            self._check(files)
        except FileNameError:
            self.discard()
            raise
        except FileExistsError:
            target.remove([self._claimed])
            raise
        manifest = compose(self, tickets, files, old)
        text = json.dumps(manifest, indent=1).encode()
        target.remove([MARK])
        if target.renames:
            for file in files:
                self._publish(file)
        target.settle([file["name"] for file in files])
        target.put(MANIFEST, text, settled=True)
        self._clean(manifest)
        target.put(MARK, mark_of(text), settled=True)
        return self.result(tickets)

    def _refuse_later(self, old: dict[str, Any]) -> None:
        if old["generation"] >= self.generation:
            raise FileExistsError(
                errno.EEXIST, "Another write was committed meanwhile", self.target.shown
            )

    @property
    def _claimed(self) -> str:
        return f"{OWN}/commit-{self.generation}"

    def _claim(self) -> None:
        """Be the one run that is committed as the next generation of the target."""
        self.target.create(self._claimed, self.folder.encode())
        if self.target.read(self._claimed) != self.folder.encode():
            raise FileExistsError(
                errno.EEXIST,
                'Another write is being committed, or died then (mode="resume" of that one '
                'finishes it, mode="overwrite" replaces it)',
                self.target.shown,
            )

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
        manifest = read_manifest(self.target)
        assert manifest is not None
        if not self.target.has(MARK):
            self._clean(manifest)
            self.target.put(MARK, mark_of(self.target.read(MANIFEST)), settled=True)
        own = [{**part, "reasons": {}} for part in manifest["partitions"]]
        own[:1] = [{**part, "reasons": manifest["reasons"]} for part in own[:1]]
        return self.result(own)

    def discard(self) -> None:
        """Forget this run and what it wrote."""
        _announced.pop((self.target.url, self.folder), None)
        own = self.target.files(self.folder)
        if not self.target.renames:  # its files have their names already
            old = {file["name"] for file in (read_manifest(self.target) or {"files": []})["files"]}
            put = {
                file["name"]
                for name in own
                if (number := number_of(name)) is not None
                for file in (parse_ticket(self.target.read(name), number) or {"files": []})["files"]
                if "found" not in file  # else it may be another's
            }
            self.target.remove(put - old)
        self.target.remove([*own, self._claimed])
        self.target.prune(OWN)

    def _check(self, files: Sequence[dict[str, Any]]) -> None:
        """Compare files with what was put, and their names with each other and with others'.

        Raises
        ------
        FileNameError
            For two files of one name.
        OSError
            For a file that is not what a partition wrote.
        """
        clash = clash_of([file["name"] for file in files])
        if clash is not None:
            raise _collision(self.target, clash)
        sizes = self.target.files()
        for file in files:
            name, waits = file["name"], f"{self.folder}/files/{file['name']}"
            if self.mode == "append" and waits in sizes and name in sizes:
                if self.target.has(waits) and self.target.has(name):
                    raise _collision(self.target, name)
            if not self.holds(sizes, file) and not self.holds(self.target.files(), file):
                there = sizes.get(waits, sizes.get(name, "no"))
                raise OSError(
                    errno.EIO,
                    f"{name!r} was written with {file['bytes']} bytes and has {there} now: was "
                    "another write at work here, or the disk full? Nothing is published; the same "
                    'call with mode="resume" writes it again',
                    self.target.shown,
                )

    def _publish(self, file: dict[str, Any]) -> None:
        wanted.check()
        try:
            self.target.move(f"{self.folder}/files/{file['name']}", file["name"])
        except FileNotFoundError:
            # a commit that was killed half-way has renamed it, or one of the same run elsewhere
            if not self.target.has(file["name"]):
                raise

    def _clean(self, manifest: dict[str, Any]) -> None:
        """Remove what the manifest replaces, then the run's own files."""
        _announced.pop((self.target.url, self.folder), None)
        self.target.remove(manifest["replaces"])
        # what a commit that was killed left of a manifest or mark, and claims that are settled
        self.target.remove(name for name in self.target.files(OWN) if self._is_over(name))
        self.target.prune("" if self.mode == "overwrite" else OWN)

    def _is_over(self, name: str) -> bool:
        if name.startswith((f"{OWN}/.", f"{self.folder}/")):
            return True
        claim, run = CLAIM.fullmatch(name), RUN.fullmatch(name)
        if run is not None:  # what an overwritten run left can never be committed
            return self.mode == "overwrite" and int(run[2]) <= self.generation
        return claim is not None and int(claim[1]) <= self.generation


def _line(file: dict[str, Any]) -> dict[str, Any]:
    """A file's line of the manifest."""
    return {key: value for key, value in file.items() if key != "found"}


def number_of(name: str) -> int | None:
    """The partition of a ticket, by its name."""
    found = re.fullmatch(rf"{OWN}/run-[^/]+/(\d+)\.json", name)
    return None if found is None else int(found[1])


def checksum(data: Any) -> str:
    """What the manifest tells of a file's bytes: damage shows, at a fifth of a digest's time."""
    return f"{zlib.crc32(data):08x}"


def _collision(target: Target, name: str) -> FileNameError:
    return FileNameError(
        f"two files would be called {name!r} in {target.shown}: nothing is published. Give names "
        "that differ with filename="
    )
