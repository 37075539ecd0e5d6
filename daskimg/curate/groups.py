"""Groups of near rows of a table of hashes, pandas or Dask: connected components, and their best.

Labels are a table ``id``, ``root`` (the smallest id of the group), ``group`` (its number), by id,
of the rows that are in a group.
"""

from __future__ import annotations

import functools
from typing import Any

import dask.dataframe as dd
import numpy as np
import numpy.typing as npt
import pandas as pd

from daskimg.curate.compared import FAULTY, ID, PIXELS, SHARP
from daskimg.curate.search import Search, merged
from daskimg.curate.tables import each, empty
from daskimg.lazy.nodes import together

__all__ = ["best_of", "gathered", "labelled", "looked_up", "spread"]

MERGED = 8  # tables that are merged at a time
SEARCHED = 128  # partitions of pictures whose hashes are in one: a million, more or less
BANDS = 4  # rows of a partition, one a band, for each row of one before
FOREST = {"id": "int64", "root": "int64"}
LABELS = {**FOREST, "group": "int64"}
BEST = {
    "group": "int64",
    "faulty": "bool",
    "pixels": "float64",
    "sharp": "float64",
    "id": "int64",
}


def spread(table: Any, search: Search) -> Any:
    """A Dask table with a row for each band of a hash, those that agree in it in one partition.

    Rows that are in one partition have met: they stay as they are."""
    if table.npartitions == 1:
        return table
    meta = table._meta.assign(band=np.empty(0, np.uint8), key=np.empty(0, np.int64))
    rows = table.map_partitions(search.spread, meta=meta, enforce_metadata=False)
    several = -(-(search.bits + 1) // BANDS)
    return rows.shuffle("key", npartitions=several * table.npartitions)


def gathered(hashes: Any) -> Any:
    """Hashes that were made of pictures, in fewer partitions: there are few in each, and one task
    has compared a million before a shuffle has brought them together."""
    return hashes if isinstance(hashes, pd.DataFrame) else together(hashes, SEARCHED)


def labelled(table: Any, search: Search) -> Any:
    """The labels of the rows of a table of hashes; of a Dask one, in one partition."""
    if isinstance(table, pd.DataFrame):
        return _labels(table, search)
    if table.npartitions == 1:
        return each(table, functools.partial(_labels, search=search), empty(LABELS))
    alike = each(table, search.stars, empty(FOREST))
    single = each(table, search.collapsed, table._meta)
    links = each(spread(single, search), search.links, empty(FOREST))
    found = dd.concat([alike, links]).reduction(
        merged, aggregate=_finished, combine=merged, meta=empty(LABELS), split_every=MERGED
    )
    return found


def _labels(table: pd.DataFrame, search: Search) -> pd.DataFrame:
    return _numbers(search.links(table))


def _finished(forests: pd.DataFrame) -> pd.DataFrame:
    return _numbers(merged(forests))


def _numbers(forest: pd.DataFrame) -> pd.DataFrame:
    """Labels, the roots among them; groups are numbered by their first rows."""
    child, root = forest["id"].to_numpy(), forest["root"].to_numpy()
    roots = np.unique(root)
    ids, all_roots = np.concatenate([child, roots]), np.concatenate([root, roots])
    order = np.argsort(ids)
    return pd.DataFrame(
        {
            "id": ids[order],
            "root": all_roots[order],
            "group": np.searchsorted(roots, all_roots[order]),
        }
    )


def looked_up(
    ids: npt.NDArray[np.int64], labels: pd.DataFrame
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The group of each id (0 where it is in none), and whether it is in one."""
    if not len(labels):
        return np.zeros(len(ids), np.int64), np.zeros(len(ids), bool)
    known = labels["id"].to_numpy()
    place = np.searchsorted(known, ids).clip(max=len(known) - 1)
    there = known[place] == ids
    return np.where(there, labels["group"].to_numpy(np.int64)[place], 0), there


def best_of(table: Any, labels: Any) -> Any:
    """The ``id`` of the best row of each group: one without fault where the table tells, of most
    pixels, then the sharpest, the first."""
    if isinstance(table, pd.DataFrame):
        return _best(_members(table, labels))
    rows = dd.map_partitions(
        _members, table, labels, meta=empty(BEST), align_dataframes=False, enforce_metadata=False
    )
    return rows.reduction(
        _best, aggregate=_best, combine=_best, meta=empty(BEST), split_every=MERGED
    )


def _members(part: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    ids = part[ID].to_numpy()
    group, there = looked_up(ids, labels)
    return pd.DataFrame(
        {
            "group": group[there],
            "faulty": part[FAULTY].to_numpy(bool)[there] if FAULTY in part else False,
            "pixels": part[PIXELS].to_numpy(np.float64, na_value=-1)[there],
            "sharp": part[SHARP].to_numpy(np.float64, na_value=-1)[there],
            "id": ids[there],
        }
    )


def _best(rows: pd.DataFrame) -> pd.DataFrame:
    upwards = {"group": True, "faulty": True, "pixels": False, "sharp": False, "id": True}
    rows = rows.sort_values([*upwards], ascending=[*upwards.values()])
    return rows.drop_duplicates("group")
