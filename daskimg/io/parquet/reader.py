"""Row groups of Parquet files as pandas frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from daskimg.errors import quoted
from daskimg.io.parquet import scan
from daskimg.io.parquet.cells import decode_column
from daskimg.io.parquet.common_schema import nulls
from daskimg.io.parquet.plain import plain_frame
from daskimg.io.parquet.scan import Dnf, Rows
from daskimg.io.parquet.schema import PANDAS, Column, told
from daskimg.io.parquet.tensors import plain_types
from daskimg.transport import fetch
from daskimg.wanted import looking

__all__ = ["Reader"]


@dataclass(frozen=True)
class Reader:
    """Makes frames of row groups."""

    layout: bytes = field(repr=False)  # the schema
    images: tuple[Column, ...]
    keys: tuple[str, ...]
    nullable: tuple[str, ...]
    dnf: Dnf | None
    source: fetch.Source
    tolerant: bool  # of damage
    folders: tuple[str, ...]  # that were listed elsewhere than here

    @cached_property
    def schema(self) -> pa.Schema:
        """Of the files."""
        return plain_types(pa.ipc.read_schema(pa.BufferReader(self.layout)))

    @property
    def no_rows(self) -> pa.Table:
        """An empty table (pyarrow makes none of tensors that have a permutation)."""
        return pa.Table.from_arrays(
            [nulls(0, kind) for kind in self.schema.types], schema=self.schema
        )

    @cached_property
    def _index(self) -> list[Any]:
        """What pandas notes of it: names of columns, or a range."""
        return list(told(self.schema, PANDAS).get("index_columns", []))

    @cached_property
    def index_names(self) -> list[str]:
        """Columns that hold the index."""
        names = self.schema.names
        return [name for name in self._index if isinstance(name, str) and name in names]

    @property
    def range_name(self) -> Any:
        """The name of an index that is no column."""
        return next((entry["name"] for entry in self._index if isinstance(entry, dict)), None)

    @cached_property
    def columns(self) -> list[str]:
        """Of the frame."""
        beside = {part for column in self.images for part in column.parts[1:]}
        hidden = beside | {*self.index_names}
        return [name for name in self.schema.names if name not in hidden] + [*self.keys]

    def check(self, columns: Any) -> None:
        """Complain about columns that are not there."""
        wanted = [columns] if isinstance(columns, str) else list(columns or ())
        if isinstance(columns, str):
            raise TypeError(f"columns is a list of names; got {quoted(columns)}")
        wanted += [name for one in self.dnf or () for name, _, _ in one]
        for name in wanted:
            if name not in self.columns and name not in self.index_names:
                raise ValueError(f"no column {quoted(name)}; there are {self.columns}")

    def stored(self, names: Sequence[str]) -> list[str]:
        """The columns of the files that hold columns of the frame, and the index."""
        wanted = {*names, *self.index_names}
        wanted |= {part for column in self.images if column.name in names for part in column.parts}
        return [name for name in self.schema.names if name in wanted]

    def table(
        self, rows: Rows, names: list[str], keys: Mapping[str, tuple[Any, Any]]
    ) -> tuple[pa.Table, Any]:
        """The Arrow columns of `names`, and the numbers of the rows.

        Raises
        ------
        DamagedError
            Where the file does not hold what it says.
        """
        stored = self.stored(names)
        fields = [self.schema.field(name) for name in stored]
        tables: list[pa.Table] = []
        numbers: list[Any] = []
        if not rows.groups:
            return self.no_rows.select(stored), np.empty(0, np.int64)
        opened = scan.opened(rows.path, self.source, rows.held, stored)
        with opened as file, looking() as check:
            for group in rows.groups:
                check()
                n = file.metadata.row_group(group.number).num_rows
                kept = np.arange(n)
                if self.dnf is not None:
                    kept = self.passing(rows.path, file, group.number, keys)
                if len(kept) == 0 and tables:
                    continue
                table = scan.read_group(rows.path, file, group.number, fields)
                tables.append(table if len(kept) == n else table.take(pa.array(kept)))
                numbers.append(group.start + kept)
        return pa.concat_tables(tables), np.concatenate(numbers)

    def passing(self, path: str, file: Any, group: int, keys: Mapping[str, tuple[Any, Any]]) -> Any:
        """Rows of a row group that pass the filters, from the columns they name alone."""
        used = {name for one in self.dnf or () for name, _, _ in one}
        fields = [field for field in self.schema if field.name in used]
        table = scan.read_group(path, file, group, fields)
        n = file.metadata.row_group(group).num_rows
        for name in used - {*table.column_names}:
            value = keys[name][0]
            table = table.append_column(name, pa.array([None if pd.isna(value) else value] * n))
        table = table.append_column("row\0", pa.array(np.arange(n)))
        terms = [list(one) for one in self.dnf or ()]
        return table.filter(pq.filters_to_expression(terms)).column("row\0").to_numpy()

    def _folder(self, path: str) -> str | None:
        return next((folder for folder in self.folders if path.startswith(folder)), None)

    def frame(
        self, table: pa.Table, numbers: Any, keys: tuple[Any, ...], path: str = ""
    ) -> pd.DataFrame:
        """The pandas frame of a table that was read.

        Raises
        ------
        DamagedError
            Where the cells of pictures are not what their column says.
        """
        images = {
            column.name: column for column in self.images if column.name in table.column_names
        }
        beside = {part for column in images.values() for part in column.parts}
        plain = table.select([name for name in table.column_names if name not in beside])
        home = self.source.within([path])
        frame = plain_frame(plain, self.schema, self.nullable, home)
        if not self.index_names and not isinstance(frame.index, pd.RangeIndex):
            frame = frame.reset_index(drop=True)
        if not self.index_names:
            ranged = self.dnf is None
            first = int(numbers[0]) if len(numbers) else 0
            index = pd.RangeIndex(first, first + len(numbers)) if ranged else pd.Index(numbers)
            frame.index = index.rename(self.range_name)
        found: dict[str, Any] = {}
        for name, column in images.items():
            with scan.telling(path):
                found[name] = decode_column(column, table, self._folder(path))
        for name, (value, dtype) in keys:
            found[name] = pd.array([value] * len(frame), dtype=dtype)
        for name in self.keys if not keys else ():
            found[name] = np.empty(0, object)
        order = [name for name in self.columns if name in found or name in frame.columns]
        series = {
            name: pd.Series(found[name], index=frame.index) if name in found else frame[name]
            for name in order
        }
        return pd.DataFrame(series, index=frame.index, columns=order, copy=False)
