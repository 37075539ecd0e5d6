"""Pairs of 64-bit hashes that differ in few bits: those that agree in a band, looked at.

Of `bits` + m bands of a hash, two that differ in at most `bits` bits agree in m (the pigeonhole
principle): rows sorted by what stands in m bands lie next to those they are near to. How many bands
serve best depends on how many rows there are and how they lie, so it is chosen for each set of
them, and chosen again within a band value that many share.

References
----------
Norouzi, Punjani and Fleet, Fast search in Hamming space with multi-index hashing, CVPR 2012.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "MOST_BITS",
    "SIDE",
    "TURNED",
    "Hashes",
    "Rows",
    "bands_of",
    "linked",
    "near",
    "pieces",
    "ranges",
]

U64: TypeAlias = npt.NDArray[np.uint64]
Rows: TypeAlias = npt.NDArray[np.intp]
Pairs: TypeAlias = tuple[Rows, Rows]

MOST_BITS = 12
ALL = 2**64 - 1
CHUNK = 2**20  # pairs looked at at a time
LONG = 256  # rows of one value, from which on a block of pairs is faster than a list of them
DENSE = 4096  # rows of one value that are split further
SORT, LISTED, BLOCKED = 100, 12, 2  # ns for a row and its pairs, to weigh ways against each other
REST = 2**26  # pairs that are looked at one by one, rather than to think of anything better
SIDE, TURNED = 1, 2  # what a hash may be: of the other frame; of the picture turned


class Hashes(NamedTuple):
    """What is compared, row by row, and when two rows are near.

    Parameters
    ----------
    hash : ndarray of uint64
    confirm : ndarray of uint64, optional
        A second hash that has to be near, too.
    kind : ndarray of uint8, optional
        Flags `SIDE` and `TURNED`. Two rows that are turned are no pair.
    bits, most : int
        How many bits of the hash, and of the second one, may differ.
    across : bool
        Whether the rows of a pair are on different sides.
    """

    hash: U64
    confirm: U64 | None
    kind: npt.NDArray[np.uint8] | None
    bits: int
    most: int
    across: bool = False

    def test(self, left: Any, right: Any) -> npt.NDArray[np.bool_]:
        """Which of these rows are near, by everything there is; `left` and `right` broadcast."""
        near = np.bitwise_count(self.hash[left] ^ self.hash[right]) <= self.bits
        return near & self._beside(left, right)

    def found(self, left: Rows, right: Rows) -> npt.NDArray[np.bool_]:
        """Which pairs of rows with near hashes are near by everything else."""
        return np.broadcast_to(self._beside(left, right), left.shape)

    def _beside(self, left: Any, right: Any) -> Any:
        near: Any = np.True_
        if self.confirm is not None:
            near = np.bitwise_count(self.confirm[left] ^ self.confirm[right]) <= self.most
        if self.kind is not None:
            kind, other = self.kind[left], self.kind[right]
            near = near & ((kind & other & TURNED) == 0)
            if self.across:
                near = near & (((kind ^ other) & SIDE) != 0)
        return near

    def alike(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which rows are near to others that are the same as they."""
        if self.kind is None:
            return np.ones(len(rows), bool)
        return (self.kind[rows] & TURNED == 0) & (not self.across)


def bands_of(mask: int, count: int) -> list[int]:
    """The set bits of `mask` dealt out to `count` bands, as masks.

    Examples
    --------
    >>> [f"{band:06b}" for band in bands_of(0b111011, 2)]
    ['101001', '010010']
    """
    bands = [0] * count
    for n, bit in enumerate(bit for bit in range(64) if mask >> bit & 1):
        bands[n % count] |= 1 << bit
    return bands


