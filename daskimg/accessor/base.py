"""What all groups of ops stand on."""

from __future__ import annotations

import math
import numbers
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype
from daskimg.column.lists import ImageListDtype
from daskimg.engine import onepass
from daskimg.engine.ops import build
from daskimg.engine.program import Program, Row
from daskimg.errors import quoted

__all__ = [
    "Accessor",
    "Number",
    "listed",
    "neighbour",
    "number",
    "per_row",
    "size_of",
    "span",
    "values_of",
    "whole",
]

Number = Any  # a number, or a Series with one for each picture


def whole(least: int, rows: bool = True, **values: Any) -> list[Any]:
    """Numbers of pixels as int; with `rows`, what has a value per row is looked at per row.

    Raises
    ------
    TypeError, ValueError
        For what is no number, or no whole one, or too small; it names the parameter.
    """
    found: list[Any] = []
    for name, value in values.items():
        if rows and per_row(value):
            found.append(value)
            continue
        if not isinstance(value, numbers.Real):
            what = type(value).__name__ if per_row(value) else quoted(value)
            raise TypeError(f"{name} is a number of pixels; got {what}")
        if not float(value).is_integer() or value < least:
            raise ValueError(
                f"{name} is a whole number of pixels, {least} or more; got {quoted(value)}"
            )
        found.append(int(float(value)))
    return found


def number(low: float = -math.inf, high: float = math.inf, /, **values: Any) -> list[Any]:
    """Numbers from `low` to `high`; what has a value per row is looked at per row.

    A wrong number is the caller's, and no picture's: under the policy "null" it would cost them
    all, silently.

    Raises
    ------
    TypeError, ValueError
        For what is no number, or none of these; it names the parameter.
    """
    for name, value in values.items():
        if per_row(value):
            continue
        if not isinstance(value, numbers.Real):
            raise TypeError(f"{name} is a number; got {quoted(value)}")
        if not (math.isfinite(value) and low <= float(value) <= high):
            least = "" if low == -math.inf else f", {low:g} or more"
            bounds = least if high == math.inf else f", {low:g} to {high:g}"
            raise ValueError(f"{name} is a number{bounds}; got {quoted(value)}")
    return list(values.values())


def span(
    name: str, value: Any, low: float = -math.inf, high: float = math.inf, pair: bool = False
) -> Any:
    """A number of 0 or more, or (with `pair` only) a pair ``(low, high)``, as floats.

    Raises
    ------
    TypeError, ValueError
        For what is neither, or out of bounds; it names the parameter.
    """
    if not np.iterable(value) or isinstance(value, str):
        if pair:
            raise TypeError(f"{name} is a pair (low, high); got {quoted(value)}")
        number(0, high, **{name: value})
        return float(value)
    ends = tuple(value)
    if len(ends) != 2:
        raise ValueError(f"{name} is a pair (low, high); got {quoted(value)}")
    for end in ends:
        number(low, high, **{name: end})
    if ends[0] > ends[1]:
        raise ValueError(f"{name} is a pair (low, high), the lower one first; got {quoted(value)}")
    return float(ends[0]), float(ends[1])


def values_of(
    name: str, value: Any, dtype: ImageDtype, low: float = -math.inf, above: bool = False
) -> Any:
    """A number for all channels, or one for each in a tuple, as many as the column's if known.

    Raises
    ------
    TypeError, ValueError
        For what is none; it names the parameter. With `above`, `low` itself is none.
    """
    one = not np.iterable(value) or isinstance(value, str) or per_row(value)
    values = (value,) if one else tuple(value)
    for item in values:
        number(low, **{name: item})
        if above and not per_row(item) and item <= low:
            raise ValueError(f"{name} is a number above {low:g}; got {quoted(item)}")
    channels = dtype.channels
    if not one and channels is not None and len(values) != max(1, channels):
        raise ValueError(
            f"{name} is one number, or one for each channel, of which there are "
            f"{max(1, channels)}; got {len(values)}: {quoted(value)}"
        )
    return value if one else values


def per_row(value: Any) -> bool:
    """Whether `value` is a column, pandas or Dask."""
    return isinstance(value, pd.Series) or hasattr(value, "dask")


