"""A partition through the user's function: cut into batches, called, put together again."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from types import FunctionType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from daskimg import metrics, wanted
from daskimg.batch import models
from daskimg.batch import results as kinds
from daskimg.batch.batches import to_batch
from daskimg.batch.columns import Column, column_for
from daskimg.batch.errors import BatchError, failure
from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype
from daskimg.engine.gauge import LATER
from daskimg.engine.lasting import Facts, content_of, named
from daskimg.engine.program import STRING
from daskimg.errors import cause_of, reason_of
from daskimg.wanted import looking

__all__ = ["Task", "present", "rows_per_batch"]

BYTES_PER_BATCH, MOST_ROWS = 32 * 2**20, 1024
Rows = npt.NDArray[np.intp]


def present(part: pd.DataFrame, names: Any) -> npt.NDArray[np.bool_]:
    """Rows in which no picture or tensor of these columns is null."""
    good = np.ones(len(part), bool)
    for name in names:
        if isinstance(part.dtypes[name], ImageDtype):
            good &= part[name].array.valid
    return good


def rows_per_batch(part: pd.DataFrame, names: Any, batch_size: int | str | None) -> int:
    """Rows of a batch: as asked; "auto": those of 32 MiB of pixels, 1 to 1024; None: all."""
    if batch_size is None:
        return max(len(part), 1)
    if isinstance(batch_size, int):
        return batch_size
    nbytes = sum(
        part[name].array.row_bytes for name in names if isinstance(part.dtypes[name], ImageDtype)
    )
    if not nbytes:
        return MOST_ROWS
    return int(np.clip(BYTES_PER_BATCH * len(part) // nbytes, 1, MOST_ROWS))


@dataclass(frozen=True)
class Task:
    """What a `map_batches` stage does to a partition.

    Parameters
    ----------
    name : str
        The function, for messages.
    function : callable or models.Spec
    args, kwargs
        Handed on after the batch.
    passed : dict
        Name in the batch to the column that holds it (of a file: a decoded one beside it).
    kept : tuple of str
        Columns that stay beside the result.
    declared : dict, optional
        Name to dtype of the result; None: as the first batch has it.
    nulls : bool
        Whether a row may be null, so that whole numbers need a nullable dtype.
    policy : str, optional
        The error policy of the pictures, and of those that come back.
    """

    name: str
    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    passed: dict[str, str]
    kept: tuple[str, ...]
    batch_size: int | str | None
    batch_format: str
    device: str
    prefetch: int
    num_cpus: float | None
    on_error: str
    nulls: bool
    policy: str | None
    declared: dict[str, Any] | None
    token: str = field(default="")
    version: str | int | None = None  # what the user calls the function's work
    tells: str | None = None  # a column beside the result: why each row failed

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        declared = None if self.declared is None else tuple(map(repr, self.declared.items()))
        return ("daskimg.batch.Task", self.token, self.kept, self.nulls, declared, self.tells)

    def telling(self, name: str) -> Task:
        """The same, with a column `name` beside the result: ``"reason\\0path"`` of what failed."""
        return replace(self, tells=name)

    def __call__(self, part: pd.DataFrame) -> pd.DataFrame:
        """The rows of `part`: the columns kept, then those returned."""
        return _Run(self, part).frame()


@content_of.register
def _content(value: Task, facts: Facts) -> Any:
    # how large batches are, where they run and what is made ahead is how, not what
    if value.version is None:
        function = named(value.function, facts)
    else:
        function = facts.add(f"the function {value.name}", ["version", repr(value.version)])
    if not isinstance(value.function, FunctionType | models.Spec):
        function = facts.add(f"what {value.name} holds", function)
    given = named([value.args, value.kwargs], facts)
    does = [value.passed, value.kept, value.batch_format, value.on_error, value.nulls, value.policy]
    declared = None if value.declared is None else [repr(one) for one in value.declared.items()]
    return [
        function,
        facts.add(f"the arguments of {value.name}", given),
        facts.add(f"how {value.name} is called", named([*does, declared], facts)),
    ]


class _Run:
    def __init__(self, task: Task, part: pd.DataFrame) -> None:
        self.task, self.part = task, part
        names = list(task.passed.values())
        self.batches = part[names].set_axis(list(task.passed), axis=1)
        self.pictures = [n for n in names if isinstance(part.dtypes[n], ImageDtype)]
        self.good = np.flatnonzero(present(part, names))
        self.reasons = self._recorded()
        self.columns: dict[str, Column] = {}
        self.failed: list[str] = []  # reasons, of the rows that raised
        if task.declared is not None:
            self.columns = {k: column_for(d, len(part)) for k, d in task.declared.items()}

    def _recorded(self) -> list[str | None]:
        """Why each row is null: the reason of the first of its pictures that is."""
        reasons: list[str | None] = [None] * len(self.part)
        for name in reversed(self.pictures):
            cells: ImageArray = self.part[name].array
            for i in np.flatnonzero(~cells.valid & cells.has_error):
                reasons[i] = cells.error[i].as_py()  # type: ignore[index]
        return reasons

    def _paths(self) -> list[str | None] | None:
        found = [self.part[name].array.path for name in self.pictures]
        found = [path for path in found if path is not None]
        return found[0].to_pylist() if len(found) == 1 else None

    def frame(self) -> pd.DataFrame:
        task, part = self.task, self.part
        size = rows_per_batch(self.batches, task.passed, task.batch_size)
        cuts = [self.good[i : i + size] for i in range(0, len(self.good), size)]
        with looking() as check:
            for number, (rows, batch) in enumerate(self._ahead(cuts)):
                with self._function() as function:
                    check()
                    self._batch(function, rows, batch, number)
        self._tell()
        if task.declared is None and not self.columns:
            raise BatchError(
                f"{task.name}: no row to try it on; give meta=, a dict of names to dtypes"
            )
        paths = self._paths()
        result = {name: part[name] for name in task.kept if name not in self.columns}
        for name, column in self.columns.items():
            try:
                values = column.finish(part, self.reasons, paths)
            except ValueError as error:
                raise BatchError(f"{task.name}: column {name!r}: {error}") from error
            result[name] = pd.Series(values, index=part.index, name=name, copy=False)
        if task.tells is not None:
            pairs = zip(self.reasons, paths or [None] * len(part), strict=True)
            told = [None if reason is None else f"{reason}\0{path or ''}" for reason, path in pairs]
            result[task.tells] = pd.Series(told, part.index, STRING)
        return pd.DataFrame(result, index=part.index, columns=list(result), copy=False)

    def _tell(self) -> None:
        """Report what was done, to those who measure."""
        done = {"images": len(self.good), "errors": len(self.failed)}
        report = {("model", what): number for what, number in done.items()}
        for cause, number in Counter(map(cause_of, self.failed)).items():
            report[metrics.ROWS + LATER, cause] = number
        metrics.tell(report)

    def _ahead(self, cuts: list[Rows]) -> Iterator[tuple[Rows, Any]]:
        """Each batch with its rows; the next ones are made while one is at work."""
        ahead = self.task.prefetch
        if ahead < 1 or len(cuts) < 2 or self.task.batch_format in ("numpy", "pandas"):
            for rows in cuts:  # (these are views)
                yield rows, self._rows(rows)
            return
        with ThreadPoolExecutor(1, thread_name_prefix="daskimg-batches") as pool:
            make = wanted.carried(self._rows)
            made = [pool.submit(make, rows) for rows in cuts[:ahead]]
            try:
                for number, rows in enumerate(cuts):
                    batch = made.pop(0).result()
                    if number + ahead < len(cuts):
                        made.append(pool.submit(make, cuts[number + ahead]))
                    yield rows, batch
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _rows(self, rows: Rows) -> Any:
        return to_batch(self.batches.iloc[rows], self.task.batch_format, self.task.device)

    @contextmanager
    def _function(self) -> Iterator[Any]:
        """The function, or an instance of the class, for one batch."""
        function, room = self.task.function, models.room(self.task.token, self.task.num_cpus)
        with (
            room,
            models.borrow(function)
            if isinstance(function, models.Spec)
            else nullcontext(function) as ready,
        ):
            yield ready

    def _batch(self, function: Any, rows: Rows, batch: Any, number: int) -> None:
        try:
            self._put(rows, self._call(function, rows, batch))
            return
        except Exception as error:
            smaller = len(rows) > 1 and (self.task.on_error == "null" or _out_of_memory(error))
            if not smaller and self.task.on_error == "raise":
                lists = _lists(self._rows(rows))
                index = self.part.index[rows]
                raise failure(error, self.task.name, number, index, lists) from error
            reason = reason_of("map_batches", error)
        if smaller:  # (outside: the exception holds the failed batch's memory)
            del batch
            self._drop(rows)
            _release_memory()
            for half in np.array_split(rows, 2):
                self._batch(function, half, self._rows(half), number)
            return
        metrics.add({"failed": 1})
        self.failed.append(reason)
        self.reasons[rows[0]] = reason
        self._drop(rows)

    def _drop(self, rows: Rows) -> None:
        for column in self.columns.values():
            column.drop(rows)

    def _call(self, function: Any, rows: Rows, batch: Any) -> dict[str, Any]:
        """What the function returned: checked to be columns of these rows."""
        given = _as_given(batch)
        with metrics.timed("model"):
            result = function(batch, *self.task.args, **self.task.kwargs)
        values: dict[str, Any] = {}
        for name, value in kinds.columns_of(result).items():
            same = [k for k, old in given.items() if kinds.unchanged(value, old)]
            try:
                values[name] = _Kept(same[0]) if same else kinds.plain(value)
            except TypeError as error:
                raise TypeError(f"column {name!r}: {error}") from error
            if not same and len(values[name]) != len(rows):
                raise ValueError(
                    f"column {name!r} has {len(values[name])} values for {len(rows)} rows; return "
                    "one for each row (lists, to explode() later, where there are more)"
                )
        if not self.columns:
            self._declare(rows, values)
        if set(values) != set(self.columns):
            raise ValueError(
                f"expected the columns {', '.join(self.columns)}; got {', '.join(values) or 'none'}"
            )
        return values

    def _declare(self, rows: Rows, values: dict[str, Any]) -> None:
        """The columns of the first batch are those of all."""
        if not values:
            raise ValueError("expected at least one column; got none")
        sizes = _sizes(self.batches, rows)
        nulls = self.task.nulls or len(self.good) < len(self.part)
        found = {}
        for name, value in values.items():
            try:
                if isinstance(value, _Kept):
                    dtype = self.part.dtypes[value.name]
                else:
                    dtype = kinds.dtype_of(value, sizes)
            except TypeError as error:
                raise TypeError(f"column {name!r}: {error}") from error
            found[name] = kinds.with_room(dtype, nulls, self.task.policy)
        self.columns = {name: column_for(d, len(self.part)) for name, d in found.items()}

    def _put(self, rows: Rows, values: dict[str, Any]) -> None:
        for name, value in values.items():
            column = self.columns[name]
            try:
                if isinstance(value, _Kept):
                    self._keep(column, rows, value.name)
                else:
                    column.put(rows, value)
            except (TypeError, ValueError) as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                raise kind(f"column {name!r}: {error}") from error

    def _keep(self, column: Column, rows: Rows, name: str) -> None:
        """Cells as they came: whole ones, where the column is of their dtype."""
        for source in (name, self.task.passed[name]):
            dtype = self.part.dtypes[source]
            whole = isinstance(dtype, pd.api.extensions.ExtensionDtype) and dtype == column.dtype
            if whole and column.source in (None, source):
                column.keep(rows, source)
                return
        values = self.batches[name].iloc[rows].array
        column.put(rows, values.to_numpy() if isinstance(values.dtype, np.dtype) else values)


@dataclass(frozen=True)
class _Kept:
    """A column of the batch that came back untouched."""

    name: str


def _as_given(batch: Any) -> dict[str, Any]:
    """What the function was given, safe from what it does to dicts, lists and frames."""
    if isinstance(batch, pd.DataFrame):
        batch = batch.copy(deep=False)
        return {str(name): batch[name] for name in batch.columns}
    if isinstance(batch, dict):
        return {k: list(v) if isinstance(v, list) else v for k, v in batch.items()}
    return dict(zip(batch.schema.names, batch.columns, strict=True))


def _lists(batch: Any) -> list[str]:
    """The columns whose pictures come as a list of arrays."""
    given = _as_given(batch)
    return [k for k, v in given.items() if isinstance(v, list) and isinstance(v[0], np.ndarray)]


def _sizes(batches: pd.DataFrame, rows: Rows) -> list[tuple[int, int]]:
    """Sizes of the pictures whose column has no fixed one."""
    sizes = set()
    for name, dtype in batches.dtypes.items():
        if isinstance(dtype, ImageDtype) and not dtype.tensor and dtype.shape is None:
            cells = batches[name].iloc[rows].array.as_ragged()
            sizes |= {(int(h), int(w)) for h, w in cells.shape[:, :2]}
    return list(sizes)


def _release_memory() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _out_of_memory(error: Exception) -> bool:
    """Whether the device's memory is full (torch's and cupy's class have one name)."""
    if type(error).__name__ not in ("OutOfMemoryError", "AcceleratorError"):
        return False
    return "out of memory" in str(error).lower()
