"""The Parquet files of one partition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from daskimg import compat
from daskimg.io.commit.failures import count, picture_columns
from daskimg.io.commit.names import check_name, folder_name
from daskimg.io.commit.run import Run
from daskimg.io.commit.target import Target
from daskimg.io.parquet.common_schema import schemas_of
from daskimg.io.parquet.scan import read_footers
from daskimg.io.parquet.schema import Layout

__all__ = ["Part", "split"]

GROUP_BYTES = 32 * 2**20  # of a row group in memory
GROUP_ROWS = 2**20


@dataclass(frozen=True)
class Part:
    """Writes one partition."""

    layout: Layout
    compression: str | None

    def __call__(self, frame: pd.DataFrame, run: Run, number: int) -> dict[str, Any]:
        ticket = count(frame, [column.name for column in self.layout.images]).ticket()
        return {**ticket, "files": self.write(frame, run, number)}

    def refuse_others(self, target: Target, names: Iterable[str]) -> None:
        """Stop where the files that are there have other columns."""
        first = next((name for name in names if name.endswith((".parquet", ".pq"))), None)
        if first is not None:
            footers = read_footers([target.href(first)], target.source)
            self.layout.refuse_others(schemas_of(footers)[0], target.shown)

    def write(self, frame: pd.DataFrame, run: Run, number: int) -> list[dict[str, Any]]:
        """A file for each folder of this partition; their lines of the manifest."""
        last = run.part_name(number, ".parquet")
        pieces = list(split(frame, self.layout.partition_cols))
        names = [check_name(f"{folder}/{last}" if folder else last) for folder, _ in pieces]
        return [
            {**run.put(name, self.encode(piece)), "rows": len(piece)}
            for name, (_, piece) in zip(names, pieces, strict=True)
        ]

    def blank(self, meta: pd.DataFrame, run: Run) -> list[dict[str, Any]]:
        """A file without rows, which has the columns all the same; it goes when rows come.

        In no folder of `partition_cols`: of one for nulls alone, pyarrow cannot tell the type.
        """
        plain = replace(self, layout=Layout.of(meta))
        return [{**run.put(run.part_name(0, ".parquet"), plain.encode(meta)), "rows": 0}]

    def encode(self, frame: pd.DataFrame) -> pa.Buffer:
        """The bytes of a Parquet file of these rows."""
        plain = self.layout.table(frame)
        step = _group_rows(frame)
        sink = pa.BufferOutputStream()
        first = self.layout.fill(plain.slice(0, step), frame.iloc[:step])
        plain_names = [name for name in first.column_names if name not in self.layout.image_names]
        looked_up, split = self.layout.encodings(self.compression is not None)
        with compat.ParquetWriter(
            sink,
            first.schema,
            compression=self.compression or "none",
            use_dictionary=[*plain_names, *looked_up],
            write_statistics=plain_names,
            column_encoding=split or None,
        ) as writer:
            writer.write_table(first, step)
            for start in range(step, len(frame), step):
                rows = slice(start, start + step)
                writer.write_table(
                    self.layout.fill(plain.slice(start, step), frame.iloc[rows]), step
                )
        return sink.getvalue()


def split(frame: pd.DataFrame, keys: Sequence[str]) -> Iterable[tuple[str, pd.DataFrame]]:
    """The rows of each hive folder; no rows make no folder, and no file."""
    if not len(frame):
        return
    if not keys:
        yield "", frame
        return
    groups = frame.groupby(list(keys), sort=True, dropna=False, observed=True).ngroup().to_numpy()
    for group in range(groups.max() + 1):
        rows = frame.iloc[np.flatnonzero(groups == group)]
        yield folder_name((key, rows[key].iloc[0]) for key in keys), rows


def _group_rows(frame: pd.DataFrame) -> int:
    size = sum(frame[name].array.row_bytes for name in picture_columns(frame))
    per_row = max(1, size // max(1, len(frame)))
    return int(min(max(1, GROUP_BYTES // per_row), GROUP_ROWS))
