"""Frames that the lazy tests share: twenty tiny pictures and a table beside them."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa

import daskimg as di
from daskimg import metrics

ROWS, PARTS = 20, 4
SALES = pd.DataFrame({"id": [0, 4, 8, 12, 300], "sold": [1, 2, 3, 4, 5]})
TEXT = pd.StringDtype("pyarrow")


def table(paths: list[str | None]) -> pd.DataFrame:
    """A listing of pictures with a label, an id and a price."""
    k = np.arange(len(paths))
    return pd.DataFrame(
        {
            "path": pd.array(paths, TEXT),
            "label": pd.array(np.where(k % 4 == 0, "a", "b"), TEXT),
            "id": k,
            "price": k % 7,
        },
        index=k,
    )


def _indexed(frame: pd.DataFrame, column: str | None) -> pd.DataFrame:
    return frame if column is None else frame.set_index(frame[column].rename("many"))


def _part(rows: pa.Table, columns: list[str] | None = None) -> pd.DataFrame:
    frame = rows.to_pandas(types_mapper={pa.string(): TEXT, pa.large_string(): TEXT}.get)
    return frame if columns is None else frame[columns]


def eager(paths: list[str | None], *, index: str | None = None, **kwargs: Any) -> pd.DataFrame:
    """The pandas frame, with its image column; `index` names a column to make its index of."""
    frame = _indexed(table(paths), index)
    return frame.assign(image=di.images(frame.path, **kwargs))


def lazy(
    paths: list[str | None], parts: int = PARTS, *, index: str | None = None, **kwargs: Any
) -> dd.DataFrame:
    """The same as a Dask frame of `parts` partitions."""
    whole = _indexed(table(paths), index)
    cuts = np.linspace(0, len(whole), parts + 1).astype(int)
    pieces = [pa.Table.from_pandas(whole.iloc[a:b]) for a, b in pairwise(cuts)]
    frame = dd.from_map(_part, pieces, meta=whole.iloc[:0])
    return frame.assign(image=di.images(frame.path, **kwargs))


@contextmanager
def counted():
    """What was fetched, read of headers and decoded in this process, once the block has ended."""
    metrics.reset()
    counts = dict.fromkeys(("fetch", "header", "decode"), 0)
    yield counts
    found = metrics.snapshot()
    counts.update({name: found.get(name, 0) for name in counts})


def plain(x: Any) -> Any:
    """Values alone, rows in no order: what must be equal whatever the partitioning."""
    if isinstance(x, list):
        return [plain(y) for y in x]
    if isinstance(x, pd.DataFrame):
        names = sorted(x.columns)
        columns = [[_cell(value) for value in x[name]] for name in names]
        return names, sorted(zip(*columns, strict=True))
    if isinstance(x, pd.Series):
        return sorted(_cell(value) for value in x)
    return x


def _cell(value: Any) -> str:
    if isinstance(value, di.Image):
        if value.failed:
            return f"failed {value.error}"
        if isinstance(value.data, np.ndarray):
            return f"{value.data.shape} {value.data.dtype} {hash(value.data.tobytes())}"
        return repr((value.path, value.data))
    if pd.isna(value):
        return "null"
    if isinstance(value, float | np.floating):  # a join with gaps makes floats of integers
        return str(int(value)) if value == int(value) else repr(round(float(value), 9))
    return str(value)
