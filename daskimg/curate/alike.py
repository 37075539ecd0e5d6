"""Look-alikes of a frame: pairs, groups, one of each.

The rows of a frame are numbered in one pass that makes their hashes. Those of several partitions
are put together; where they are more than one task should compare, a row for each band of a hash is
shuffled by what stands in the band, so that near rows meet. What a partition finds is merged up a
tree, as forests: a link for each row at most.
"""

from __future__ import annotations

from typing import Any, Literal

import dask.dataframe as dd
import numpy as np
import pandas as pd

from daskimg.curate.bands import SIDE
from daskimg.curate.compared import (
    ID,
    OURS,
    Compared,
    compared,
    has_pictures,
    key_of,
    light,
    of_quality,
    prepared,
    twin,
)
from daskimg.curate.groups import best_of, gathered, labelled, looked_up, spread
from daskimg.curate.search import Search
from daskimg.curate.tables import each, empty, like, whole
from daskimg.errors import quoted
from daskimg.lazy.nodes import steady

__all__ = ["drop_near_duplicates", "duplicate_groups", "near_duplicates"]


def near_duplicates(
    frame: Any,
    column: str | None = None,
    *,
    hash: str = "phash",
    bits: int = 4,
    confirm: str | None = "dhash",
    turned: bool = False,
    other: Any = None,
    key: str | None = None,
) -> Any:
    """Every pair of rows whose pictures look alike: their hashes differ in few bits.

    Exact: hashes are split into bands, rows that agree in one are compared, and each pair within
    `bits` is found, once. Pictures are opened once. No step needs all rows in one place; hashes,
    24 bytes each, of up to 128 partitions of pictures are compared by one task.

    Parameters
    ----------
    column : str, optional
        The image column. None: the only one; with `hash` and `confirm` columns none is needed.
    hash : str
        A column of 64-bit hashes (``UInt64``; a null is near to nothing), or the kind to make:
        ``"phash"``, ``"dhash"``, ``"ahash"``.
    bits : int
        Bits of the 64 that may differ, 0 to 12.
    confirm : str, optional
        A second hash that has to be near too, within twice as many bits: as `hash`, a column or
        a kind. None: the one hash alone, as where there are no pictures to make it of.
    turned : bool
        Pictures that are turned by quarters, or mirrored, as well. Hashes are then of the picture
        shrunk to 128 x 128.
    other : DataFrame, optional
        Pairs across the two frames alone: `left` is of this one, `right` of the other.
    key : str, optional
        The column that tells a row in the result. None: the picture's path, else a column
        ``path``, else the index.

    Returns
    -------
    DataFrame
        ``left``, ``right`` and ``distance`` (bits of `hash`), a row a pair; `left` stands before
        `right` in the frame. Of pandas by distance, of Dask in any order.

    Raises
    ------
    ValueError
        For ``bits`` outside 0 to 12, and when computed, for more pairs than can be listed
        (67,108,864 in a partition: 11,586 rows with one hash are as many); `duplicate_groups`
        has no such limit. For a pair without a path, where `key` is not given.

    Notes
    -----
    A flat picture (`contrast` below 4) has no shape that a hash could tell: hashes made here stand
    for its tone instead, so that blank pictures are alike where they are as light (16 levels).

    See Also
    --------
    duplicate_groups, drop_near_duplicates : groups, however many rows are alike.

    References
    ----------
    Norouzi, Punjani and Fleet, Fast search in Hamming space with multi-index hashing, CVPR 2012.

    Examples
    --------
    >>> df = pd.DataFrame({"h": pd.array([0b0000, 0b0001, 0b1111, None], "UInt64")})
    >>> df.img.near_duplicates(hash="h", bits=3, confirm=None)
       left  right  distance
    0     0      1         1
    1     1      2         3
    """
    across = other is not None
    sides = [frame, other] if across else [frame]
    tables, keys, named = [], [], False
    for side, rows in enumerate(sides):
        if isinstance(rows, pd.DataFrame) != isinstance(frame, pd.DataFrame):
            raise TypeError(
                f"other is a frame of the same kind, pandas or Dask; got {type(rows).__name__}"
            )
        flags = {"across": across, "side": SIDE * side}
        lazy = twin(rows)
        made, what = compared(lazy, column, hash, bits, confirm, turned, **flags)
        name, dtype = key_of(rows, column, key)
        if not isinstance(rows, pd.DataFrame):
            lazy = lazy.assign(**name)
        table = prepared(rows.assign(**name), lazy, made, [*name], side)
        tables.append(_hashes(table, what))
        keys.append(each(table, _keys, empty({"id": "int64", "key": dtype})))
        named |= key is None and bool(name)
    if len({len(table.columns) for table in tables}) > 1:
        raise ValueError(f"the second hash, confirm={quoted(confirm)}, is in one frame only")
    search = Search(what.bits, 2 * what.bits, across)
    table, ids = _stacked(tables), _stacked(keys)
    pairs = search.pairs(table) if isinstance(frame, pd.DataFrame) else _met(table, search, turned)
    for end in ("left", "right"):
        told = ids.rename(columns={"id": end, "key": f"{end}_key"})
        pairs = pairs.merge(told, on=end, how="inner")
    if isinstance(frame, pd.DataFrame):
        pairs = pairs.sort_values(["distance", "left", "right"], ignore_index=True)
    pairs = pairs[["left_key", "right_key", "distance"]]
    pairs = pairs.rename(columns={"left_key": "left", "right_key": "right"})
    return each(pairs, _with_paths, like(pairs)) if named else pairs


