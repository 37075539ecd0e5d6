"""What pandas asks of cells that are equal by content (of files: by path) and have no order."""

from __future__ import annotations

from typing import Any, NoReturn, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.extensions import ExtensionArray

from daskimg.column import cells as c
from daskimg.column.held import Held, Mask

__all__ = ["ByContent", "ByDigest"]

_NO_NUMBERS = (
    "cells of {} are no numbers. .img has what is computed of pictures: df.image.img.mean() is a "
    "number for each, df.image.img.mean().mean() that of all; arithmetic on pixels is "
    ".img.normalize(0, 1) for pixels / 255 as floats, .img.apply(lambda pixels: ...) any other"
)


class ByDigest(ExtensionArray):
    """Hashing and grouping of cells that are equal where their digests are."""

    def _take(self, index: npt.NDArray[np.int64]) -> Self:
        raise AssertionError("the array takes its rows")

    def digests(self) -> npt.NDArray[np.object_]:
        """Sixteen bytes for each cell, equal where cells are; None where they are null."""
        raise AssertionError("the array has digests")

    def _values_for_factorize(self) -> tuple[npt.NDArray[Any], Any]:
        return self.digests(), None

    def factorize(self, use_na_sentinel: bool = True) -> tuple[npt.NDArray[np.intp], Self]:
        """Codes of equal cells, and the first cell of each."""
        codes, _ = pd.factorize(self.digests(), use_na_sentinel=use_na_sentinel)
        kinds, first = np.unique(codes, return_index=True)
        return codes, self._take(first[kinds >= 0].astype(np.int64))

    def unique(self) -> Self:
        """The first of all equal cells, in order of appearance."""
        return self.factorize(use_na_sentinel=False)[1]

    def duplicated(self, keep: Any = "first") -> Mask:
        """Which cells equal another one; null cells equal each other."""
        return pd.Index(self.digests()).duplicated(keep)

    def _hash_pandas_object(
        self, *, encoding: str, hash_key: str, categorize: bool
    ) -> npt.NDArray[np.uint64]:
        words = b"".join(bytes(16) if d is None else d for d in self.digests())
        return np.frombuffer(words, np.uint64)[::2].copy()