def near(
    items: Hashes, rows: Rows | None = None, agreed: int = 0, before: Sequence[int] = ()
) -> Iterator[Pairs]:
    """Every pair of near rows, once: two arrays of row numbers at a time.

    Parameters
    ----------
    items : Hashes
    rows : ndarray, optional
        The rows to look among; None: all.
    agreed : int
        Bits in which the rows of a pair agree.
    before : sequence of int
        Bands in which they do not.

    Examples
    --------
    >>> hashes = np.array([0b0000, 0b0001, 0b0111, 2**63], np.uint64)
    >>> found = near(Hashes(hashes, None, None, 1, 0))
    >>> [pair for left, right in found for pair in zip(left.tolist(), right.tolist())]
    [(0, 1), (0, 3)]
    """
    return _search(items, _all(items, rows), agreed, tuple(before), False)


def linked(
    items: Hashes, rows: Rows | None = None, agreed: int = 0, before: Sequence[int] = ()
) -> Iterator[Pairs]:
    """Enough pairs of near rows to tell which are connected: some may be left out, or come twice.

    Where many rows share a band, those near to one of them are taken out at once, and are not
    compared with one another.
    """
    return _search(items, _all(items, rows), agreed, tuple(before), True)


def _all(items: Hashes, rows: Rows | None) -> Rows:
    return np.arange(len(items.hash)) if rows is None else rows


def _search(
    items: Hashes, rows: Rows, agreed: int, before: tuple[int, ...], links: bool
) -> Iterator[Pairs]:
    if len(rows) < 2:
        return
    hashes = items.hash[rows]
    order, starts, sizes = _runs(hashes, agreed)
    rows, hashes = rows[order], hashes[order]
    if links:
        for n in np.flatnonzero(sizes > DENSE):
            run = rows[starts[n] : starts[n] + sizes[n]]
            cost = _plan(items.bits, hashes, len(run), len(run) ** 2 / 2, agreed)[1]
            done = yield from _clump(items, run, cost)
            if done:
                sizes[n] = 0
        starts, sizes = starts[sizes > 0], sizes[sizes > 0]
    several, _ = _plan(
        items.bits, hashes, len(rows), float((sizes.astype(float) ** 2).sum() / 2), agreed
    )
    if not several:
        for left, right in _within(hashes, starts, sizes, items.bits):
            yield from _kept(items, rows[left], rows[right], before)
        return
    bands = bands_of(_varying(hashes) & ~agreed & ALL, items.bits + several)
    for chosen in itertools.combinations(range(len(bands)), several):
        mine = agreed
        for band in chosen:
            mine |= bands[band]
        # the first bands to agree are these: a pair is found once
        others = tuple(bands[n] for n in range(chosen[-1]) if n not in chosen)
        order, starts, sizes = _runs(hashes, mine)
        inner, dense = hashes[order], sizes > DENSE
        for n in np.flatnonzero(dense):
            run = rows[order[starts[n] : starts[n] + sizes[n]]]
            yield from _search(items, run, mine, before + others, links)
        for left, right in _within(inner, starts[~dense], sizes[~dense], items.bits):
            yield from _kept(items, rows[order[left]], rows[order[right]], before + others)


def _kept(items: Hashes, left: Rows, right: Rows, before: Sequence[int]) -> Iterator[Pairs]:
    """Of pairs with near hashes those that are near by all, and agree in none of these bands."""
    keep = items.found(left, right)
    if before:
        differ = items.hash[left] ^ items.hash[right]
        for band in before:
            keep = keep & ((differ & np.uint64(band)) != 0)
    if keep.any():
        left, right = left[keep], right[keep]
        yield np.minimum(left, right), np.maximum(left, right)


def _varying(hashes: U64) -> int:
    """The bits that are not the same in all."""
    return int(np.bitwise_or.reduce(hashes ^ hashes[0]))