def duplicate_groups(
    frame: Any,
    column: str | None = None,
    *,
    hash: str = "phash",
    bits: int = 4,
    confirm: str | None = "dhash",
    turned: bool = False,
) -> Any:
    """The frame with the group of look-alikes that each row is in, and which of it is best.

    A group is all rows that pairs of `near_duplicates` connect. However many are alike, links
    grow with the rows, not with the pairs.

    Parameters
    ----------
    column, hash, bits, confirm, turned
        As in `near_duplicates`.

    Returns
    -------
    DataFrame
        The rows as they are, with ``group`` (Int64: 0 and on, by their first rows; null for a
        picture that is alone, broken or missing) and ``best`` (bool: the one of its group to
        keep, of most pixels, then the sharpest, then the first; True where `group` is null). Of
        a frame without pictures the first is best.

    Notes
    -----
    On Dask, rows wait for the groups, light as they are: columns of bytes or pixels are not kept
    meanwhile, but read or made again. Select the columns you want before.

    Examples
    --------
    >>> df = pd.DataFrame({"h": pd.array([9, 2**64 - 1, 8, None], "UInt64")})
    >>> df.img.duplicate_groups(hash="h", confirm=None)
                          h  group   best
    0                     9      0   True
    1  18446744073709551615   <NA>   True
    2                     8      0  False
    3                  <NA>   <NA>   True
    """
    for name in ("group", "best"):
        if name in frame.columns:
            raise ValueError(f"the frame has a column {name!r}: rename it first")
    how = (hash, bits, confirm, turned)
    return _grouped(frame, column, how, drops=False, best=True)


def drop_near_duplicates(
    frame: Any,
    column: str | None = None,
    *,
    hash: str = "phash",
    bits: int = 4,
    confirm: str | None = "dhash",
    turned: bool = False,
    keep: Literal["best", "first"] = "best",
) -> Any:
    """The rows of the frame without look-alikes: one of each group stays.

    Parameters
    ----------
    column, hash, bits, confirm, turned
        As in `near_duplicates`.
    keep : {"best", "first"}
        As `duplicate_groups` tells it, or the first of the frame's order.

    Returns
    -------
    DataFrame
        Rows and columns as they are. Broken and missing pictures stay.

    Examples
    --------
    >>> df = pd.DataFrame({"h": pd.array([9, 2**64 - 1, 8, None], "UInt64")})
    >>> df.img.drop_near_duplicates(hash="h", confirm=None).index.tolist()
    [0, 1, 3]
    """
    if keep not in ("best", "first"):
        raise ValueError(f'keep is "best" or "first"; got {quoted(keep)}')
    how = (hash, bits, confirm, turned)
    return _grouped(frame, column, how, drops=True, best=keep == "best")


