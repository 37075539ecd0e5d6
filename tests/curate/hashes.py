"""Hashes to look among, and all pairs of them, by comparing each with each."""

from __future__ import annotations

import numpy as np

__all__ = ["all_pairs", "clustered", "groups_of", "random"]


def random(n, seed=0):
    return np.random.default_rng(seed).integers(0, 2**64, n, dtype=np.uint64)


def clustered(n, seed=0, flips=8):
    """Twenty or so around each centre, up to `flips` bits away."""
    rng = np.random.default_rng(seed)
    centres = random(max(1, n // 20), seed + 1)
    hashes = centres[rng.integers(0, len(centres), n)]
    for _ in range(flips):
        other = hashes ^ (np.uint64(1) << rng.integers(0, 64, n, dtype=np.uint64))
        hashes = np.where(rng.random(n) < 0.5, other, hashes)
    return hashes


def all_pairs(hashes, bits, confirm=None):
    """Pairs of places, the smaller first: an array of two columns, in order."""
    found = []
    for start in range(0, len(hashes), 1000):
        rows = slice(start, start + 1000)
        near = np.bitwise_count(hashes[rows, None] ^ hashes) <= bits
        if confirm is not None:
            near &= np.bitwise_count(confirm[rows, None] ^ confirm) <= 2 * bits
        left, right = np.nonzero(near)
        found.append(np.column_stack([left + start, right])[left + start < right])
    return np.concatenate(found) if found else np.empty((0, 2), int)


def groups_of(n, pairs):
    """The number of each row's group by its first row, -1 for one alone: by walking along pairs."""
    beside = {}
    for left, right in pairs.tolist():
        beside.setdefault(left, []).append(right)
        beside.setdefault(right, []).append(left)
    group, count = [-1] * n, 0
    for first in sorted(beside):
        if group[first] >= 0:
            continue
        todo = [first]
        while todo:
            row = todo.pop()
            if group[row] < 0:
                group[row] = count
                todo += beside[row]
        count += 1
    return group
