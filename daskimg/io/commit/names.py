"""Names of files that may stand in a target, and folders named by values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from daskimg.errors import quoted

__all__ = [
    "OWN",
    "FileNameError",
    "check_name",
    "clash_of",
    "folder_name",
    "is_safe",
    "own_files",
    "safe_names",
]


OWN = "_daskimg"  # the folder of the manifest, the mark and unfinished runs
LONGEST_PART, LONGEST_NAME = 255, 900  # bytes: of a filesystem, of an S3 key less its prefix


class FileNameError(ValueError):
    """A file name that is not safe, or that two files would share."""


def check_name(name: str) -> str:
    """`name` itself, if it stays below the target wherever it is used.

    Raises
    ------
    FileNameError

    Examples
    --------
    >>> check_name("cats/1.png")
    'cats/1.png'
    >>> check_name("../1.png")
    Traceback (most recent call last):
    ...
    daskimg.io.commit.names.FileNameError: unsafe file name '../1.png': it leaves the target. \
Names are relative, such as 'cats/1.png'; give others with filename=
    """
    if not isinstance(name, str):
        raise TypeError(f"a file name is text; got {name!r:.80}")
    if reason := _unsafe(name):
        raise FileNameError(
            f"unsafe file name {quoted(name)}: {reason}. Names are relative, such as "
            "'cats/1.png'; give others with filename="
        )
    return name


def is_safe(name: str) -> bool:
    """Whether `check_name` lets a name pass."""
    return _unsafe(name) is None


def _unsafe(name: str) -> str | None:
    parts = name.split("/")
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        return "it is not UTF-8"
    if not name or name.endswith("/"):
        return "it is empty"
    if any(ord(sign) < 32 for sign in name):
        return "it holds NUL or another control character"
    if "\\" in name:
        return "it holds a backslash, which separates folders on Windows"
    if name.startswith("/") or "://" in name:
        return "it is absolute"
    if re.match(r"[A-Za-z]:", name):
        return "it starts with a drive letter"
    if ".." in parts:
        return "it leaves the target"
    if "" in parts or "." in parts:
        return "a folder in it has no name"
    if parts[0] == OWN:
        return f"{OWN} is where the manifest is"
    if max(sizes) > LONGEST_PART or sum(sizes) + len(sizes) > LONGEST_NAME:
        return f"it is too long (at most {LONGEST_PART} bytes a part, {LONGEST_NAME} in all)"
    return None


def safe_names(names: Sequence[str]) -> Sequence[str]:
    """`names`, each safe and no two equal, before any of them is written."""
    clash = clash_of(list(map(check_name, names)))
    if clash is not None:
        raise FileNameError(
            f"two rows of a partition would be written to {quoted(clash)}: give names that "
            "differ with filename="
        )
    return names


def own_files(names: Iterable[str]) -> list[str]:
    """Those files in a target that are not daskimg's notes, nor of a write into a folder in it.

    Examples
    --------
    >>> own_files(["1.png", "_daskimg/manifest.json", "old/2.png", "old/_daskimg/_SUCCESS"])
    ['1.png']
    """
    names = list(names)
    notes = f"/{OWN}/"
    others = {name.partition(notes)[0] + "/" for name in names if notes in name}
    return [name for name in names if not name.startswith((notes[1:], *others))]


def clash_of(names: Sequence[str]) -> str | None:
    """A name that occurs twice, or is a folder of another."""
    seen = {*names}
    if len(seen) < len(names):
        return next(name for name, n in Counter(names).items() if n > 1)
    for name in names:
        folder = name.rpartition("/")[0]
        while folder:
            if folder in seen:
                return folder
            folder = folder.rpartition("/")[0]
    return None


def folder_name(keys: Iterable[tuple[str, Any]]) -> str:
    """The hive folder of partition values.

    Examples
    --------
    >>> folder_name([("year", 2024), ("kind", "a/b"), ("size", None)])
    'year=2024/kind=a%2Fb/size=__HIVE_DEFAULT_PARTITION__'
    """
    return "/".join(f"{_quoted(key)}={_quoted(value)}" for key, value in keys)


def _quoted(value: Any) -> str:
    if value is None or value is pd.NA or value != value:
        return "__HIVE_DEFAULT_PARTITION__"
    text = str(value)
    # what Hive and Spark quote
    return re.sub(
        r'[\x00-\x1f"#%\'*/:=?\\\x7f{}\[\]^]', lambda sign: f"%{ord(sign.group()):02X}", text
    )
