"""The table of an audit: what is measured of each picture, and what that says beside all others."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import dask.dataframe as dd
import numpy as np
import pandas as pd

from daskimg import metrics
from daskimg.clients import all_threads
from daskimg.curate.compared import (
    FAULTY,
    ID,
    OURS,
    PIXELS,
    SHARP,
    Compared,
    light,
    prepared,
)
from daskimg.curate.groups import best_of, gathered, labelled, looked_up
from daskimg.curate.page import thumbnails
from daskimg.curate.rules import COLUMNS, QUALITY, Rule, fences, flags, local_facts
from daskimg.curate.search import Search
from daskimg.curate.tables import each, empty, whole
from daskimg.engine.program import STRING
from daskimg.kernels import stacks
from daskimg.lazy.coarser import coarser
from daskimg.lazy.nodes import together

__all__ = ["TOLD", "added", "table_of"]

#: Pixels of a side of the small pictures that are measured, so that a large one is hardly slower
#: than a small one; of the shorter side at least, where alpha is looked at.
SMALL = 128
JUDGED = 16  # partitions of pictures whose rows are judged by one task
#: How many bits of 64 differ in look-alikes, of the rough frequencies and of the fine ones: in the
#: latter what was saved again differs by 1, photographs of one scene by 7 or more.
BITS, FINE = 4, 5
GLIMPSE = f"{OURS}glimpse"  # the column of small pictures
#: The columns of the table beside those of the frame and the rules'.
TOLD = ("path", *COLUMNS, "group", "best", "exact_group", "issues")


def _looked_at(cells: Any) -> dict[str, Any]:
    """What is kept of each picture: facts, and a small picture to be measured with others."""
    image, sketch = cells.img, cells.img._op("sketch", SMALL)
    exif = image.exif(["Orientation", "GPSLatitude", "GPSLongitude"])
    facts = {
        "path": image.path,
        "reason": image.check(),
        "format": image.format,
        "height": image.height,
        "width": image.width,
        "transparency": sketch.img.transparency(),
        "orientation": exif["Orientation"],
        "latitude": exif["GPSLatitude"],
        "longitude": exif["GPSLongitude"],
        "digest": image.digest("pixels" if cells.dtype.holds_pixels else "bytes"),
    }
    return {
        **{f"{OURS}m_{name}": value for name, value in facts.items()},
        GLIMPSE: sketch.img._op("glimpse", SMALL),
        SHARP: image.nbytes,  # of look-alikes as large, that of most bytes is the best
    }


def _measured(part: pd.DataFrame) -> pd.DataFrame:
    """A partition with measures of its small pictures in their place."""
    cells = part[GLIMPSE].array
    with metrics.timed("measure") if len(part) else nullcontext():  # (a meta is no work)
        found = _of(cells, _sizes(part))
    made = {f"{OURS}contrast": found.pop("contrast"), f"{OURS}brightness": found["brightness"]}
    for what, kind in {"hash": "phash", "confirm": "fine"}.items():
        made[f"{OURS}{what}"] = pd.arrays.IntegerArray(found.pop(kind), ~cells.valid)
    made[PIXELS] = part[f"{OURS}m_height"].array * part[f"{OURS}m_width"].array
    found["range"] = found["p99"] - found.pop("p1")
    made |= {f"{OURS}m_{name}": values for name, values in found.items()}
    rest = {name: column.array for name, column in part.items() if name != GLIMPSE}
    # (at once: pandas takes longer to assign these one by one than it takes to measure them)
    return pd.DataFrame(rest | made, part.index, copy=False)


def _sizes(part: pd.DataFrame) -> Any:
    """How much of its square each small picture fills, down and across."""
    sides = [part[f"{OURS}m_{name}"].to_numpy(np.int64, na_value=0) for name in ("height", "width")]
    return np.minimum(np.stack(sides, 1), SMALL)


def _of(cells: Any, sizes: Any) -> dict[str, Any]:
    """The measures of small pictures, those of one size at once; NaN or 0 where there is none."""
    found: dict[str, Any] = {}
    none = not cells.valid.any()
    pixels = np.zeros((len(cells), *cells.dtype.shape), np.uint8) if none else cells.data.values
    for height, width in {(1, 1), *map(tuple, sizes[cells.valid].tolist())}:
        rows = cells.valid & (sizes == (height, width)).all(1)
        some = pixels if rows.all() else pixels[rows]  # (no copy of all)
        for name, values in stacks.measured(some[:, :height, :width]).items():
            nothing = np.nan if values.dtype.kind == "f" else 0
            found.setdefault(name, np.full(len(cells), nothing, values.dtype))[rows] = values
    return found


def table_of(
    frame: Any,
    name: str,
    rules: Mapping[str, Rule],
    own: list[str],
    label: str | None,
    split: str | None,
) -> Any:
    """The table of an audit of a Dask frame: a row a picture, its measures, what each rule says.

    Parameters
    ----------
    frame, name : DataFrame, str
        The frame, and its column of pictures.
    rules : mapping of str to Rule
    own : list of str
        Rules that are expressions of the user's: columns of the frame by now.
    label, split : str, optional
        Columns in which look-alikes should not differ.
    """
    frame, several = coarser(frame, all_threads(), JUDGED)
    cells = frame[name]
    made = _looked_at(cells)
    kept = [*light(frame)]
    if name not in kept:  # bytes and pixels are not held: what is shown is made in the pass
        made[f"{OURS}thumb"] = thumbnails(cells)
    table = prepared(frame, frame, made, kept)
    table = each(table, _measured, _measured(table._meta))
    what = Compared((f"{OURS}hash",), (f"{OURS}confirm",), True, BITS)
    if table.known_divisions:  # (else Dask knows by their partitions which rows are beside which)
        table = together(table, JUDGED // several)
    judged = _Judged(rules, own)
    table = each(table, judged, judged(table._meta))
    near = labelled(gathered(each(table, what.rows, what.meta)), Search(BITS, FINE, False))
    exact = labelled(gathered(each(table, _digests, _DIGESTS)), Search(0, 0, False))
    single = [near, best_of(table, near), exact, _facts(table)]
    for one in (split, label):
        if one is not None:
            single.append(_mixed(table, near, one))
    finish = _Finish(rules, own, split is not None, label is not None, kept)
    meta = finish(table._meta, *(part._meta for part in single))
    rows = dd.map_partitions(
        finish, table, *single, meta=meta, align_dataframes=False, enforce_metadata=False
    )
    return whole(rows, meta)


_DIGESTS = empty({"id": "int64", "hash": "uint64", "confirm": "uint64"})


def _digests(part: pd.DataFrame) -> pd.DataFrame:
    """Digests as two hashes: exact copies are near within 0 bits."""
    known = part[part[f"{OURS}m_digest"].notna()]
    digits = b"".join(bytes.fromhex(one) for one in known[f"{OURS}m_digest"])
    halves = np.frombuffer(digits, np.uint64).reshape(-1, 2)
    return pd.DataFrame({"id": known[ID].to_numpy(), "hash": halves[:, 0], "confirm": halves[:, 1]})


def _facts(table: Any) -> Any:
    meta = empty({"fact": object, "value": "float64"})
    return table.reduction(_local_facts, aggregate=_fences, combine=added, meta=meta, split_every=8)


def _local_facts(part: pd.DataFrame) -> pd.DataFrame:
    side = np.sqrt(part[PIXELS].to_numpy(np.float64, na_value=np.nan))
    return local_facts(pd.DataFrame({"side": side, "colorfulness": part[f"{OURS}m_colorfulness"]}))


def _fences(counts: pd.DataFrame) -> pd.DataFrame:
    facts = fences(added(counts))
    return pd.DataFrame({"fact": np.array([*facts], object), "value": [*facts.values()]})


def added(counts: pd.DataFrame) -> pd.DataFrame:
    """Counts of the same, added up."""
    by = [name for name in counts if name != "count"]
    return counts.groupby(by, sort=False)[["count"]].sum().reset_index()


def _mixed(table: Any, near: Any, name: str) -> Any:
    """The groups whose rows differ in a column."""
    meta = empty({"group": "int64", "value": table.dtypes[name]})
    pairs = dd.map_partitions(
        _Values(name), table, near, meta=meta, align_dataframes=False, enforce_metadata=False
    )
    return pairs.reduction(_unique, aggregate=_several, combine=_unique, meta=meta[["group"]])


class _Values:
    """What stands in a column for each row of a group."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, part: pd.DataFrame, near: pd.DataFrame) -> pd.DataFrame:
        group, there = looked_up(part[ID].to_numpy(), near)
        found = pd.DataFrame({"group": group[there], "value": part[self.name].array[there]})
        try:
            return _unique(found[found["value"].notna()])
        except TypeError as error:
            raise TypeError(
                f"labels and splits are text or numbers; {self.name!r}: {error}"
            ) from None