class ByContent(ByDigest, Held):
    """Equality and filling of an `ImageArray`, and what there is not of pictures."""

    def digests(self) -> npt.NDArray[np.object_]:
        """Sixteen bytes for each cell, equal where cells are; None where they are null."""
        out = np.full(len(self), None, object)
        for i, cell in enumerate(self):
            if self.valid[i]:
                out[i] = c.digest(c.as_image(cell, self.dtype.tensor))
        return out

    def _digest_of(self, value: Any) -> bytes | None:
        try:
            return c.digest(c.as_image(value, self.dtype.tensor))
        except TypeError:  # no cell, so equal to none
            return None

    def __eq__(self, other: Any) -> Any:
        if isinstance(other, pd.Series | pd.Index | pd.DataFrame):
            return NotImplemented
        mine = self.digests()
        if isinstance(other, ByContent):
            theirs: Any = other.digests()
        elif isinstance(other, list) or (
            isinstance(other, np.ndarray)
            and other.ndim
            and (other.dtype == object or len(other) == len(self))
        ):
            theirs = [self._digest_of(value) for value in other]
        else:
            theirs = [self._digest_of(other)] * len(self)
        if len(theirs) != len(mine):
            raise ValueError(f"Lengths must match: {len(mine)} and {len(theirs)} rows")
        pairs = zip(mine, theirs, strict=True)
        return np.array([a is not None and a == b for a, b in pairs], bool)

    def __ne__(self, other: Any) -> Any:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else ~equal

    def equals(self, other: object) -> bool:
        """Same dtype, same cells, nulls in the same rows."""
        if not isinstance(other, ByContent) or self.dtype != other.dtype:
            return False
        return len(self) == len(other) and bool((self.digests() == other.digests()).all())

    def argsort(self, **how: Any) -> npt.NDArray[np.intp]:
        """Where the cells of groups go; there is no order to sort a column by.

        Raises
        ------
        TypeError
            When a sort is asked for. (pandas asks for the order of groups without a word.)
        """
        if how:
            return self._values_for_argsort()
        places = [c.place(c.as_image(cell, self.dtype.tensor)) for cell in self]
        return np.array(sorted(range(len(self)), key=places.__getitem__), np.intp)

    def _values_for_argsort(self) -> npt.NDArray[Any]:
        raise TypeError(f"cells of {self.dtype} have no order; sort by .img.path or by a measure")

    def _no_numbers(self, *args: Any, **how: Any) -> Any:
        if args and isinstance(args[0], pd.Series | pd.Index | pd.DataFrame):
            return NotImplemented
        raise TypeError(_NO_NUMBERS.format(self.dtype))

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _no_numbers
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _no_numbers
    __pow__ = __rpow__ = __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = _no_numbers
    __divmod__ = __rdivmod__ = __matmul__ = __rmatmul__ = interpolate = _no_numbers
    __lt__ = __le__ = __gt__ = __ge__ = _no_numbers
    __neg__ = __pos__ = __abs__ = __invert__ = _quantile = _no_numbers
    _accumulate = _no_numbers

    def refuse_numbers(self, dtype: Any) -> None:
        """Raise where an array of `dtype` would hold numbers for cells."""
        if dtype is not None and np.dtype(dtype).kind in "biufcmM":
            self._no_numbers()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **how: Any) -> Any:
        if any(isinstance(x, pd.Series | pd.Index | pd.DataFrame) for x in inputs):
            return NotImplemented
        if method == "__call__" and ufunc in (np.equal, np.not_equal) and inputs[0] is self:
            return self == inputs[1] if ufunc is np.equal else self != inputs[1]
        return self._no_numbers()

    def _groupby_op(
        self,
        *,
        how: str,
        ngroups: int,
        ids: npt.NDArray[np.intp],
        min_count: int = -1,
        skipna: bool = True,
        **rest: Any,
    ) -> Any:
        """The first or last cell of each group (pandas 2 refuses cells that are arrays)."""
        if how not in ("first", "last"):
            return self._unable(how)
        grouped = ids >= 0
        whole = grouped & ~self.isna()
        rows = np.flatnonzero(whole if skipna else grouped)
        chosen = np.full(ngroups, -1)
        chosen[ids[rows]] = rows  # of those that are set more than once, the last stays
        if how == "first":
            chosen[ids[rows[::-1]]] = rows[::-1]
        chosen[np.bincount(ids[whole], minlength=ngroups) < min_count] = -1
        return self.take(chosen, allow_fill=True)

    def _unable(self, operation: str) -> NoReturn:
        says = _NO_NUMBERS.format(self.dtype)
        raise TypeError(
            f"a column of {self.dtype} does not support operation {operation!r}: {says}"
        )

    def _reduce(self, name: str, **how: Any) -> Any:
        if name == "count":
            return super()._reduce(name, **how)
        return self._unable(name)

    def value_counts(self, dropna: bool = True) -> pd.Series:
        """How often each cell occurs."""
        codes, cells = self.factorize(use_na_sentinel=dropna)
        counts = np.bincount(codes[codes >= 0], minlength=len(cells))
        index = pd.Index(cells, name=None, copy=False)
        return pd.Series(counts, index=index, name="count", dtype="Int64")

    def fillna(self, value: Any = None, *args: Any, **options: Any) -> Self:
        """Missing cells filled.

        Numbers may be given where none is meant for pictures: of all that pandas was told for
        other columns, it leaves NaN for this one.
        """
        if getattr(value, "ndim", 0) == 1 and pd.isna(value).all():
            return self.copy()
        try:
            filled: Self = super().fillna(value, *args, **options)
        except TypeError as error:
            hint = 'to fill other columns alone, name them: fillna({"price": 0})'
            raise TypeError(f"{error}; {hint}") from error
        return filled

    def _pad_or_backfill(
        self, *, method: Any, limit: int | None = None, limit_area: Any = None, copy: bool = True
    ) -> Self:
        """As of any column; pandas 2 asks an own `fillna` for it where this is not said."""
        filled: Self = super()._pad_or_backfill(  # type: ignore[misc]
            method=method, limit=limit, limit_area=limit_area, copy=copy
        )
        return filled

    def isin(self, values: Any) -> Mask:
        """Which cells are among `values`."""
        cells = list(values)
        wanted = {self._digest_of(value) for value in cells} - {None}
        found = np.array([d in wanted for d in self.digests()], bool)
        return found | self.isna() if any(map(c.is_missing, cells)) else found
