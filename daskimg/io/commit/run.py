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
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from daskimg import wanted
from daskimg.io.commit.manifest import MARK, mark_of, parse_ticket, read_manifest, run_of
from daskimg.io.commit.names import OWN, FileNameError, check_name, clash_of, is_safe, own_files
from daskimg.io.commit.result import MANIFEST, WriteResult
from daskimg.io.commit.writing import Writing, announced, collision, unlisted

__all__ = ["CLAIM", "RUN", "Run", "number_of"]

RUN = re.compile(rf"{OWN}/run-(error|overwrite|append)-(\d+)-(\w+)/(.+)")
CLAIM = re.compile(rf"{OWN}/commit-(\d+)")
SIDE_FILES = {"_metadata", "_common_metadata"}  # of a Parquet folder, about files that go


@dataclass(frozen=True)
class Run(Writing):
    """A write as it is begun and ended."""

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
            if old is not None and run_of(old) != run_of(vars(self)):
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
        announced.pop(self.key, None)
        left = unlisted.pop(self.key, set())
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
            self.target.remove((put | left) - old)
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
            raise collision(self.target, clash)
        sizes = self.target.files()
        for file in files:
            name, waits = file["name"], f"{self.folder}/files/{file['name']}"
            if self.mode == "append" and waits in sizes and name in sizes:
                if self.target.has(waits) and self.target.has(name):
                    raise collision(self.target, name)
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
        announced.pop(self.key, None)
        unlisted.pop(self.key, None)
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


def compose(
    run: Run,
    tickets: list[dict[str, Any]],
    files: list[dict[str, Any]],
    old: dict[str, Any] | None,
) -> dict[str, Any]:
    """The manifest of a run that is committed, over what `old` told before."""
    before: dict[str, Any] = {"rows": 0, "failed": 0, "missing": 0, "files": []}
    if run.mode == "append":
        before = _before(run, old) if old else {**before, "files": _foreign(run, files)}
    kept = before["files"]
    if files:  # rows have come: a file that only told the columns goes
        kept = [file for file in kept if file.get("rows") != 0]
    blanks = [file["name"] for file in before["files"] if file not in kept]
    total = run.result(tickets)
    counts = ("partition", "rows", "failed", "missing")
    return {
        "version": 1,
        "format": run.kind,
        "generation": run.generation,
        "query": run.query,
        "rows": before["rows"] + total.rows,
        "failed": before["failed"] + total.failed,
        "missing": before["missing"] + total.missing,
        "reasons": total.reasons,
        "before": {**before, "files": len(kept)},
        "partitions": [{key: ticket[key] for key in counts} for ticket in tickets],
        "asked": run.facts,
        "files": kept + files,
        "replaces": [*_replaced(run, files, old), *blanks],
    }


def _replaced(run: Run, files: list[dict[str, Any]], old: dict[str, Any] | None) -> list[str]:
    """What "overwrite" removes: files of the write before, and others of their kind.

    Never anything else: pictures beside them may be the very ones that are read.
    """
    if run.mode != "overwrite":
        return []
    listed = {file["name"] for file in old["files"]} if old else set()
    kinds = {os.path.splitext(file["name"])[1] for file in files} - {""}
    if run.kind == "images":
        kinds = set()
    kept = {file["name"] for file in files}
    return sorted(
        name
        for name in own_files(run.target.files())
        if name not in kept
        and (name in listed or os.path.splitext(name)[1] in kinds or name in SIDE_FILES)
        and is_safe(name)  # others' odd names stay theirs
    )


def _before(run: Run, old: dict[str, Any]) -> dict[str, Any]:
    """What a manifest counted before this run, which may have written it already."""
    if run_of(old) != (run.query, run.generation):
        return {key: old[key] for key in ("rows", "failed", "missing", "files")}
    return {**old["before"], "files": old["files"][: old["before"]["files"]]}


def _foreign(run: Run, new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Files that somebody else wrote into the target before."""
    ours = {file["name"] for file in new}
    sizes = run.target.files()
    return [
        {"name": check_name(name), "bytes": sizes[name]}
        for name in own_files(sizes)
        if name not in ours and not name.startswith(("_", "."))
    ]


def _line(file: dict[str, Any]) -> dict[str, Any]:
    """A file's line of the manifest."""
    return {key: value for key, value in file.items() if key != "found"}


def number_of(name: str) -> int | None:
    """The partition of a ticket, by its name."""
    found = re.fullmatch(rf"{OWN}/run-[^/]+/(\d+)\.json", name)
    return None if found is None else int(found[1])
