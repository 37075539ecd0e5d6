"""``{000..123}`` and ``{a,b}`` in a path, as shells and webdataset have them."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["expanded"]

_INNERMOST = re.compile(r"\{((?P<first>\d+)\.\.(?P<last>\d+)(\.\.(?P<step>\d+))?|[^{}]*,[^{}]*)\}")


def expanded(path: str) -> list[str]:
    """The paths that `path` stands for; itself where nothing in it is such a choice.

    A range counts up or down, in steps, its numbers as wide as they are written.

    Examples
    --------
    >>> expanded("shards/{train,val}-{08..10}.tar")[2:4]
    ['shards/train-10.tar', 'shards/val-08.tar']
    >>> expanded("{label}/{0..8..4}"), expanded("{label}/a{1,{8..9}}")
    (['{label}/0', '{label}/4', '{label}/8'], ['{label}/a1', '{label}/a8', '{label}/a9'])
    """
    return [*dict.fromkeys(_expanded(path))] if "{" in path else [path]


def _expanded(path: str) -> Iterator[str]:
    found = _INNERMOST.search(path)
    if found is None:
        yield path
        return
    for choice in _choices(found):
        yield from _expanded(path[: found.start()] + choice + path[found.end() :])


def _choices(found: re.Match[str]) -> Iterator[str]:
    if found["first"] is None:
        yield from found[1].split(",")
        return
    first, last = int(found["first"]), int(found["last"])
    padded = any(len(end) > 1 and end[0] == "0" for end in found.group("first", "last"))
    width = max(map(len, found.group("first", "last"))) if padded else 0
    step = max(int(found["step"] or 1), 1) * (1 if first <= last else -1)
    for number in range(first, last + (1 if step > 0 else -1), step):
        yield str(number).zfill(width)
