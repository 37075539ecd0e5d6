"""Which expressions work row by row."""

from __future__ import annotations

import functools
import operator
import re
from typing import Any

import pandas as pd

from daskimg.lazy.expr import (
    Blockwise,
    DropnaFrame,
    DropnaSeries,
    Elemwise,
    Eval,
    Expr,
    Filter,
    Isin,
    Loc,
    Map,
    Query,
    ResetIndex,
    Split,
    ToDatetime,
    ToNumeric,
)
from daskimg.lazy.nodes import ImageNode, Stage
from daskimg.lazy.tree import is_column

__all__ = ["Hole", "Passed", "Pictures", "drops_rows", "is_rowwise", "mask_of"]


class Hole(Expr):  # type: ignore[misc]
    """In the expressions of a region: what it reads, by its place."""

    _parameters = ["like", "place"]  # noqa: RUF012

    @functools.cached_property
    def _meta(self) -> Any:
        return self.operand("like")

    @functools.cached_property
    def _name(self) -> str:
        return f"hole-{self.deterministic_token}"

    def _divisions(self) -> tuple[None, None]:
        return (None, None)

    @property
    def ndim(self) -> int:
        like = self.operand("like")
        return 0 if like is None else like.ndim


class Pictures(Blockwise):  # type: ignore[misc]
    """What opens pictures, for several columns at once."""


class Passed(Blockwise):  # type: ignore[misc]
    """The rows that pass: a `Filter` that Dask merges with no other, which may be of other rows."""

    _parameters = ["frame", "predicate"]  # noqa: RUF012
    operation = operator.getitem


def mask_of(expr: Expr) -> Expr | None:
    """What the rows of a filter are kept by; None: it is no filter by a mask."""
    if isinstance(expr, Filter | Passed):
        mask = expr.operand("predicate")
    elif isinstance(expr, Loc):
        mask = expr.operand("iindexer")
    else:
        return None
    return mask if is_column(mask) and mask.ndim == 1 else None


def drops_rows(expr: Expr) -> bool:
    """Whether it leaves rows out, and what stays is what it was."""
    if isinstance(expr, Query):
        # (a function in it looks at all rows that it is given)
        return re.search(r"[@(`]|\bindex\b", expr.operand("_expr")) is None
    return mask_of(expr) is not None or isinstance(expr, DropnaFrame | DropnaSeries)


def is_rowwise(expr: Expr) -> bool:
    """Whether each row of the result follows from the same row of what is below, or is left out."""
    if isinstance(expr, Stage | ResetIndex | Split) or not expr.dependencies():
        return False  # (each partition has numbers of its own)
    if not (isinstance(expr, Elemwise) and is_column(expr)) and not drops_rows(expr):
        return False
    return not (_reads_pictures(expr) or _looks_around(expr))


def _reads_pictures(expr: Expr) -> bool:
    """Whether it reads a number made of pictures: its columns are computed first."""
    return any(
        isinstance(node, ImageNode | Pictures)
        for below in expr.dependencies()
        if not is_column(below)
        for node in below.walk()
    )


def _looks_around(expr: Expr) -> bool:
    """Whether what becomes of a row depends on others of its partition, or on a table."""
    if drops_rows(expr):
        return False
    tables = [below for below in expr.dependencies() if is_column(below)]
    if isinstance(expr, Eval | ToDatetime | ToNumeric):
        return True
    if isinstance(expr, Map | Isin) and tables[1:]:  # the second has values, not rows
        return True
    return any(map(_categories, _dtypes(expr))) and not any(
        map(_categories, [dtype for below in tables for dtype in _dtypes(below)])
    )


def _categories(dtype: Any) -> bool:
    return isinstance(dtype, pd.CategoricalDtype)


def _dtypes(expr: Expr) -> list[Any]:
    meta = expr._meta
    if isinstance(meta, pd.DataFrame):
        return list(meta.dtypes)
    dtype = getattr(meta, "dtype", None)
    return [] if dtype is None else [dtype]
