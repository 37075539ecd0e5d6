"""Which column each array of a NumPy file becomes, and its dtype."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from daskimg.column.dtype import ImageDtype, is_picture_shape
from daskimg.engine.program import STRING
from daskimg.io.npy.format import Header

__all__ = ["Layout"]


@dataclass(frozen=True)
class Layout:
    """Which array (and field, or column of it) each column is, and its dtype."""

    places: Mapping[str, tuple[str, str | int | None]]
    dtypes: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        arrays: Mapping[str, Header],
        shown: str,
        column: str,
        names: Sequence[str] | None,
        policy: str | None,
    ) -> Layout:
        """The columns of a file of these arrays, called `shown`.

        Raises
        ------
        ValueError
            For names that are not there.
        """
        places: dict[str, tuple[str, str | int | None]] = {key: (key, None) for key in arrays}
        if "" in arrays:
            places = _places(arrays[""], column, names)
        wanted = list(places) if names is None else list(names)
        if len({*wanted}) < len(wanted):
            raise ValueError(f"column_names: a name occurs twice in {wanted}")
        for name in wanted:
            if name not in places:
                told = ", ".join(map(repr, places))
                raise ValueError(f"column_names: no {name!r} in {shown}; it has {told}")
        kinds = {}
        for name in wanted:
            key, field = places[name]
            head = arrays[key]
            dtype, shape = head.dtype, head.shape[1:]
            if isinstance(field, str):
                dtype, inner = _base(dtype[field])
                shape = (*shape, *inner)
            elif field is not None:
                shape = ()
            try:
                kinds[name] = _column_dtype(dtype, shape, policy)
            except ValueError as error:
                raise ValueError(f"{shown}: {name!r}: {error}") from None
        return cls({name: places[name] for name in wanted}, kinds)


def _base(dtype: np.dtype[Any]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    return (dtype, ()) if dtype.subdtype is None else dtype.subdtype


def _places(
    head: Header, column: str, names: Sequence[str] | None
) -> dict[str, tuple[str, str | int | None]]:
    if head.dtype.names:
        return {field: ("", field) for field in head.dtype.names}
    if names is None:
        return {column: ("", None)}
    if len(head.shape) == 2 and len(names) == head.shape[1] and head.dtype.kind in "biuf":
        return {name: ("", n) for n, name in enumerate(names)}
    if len(names) == 1:
        return {names[0]: ("", None)}
    raise ValueError(
        f"column_names: {list(names)} are {len(names)} names, and the array of shape {head.shape} "
        "is one column: use column="
    )


def _column_dtype(dtype: np.dtype[Any], shape: tuple[int, ...], policy: str | None) -> Any:
    if dtype.kind not in "biufcUSmM":
        raise ValueError(f"arrays of {dtype} are no column")
    native = dtype.newbyteorder("=")
    if not shape:
        return STRING if dtype.kind in "US" else pd.Series(np.empty(0, native)).dtype
    if dtype.kind not in "biuf":
        raise ValueError(f"arrays of {dtype} with rows of shape {shape} are no column")
    return ImageDtype(native.name, shape, tensor=not is_picture_shape(shape), on_error=policy)
