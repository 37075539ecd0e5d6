"""What cells of ``struct<bytes, path>`` are, column by column: paths, bytes, or some of each."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from daskimg.io.parquet import scan
from daskimg.transport import fetch

__all__ = ["Counts", "counts_of", "kinds_of"]

LIST = re.compile(r"\.list\.\w+|\.bag\.array\w*|\.array$")  # how writers name the items of a list


class Counts(NamedTuple):
    """How many values of a leaf there are, and how many are null; None: nobody knows."""

    values: int
    nulls: int | None


def counts_of(footers: Sequence[pq.FileMetaData]) -> dict[str, Counts]:
    """Counts of every leaf of all files, from what their footers tell; no row is read."""
    found: dict[str, Counts] = defaultdict(lambda: Counts(0, 0))
    for footer in footers:
        for group in map(footer.row_group, range(footer.num_row_groups)):
            if not group.num_rows:  # which tells of no nulls
                continue
            for column in map(group.column, range(group.num_columns)):
                told = column.statistics
                known = told.null_count if told is not None and told.has_null_count else None
                leaf = column.path_in_schema
                values, nulls = found[leaf]
                both = None if known is None or nulls is None else nulls + known
                found[leaf] = Counts(values + column.num_values, both)
    return dict(found)


def kinds_of(
    counts: Mapping[str, Counts],
    paths: Sequence[str],
    source: fetch.Source,
) -> dict[str, str]:
    """ "file", "encoded" or "mixed" of each struct of bytes and path, by its place.

    Where as many paths as bytes are missing, a row may be null or hold a path alone: then the
    paths are read, and tell in which rows there is a struct.
    """
    kinds = {}
    for leaf in [leaf for leaf in counts if leaf.endswith(".bytes")]:
        place = leaf.removesuffix(".bytes")
        n, nulls = counts[leaf]
        named = counts.get(f"{place}.path", Counts(n, n))
        if not n:
            kind = "encoded"
        elif nulls == n:
            kind = "file"
        elif nulls == 0 or named.nulls == named.values:
            kind = "encoded"
        elif nulls is None:
            kind = "mixed"
        else:
            held = n - nulls
            structs = partial(_structs, leaf=f"{place}.path", source=source)
            with ThreadPoolExecutor(scan.FOOTERS) as pool:
                there = sum(pool.map(structs, paths))
            kind = "encoded" if there == held else "mixed"
        kinds[LIST.sub("", place)] = kind
    return kinds


def _structs(path: str, leaf: str, source: fetch.Source) -> int:
    """How many structs of one file are not null."""
    with scan.opened(path, source) as file, scan.telling(path):
        top = next(name for name in file.schema_arrow.names if leaf.startswith(f"{name}."))
        table = file.read(columns=[leaf], use_threads=False)
        return sum(_count(chunk) for chunk in table.column(top).chunks)


def _count(array: Any) -> int:
    if not pa.types.is_struct(array.type):
        return _count(array.flatten())
    inner = array.flatten()[0]
    if pa.types.is_nested(inner.type):
        return _count(inner)
    return len(array) - array.null_count
