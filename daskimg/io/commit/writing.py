"""What each partition of a write does: it puts its files, and a ticket that lists them."""

from __future__ import annotations

import json
import threading
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from daskimg import wanted
from daskimg.io.commit.manifest import parse_ticket
from daskimg.io.commit.names import OWN, FileNameError, own_files
from daskimg.io.commit.result import MANIFEST, WriteResult
from daskimg.io.commit.target import Target

__all__ = ["Mode", "Writing", "announced", "checksum", "collision", "unlisted"]

Mode: TypeAlias = Literal["error", "overwrite", "append", "resume"]
THREADS = 16  # that read tickets
LEAVING = 30.0  # seconds that a function of the user's may keep a thread that is not wanted
announced: dict[tuple[str, str], bool] = {}  # runs; whether nobody can take their names
unlisted: dict[tuple[str, str], set[str]] = {}  # files in their place that no ticket lists yet
_busy: Counter[tuple[str, str]] = Counter()  # partitions that threads of this process write
_changed = threading.Condition()


@dataclass(frozen=True)
class Writing:
    """One write into one target, as its workers have it: they put files and tickets."""

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

    @property
    def key(self) -> tuple[str, str]:
        """What this process knows it by."""
        return self.target.url, self.folder

    def part_name(self, partition: int, extension: str) -> str:
        """The name of a partition's file: appended ones tell their generation."""
        later = f"-{self.generation}" if self.generation else ""
        return f"part-{partition:05d}{later}{extension}"

    def announce(self) -> None:
        """Have it known that this run is going on, and what it is; once in a process."""
        if self.key not in announced:
            name, text = f"{self.folder}/query.json", json.dumps(self.facts).encode()
            created = self.target.create(name, text)
            # whether the store keeps to "only if it is not there": some do not know the words
            announced[self.key] = self.target.creates and not (
                created and self.target.create(name, text)
            )

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Around the writing of a partition."""
        key = self.key
        with _changed:
            _busy[key] += 1
        try:
            yield
        finally:
            with _changed:
                _busy[key] -= 1
                if not _busy[key]:
                    del _busy[key]
                _changed.notify_all()

    def rest(self) -> None:
        """Wait until no thread of this process puts files: those of a run that is over leave."""
        with _changed:
            _changed.wait_for(lambda: self.key not in _busy, LEAVING)

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
                raise collision(self.target, name) from None
        elif self.kind == "images" and self.mode == "overwrite":
            self.target.put(name, data)
        elif self.kind != "images" and not announced.get(self.key):
            name = self._own(name)
            self.target.put(name, data)
        elif not self.target.create(name, data):
            if self.target.read(name) == bytes(data):  # by an earlier attempt
                return {"name": name, "bytes": size, "crc32": digest, "found": True}
            if self.kind == "images":  # names are the user's own
                raise collision(self.target, name)
            name = self._own(name)
            self.target.put(name, data)
        elif self.kind == "images":
            unlisted.setdefault(self.key, set()).add(name)
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
        if (waiting := unlisted.get(self.key)) is not None:
            waiting.difference_update(file["name"] for file in ticket["files"])

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
        names = own_files(self.target.files()) if self.mode == "append" else []
        return not all(name.startswith(("_", ".")) for name in names)

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


def checksum(data: Any) -> str:
    """What the manifest tells of a file's bytes: damage shows, at a fifth of a digest's time."""
    return f"{zlib.crc32(data):08x}"


def collision(target: Target, name: str) -> FileNameError:
    return FileNameError(
        f"two files would be called {name!r} in {target.shown}: nothing is published. Give names "
        "that differ with filename="
    )
