"""Which row groups of which Parquet files hold the rows that are asked for; no row is read."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import unquote

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from daskimg import compat, config
from daskimg.engine.program import STRING
from daskimg.errors import quoted
from daskimg.io.commit.manifest import published
from daskimg.io.listing.find import Listing, list_images
from daskimg.io.listing.partitions import parse_partitions
from daskimg.io.listing.walk import own_part
from daskimg.io.parquet.common_schema import nulls
from daskimg.io.parquet.held import TAIL, Held, held_by
from daskimg.io.parquet.schema import KEY, told
from daskimg.io.parquet.tensors import stored_as, tensors_of, unregistered
from daskimg.lazy.chunks import begun
from daskimg.secrets import mask_url
from daskimg.transport import fetch
from daskimg.transport.ahead import feeding
from daskimg.transport.spans import span_file

__all__ = [
    "FOOTERS",
    "DamagedError",
    "Dnf",
    "Rows",
    "cut",
    "folder_keys",
    "list_files",
    "normal_filters",
    "opened",
    "range_start",
    "read_footers",
    "read_group",
    "telling",
]

EXTENSIONS = ("parquet", "pq")
FOOTERS = 16  # read at once
ROWS, ROWS_A_BYTE = 2**22, 1000  # of a row group: so many are believed


# -- files ------------------------------------------------------------------------------------
def list_files(urlpath: Any, source: fetch.Source) -> Listing:
    """The files of a committed folder are those of its manifest; else those that are there."""
    return list_images(
        urlpath, file_extensions=EXTENSIONS, storage_options=source, manifest=published
    )


class DamagedError(ValueError):
    """A file that is no Parquet file, or not all of one."""


def read_footers(
    paths: list[str], source: fetch.Source, damaged: bool = False
) -> list[pq.FileMetaData | DamagedError]:
    """What each file says of itself; with `damaged`, what is wrong with it where it cannot."""

    def footer(path: str) -> pq.FileMetaData | DamagedError:
        try:
            return _footer(path, source)
        except DamagedError as error:
            if not damaged:
                raise
            return error

    with ThreadPoolExecutor(FOOTERS) as pool:
        return list(pool.map(footer, paths))


def _footer(path: str, source: fetch.Source) -> pq.FileMetaData:
    local = fetch.local_path(path)
    try:
        if local is not None:
            return _believed(pq.read_metadata(local), os.stat(local).st_size)
        fs, name = source.filesystem(path)
        size = fetch.retrying(lambda: fs.size(name), path, config.retries(), source.mask)

        def tail() -> bytes:
            data = fs.cat_file(name, start=max(0, size - TAIL))
            wanted = int.from_bytes(data[-8:-4], "little") + 8
            if len(data) < wanted <= size:
                data = fs.cat_file(name, start=size - wanted)
            return bytes(data)

        data = fetch.retrying(tail, path, config.retries(), source.mask)
        return _believed(pq.read_metadata(io.BytesIO(data)), size)
    except (pa.ArrowInvalid, OSError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        raise DamagedError(f"{mask_url(path)} is no Parquet file: {error}") from None


def _believed(found: pq.FileMetaData, held: int) -> pq.FileMetaData:
    """A footer whose numbers of rows can be those of a file of `held` bytes.

    Repeated values and nulls pack to nothing, in row groups of a million; what announces many
    more, a hundred of them a bit, lies: as many failed rows would fill the memory.
    """
    groups = [found.row_group(n) for n in range(found.num_row_groups)]
    if found.num_rows != sum(group.num_rows for group in groups):
        raise pa.ArrowInvalid("its number of rows is not that of its row groups")
    for group in groups:
        if group.num_rows <= ROWS:
            continue
        sizes = (group.column(k).total_compressed_size for k in range(group.num_columns))
        packed = min(held, sum(max(0, size) for size in sizes))
        if group.num_rows > ROWS_A_BYTE * packed:
            raise pa.ArrowInvalid(
                f"it announces {group.num_rows:,} rows in a row group of {packed:,} bytes"
            )
    return found


@contextmanager
def opened(
    path: str, source: fetch.Source, held: Held | None = None, columns: Sequence[str] = ()
) -> Iterator[pq.ParquetFile]:
    """A file to read row groups from; some columns of those that are known are on their way."""
    local = fetch.local_path(path)
    spans = None if held is None else held.spans(path, source, columns)
    with ExitStack() as stack:
        with telling(path):
            if local is not None:
                file = stack.enter_context(compat.ParquetFile(local))
            else:
                if held is None or spans is None:
                    ranges = fetch.open_ranges(path, source, retries=config.retries())
                else:
                    feeds = stack.enter_context(feeding(begun(lambda: spans)))
                    ranges = span_file(spans, held.size, spans.begin(feeds), config.retries())
                raw = stack.enter_context(ranges)
                file = stack.enter_context(compat.ParquetFile(raw, pre_buffer=True))
        yield file


def read_group(path: str, file: pq.ParquetFile, group: int, fields: list[pa.Field]) -> pa.Table:
    """Columns of a row group, in this order and of these types; nulls where the file has none.

    Raises
    ------
    DamagedError
        When their pages are broken, or values do not fit.
    """
    there = [field.name for field in fields if field.name in file.schema_arrow.names]
    n = file.metadata.row_group(group).num_rows
    columns = {}
    with telling(path):
        table = file.read_row_group(group, there, use_threads=False)
    if not fields:  # (which has rows all the same)
        return table
    for field in fields:
        if field.name not in there:
            columns[field] = nulls(n, field.type)
            continue
        own = unregistered(table.schema.field(field.name))
        values = stored_as(table.column(field.name))
        if own.type == field.type or tensors_of(field) is not None:
            columns[own] = values
        else:
            with telling(path, field.name):
                columns[field] = compat.cast(values, field.type)
    return pa.Table.from_arrays([*columns.values()], schema=pa.schema([*columns]))


@contextmanager
def telling(path: str, column: str | None = None) -> Iterator[None]:
    """Raise what reading finds wrong as a `DamagedError` that names the file."""
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        told = isinstance(error, DamagedError) or getattr(error, "errno", None) is not None
        if told or isinstance(error, FileNotFoundError | PermissionError):
            raise
        why = " ".join(str(error).split())
        where = "" if column is None else f", column {column!r},"
        raise DamagedError(f"{mask_url(path)}{where} cannot be read: {why}") from None


def folder_keys(listing: Listing, paths: list[str], schema: pa.Schema) -> dict[str, pd.Series]:
    """The columns that hive folders spell, a value for each file."""
    known = told(schema, KEY).get("partition_cols", {})
    keys: dict[str, pd.Series] = {}
    for name, values in parse_partitions(listing, "hive").items():
        if name in schema.names:
            continue
        dtype = known.get(name)
        if dtype is None:
            series = pd.Series(values)
            dtype = "string" if pd.api.types.is_string_dtype(series.dtype) else series.dtype.name
        else:
            series = pd.Series([_spelt(path, name) for path in paths], dtype=STRING)
            if dtype.startswith("bool"):
                series = series == "True"
        keys[name] = series.astype(STRING if dtype.startswith(("str", "object")) else dtype)
    return keys


def _spelt(path: str, name: str) -> str | None:
    for part in reversed(own_part(path).split("/")[:-1]):
        key, sign, value = part.partition("=")
        if sign and unquote(key) == name:
            return None if value == "__HIVE_DEFAULT_PARTITION__" else unquote(value)
    return None


def range_start(footers: list[pq.FileMetaData]) -> int:
    """Where the written RangeIndex starts, if the files hold one piece of it each, in order."""
    end, start = None, 0
    for footer in footers:
        span = told(footer, KEY).get("range")
        if span is None or end not in (None, span[0]):
            return 0
        start = span[0] if end is None else start
        end = span[1]
    return start


# -- filters ------------------------------------------------------------------------------------
Dnf: TypeAlias = tuple[tuple[tuple[str, str, Any], ...], ...]
OPS: dict[str, Callable[[Any, Any, Any], bool]] = {
    "==": lambda low, high, value: low <= value <= high,
    "=": lambda low, high, value: low <= value <= high,
    "!=": lambda low, high, value: not (low == high == value),
    "<": lambda low, high, value: low < value,
    "<=": lambda low, high, value: low <= value,
    ">": lambda low, high, value: high > value,
    ">=": lambda low, high, value: high >= value,
    "in": lambda low, high, values: any(low <= value <= high for value in values),
    "not in": lambda low, high, values: not (low == high and low in values),
}


def normal_filters(filters: Any) -> Dnf | None:
    """Filters as an or of ands of (column, op, value)."""
    if not filters:
        return None
    try:
        ands = [filters] if isinstance(filters[0][0], str) else filters
        found = tuple(tuple((name, op, value) for name, op, value in one) for one in ands)
    except (TypeError, ValueError, IndexError):
        raise ValueError(
            "filters is a list of (column, op, value), or a list of such lists; "
            f"got {quoted(filters)}"
        ) from None
    for name, op, _ in (term for one in found for term in one):
        if op not in OPS:
            raise ValueError(f"filters: {quoted(op)} (of {name!r}) is none of {', '.join(OPS)}")
    return found


def _may_hold(dnf: Dnf, bounds: Mapping[str, tuple[Any, Any] | None]) -> bool:
    """Whether rows with values within `bounds` can pass."""

    def possible(name: str, op: str, value: Any) -> bool:
        if name not in bounds:
            return True
        span = bounds[name]
        if span is None:  # all are null, which passes nothing else
            return op == "not in"
        try:
            return OPS[op](span[0], span[1], value)
        except TypeError:  # a date against a string: let the rows tell
            return True

    return any(all(possible(*term) for term in one) for one in dnf)


# -- partitions ---------------------------------------------------------------------------------
class Group(NamedTuple):
    """A row group: its number in the file, and the number of its first row in all files."""

    number: int
    start: int


class Rows(NamedTuple):
    """The row groups of one partition; or the one row of a file that cannot be read, and why."""

    path: str
    groups: tuple[Group, ...]
    keys: tuple[Any, ...]
    rows: int  # before they are filtered
    error: str | None = None
    held: Held | None = None


def cut(
    paths: list[str],
    footers: list[pq.FileMetaData],
    keys: dict[str, pd.Series],
    dnf: Dnf | None,
    limit: int,
    start: int,
    sizes: Any = None,
) -> list[Rows]:
    """Row groups as partitions; of files elsewhere of known `sizes`, what is where in them."""
    parts: list[Rows] = []
    for k, (path, footer) in enumerate(zip(paths, footers, strict=True)):
        values = tuple(series.iloc[k] for series in keys.values())
        tells = sizes is not None and dnf is None and fetch.local_path(path) is None
        end = int(sizes[k]) if tells else None
        known = {
            name: None if pd.isna(value) else (value, value)
            for name, value in zip(keys, values, strict=True)
        }
        groups: list[Group] = []
        held = rows = 0
        for number in range(footer.num_row_groups):
            group = footer.row_group(number)
            first, start = start, start + group.num_rows
            if dnf is not None and not _may_hold(dnf, {**_bounds(group, dnf), **known}):
                continue
            size = sum(group.column(c).total_compressed_size for c in range(group.num_columns))
            if groups and held + size > limit:
                parts.append(_part(path, footer, groups, values, rows, end))
                groups, held, rows = [], 0, 0
            groups.append(Group(number, first))
            held, rows = held + size, rows + group.num_rows
        if groups and footer.num_rows:
            parts.append(_part(path, footer, groups, values, rows, end))
    return parts or [Rows(paths[0], (), tuple(series.iloc[0] for series in keys.values()), 0)]


def _part(
    path: str,
    footer: pq.FileMetaData,
    groups: list[Group],
    keys: tuple[Any, ...],
    rows: int,
    size: int | None,
) -> Rows:
    numbers = [group.number for group in groups]
    held = None if size is None else held_by(footer, numbers, size)
    return Rows(path, tuple(groups), keys, rows, held=held)


def _bounds(group: Any, dnf: Dnf) -> dict[str, tuple[Any, Any]]:
    ops: dict[str, set[str]] = {}
    for name, op, _ in (term for one in dnf for term in one):
        ops.setdefault(name, set()).add(op)
    found = {}
    for column in map(group.column, range(group.num_columns)):
        known, asked = column.statistics, ops.get(column.path_in_schema, set())
        if not asked or known is None or not known.has_min_max:
            continue
        # bounds tell of no NaN, which is no number's equal, and of no null, which no list holds
        nan = column.physical_type in ("FLOAT", "DOUBLE") and asked & {"!=", "not in"}
        if not nan and not ("not in" in asked and known.null_count != 0):
            found[column.path_in_schema] = (known.min, known.max)
    return found
