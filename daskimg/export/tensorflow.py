"""A frame for TensorFlow: a ``tf.data.Dataset``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from daskimg.column.dtype import ImageDtype
from daskimg.lazy.source import row_counts
from daskimg.stream import OnNull, chosen, iter_batches
from daskimg.stream.window import with_pixels
from daskimg.words import FEEDS, SAME, known_as

__all__ = ["to_tf"]


@known_as(FEEDS, **{**SAME, **dict.fromkeys(("label_column", "label", "labels"), "label_columns")})
def to_tf(
    frame: Any,
    feature_columns: str | Sequence[str],
    label_columns: str | Sequence[str] | None = None,
    batch_size: int = 32,
    *,
    drop_last: bool = False,
    shuffle_buffer: int | None = None,
    seed: int | None = None,
    on_null: OnNull = "raise",
    prefetch_partitions: int = 2,
) -> Any:
    """A ``tf.data.Dataset`` of batches ``(features, label)``, pictures as NHWC.

    Parameters
    ----------
    frame : DataFrame
        Of Dask or pandas.
    feature_columns, label_columns : str or list of str
        One: a tensor; a list: a dict of tensors by name. No labels (None): features alone.
        Pictures need one shape (``.img.convert("RGB")``, ``.img.resize(height, width)``).
    batch_size : int
        Rows of a batch.
    drop_last, shuffle_buffer, seed, on_null, prefetch_partitions
        As in `iter_batches`.

    Returns
    -------
    tf.data.Dataset
        Read anew each time that it is iterated. Its specification follows from the dtypes of
        the columns; nothing is read to know it. Its cardinality is known where the number of
        rows is (no filter came after a reader, and ``on_null`` drops none).

    Raises
    ------
    ImportError
        Where TensorFlow is not installed.
    TypeError
        For a column that has no tensor form: pictures of many shapes, lists.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ImportError(
            "to_tf needs TensorFlow: pip install tensorflow (or tensorflow-cpu)"
        ) from error

    names = _names(feature_columns) + _names(label_columns)
    wanted = chosen(frame, list(dict.fromkeys(names)))
    dtypes = with_pixels(wanted.iloc[:0] if isinstance(wanted, pd.DataFrame) else wanted).dtypes
    rows = batch_size if drop_last else None

    def spec(name: str) -> Any:
        shape, dtype = _shape_and_dtype(name, dtypes[name])
        kind = tf.string if dtype.kind == "O" else tf.as_dtype(dtype)
        return tf.TensorSpec((rows, *shape), kind, name=name)

    def pick(of: Any, columns: str | Sequence[str]) -> Any:
        return of(columns) if isinstance(columns, str) else {name: of(name) for name in columns}

    def pair(of: Any) -> Any:
        features = pick(of, feature_columns)
        return features if label_columns is None else (features, pick(of, label_columns))

    signature = pair(spec)

    def batches() -> Iterator[Any]:
        found = iter_batches(
            wanted,
            batch_size,
            "numpy",
            prefetch_partitions,
            drop_last,
            shuffle_buffer,
            seed,
            on_null,
        )
        for batch in found:
            yield pair(batch.__getitem__)

    made = tf.data.Dataset.from_generator(batches, output_signature=signature)
    counts = (len(wanted),) if isinstance(wanted, pd.DataFrame) else row_counts(wanted)
    if counts is None or on_null == "drop":
        return made
    full, rest = divmod(sum(counts), batch_size)
    number = full + (rest > 0 and not drop_last)
    return made.apply(tf.data.experimental.assert_cardinality(number))


def _names(columns: str | Sequence[str] | None) -> list[str]:
    if columns is None:
        return []
    return [columns] if isinstance(columns, str) else list(columns)


def _shape_and_dtype(name: str, dtype: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Of a column's tensors, without the axis of rows; text as object."""
    if isinstance(dtype, ImageDtype):
        if dtype.shape is None or dtype.cell_dtype is None:
            raise TypeError(
                f"{name!r} is {dtype}: its pictures may differ in shape, and a tensor's are of "
                'one. Give them one with .img.decode("RGB").img.resize(height, width)'
            )
        return dtype.shape, dtype.cell_dtype
    kind = getattr(dtype, "numpy_dtype", dtype)
    if isinstance(kind, np.dtype) and kind.kind in "biuf":
        return (), kind
    if pd.api.types.is_string_dtype(dtype):
        return (), np.dtype(object)
    raise TypeError(f"{name!r} is {dtype}: TensorFlow has no tensor of such values")
