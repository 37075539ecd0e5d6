"""Near rows of a table of hashes: what is done in one partition, in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from daskimg.curate.bands import Hashes, Rows, bands_of, linked, near, pieces, ranges
from daskimg.curate.forest import Links, forest

__all__ = ["MOST_PAIRS", "Search", "merged"]

#: Pairs of a partition that are listed; more is an error that says what to do instead.
MOST_PAIRS = 2**26
MIX = np.uint64(0x9E3779B97F4A7C15)
ALL = 2**64 - 1


class Search(NamedTuple):
    """When two rows of a table (``id``, ``hash``, ``confirm``, ``kind``) are near."""

    bits: int
    most: int
    across: bool

    # -- one row for each band, to bring those that agree in it together --------------------------
    def spread(self, table: pd.DataFrame) -> pd.DataFrame:
        """A row for each band of a row's hash: its number, and ``key``, equal where bands are."""
        bands = bands_of(ALL, self.bits + 1)
        hashes = table["hash"].to_numpy()
        parts = []
        for n, band in enumerate(bands):
            key = ((hashes & np.uint64(band)) ^ np.uint64(n)) * MIX
            key ^= key >> np.uint64(32)
            parts.append(table.assign(band=np.uint8(n), key=key.view(np.int64)))
        return pd.concat(parts, ignore_index=True)

    # -- what is found ----------------------------------------------------------------------------
    def pairs(self, table: pd.DataFrame) -> pd.DataFrame:
        """Every pair of near rows: ``left`` and ``right`` id, the smaller one first, ``distance``.

        Of rows by bands, those that agree in no earlier one: a pair is in one partition only.

        Raises
        ------
        ValueError
            For more than `MOST_PAIRS` pairs.
        """
        found, total = [], 0
        for same, agreed, before in self._bands(table):
            for left, right, distance in same.pairs(agreed, before, MOST_PAIRS - total):
                total += len(left)
                found.append(same.told(left, right, distance))
        empty = pd.DataFrame(
            {name: np.empty(0, np.int64) for name in ("left", "right", "distance")}
        )
        table = pd.concat([empty, *found], ignore_index=True)
        if "kind" in same.columns and len(table):  # of a turned copy, the nearest turn
            table = table.groupby(["left", "right"]).min().reset_index()
        return table

    def links(self, table: pd.DataFrame) -> pd.DataFrame:
        """What the near rows of a partition connect: ``id``, and ``root``, the smallest id."""
        return _frame(forest(self._links(table)))

    def _links(self, table: pd.DataFrame) -> Iterator[Links]:
        for same, agreed, before in self._bands(table):
            yield from same.links(agreed, before)

    def _bands(self, table: pd.DataFrame) -> Iterator[tuple[_Same, int, list[int]]]:
        if "band" not in table:
            yield _Same(table, self), 0, []
            return
        bands = bands_of(ALL, self.bits + 1)
        number = table["band"].to_numpy()
        for n, band in enumerate(bands):
            yield _Same(table[number == n], self), band, bands[:n]

    def collapsed(self, table: pd.DataFrame) -> pd.DataFrame:
        """One row for all that are the same, the first of them; turned ones stay."""
        if "kind" in table:
            return table
        return table.drop_duplicates([name for name in ("hash", "confirm") if name in table])

    def stars(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows that `collapsed` leaves out, each with the one that stands for it."""
        if "kind" in table:
            return merged(table.iloc[:0].assign(root=0))
        return _frame(forest(_Same(table, self).alike()))


class _Same:
    """The rows of a table, those that are the same in everything taken together."""

    def __init__(self, table: pd.DataFrame, search: Search) -> None:
        self.columns = columns = {name: table[name].to_numpy() for name in table if name != "band"}
        hashes = columns["hash"]
        order = np.argsort(hashes)
        equal = hashes[order][1:] == hashes[order][:-1]
        names = [name for name in ("confirm", "kind") if name in columns]
        if equal.any():
            order = np.lexsort([columns[name] for name in ("id", *reversed(names), "hash")])
            equal = hashes[order][1:] == hashes[order][:-1]
            for name in names:
                values = columns[name][order]
                equal &= values[1:] == values[:-1]
        self.order = order
        self.starts = np.flatnonzero(np.concatenate([[True], ~equal])) if len(order) else order
        self.sizes = np.diff(self.starts, append=len(order))
        first = order[self.starts]
        self.items = Hashes(
            hashes[first],
            columns["confirm"][first] if "confirm" in columns else None,
            columns["kind"][first] if "kind" in columns else None,
            search.bits,
            search.most,
            search.across,
        )

    def pairs(
        self, agreed: int, before: list[int], most: int
    ) -> Iterator[tuple[Rows, Rows, npt.NDArray[np.int64]]]:
        """Places of near rows in the table, and their distance; an error for more than `most`."""
        if not before:  # what is the same agrees in the first band
            several = (self.sizes > 1) & self.items.alike(np.arange(len(self.sizes)))
            position, within = ranges(self.starts[several], self.sizes[several])
            counts = np.repeat(self.sizes[several], self.sizes[several]) - 1 - within
            most = self._check(counts, most)
            for left, which in pieces(counts):
                first, second = position[left], position[left] + 1 + which
                yield self.order[first], self.order[second], np.zeros(len(first), np.int64)
        for left, right in near(self.items, None, agreed, before):
            differ = self.items.hash[left] ^ self.items.hash[right]
            distance = np.bitwise_count(differ).astype(np.int64)
            counts = self.sizes[left] * self.sizes[right]
            most = self._check(counts, most)
            for index, which in pieces(counts):
                a, b = left[index], right[index]
                first = self.order[self.starts[a] + which // self.sizes[b]]
                second = self.order[self.starts[b] + which % self.sizes[b]]
                yield first, second, distance[index]

    def _check(self, counts: Rows, most: int) -> int:
        """How many pairs there may still be after these."""
        most -= int(counts.sum())
        if most < 0:
            raise ValueError(
                f"more than {MOST_PAIRS:,} pairs are near, and {int(self.sizes.max()):,} rows have "
                "one hash: too many to list. duplicate_groups() tells which rows belong together, "
                "drop_near_duplicates() keeps one of each group"
            )
        return most

    def told(self, left: Rows, right: Rows, distance: npt.NDArray[np.int64]) -> pd.DataFrame:
        """Pairs by their ids; a picture and its own turned copy are none."""
        ids = self.columns["id"]
        first, second = np.minimum(ids[left], ids[right]), np.maximum(ids[left], ids[right])
        found = pd.DataFrame({"left": first, "right": second, "distance": distance})
        return found[first != second] if "kind" in self.columns else found

    def alike(self, which: Rows | None = None) -> Iterator[Links]:
        """Links of rows that are the same."""
        ids = self.columns["id"]
        rows = np.arange(len(self.sizes)) if which is None else which
        rows = rows[self.sizes[rows] > 1]
        position, _ = ranges(self.starts[rows], self.sizes[rows])
        first = np.repeat(self.starts[rows], self.sizes[rows])
        yield ids[self.order[position]], ids[self.order[first]]

    def links(self, agreed: int, before: list[int]) -> Iterator[Links]:
        """Links of near rows."""
        ids = self.columns["id"][self.order[self.starts]] if len(self.order) else self.order
        met = self.items.alike(np.arange(len(self.sizes)))
        for left, right in linked(self.items, None, agreed, before):
            met[left] = met[right] = True  # turned ones that are the same are near to one picture
            yield ids[left], ids[right]
        yield from self.alike(np.flatnonzero(met))


def merged(table: pd.DataFrame) -> pd.DataFrame:
    """Forests that stand below one another as one."""
    return _frame(forest([(table["id"].to_numpy(np.int64), table["root"].to_numpy(np.int64))]))


def _frame(links: Links) -> pd.DataFrame:
    return pd.DataFrame({"id": links[0], "root": links[1]})