def _unique(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.drop_duplicates()


def _several(rows: pd.DataFrame) -> pd.DataFrame:
    counts = rows.drop_duplicates()["group"].value_counts()
    return pd.DataFrame({"group": np.sort(counts.index[counts > 1].to_numpy(np.int64))})


def _own_names(part: pd.DataFrame) -> pd.DataFrame:
    """The measures of a partition under their own names."""
    prefix = f"{OURS}m_"
    names = [name for name in part if str(name).startswith(prefix)]
    return part[names].set_axis([str(name).removeprefix(prefix) for name in names], axis=1)


def _by_itself(part: Any, rows: Any, name: str, rule: Rule, own: list[str], known: Any) -> Any:
    """Which rows a rule flags that does not look for others like them."""
    if name in own:
        told = part[f"{OURS}rule_{name}"]
        return told.to_numpy(bool, na_value=False) if len(told) else np.empty(0, bool)
    return flags(name, rule, rows, known)


def _typed(values: pd.Series, kind: Any) -> Any:
    return values.array if values.dtype == kind else values.astype(kind).array


class _Judged:
    """A partition that also tells which rows a rule of quality flags."""

    def __init__(self, rules: Mapping[str, Rule], own: list[str]) -> None:
        self.rules, self.own = {name: rules[name] for name in QUALITY if name in rules}, own

    def __call__(self, part: pd.DataFrame) -> pd.DataFrame:
        rows, faulty = _own_names(part), np.zeros(len(part), bool)
        for name, rule in self.rules.items():
            faulty |= _by_itself(part, rows, name, rule, self.own, {})
        return part.assign(**{FAULTY: faulty})


class _Finish:
    """A partition of an audit's table, of its measures and of what is known of all of them."""

    def __init__(
        self, rules: Mapping[str, Rule], own: list[str], split: bool, label: bool, kept: list[Any]
    ) -> None:
        self.rules, self.own, self.kept = dict(rules), own, kept
        self.mixed = [*(["leak"] if split else []), *(["label_conflict"] if label else [])]

    def __call__(
        self,
        part: pd.DataFrame,
        near: pd.DataFrame,
        best: pd.DataFrame,
        exact: pd.DataFrame,
        facts: pd.DataFrame,
        *mixed: pd.DataFrame,
    ) -> pd.DataFrame:
        ids = part[ID].to_numpy()
        rows = _own_names(part)
        side = np.sqrt(part[PIXELS].to_numpy(np.float64, na_value=np.nan))
        height, width = (rows[n].to_numpy(np.float64, na_value=np.nan) for n in ("height", "width"))
        with np.errstate(invalid="ignore", divide="ignore"):
            aspect = np.maximum(height, width) / np.minimum(height, width)
        rows = rows.assign(side=side, aspect=aspect)
        found = self._flagged(part, rows, ids, near, exact, facts, mixed)
        group, there = looked_up(ids, near)
        copy, copied = looked_up(ids, exact)
        theirs = {*TOLD, *self.rules}
        kept = [c for c in self.kept if c not in theirs and not str(c).startswith(OURS)]
        table = {
            **{name: part[name].array for name in kept},
            "path": rows["path"].array,
            **{name: _typed(rows[name], kind) for name, kind in COLUMNS.items()},
            "group": pd.arrays.IntegerArray(group, ~there),
            "best": ~there | np.isin(ids, best["id"].to_numpy()),
            "exact_group": pd.arrays.IntegerArray(copy, ~copied),
            **found,
        }
        issues = np.full(len(part), "", object)
        for name, flagged in found.items():
            issues[flagged] += np.where(issues[flagged] == "", name, f", {name}").astype(object)
        table["issues"] = pd.array(issues, STRING)
        if f"{OURS}thumb" in part:
            table[f"{OURS}thumb"] = part[f"{OURS}thumb"].array
        return pd.DataFrame(table, index=part.index)

    def _flagged(
        self, part: Any, rows: Any, ids: Any, near: Any, exact: Any, facts: Any, mixed: Any
    ) -> dict[str, Any]:
        group, there = looked_up(ids, near)
        conflicts = dict(zip(self.mixed, mixed, strict=True))
        known = dict(zip(facts["fact"], facts["value"], strict=True))
        found: dict[str, Any] = {}
        for name, rule in self.rules.items():
            if name in self.own or rule.measure not in ("group", "exact_group"):
                found[name] = _by_itself(part, rows, name, rule, self.own, known)
            elif name in conflicts:
                found[name] = there & np.isin(group, conflicts[name]["group"].to_numpy())
            else:
                found[name] = there if name == "near_duplicate" else looked_up(ids, exact)[1]
        return found
