"""Running a recipe: values are computed where they are asked for, for the rows that need them.

A filter narrows the rows of which anything more is asked. Its parts run in an order: what needs no
picture, then what cannot raise, then by work. A row that fails a part that raises stays undecided:
it raises if it passes all the others. A picture that is looked at more than once (a filter reads
it, then what is made of those that pass) is opened and decoded once, and kept till then.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from daskimg.engine import kept, onepass
from daskimg.errors import ImageError
from daskimg.lazy.bare import Column, Table, array_of, as_pandas, rows_at
from daskimg.lazy.recipe import Call, Columns, Given, Named, Op, Pick, Recipe, moved

__all__ = ["ALL", "Evaluator"]


class _Rows:
    """Some rows of a base, by their places; `at` None: all of them."""

    __slots__ = ("at",)

    def __init__(self, at: Any) -> None:
        self.at = at


ALL = _Rows(None)


class Evaluator:
    """The values of some rows of a partition, each computed once."""

    def __init__(self, recipe: Recipe, given: list[Any], counted: dict[Any, str], at: int) -> None:
        self.recipe, self.given, self.counted, self.first = recipe, given, counted, at
        self.memo: dict[Any, Any] = {}
        self.lasting: dict[int, list[tuple[_Rows, Any]]] = {}  # what is not computed again
        self.passed: dict[int, _Rows] = {}
        self.same: dict[bytes, _Rows] = {}
        self.kept: dict[int, kept.Kept] = {}

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for each in self.kept.values())

    def roots(self) -> dict[str, Any]:
        """All that is asked for."""
        asked = [(root, self.rows(root.domain)) for root in self.recipe.roots]
        needed: dict[int, list[_Rows]] = {}
        for root, rows in asked:
            for op in self.recipe.demands(root.value):
                needed.setdefault(op, []).append(rows)
        groups: dict[int, tuple[_Rows, list[int]]] = {}
        for op, each in needed.items():
            rows = self._all_of(each)
            groups.setdefault(id(rows), (rows, []))[1].append(op)
        for rows, ops in sorted(groups.values(), key=lambda one: -self._count(one[0])):
            self.prepare(ops, rows)
        made = {root.name: self.value(root.value, rows) for root, rows in asked}
        for store in self.kept.values():
            store.close()
        return made

    def _all_of(self, each: list[_Rows]) -> _Rows:
        """The rows of all."""
        if any(rows.at is None for rows in each):
            return ALL
        first, *others = {id(rows): rows for rows in each}.values()
        if not others:
            return first
        return self._interned(np.unique(np.concatenate([rows.at for rows in (first, *others)])))

    def _interned(self, at: Any) -> _Rows:
        return self.same.setdefault(at.tobytes(), _Rows(at))

    def _count(self, rows: _Rows) -> int:
        return len(self.given[0]) if rows.at is None else len(rows.at)

    # -- rows ----------------------------------------------------------------------------------
    def rows(self, domain: int) -> _Rows:
        """The rows of a domain, by their places in its base."""
        if domain not in self.passed:
            parts: tuple[int, ...] = ()
            below = domain
            while below not in self.passed and self.recipe.domains[below].parent is not None:
                one = self.recipe.domains[below]
                parts, below = (*one.parts, *parts), one.parent or 0
            self.passed[domain] = self.passing(
                self.recipe.in_order(parts), self.passed.get(below, ALL)
            )
        return self.passed[domain]

    def passing(self, parts: list[int], rows: _Rows) -> _Rows:
        """The rows that pass all parts."""
        doubtful: dict[int, str] = {}
        for place, part in enumerate(parts):
            lenient = place + 1 < len(parts) and self.recipe.raises(part)
            blamed = self._blamed(part, rows) if lenient else None
            at = self._kept_by(part, rows)
            if blamed is not None:
                places = np.arange(len(blamed)) if rows.at is None else rows.at
                failed = blamed.notna().to_numpy()
                doubtful.update(zip(places[failed].tolist(), blamed[failed], strict=True))
                at = at if at is rows.at else np.union1d(at, places[failed])
            if at is not rows.at:
                rows = self._interned(at)
        for place in sorted(doubtful):
            if rows.at is None or place in rows.at:
                reason, path = doubtful[place].split("\0")
                raise ImageError(reason, path or None)
        return rows

    def _kept_by(self, part: int, rows: _Rows) -> Any:
        """The places of the rows that pass a part; `rows.at` where all do."""
        passes = as_pandas(self.value(part, rows)).fillna(False).to_numpy(bool)
        if passes.all():
            return rows.at
        return np.flatnonzero(passes) if rows.at is None else rows.at[passes]

    def _blamed(self, number: int, rows: _Rows) -> pd.Series | None:
        """Which rows of a value that raises fail, and why: it is computed all the same."""
        blamed = None
        for ops in self._walks([number], rows):
            raising = [op for op in ops if self.recipe.op(op).program.raises_first]
            blame = self._walk(raising, rows, lenient=True) if raising else None
            if blame is not None:
                blamed = blame if blamed is None else blamed.fillna(blame)
        return blamed

    # -- values --------------------------------------------------------------------------------
    def value(self, number: int, rows: _Rows) -> Any:
        """A value, for some rows of its base."""
        key = number, id(rows)
        if key not in self.memo:
            value = self.recipe.values[number]
            lasts = isinstance(value, Op) or (isinstance(value, Call) and value.users)
            found = self._stored(number, rows) if lasts else None
            self.memo[key] = self._value(number, value, rows) if found is None else found
            if lasts and found is None:
                self.lasting.setdefault(number, []).append((rows, self.memo[key]))
        return self.memo[key]

    def _stored(self, number: int, rows: _Rows) -> Any:
        """What was computed for more rows before."""
        for before, value in self.lasting.get(number, ()):
            if before.at is rows.at:
                return value
            if before.at is None:
                return rows_at(value, rows.at)
            if rows.at is not None and np.isin(rows.at, before.at, assume_unique=True).all():
                return rows_at(value, np.searchsorted(before.at, rows.at))
        return None

    def _value(self, number: int, value: Any, rows: _Rows) -> Any:
        if isinstance(value, Given):
            given = self.given[value.place]
            return given if value.place or rows.at is None else rows_at(given, rows.at)
        if isinstance(value, Pick):
            return self._column(value, rows)
        if isinstance(value, Named):
            column = self.value(value.column, rows)
            if isinstance(column, Column):
                return Column(column.index, column.array, value.name)
            return column.rename(value.name)
        if isinstance(value, Op):
            self.prepare([number], rows)
            return self._stored(number, rows)
        if isinstance(value, Columns):
            return self._table(value, rows)
        return self._called(number, value, rows)

    def _column(self, value: Pick, rows: _Rows) -> Any:
        frame = self.value(value.frame, ALL if self._is_given(value.frame) else rows)
        if isinstance(frame, Table):
            column: Any = Column(frame.index, frame.arrays[value.name], value.name)
        else:
            column = frame[value.name]
        if rows.at is not None and self._is_given(value.frame):
            return rows_at(column, rows.at)
        return column

    def _is_given(self, number: int) -> bool:
        return isinstance(self.recipe.values[number], Given)

    def _index(self, number: int, rows: _Rows) -> pd.Index:
        """The index of a frame, for some rows."""
        if not self._is_given(number):
            return self.value(number, rows).index
        key = "index", id(rows)
        if key not in self.memo:
            index = self.given[0].index
            self.memo[key] = index if rows.at is None else index[rows.at]
        return self.memo[key]

    def _table(self, value: Columns, rows: _Rows) -> Any:
        index = self._index(value.like, rows)
        columns = [self.value(one, rows) for one in value.columns]
        like = self.given[0] if self._is_given(value.like) else self.value(value.like, rows)
        axis = like.columns.name if isinstance(like, pd.DataFrame) else None
        arrays: dict[Any, Any] = {}
        for name, column in zip(value.names, columns, strict=True):
            if not (column.index is index or column.index.equals(index)):
                break  # pandas has to align it
            arrays[name] = array_of(column)
        else:
            if axis is None:
                return Table(index, arrays)
        frame = pd.DataFrame(index=index)
        for name, column in zip(value.names, columns, strict=True):
            frame[name] = as_pandas(column)
        frame.columns.name = axis
        return frame

    def _called(self, number: int, value: Call, rows: _Rows) -> Any:
        if value.domains is None:
            self.prepare([number], rows)
            given = {
                key: as_pandas(self.value(one, rows))
                for key, one in zip(value.keys, value.inputs, strict=True)
            }
            return value.task(given)
        if rows.at is not None:
            return rows_at(self.value(number, ALL), rows.at)
        whole = {}
        for key, one, domain in zip(value.keys, value.inputs, value.domains, strict=True):
            whole[key] = as_pandas(self.value(one, self.rows(domain)))
        return value.task(whole)

    # -- pictures ------------------------------------------------------------------------------
    def prepare(self, numbers: Iterable[int], rows: _Rows) -> None:
        """Make all ops that values need, in as few walks as there can be."""
        for ops in self._walks(numbers, rows):
            self._walk(ops, rows)

    def _walks(self, numbers: Iterable[int], rows: _Rows) -> list[list[int]]:
        """The ops that are missing, those of one walk together: first those that others need."""
        ops = dict.fromkeys(op for one in numbers for op in self.recipe.demands(one))
        groups: dict[tuple[int, int], list[int]] = {}
        for op in ops:
            if self._stored(op, rows) is None:
                groups.setdefault((self.recipe.depth(op), self.recipe.op(op).cells), []).append(op)
        return [groups[key] for key in sorted(groups)]

    def _walk(self, ops: list[int], rows: _Rows, lenient: bool = False) -> pd.Series | None:
        """One walk for ops on one column of cells; the rows to blame, where they do not raise."""
        programs, args = self.recipe.found(
            ("walk", *ops, lenient), lambda: _programs(self.recipe, ops, lenient)
        )
        number = self.recipe.op(ops[0]).cells
        cells = self.value(number, rows)
        series = [as_pandas(self.value(arg, rows)) for arg in args]
        begin = None
        places = range(len(cells)) if rows.at is None else rows.at
        programs_of = self.recipe.staged.get(number)
        if programs_of is not None:
            if number not in self.kept:
                sizes = self.recipe.found(("sizes", number), lambda: kept.sizes_of(programs_of))
                self.kept[number] = kept.Kept(sizes)
            begin = functools.partial(self.kept[number].walk, places=places)
        made, work = onepass.walked(array_of(cells), programs, *series, begin=begin)
        for i, reason in work.counted.items():
            self.counted[number, self.first + int(places[i])] = reason
        for op, column in zip(ops, made, strict=False):
            value = Column(cells.index, column, self.recipe.op(op).name)
            self.lasting.setdefault(op, []).append((rows, value))
        if not lenient:
            return None
        blames = [pd.Series(blame, index=cells.index, copy=False) for blame in made[len(ops) :]]
        return functools.reduce(pd.Series.fillna, blames)


def _programs(recipe: Recipe, ops: list[int], lenient: bool) -> tuple[Any, tuple[int, ...]]:
    args = dict.fromkeys(arg for op in ops for arg in recipe.op(op).args)
    slots = {arg: slot for slot, arg in enumerate(args)}
    programs, blames = [], []
    for op in ops:
        program = moved(recipe.op(op).program, recipe.op(op).args, slots)
        programs.append(program.recording() if lenient else program)
        blames.append(program.recording("blame"))
    return (*programs, *(blames if lenient else ())), tuple(args)
