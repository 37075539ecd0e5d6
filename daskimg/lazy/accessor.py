"""``.img`` on a Dask Series: the accessor of pandas, with ops that join the image program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask
import pandas as pd
from dask.dataframe.extensions import register_series_accessor

from daskimg.accessor import ImageAccessor
from daskimg.column.array import ImageArray
from daskimg.engine.program import Program
from daskimg.errors import quoted
from daskimg.lazy.arrays import dask_array
from daskimg.lazy.expr import new_collection
from daskimg.lazy.image_op import image_op
from daskimg.lazy.origin import at_home
from daskimg.lazy.tree import co_aligned, frame_behind

__all__ = ["LazyImageAccessor"]


@register_series_accessor("img")
class LazyImageAccessor(ImageAccessor):
    """The ops of `ImageAccessor`, lazy: nothing is read before ``compute``."""

    def __init__(self, series: Any) -> None:
        super().__init__(series)
        self._series = at_home(series)

    def _run(self, program: Program, args: Sequence[Any]) -> Any:
        for arg in args:
            if not hasattr(arg, "dask") or not co_aligned(self._series, arg):
                raise ValueError(
                    f"a row-wise argument of {self._series.name!r} is a column of the same Dask "
                    f"frame, row by row; got {quoted(arg)}. Assign or merge it into the "
                    "frame first."
                )
        return image_op(self._series, program, list(args))

    def _dask_array(self, lengths: bool | Sequence[int] | None, na_value: Any) -> Any:
        return dask_array(self._series, lengths, na_value)

    def _cells(self, what: str) -> ImageArray:
        raise TypeError(
            f"{what}() needs the whole column in memory: compute() it first, or use "
            ".img.to_dask_array(lengths=True) for a lazy array"
        )

    def _has_paths(self) -> bool:
        return True

    def _frame(self) -> Any:
        found = frame_behind(self._series.expr)
        return None if found is None else new_collection(found)

    def _computed(self, *values: Any) -> tuple[Any, ...]:
        found: tuple[Any, ...] = dask.compute(*values)
        return found

    def _head(self, frame: Any, n: int) -> pd.DataFrame:
        rows: pd.DataFrame = frame.head(n, npartitions=-1)
        return rows
