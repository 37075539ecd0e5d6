"""Where rows come from: a reader's partitions, and what they tell without being read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import dask
import dask.dataframe as dd
import pandas as pd

from daskimg import wanted
from daskimg.lazy import foresight, plain
from daskimg.lazy.expr import RULES, Expr, FromMapProjectable, Len, Lengths, Literal, new_collection
from daskimg.lazy.tree import decider
from daskimg.transport.stores import is_here, store_of

__all__ = ["from_reader", "row_counts"]


class Known(Protocol):
    """What the parts of a reader tell of their rows without reading."""

    @property
    def columns(self) -> Sequence[str]:
        """The columns they tell."""

    def rows(self, parts: Sequence[Any], columns: Sequence[str]) -> tuple[pd.DataFrame, Any]:
        """Rows with all values that the parts have in these columns, and the part of each."""


def from_reader(
    read: Callable[..., pd.DataFrame],
    parts: Sequence[Any],
    *,
    meta: Any,
    label: str,
    divisions: Sequence[Any] | None = None,
    lengths: Sequence[int] | None = None,
    weights: Sequence[int] | None = None,
    known: Known | None = None,
    stores: Iterable[str] = (),
    **options: Any,
) -> dd.DataFrame:
    """A lazy frame of ``read(part, columns=..., **options)``, its dtypes as they are declared.

    Parameters
    ----------
    read, parts, meta, divisions, label
        As in ``dd.from_map``.
    lengths : sequence of int, optional
        Rows of each part, where they are known without reading: ``len()`` reads nothing then.
    weights : sequence of int, optional
        Bytes of the files that each part names, where they are known.
    known : Known, optional
        What the parts tell of their rows without reading.
    stores : iterable of str, optional
        The files that the rows are in: texts in them are data (see `origin`).
    """
    # lists, dates and bytes would become strings
    homes = tuple(sorted({str(store_of(path)) for path in stores}))
    if not RULES:
        read = plain.at_home(read, homes)
    with dask.config.set({"dataframe.convert-string": False}):
        frame = dd.from_map(read, parts, meta=meta, divisions=divisions, label=label, **options)
    if not isinstance(frame.expr, FromMapProjectable):
        wanted.watch()
        return frame
    counted, weighed = (None if x is None else tuple(map(int, x)) for x in (lengths, weights))
    return new_collection(Source(*frame.expr.operands, counted, known, homes, weighed))


def row_counts(frame: Any) -> tuple[int, ...] | None:
    """Rows of each partition, where nothing but row-wise ops came after a reader that knows."""
    below = decider(frame.expr)
    return below.counts if isinstance(below, Source) else None


def row_weight(frame: Any) -> float:
    """Bytes of the file that a row names, in the mean; 0 where they are not known."""
    below = decider(frame.expr)
    counts, weights = (below.counts, below.weights) if isinstance(below, Source) else (None, None)
    return sum(weights) / max(sum(counts), 1) if counts and weights else 0.0


class Source(FromMapProjectable):  # type: ignore[misc]
    """A ``from_map`` that knows how many rows its partitions have."""

    _parameters = [*FromMapProjectable._parameters, "lengths", "known", "stores", "weighed"]  # noqa: RUF012
    _defaults = {  # noqa: RUF012
        **FromMapProjectable._defaults,
        **{"lengths": None, "known": None, "stores": (), "weighed": None},
    }

    @property
    def counts(self) -> tuple[int, ...] | None:
        """Rows of each partition that was chosen."""
        known = self.operand("lengths")
        return None if known is None else tuple(known[part] for part in self._partitions)

    @property
    def weights(self) -> tuple[int, ...] | None:
        """Bytes of the files that each partition that was chosen names."""
        known = self.operand("weighed")
        return None if known is None else tuple(known[part] for part in self._partitions)

    @property
    def homes(self) -> tuple[str, ...]:
        """The stores that its files are in, where they are files."""
        found: tuple[str, ...] = self.operand("stores")
        return found

    @property
    def known_columns(self) -> list[str]:
        """Columns whose values stand in the graph."""
        known = self.operand("known")
        return [] if known is None else list(known.columns)

    def look_up(self, columns: Sequence[str]) -> tuple[pd.DataFrame, Any]:
        """The values of known columns, and the partition (of those chosen) of each."""
        (parts,) = self.iterables
        rows: tuple[pd.DataFrame, Any] = self.operand("known").rows(
            [parts[part] for part in self._partitions], columns
        )
        return rows

    def _lower(self) -> Expr | None:
        wanted.watch()
        if hasattr(self.operand("func"), "spans") and not all(map(is_here, self.homes)):
            foresight.watch()
        lowered: Expr | None = super()._lower()
        return lowered

    def _simplify_up(self, parent: Expr, dependents: Any) -> Expr | None:
        if isinstance(parent, Len | Lengths) and self.counts is not None:
            return Literal(sum(self.counts) if isinstance(parent, Len) else self.counts)
        return super()._simplify_up(parent, dependents)