def size_of(op: str, height: Any, width: Any, rows: bool = False) -> list[Any]:
    """Height and width of an op that takes ``(height, width)``, or a pair of them.

    Raises
    ------
    TypeError, ValueError
        For what is no size of 1 x 1 or above.
    """
    if width is None and isinstance(height, Sequence | np.ndarray) and len(height) == 2:
        height, width = height
    if width is None:
        what = type(height).__name__ if per_row(height) else quoted(height)
        raise TypeError(f"{op} takes a height and a width; got {what} alone")
    return whole(1, rows, height=height, width=width)


def neighbour(frame: Any, name: str, beside: Any = None) -> Any:
    """The column `name` of a frame.

    Raises
    ------
    KeyError
        There is no such column; it names those there are.
    TypeError
        There is no frame: the column `beside` stands alone.
    """
    if frame is None:
        raise TypeError(
            f"a column alone does not know its neighbours: df.img.show({beside!r}, "
            f"label={quoted(name)}), or label=df[{quoted(name)}]"
        )
    if name not in frame.columns:
        told = ", ".join(map(str, frame.columns))
        raise KeyError(f"no column {quoted(name)}; the columns are {told}")
    return frame[name]


def listed(title: str, groups: Mapping[str, Sequence[str]]) -> str:
    """What an accessor has, a group of names a line."""
    width = max(map(len, groups)) + 2
    lines = [
        textwrap.fill(
            " ".join(names),
            96,
            initial_indent=f"  {group:<{width}}",
            subsequent_indent=" " * (width + 2),
            break_on_hyphens=False,
        )
        for group, names in groups.items()
    ]
    return "\n".join([title, *lines])


class Accessor:
    """A checked image column, and the one way in which an op is added to it."""

    def __init__(self, series: Any) -> None:
        if not isinstance(series.dtype, ImageDtype):
            way = 'Make one of paths or bytes with di.images(series) or astype("image[encoded]").'
            if isinstance(series.dtype, ImageListDtype):
                way = f"explode({series.name!r}) makes one, a row for each picture."
            raise AttributeError(
                f"Can only use .img on an image column; {quoted(series.name)} is {series.dtype}. "
                f"{way}"
            )
        self._series = series

    def __repr__(self) -> str:
        """What there is, by the class it stands in; properties apart.

        Examples
        --------
        >>> print(repr(pictures.img).replace("  ", " "))
        .img of None, image[pixels]
        ...geometry...resize() crop() ...
        """
        groups: dict[str, list[str]] = {}
        for kind in type(self).__mro__:
            group = kind.__name__.removesuffix("Ops").lower()
            if not kind.__name__.endswith("Ops"):
                continue
            for name, value in vars(kind).items():
                if name.startswith("_"):
                    continue
                if isinstance(value, property):
                    groups.setdefault("header", []).append(name)
                else:
                    groups.setdefault(group, []).append(f"{name}()")
        return listed(f".img of {self._series.name!r}, {self._series.dtype}", groups)

    # -- the places that differ between pandas and Dask -----------------------------------
    def _run(self, program: Program, args: Sequence[Any]) -> Any:
        for arg in args:
            if not isinstance(arg, pd.Series):
                raise ValueError(
                    f"a row-wise argument of a pandas column is a pandas Series; got a lazy "
                    f"{type(arg).__name__} of Dask: compute() it first"
                )
        return onepass.run(self._series, [program], *args)[0]

    def _cells(self, what: str) -> ImageArray:
        """The column in memory, for what cannot be lazy."""
        cells: ImageArray = self._series.array
        return cells

    def _op(self, name: str, *params: Any) -> Any:
        args: list[Any] = []
        marked = []
        for value in params:
            if per_row(value):
                marked.append(Row(len(args)))
                args.append(value)
            else:
                marked.append(value)
        return self._run(build(self._series.dtype, name, *marked), args)

    def _has_paths(self) -> bool:
        """Whether the cells can have paths (of a lazy column nobody knows before it runs)."""
        cells: ImageArray = self._series.array
        return cells.path is not None or not len(cells)

    def _frame(self) -> Any:
        """The frame that the column was taken out of, where a column knows it; else None."""
        return None

    def _head(self, frame: Any, n: int) -> pd.DataFrame:
        """The first `n` rows in memory."""
        rows: pd.DataFrame = frame.head(n)
        return rows

    def _computed(self, *values: Any) -> tuple[Any, ...]:
        """Frames and columns in memory, of one pass."""
        return values
