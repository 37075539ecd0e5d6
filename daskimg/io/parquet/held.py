"""Where the columns of row groups lie in a file: what is known of it before it is opened again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow.parquet as pq

from daskimg.transport.source import Source
from daskimg.transport.spans import Spans, joined, spans_of

__all__ = ["TAIL", "Held", "held_by"]

TAIL = 64 * 1024  # bytes of the end of a file that are read first: they hold most footers
GAP = 64 * 1024  # bytes between two columns that cost less than a request
MOST = 4096  # columns of row groups that a partition tells of


class Held(NamedTuple):
    """What is where in a file: of the row groups of a partition the bytes of each column."""

    size: int
    footer: int  # where it begins
    columns: tuple[str, ...]
    groups: tuple[tuple[tuple[int, int], ...], ...]

    def spans(self, path: str, source: Source, columns: Sequence[str]) -> Spans | None:
        """The spans that hold some columns and the footer; None for a file of a web server."""
        if spans_of(path, source, 0, self.size) is None:
            return None
        wanted = [
            chunk
            for group in self.groups
            for name, chunk in zip(self.columns, group, strict=True)
            if any(name == top or name.startswith(f"{top}.") for top in columns)
        ]
        tail = max(min(self.footer, self.size - TAIL), 0), self.size
        return Spans(path, source, joined(wanted, tail, GAP))


def held_by(footer: pq.FileMetaData, groups: Sequence[int], size: int) -> Held | None:
    """What a footer tells; None where that is too much for a graph."""
    if len(groups) * footer.num_columns > MOST or not groups:
        return None
    leaves = range(footer.num_columns)
    found = []
    for group in map(footer.row_group, groups):
        columns = [group.column(leaf) for leaf in leaves]
        starts = [_start(column) for column in columns]
        sizes = [column.total_compressed_size for column in columns]
        # (a footer may lie: what does not lie in the file is not asked for)
        found.append(
            tuple((max(a, 0), min(a + n, size)) for a, n in zip(starts, sizes, strict=True))
        )
    names = tuple(footer.row_group(groups[0]).column(leaf).path_in_schema for leaf in leaves)
    return Held(size, max(size - footer.serialized_size - 8, 0), names, tuple(found))


def _start(column: pq.ColumnChunkMetaData) -> int:
    """Where the pages of a column begin: those of its dictionary come first."""
    data, words = int(column.data_page_offset), column.dictionary_page_offset
    return min(data, int(words)) if words else data