def _plan(bits: int, hashes: U64, rows: int, pairs: float, agreed: int) -> tuple[int, float]:
    """How many bands have to agree, and what the search for them costs (ns)."""
    free = (_varying(hashes) & ~agreed & ALL).bit_count()
    dense = pairs > LONG * rows
    ways = [(pairs * (BLOCKED if dense else LISTED), 0)]
    for several in range(1, min(6, free - bits) + 1):
        tables = math.comb(bits + several, several)
        width = free * several // (bits + several)
        ways.append((tables * (rows * SORT + pairs / 2**width * LISTED), several))
    cost, several = min(ways)
    return several, cost


def _runs(hashes: U64, mask: int) -> tuple[Rows, Rows, Rows]:
    """An order in which rows that agree in `mask` stand together; where two or more do so begin,
    and how many there are."""
    if not mask:
        return np.arange(len(hashes)), np.array([0]), np.array([len(hashes)])
    key = hashes & np.uint64(mask)
    order = np.argsort(key)
    key = key[order]
    edges = np.flatnonzero(key[1:] != key[:-1]) + 1
    starts = np.concatenate([[0], edges])
    sizes = np.diff(starts, append=len(key))
    several = sizes > 1
    return order, starts[several], sizes[several]


def _within(hashes: U64, starts: Rows, sizes: Rows, bits: int) -> Iterator[Pairs]:
    """The pairs of near hashes within each run."""
    long = sizes > LONG
    for start, size in zip(starts[long].tolist(), sizes[long].tolist(), strict=True):
        run = hashes[start : start + size]
        step = max(1, CHUNK // size)
        for top in range(0, size, step):
            block = run[top : top + step, None] ^ run[None, top:]
            left, right = np.nonzero(np.bitwise_count(block) <= bits)
            later = left < right
            yield left[later] + (start + top), right[later] + (start + top)
    starts, sizes = starts[~long], sizes[~long]
    if not len(starts):
        return
    position, within = ranges(starts, sizes)
    partners = np.repeat(sizes, sizes) - 1 - within
    for left, which in pieces(partners):
        first, second = position[left], position[left] + 1 + which
        close = np.bitwise_count(hashes[first] ^ hashes[second]) <= bits
        yield first[close], second[close]


def ranges(starts: Rows, sizes: Rows) -> tuple[Rows, Rows]:
    """The numbers of each range one after the other, and the place of each in its range."""
    within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.repeat(starts, sizes) + within, within


def pieces(counts: Rows) -> Iterator[Pairs]:
    """Each index as often as its count says, and which time it is; `CHUNK` at a time."""
    ends = np.cumsum(counts)
    begins = ends - counts
    total = int(ends[-1]) if len(ends) else 0
    for start in range(0, total, CHUNK):
        stop = min(start + CHUNK, total)
        first = int(np.searchsorted(ends, start, side="right"))
        last = int(np.searchsorted(ends, stop - 1, side="right")) + 1
        begin = begins[first:last]
        sizes = np.minimum(ends[first:last], stop) - np.maximum(begin, start)
        yield (
            np.repeat(np.arange(first, last), sizes),
            np.arange(start, stop) - np.repeat(begin, sizes),
        )


def _clump(items: Hashes, run: Rows, cost: float) -> Generator[Pairs, None, bool]:
    """Links among rows of one value, taking those out that are linked; whether these are all.

    It is given up where it has cost as much as the other way would.
    """
    left, waiting = run, [run[:0]]
    while len(left) and cost > 0:
        if len(left) * len(run) <= REST:
            for start in range(0, len(left), step := max(1, CHUNK // len(run))):
                some = left[start : start + step]
                first, second = np.nonzero(items.test(some[:, None], run[None, :]))
                yield some[first], run[second]
            return True
        while waiting and not len(waiting[-1]):
            waiting.pop()
        if waiting:
            pivot, waiting[-1] = waiting[-1][-1], waiting[-1][:-1]
        else:
            pivot, left = left[-1], left[:-1]
        close = items.test(left, pivot)
        if close.any():
            new = left[close]
            yield np.full(len(new), pivot), new
            waiting.append(new)
            left = left[~close]
        cost -= BLOCKED * len(left) + 10_000
    return not len(left)
