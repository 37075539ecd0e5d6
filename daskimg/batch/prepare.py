"""What happens to a frame around its batches: decoding, the result's dtypes, full batches."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
from dask.dataframe.extensions import make_array_nonempty
from dask.tokenize import tokenize

from daskimg.batch.errors import BatchError
from daskimg.batch.task import Task, present, rows_per_batch
from daskimg.column.dtype import ImageDtype, common_root
from daskimg.column.json import JsonArray, JsonDtype
from daskimg.engine.ops import policy_of
from daskimg.engine.program import STRING
from daskimg.lazy.expr import operand

__all__ = ["declare", "decoded", "holds_pixels", "may_be_missing", "picture_policy", "regroup"]

TRIED = 4  # rows that the function is tried on
Stage = Callable[[dd.DataFrame, Callable[..., Any], pd.DataFrame], dd.DataFrame]


@make_array_nonempty.register(JsonDtype)
def _nonempty(dtype: JsonDtype) -> JsonArray:
    """Two cells that Dask may try its functions on."""
    return JsonArray._from_sequence([["a"], ["b"]])


def decoded(
    frame: Any, names: Sequence[str], policy: str | None = None
) -> tuple[Any, dict[str, str]]:
    """`frame` with pixels beside its files, and for each of `names` the column to pass.

    `policy` is that of the decoding; None: the column's own.
    """
    passed = {name: name for name in names}
    for name in names:
        dtype = frame.dtypes[name]
        if isinstance(dtype, ImageDtype) and not dtype.holds_pixels:
            cells = frame[name] if policy is None else frame[name].img.on_error(policy)
            passed[name] = f"__decoded_{name}"
            frame = frame.assign(**{passed[name]: cells.img.decode()})
    return frame, passed


def holds_pixels(frame: Any, names: Sequence[str]) -> bool:
    """Whether any of these columns holds arrays."""
    dtypes = [frame.dtypes[name] for name in names]
    return any(isinstance(dtype, ImageDtype) and dtype.holds_pixels for dtype in dtypes)


def picture_policy(frame: Any, names: Sequence[str]) -> str | None:
    """The error policy of these columns' pictures: "null" where one of them has it."""
    dtypes = [frame.dtypes[name] for name in names]
    policies = {policy_of(dtype) for dtype in dtypes if isinstance(dtype, ImageDtype)}
    return "null" if "null" in policies else "raise" if policies else None


def may_be_missing(frame: Any, names: Sequence[str]) -> bool:
    """Whether rows lack a picture after a join that keeps unmatched rows."""
    if isinstance(frame, pd.DataFrame) or picture_policy(frame, names) is None:
        return False
    outer = ("left", "right", "outer")
    return any(operand(node, "how") in outer for node in frame.expr.walk())


# -- the result's dtypes ------------------------------------------------------------------------
def declare(
    task: Task, frame: dd.DataFrame, tried: dd.DataFrame, stage: Stage
) -> tuple[Task, pd.DataFrame]:
    """`task` with the dtypes of its result, and no rows of it.

    Where they are not given, the function is tried on a few rows of `tried`, in a stage of its own.
    """
    found = task.declared
    if found is None:
        found = _try(task, tried, stage)
    like = frame._meta
    pictures = [
        like[name].dtype for name in task.passed if isinstance(like[name].dtype, ImageDtype)
    ]
    root = common_root(dtype.root for dtype in pictures)
    found = {name: _below(dtype, root) for name, dtype in found.items()}
    columns = {name: like[name] for name in task.kept if name not in found}
    for name, dtype in found.items():
        columns[name] = pd.Series([], dtype=dtype, index=like.index[:0])
    meta = pd.DataFrame(columns, index=like.index[:0])
    return replace(task, declared=found), meta


def _below(dtype: Any, root: str | None) -> Any:
    """`dtype`; of pictures that come from files below `root`, it says so."""
    if not isinstance(dtype, ImageDtype):
        return dtype
    return dtype.derive(dtype.cells, dtype.shape, root=dtype.root or root)


_known: dict[str, dict[str, Any]] = {}


def _try(task: Task, frame: dd.DataFrame, stage: Stage) -> dict[str, Any]:
    key = tokenize(task, frame.expr._name)
    if key not in _known:
        if len(_known) >= 256:
            _known.clear()
        _known[key] = _found(task, frame, stage)
    return _known[key]


def _found(task: Task, frame: dd.DataFrame, stage: Stage) -> dict[str, Any]:
    needed = frame[list(dict.fromkeys([*task.passed, *task.passed.values()]))]
    rows = task.batch_size if isinstance(task.batch_size, int) else TRIED
    trial = _Trial(replace(task, kept=(), prefetch=0), min(rows, TRIED))
    none = pd.DataFrame({"found": pd.array([], STRING)})
    first = needed.partitions[:1].head(TRIED, compute=False)
    start, n = 0, 1
    while True:
        told = stage(first, trial, none).compute()["found"]
        if len(told):
            found: dict[str, Any] = pickle.loads(base64.b64decode(told.iloc[0]))
            return found
        if start >= needed.npartitions:
            raise BatchError(
                f"{task.name}: the frame has no row with a picture to try it on; give meta=, a "
                "dict of names to dtypes"
            )
        first = needed.partitions[start : start + n]
        start, n = start + n, 2 * n


class _Trial:
    """A task on the first good rows of a partition: a row that tells the dtypes it found."""

    def __init__(self, task: Task, rows: int) -> None:
        self.task, self.rows = task, rows

    def __call__(self, part: pd.DataFrame) -> pd.DataFrame:
        good = np.flatnonzero(present(part, self.task.passed.values()))[: self.rows]
        told = []
        if len(good):
            result = self.task(part.iloc[: good[-1] + 1])
            told = [base64.b64encode(pickle.dumps(result.dtypes.to_dict())).decode()]
        return pd.DataFrame({"found": pd.array(told, STRING)})

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("daskimg.batch.Trial", tokenize(self.task), self.rows)


# -- batches that cross partitions ---------------------------------------------------------------
def regroup(
    frame: dd.DataFrame, passed: dict[str, str], batch_size: int | str | None
) -> dd.DataFrame:
    """The same rows in partitions of whole batches; the last holds what is left over.

    What does not fill a batch moves on to the next partition, so each waits for the one before;
    making the rows does not.
    """
    names = list(passed.values())
    parts = frame.to_delayed()
    split = dask.delayed(_split, nout=2, pure=True)
    left, filled = None, []
    for n, part in enumerate(parts):
        full, left = split(left, part, names, batch_size, n == len(parts) - 1)
        filled.append(full)
    return dd.from_delayed(filled, meta=frame._meta, verify_meta=False)


def _split(
    left: pd.DataFrame | None,
    part: pd.DataFrame,
    names: list[str],
    batch_size: int | str | None,
    last: bool,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = part if left is None or not len(left) else pd.concat([left, part])
    if last:
        return rows, rows.iloc[:0]
    good = np.flatnonzero(present(rows, names))
    size = rows_per_batch(rows, names, batch_size)
    full = len(good) // size * size
    end = int(good[full - 1]) + 1 if full else 0
    return rows.iloc[:end], rows.iloc[end:]
