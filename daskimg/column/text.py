"""Paths and reasons of a column: an Arrow array, or None where every value is null."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from daskimg.compat import nulled

__all__ = [
    "Text",
    "compact",
    "concat",
    "nbytes",
    "of",
    "places",
    "present",
    "put",
    "row_bytes",
    "take",
    "token",
]

Array = npt.NDArray[Any]
Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Text: TypeAlias = pa.LargeStringArray | None

_TEXT = pa.large_string()


def of(values: Sequence[str | None] | Text) -> Text:
    """An Arrow array of strings; None when there is none in it."""
    if values is None:
        return None
    if isinstance(values, pa.Array):
        return values if values.type == _TEXT else values.cast(_TEXT)
    if all(value is None for value in values):
        return None
    return pa.array(values, pa.large_string())


def take(values: Text, index: Index, missing: Mask | None = None) -> Text:
    """Values at `index`; null where `missing`."""
    if values is None:
        return None
    return values.take(pa.array(index, mask=missing))


def put(values: Text, order: Index, new: Text, k: int) -> Text:
    """Values at `order` of `values` followed by the `k` of `new`."""
    if values is None and new is None:
        return None
    joined = concat([(values, len(order)), (new, k)])
    return take(joined, order)


def concat(parts: Sequence[tuple[Text, int]]) -> Text:
    """One array of several, each given with its length."""
    parts = [(part, n) for part, n in parts if n]  # (Arrow stumbles over an empty slice)
    if all(part is None for part, _ in parts):
        return None
    return pa.concat_arrays(
        [pa.nulls(n, pa.large_string()) if part is None else part for part, n in parts]
    )


def compact(values: Text) -> Text:
    """A copy that holds no bytes of rows outside a slice."""
    if values is None or values.null_count == len(values):
        return None
    held = values.get_total_buffer_size() > values.nbytes + 64  # (buffers are padded)
    return pa.concat_arrays([values]) if held or values.offset else values


def present(values: Text, n: int) -> Mask:
    """Which of `n` values there are."""
    if values is None:
        return np.zeros(n, bool)
    mask: Mask = values.is_valid().to_numpy(zero_copy_only=False)
    return mask


def token(values: Text) -> tuple[Array, ...] | None:
    """Plain arrays that tell these values from any others."""
    values = compact(values)
    if values is None:
        return None
    _, offsets, data = values.fill_null("").buffers()
    ends = np.frombuffer(offsets, np.int64, len(values) + 1)
    flat = np.frombuffer(data, np.uint8)[: ends[-1]] if data else np.empty(0, np.uint8)
    return values.is_valid().to_numpy(zero_copy_only=False), ends, flat


def places(values: Text) -> Text:
    """Paths of files: null where a picture stands in the text itself (a data URL)."""
    if values is None:
        return None
    held = pc.starts_with(values, "data:", ignore_case=True)
    return nulled(values, held) if held.true_count else values


def row_bytes(values: Text) -> int:
    """Bytes of a slice."""
    return 0 if values is None else int(values.nbytes)


def nbytes(values: Text) -> int:
    """Bytes held."""
    return 0 if values is None else int(values.get_total_buffer_size())
