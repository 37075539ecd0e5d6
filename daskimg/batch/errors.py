"""What the user's function did wrong: on which rows of which batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from daskimg.errors import brief, message_of, quoted

__all__ = ["BatchError", "failure", "told"]


class BatchError(ValueError):
    """The user's function failed, or returned what is no batch of its rows.

    An exception of the function arrives as a BatchError that is also of the function's own
    exception class, so that ``except KeyError`` goes on working.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return BatchError, (self.message,)


class _CausedError(BatchError):
    """A BatchError that is also an exception of the class `cause`."""

    cause: type[Exception]

    def __reduce__(self) -> tuple[Any, ...]:
        return _caused, (self.cause, self.message)


def _caused(cause: type[Exception], message: str) -> BatchError:
    try:
        kind = type(cause.__name__, (_CausedError, cause), {"cause": cause})
        error: BatchError = kind(message)
    except Exception:  # a class that cannot be combined or built of a text
        return BatchError(message)
    return error


def failure(
    error: Exception, name: str, number: int, index: pd.Index[Any], lists: Sequence[str] = ()
) -> BatchError:
    """`error` with the function, the batch and the rows it happened to.

    `lists` are the columns that came as a list, as their pictures differ in shape; where that is
    what the function stumbled on, the message says so.
    """
    says = brief(message_of(error))
    message = f"{name}, batch {number} ({told(index)}): {type(error).__name__}: {says}"
    if lists and ("'list'" in says or "inhomogeneous" in says):
        message += (
            f". The pictures of {', '.join(map(quoted, lists))} differ in shape, so a batch has "
            "a list of arrays: return a list too, or give them one shape before, with "
            '.img.convert("RGB").img.resize(height, width)'
        )
    if issubclass(BatchError, type(error)):  # a ValueError, an Exception
        return BatchError(message)
    return _caused(type(error), message)


def told(index: pd.Index[Any]) -> str:
    """The rows of a batch in words.

    Examples
    --------
    >>> told(pd.RangeIndex(3, 9)), told(pd.Index([7]))
    ('rows 3 to 8', 'row 7')
    """
    if len(index) == 1:
        return f"row {quoted(index[0])}"
    if len(index) <= 4:
        return f"rows {', '.join(map(quoted, index.tolist()))}"
    return f"rows {quoted(index[0])} to {quoted(index[-1])}"
