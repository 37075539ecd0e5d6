"""An audit of a whole collection: what is wrong with which picture, in one pass over them."""

from __future__ import annotations

import json
import numbers
import os
from collections.abc import Mapping
from typing import Any

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd

from daskimg.accessor.base import neighbour, per_row
from daskimg.curate import page
from daskimg.curate.compared import OURS
from daskimg.curate.measured import TOLD, added, table_of
from daskimg.curate.rules import RULES, Rule
from daskimg.curate.tables import each, empty
from daskimg.engine.program import STRING
from daskimg.errors import cause_of, quoted
from daskimg.io.commit.failures import assigned, image_column

__all__ = ["Audit", "audit"]

TOTALS = {"what": STRING, "name": STRING, "count": "int64"}


def audit(
    frame: Any,
    column: str | None = None,
    *,
    label: str | None = None,
    split: str | None = None,
    rules: Mapping[str, Any] | None = None,
) -> Audit:
    """What should not be in a collection, picture by picture; each is opened once.

    Parameters
    ----------
    column : str, optional
        The image column. None: the only one.
    label, split : str, optional
        Columns with the class of a picture, and the part of the data it is in: look-alikes of
        several labels are a ``label_conflict``, those in several splits a ``leak``.
    rules : dict, optional
        Of rules by name: another threshold (``{"blurred": 0.5}``), None to leave it out, or a
        column of bools of the frame's rows (``{"dark": df.brightness < 30}``), under a name that
        is there or a new one.

    Returns
    -------
    Audit
        Lazy: ``.table``, ``.summary()``, ``.report(path)``; ``.persist()`` to look once for all.

    Notes
    -----
    The rules, their measures, thresholds and sources are in ``Audit.rules``. Nothing raises for a
    broken picture, whatever the column's policy. A null label or split is in no conflict.

    What is measured of light, blur, colour and likeness is measured of a small picture, 128 x 128
    at most (antialiased, aspect not kept), alpha of the whole one reduced by a power of two to 128
    pixels of its shorter side or more: a JPEG is decoded at a part of its size. The columns of the
    table differ a little from ``df.image.img.entropy()`` and others, which read all pixels.

    Look-alikes differ by 4 bits at most in a hash of 64 rough frequencies, and by 5 in one of 64
    finer ones, which pictures that are saved again keep. Photographs of one scene do not share
    those: `duplicate_groups` finds them, too. Small partitions of `read_images` are cut larger.

    Examples
    --------
    >>> df = di.read_images(folder)
    >>> found = df.img.audit(rules={"dark": None, "bright": 250})
    >>> found.table[["exact_duplicate", "bright"]].compute().sum().tolist()
    [0, 0]
    """
    name = image_column(frame, column)
    for one in (label, split):
        if one is not None:
            neighbour(frame, one)  # an error names the columns that there are
    chosen, own = _chosen(rules or {}, label, split)
    frame = frame.assign(**{f"{OURS}rule_{rule}": value for rule, value in own.items()})
    if isinstance(frame, pd.DataFrame):
        if isinstance(frame.index, pd.MultiIndex):
            raise ValueError("the table of an audit has no index of several levels: reset_index()")
        with dask.config.set({"dataframe.convert-string": False}):
            several = max(1, min(16, len(frame) // 64))
            frame = dd.from_pandas(frame, npartitions=several, sort=False)
    frame = assigned(frame, {name: frame[name].img.on_error("null")})
    return Audit(table_of(frame, name, chosen, [*own], label, split), chosen, name, label, split)


class Audit:
    """What was found: lazy until it is asked for.

    Attributes
    ----------
    table : dask.dataframe.DataFrame
        A row a picture, on the frame's index (where its divisions are known, of sixteen partitions
        one is made): its light columns, ``path``, the measures, ``group`` of look-alikes (see
        `audit`), and ``best`` as of `duplicate_groups` (but the one of most bytes for the
        sharpest; and where there is one that is not dark, bright, blurred, of low contrast or
        information, a picture that is so is not the best),
        ``exact_group``, a bool for each rule, and ``issues``, the names of those that flag it
        (``"dark, blurred"``, empty for none).
    rules : dict of str to Rule
        What each rule finds, by which measure, from which threshold on, and the source of it.
    """

    def __init__(
        self,
        table: Any,
        rules: Mapping[str, Rule],
        column: str,
        label: str | None,
        split: str | None,
    ) -> None:
        self.table, self.rules = table, dict(rules)
        self._column, self._label, self._split = column, label, split

    def __repr__(self) -> str:
        return (
            f"Audit of {self._column!r} by {', '.join(self.rules)}: .table, .summary(), .report()"
        )

    def persist(self) -> Audit:
        """The same with its table computed and held in memory: it is light, a few hundred bytes a
        picture, and what is asked of it afterwards decodes nothing.

        Examples
        --------
        >>> found = di.read_images(folder).img.audit().persist()
        >>> found.summary().pictures.loc["broken"]
        np.int64(0)
        """
        table = self.table.persist()
        return Audit(table, self.rules, self._column, self._label, self._split)

    def summary(self) -> pd.DataFrame:
        """How many pictures each rule flags: ``pictures``, ``share`` of all, ``what``,
        ``threshold`` and ``source``, by the name of the rule. Computes.

        Examples
        --------
        >>> di.read_images(folder).img.audit().summary().loc["broken", "pictures"]
        np.int64(0)
        """
        return self._summed(self._totals().compute())

    def report(self, path: str | os.PathLike[str]) -> str:
        """Write a page of what was found, and beside it a list of what to drop. Computes, once.

        The page stands alone: counts with shares, the worst pictures of each rule, look-alikes
        side by side; samples, however many pictures there are. ``audit.html`` has
        ``audit.drop.txt`` beside it: the paths of broken pictures and of all but the best of
        look-alikes, a line each (without the rule ``broken`` or ``near_duplicate`` not those). A
        path with a line break in it, or a quotation mark before it, stands there as a JSON string.

        Returns
        -------
        str
            The page's path.
        """
        where = os.fspath(path)
        drops = f"{os.path.splitext(where)[0]}.drop.txt"
        table = self.table
        drop = each(table, _Dropped(self.rules), empty({"path": STRING}))
        sample = page.sampled(table, self.rules, self._column, self._label, self._split)
        totals, shown, dropped = dask.compute(self._totals(), sample, drop)
        if folder := os.path.dirname(where):
            os.makedirs(folder, exist_ok=True)
        paths = dropped["path"].dropna().tolist()
        with open(drops, "w", encoding="utf-8") as file:
            file.writelines(f"{_line(path)}\n" for path in paths)
        causes = totals[totals["what"] == "cause"].set_index("name")["count"]
        text = page.written(
            self._summed(totals),
            int(totals.loc[totals["what"] == "rows", "count"].sum()),
            causes.sort_values(ascending=False),
            shown,
            os.path.basename(drops),
            len(dropped),
            len(paths),
        )
        with open(where, "w", encoding="utf-8") as file:
            file.write(text)
        return where

    def _totals(self) -> Any:
        count = _Count([*self.rules])
        return self.table.reduction(
            count, aggregate=added, combine=added, meta=empty(TOTALS), split_every=8
        )

    def _summed(self, totals: pd.DataFrame) -> pd.DataFrame:
        counts = totals[totals["what"] == "rule"].set_index("name")["count"]
        rows = int(totals.loc[totals["what"] == "rows", "count"].sum())
        pictures = [int(counts.get(name, 0)) for name in self.rules]
        return pd.DataFrame(
            {
                "pictures": np.array(pictures, np.int64),
                "share": [count / max(rows, 1) for count in pictures],
                "what": [rule.says for rule in self.rules.values()],
                "threshold": [rule.told for rule in self.rules.values()],
                "source": [rule.source for rule in self.rules.values()],
            },
            index=pd.Index(self.rules, name="rule"),
        )


def _chosen(
    rules: Mapping[str, Any], label: str | None, split: str | None
) -> tuple[dict[str, Rule], dict[str, Any]]:
    """The rules that hold, and the columns that stand for some of them."""
    chosen = dict(RULES)
    if label is None:
        del chosen["label_conflict"]
    if split is None:
        del chosen["leak"]
    own = {}
    for name, value in rules.items():
        if not isinstance(name, str) or name in TOLD:
            raise ValueError(
                f"{quoted(name)} is no name for a rule: the table has {', '.join(TOLD)}"
            )
        if name in RULES and (value is None or value is False):
            chosen.pop(name, None)
        elif per_row(value):
            if value.dtype not in ("bool", "boolean", "bool[pyarrow]"):
                raise TypeError(f"a rule is a column of bools; {name!r} is {value.dtype}")
            own[name] = value
            chosen[name] = Rule(RULES[name].says if name in RULES else name, "your expression")
        elif isinstance(value, numbers.Real) and value == value and _has_limit(chosen.get(name)):
            side = "above" if chosen[name].above is not None else "below"
            limit: dict[str, Any] = {side: float(value)}
            chosen[name] = chosen[name]._replace(**limit)
        else:
            raise ValueError(
                f"rules are a column of bools, None, or a number for those with a threshold; got "
                f"{quoted(name)}: {quoted(value)}. There are {', '.join(RULES)}"
            )
    return chosen, own


def _has_limit(rule: Rule | None) -> bool:
    return rule is not None and not (rule.above is None and rule.below is None)


class _Dropped:
    """Broken pictures, and all but the best of look-alikes."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self.broken, self.alike = "broken" in rules, "near_duplicate" in rules

    def __call__(self, table: pd.DataFrame) -> pd.DataFrame:
        worse = table["group"].notna() & ~table["best"] & self.alike
        return table.loc[(table["reason"].notna() & self.broken) | worse, ["path"]]


def _line(path: str) -> str:
    """A path on one line."""
    plain = path.splitlines() == [path] and not path.startswith('"')
    return path if plain else json.dumps(path)


class _Count:
    """How many rows each rule flags, how many there are, and why some are broken."""

    def __init__(self, rules: list[str]) -> None:
        self.rules = rules

    def __call__(self, table: pd.DataFrame) -> pd.DataFrame:
        told = [("rows", "", len(table))]
        told += [("rule", name, int(table[name].sum())) for name in self.rules]
        causes = table["reason"].dropna().map(cause_of).value_counts()
        told += [("cause", str(cause), int(count)) for cause, count in causes.items()]
        kinds: Any = TOTALS
        return pd.DataFrame(told, columns=list(TOTALS)).astype(kinds)
