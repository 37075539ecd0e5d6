"""What a target tells of itself: its manifest, the tickets of a run, and none of their names
trusted: whoever may write into a shared folder may have written these."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from daskimg.io.commit.names import OWN, FileNameError, check_name
from daskimg.io.commit.result import MANIFEST
from daskimg.io.commit.target import Target
from daskimg.io.listing.walk import Found
from daskimg.transport.fetch import Source

__all__ = [
    "FAULTS",
    "MARK",
    "mark_of",
    "never_finished",
    "parse_ticket",
    "published",
    "read_manifest",
    "run_of",
]

MARK = f"{OWN}/_SUCCESS"
COUNTS = ("rows", "failed", "missing")
FAULTS = (ValueError, KeyError, TypeError, RecursionError)  # of text that is no manifest or ticket


def read_manifest(target: Target) -> dict[str, Any] | None:
    """What counts in a target, or None where nothing was committed.

    Raises
    ------
    ValueError
        For one that is damaged, or names a file outside of the target.
    """
    if not target.has(MANIFEST):
        return None
    text = target.read(MANIFEST)
    try:
        manifest: dict[str, Any] = json.loads(text)
        _check(manifest)
    except FileNameError as error:
        raise ValueError(f"the manifest of {target.shown} is not to be trusted: {error}") from None
    except FAULTS as error:
        if not target.has(MARK):  # a power cut while it was put
            return None
        raise ValueError(
            f"the manifest of {target.shown} is damaged ({type(error).__name__}: {error}): write "
            'again with mode="overwrite"'
        ) from None
    return manifest


def _check(manifest: Mapping[str, Any]) -> None:
    before = manifest["before"]
    told = [*(manifest[key] for key in (*COUNTS, "generation")), before["files"]]
    if not all(map(_is_count, [*told, *(before[key] for key in COUNTS)])):
        raise TypeError("counts are numbers")
    _check_reasons(manifest["reasons"])
    if not isinstance(manifest.get("asked", {}), Mapping):
        raise TypeError("no facts")
    if not isinstance(manifest["query"], str) or not isinstance(manifest["format"], str):
        raise TypeError("no query")
    for part in manifest["partitions"]:
        _check_counts(part)
    _check_files(manifest["files"])
    for name in manifest["replaces"]:
        check_name(name)


def _check_counts(told: Mapping[str, Any]) -> None:
    if not all(_is_count(told[key]) for key in ("partition", *COUNTS)):
        raise TypeError("counts are numbers")


def _check_reasons(reasons: Any) -> None:
    if not isinstance(reasons, Mapping) or not all(map(_is_count, reasons.values())):
        raise TypeError("reasons are counted")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _check_files(files: Iterable[Mapping[str, Any]]) -> None:
    for file in files:
        if not isinstance(file, Mapping):
            raise TypeError("a file is told by its name and size")
        check_name(file["name"])
        if not all(map(_is_count, (file["bytes"], file.get("start", 0)))):
            raise TypeError("sizes are numbers")


def parse_ticket(text: bytes, partition: int) -> dict[str, Any] | None:
    """A partition's ticket; None for what is none, as a power cut leaves it.

    Raises
    ------
    FileNameError
        For one that names a file outside of the target.
    """
    try:
        ticket: dict[str, Any] = json.loads(text)
        for each in (ticket, ticket["errors"]) if "errors" in ticket else (ticket,):
            _check_counts(each)
            _check_files(each["files"])
            _check_reasons(each["reasons"])
        return ticket if ticket["partition"] == partition else None
    except FileNameError:
        raise
    except FAULTS:
        return None


def mark_of(manifest: bytes) -> bytes:
    """The completion mark: the manifest's digest."""
    return hashlib.blake2b(manifest, digest_size=16).hexdigest().encode()


def published(folder: str, source: Source) -> list[Found] | None:
    """The files of a folder that a committed write lists; None where nobody committed one.

    Raises
    ------
    ValueError
        For a write that never finished.
    """
    target = Target(folder, source)
    if not target.has(MARK) and target.files(OWN):
        raise ValueError(never_finished(target))
    manifest = read_manifest(target)
    if manifest is None:
        return None
    return [Found(target.href(file["name"]), file["bytes"]) for file in manifest["files"]]


def never_finished(target: Target) -> str:
    """What to do about a target without a mark."""
    return (
        f"the write into {target.shown} never finished: call the writer again with "
        'mode="resume", or "overwrite"'
    )


def run_of(manifest: Mapping[str, Any]) -> tuple[str, int]:
    """Which run wrote a manifest."""
    return manifest["query"], manifest["generation"]