def _grouped(frame: Any, column: str | None, how: tuple[Any, ...], drops: bool, best: bool) -> Any:
    lazy = twin(frame)
    made, what = compared(lazy, column, *how)
    best = best and has_pictures(frame, column)
    if best:
        made |= of_quality(lazy, column)
    names = list(frame.columns)
    in_memory = isinstance(frame, pd.DataFrame)
    kept = names if in_memory or not steady(frame) else light(frame)
    table = prepared(frame, lazy, made, kept)
    labels = labelled(_hashes(table, what), Search(what.bits, 2 * what.bits, False))
    chosen = best_of(table, labels) if best else each(labels, _firsts, empty({"id": "int64"}))
    told = _Told(names, drops)
    meta = told.meta(like(frame))
    if in_memory:
        return told(table, labels, chosen)
    again = [frame[[name for name in names if name not in kept]]] if len(kept) < len(names) else []
    rows = dd.map_partitions(
        told,
        table,
        labels,
        chosen,
        *again,
        meta=meta,
        align_dataframes=False,
        enforce_metadata=False,
    )
    return whole(rows, meta)


class _Told:
    """A partition with the groups of its rows; or without all but the best of each."""

    def __init__(self, names: list[Any], drops: bool) -> None:
        self.names, self.drops = names, drops

    def __call__(
        self, part: pd.DataFrame, labels: pd.DataFrame, best: pd.DataFrame, again: Any = None
    ) -> pd.DataFrame:
        ids = part[ID].to_numpy()
        group, there = looked_up(ids, labels)
        good = ~there | np.isin(ids, best["id"].to_numpy())
        if again is not None:
            if len(again) != len(part):
                raise ValueError(
                    f"a partition has {len(part)} rows, and {len(again)} when it is made again: "
                    "persist() the frame first"
                )
            part = pd.concat([part.drop(columns=list(again), errors="ignore"), again], axis=1)
        part = part[self.names]
        if self.drops:
            return part[good]
        return part.assign(group=pd.arrays.IntegerArray(group, ~there), best=good)

    def meta(self, like: pd.DataFrame) -> pd.DataFrame:
        """No rows of the result."""
        if self.drops:
            return like.iloc[:0]
        return like.iloc[:0].assign(group=pd.array([], "Int64"), best=np.empty(0, bool))


def _keys(part: pd.DataFrame) -> pd.DataFrame:
    """``id`` and ``key`` of the rows of a prepared partition."""
    key = part[f"{OURS}key"].array if f"{OURS}key" in part else part.index.to_flat_index()
    return pd.DataFrame({"id": part[ID].to_numpy(), "key": key})


def _with_paths(pairs: pd.DataFrame) -> pd.DataFrame:
    if pairs[["left", "right"]].isna().to_numpy().any():
        raise ValueError(
            "pictures that look alike have no path: give key=, a column that tells rows"
        )
    return pairs


def _hashes(table: Any, what: Compared) -> Any:
    """What is compared of the rows of a prepared table."""
    rows = each(table, what.rows, what.meta)
    return gathered(rows) if what.flat else rows


def _stacked(tables: list[Any]) -> Any:
    if len(tables) == 1:
        return tables[0]
    return (
        pd.concat(tables, ignore_index=True)
        if isinstance(tables[0], pd.DataFrame)
        else dd.concat(tables)
    )


def _met(table: Any, search: Search, turned: bool) -> Any:
    """The pairs of a Dask table, by ids."""
    columns = {"left": "int64", "right": "int64", "distance": "int64"}
    pairs = spread(table, search).map_partitions(search.pairs, meta=empty(columns))
    if turned:  # found once for each way it is turned
        pairs = pairs.groupby(["left", "right"]).distance.min(split_out=pairs.npartitions)
        pairs = pairs.reset_index()
    return pairs


def _firsts(labels: pd.DataFrame) -> pd.DataFrame:
    return labels.loc[labels["id"] == labels["root"], ["id"]]
