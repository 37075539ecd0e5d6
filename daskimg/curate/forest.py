"""Connected components: union-find over arrays of links, as forests that can be merged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Links", "components", "forest"]

Ids: TypeAlias = npt.NDArray[np.int64]
Links: TypeAlias = tuple[Ids, Ids]

HELD = 2**22  # links that wait to be merged


def components(left: npt.NDArray[np.intp], right: npt.NDArray[np.intp], n: int) -> Ids:
    """The smallest number that each of 0 to n - 1 is linked to, over any number of links.

    Examples
    --------
    >>> components(np.array([1, 4]), np.array([4, 3]), 5).tolist()
    [0, 1, 2, 1, 1]
    """
    root = np.arange(n)
    while True:
        left, right = root[left], root[right]
        apart = left != right
        if not apart.any():
            return root
        left, right = left[apart], right[apart]
        np.minimum.at(root, np.maximum(left, right), np.minimum(left, right))
        while not np.array_equal(further := root[root], root):
            root = further


def forest(links: Iterable[Links]) -> Links:
    """What links of ids connect: each id, and the smallest one of its component where it is not it.

    Of n ids that is n - 1 links at most, however many there were.

    Examples
    --------
    >>> forest([(np.array([7, 9]), np.array([9, 5])), (np.array([1]), np.array([1]))])
    (array([7, 9]), array([5, 5]))
    """
    held: list[Links] = []
    waiting = 0
    for left, right in links:
        held.append((left, right))
        waiting += len(left)
        if waiting > HELD:
            held = [_merged(held)]
            waiting = max(0, len(held[0][0]) - HELD)
    return _merged(held)


def _merged(links: list[Links]) -> Links:
    if not links:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    left, right = (np.concatenate(ends) for ends in zip(*links, strict=True))
    ids, numbers = np.unique(np.concatenate([left, right]), return_inverse=True)
    root = components(numbers[: len(left)], numbers[len(left) :], len(ids))
    child = root != np.arange(len(ids))
    return ids[child], ids[root[child]]
