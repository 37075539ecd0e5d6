"""Memory that several walks fill side by side: a batch that is made in pieces lies in one array.

To put pieces together costs a picture more than all of Python's work on it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

__all__ = ["Place", "Room", "empty"]

T = TypeVar("T")
Array = npt.NDArray[Any]

_mine = threading.local()


class Room:
    """Arrays of so many rows; each is held by those who have a part of it."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.made: WeakValueDictionary[Any, Array] = WeakValueDictionary()
        self.lock = threading.Lock()

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any], number: int) -> Array:
        """The array of some shape that has a `number`, made on first use."""
        with self.lock:
            found = self.made.get((shape, dtype, number))
            if found is None:
                found = np.empty((self.rows, *shape), dtype)
                self.made[shape, dtype, number] = found
            return found


class Place:
    """Some rows of a room: those of one piece.

    Examples
    --------
    >>> room = Room(4)
    >>> first, last = (Place(room, at, 2).around(empty, 2, (3,), np.dtype("u1")) for at in (0, 2))
    >>> first.shape, first.base is last.base
    ((2, 3), True)
    """

    def __init__(self, room: Room, start: int, rows: int) -> None:
        self.room, self.start, self.rows = room, start, rows
        self.given: dict[Any, int] = {}

    def around(self, work: Callable[..., T], *args: Any) -> T:
        """``work(*args)``, which gets its memory here."""
        with _within(self):
            return work(*args)

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """These rows of an array that has not been given to this piece."""
        number = self.given.get((shape, dtype), 0)
        self.given[shape, dtype] = number + 1
        return self.room.array(shape, dtype, number)[self.start : self.start + self.rows]


@contextmanager
def _within(place: Place) -> Iterator[None]:
    around = getattr(_mine, "place", None)
    _mine.place = place
    try:
        yield
    finally:
        _mine.place = around


def empty(rows: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array of `rows`: a part of the room that there is for the piece at hand, or its own."""
    place: Place | None = getattr(_mine, "place", None)
    if place is None or place.rows != rows:  # (some rows were left out)
        return np.empty((rows, *shape), dtype)
    return place.array(shape, dtype)
