"""How a write begins: into which target it may go, and which run it goes on with."""

from __future__ import annotations

import errno
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

from daskimg.engine.lasting import Facts, differences
from daskimg.io.commit.manifest import FAULTS, MARK, never_finished, read_manifest, run_of
from daskimg.io.commit.names import OWN
from daskimg.io.commit.run import CLAIM, RUN, Run, number_of
from daskimg.io.commit.target import Target

__all__ = ["begin"]

MODES = ("error", "overwrite", "append", "resume")


def begin(target: Target, mode: str, kind: str, query: Facts) -> Run:
    """Start (or go on with) a run that writes what `query` names.

    Raises
    ------
    FileExistsError
        In mode "error", when there is something in the target.
    ValueError
        For an unknown mode; in mode "resume", when another query was being written; in mode
        "append", when the write before never finished.
    """
    if mode not in MODES:
        raise ValueError(f"mode is one of {', '.join(MODES)}; got {mode!r}")
    if target.is_file():
        raise FileExistsError(errno.EEXIST, "A folder is written, and this is a file", target.shown)
    run = Run(target, kind, query.token, mode, facts=query.told())
    if target.is_empty():
        return replace(run, mode="error") if mode == "resume" else run
    if mode == "resume":
        return _resumed(run)
    if mode == "error" and _nothing_but_words(target):
        return run
    if mode == "error":
        raise FileExistsError(
            errno.EEXIST,
            'The target is not empty: use mode="overwrite", "append" or "resume"',
            target.shown,
        )
    old, own = read_manifest(target), target.files(OWN)
    if mode == "append" and old is not None and old["format"] != kind:
        raise ValueError(f"{target.shown} holds {old['format']}; {kind} cannot be appended")
    if mode == "append" and own and MARK not in own:
        raise ValueError(never_finished(target))
    claims = [int(found[1]) for name in own if (found := CLAIM.fullmatch(name))]
    later = max([0 if old is None else old["generation"], *claims]) + 1
    return replace(run, generation=later)


def _nothing_but_words(target: Target) -> bool:
    """Whether all that is there are queries whose writes failed before they wrote anything."""
    names = target.files()
    return bool(names) and all(RUN.fullmatch(n) and n.endswith("/query.json") for n in names)


def _resumed(run: Run) -> Run:
    """The run that died, if it was the same query's."""
    target, manifest = run.target, read_manifest(run.target)
    sizes = target.files()
    found = [match for name in sizes if (match := RUN.fullmatch(name))]
    committed = -1 if manifest is None else manifest["generation"]
    for mode, generation in sorted({(m[1], int(m[2])) for m in found if m[3] == run.query}):
        mine = replace(run, mode=mode, generation=generation)
        if manifest is not None and run_of(manifest) == (run.query, generation):
            return replace(mine, finished=True)
        if generation > committed:
            names = [m[0] for m in found if m[0] == f"{mine.folder}/{m[4]}"]
            numbers = {n for name in names if (n := number_of(name)) is not None}
            there = replace(mine, done=tuple(sorted(numbers)))
            done = [
                ticket["partition"]
                for ticket in there.tickets()
                if all(there.holds(sizes, file) for file in ticket["files"])
            ]
            return replace(mine, done=tuple(done))
    if manifest is not None and manifest["query"] == run.query:
        return replace(run, mode="error", generation=committed, finished=True)
    if not found and manifest is None:
        if not target.files():  # it died having made a folder
            return replace(run, mode="error")
        raise FileExistsError(
            errno.EEXIST, "The target is not empty, and there is no write to resume", target.shown
        )
    asked: list[Any] = [] if manifest is None else [manifest.get("asked", {})]
    names = [name for name in sizes if RUN.fullmatch(name) and name.endswith("/query.json")]
    for name in names:
        with suppress(*FAULTS):
            asked.insert(0, dict(json.loads(target.read(name))))
    words = []
    for facts in filter(None, asked):
        with suppress(*FAULTS, IndexError):  # another's text
            words.append(differences(facts, run.facts))
    raise ValueError(
        f"{target.shown} holds another query's output"
        + (f": what differs is {words[0]}. " if words else ". ")
        + 'mode="resume" goes on with the same call only; use mode="overwrite", or another path'
    )
