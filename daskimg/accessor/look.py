"""Looking at pictures: sheets of them, side by side, and at the ends of a measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from daskimg.accessor.base import Accessor, neighbour, per_row
from daskimg.accessor.measure import NUMBERS
from daskimg.errors import quoted, whole
from daskimg.show import SIDE, ContactSheet, contact_sheet, histogram

__all__ = ["LookOps", "compare"]


class LookOps(Accessor):
    """Pictures to look at."""

    def show(self, n: int = 16, columns: int = 4, label: Any = None) -> ContactSheet:
        """The first pictures on one sheet.

        Parameters
        ----------
        n : int
            How many.
        columns : int
            Pictures in a row.
        label : str, Series or list, optional
            A text below each picture: a column of the same rows, or a list for the first of them.
            The name of a column: of a Dask frame ``df.image`` knows the others of ``df``; of a
            pandas frame ``df.img.show(label="name")`` does.

        Returns
        -------
        PIL.Image.Image
            A gallery in a notebook. A failed picture shows its reason.

        Examples
        --------
        >>> pictures.img.show(2).size
        (344, 176)
        """
        if isinstance(label, str):
            label = neighbour(self._frame(), label, self._series.name)
        frame = self._small().to_frame("image")
        rowwise = per_row(label)
        if rowwise:
            frame = frame.assign(label=label)
        first = self._head(frame, n)
        labels = first["label"] if rowwise else label
        if labels is not None:
            labels = ["" if pd.isna(x) else x for x in labels][:n]
            if len(labels) < len(first):
                raise ValueError(
                    f"label has a text for each of the {len(first)} pictures; got {len(labels)}"
                )
        return contact_sheet(list(first["image"].array), columns, labels)

    def _small(self) -> Any:
        return self._series.img.on_error("null").img.resize(SIDE, SIDE, fit="contain")

    def _thumbnails(self, n: int) -> list[Any]:
        """The first `n` cells, made small."""
        return list(self._head(self._small().to_frame("image"), n)["image"].array)

    def hist(self, of: Any = "brightness", bins: int = 30, n: int = 4) -> ContactSheet:
        """How a measure is spread, and the pictures at both ends of it.

        Parameters
        ----------
        of : str or Series
            What is measured: ``"sharpness"``, ``"width"``, ...; or a column of numbers of the same
            rows (a model's score).
        bins : int
            Bars of the histogram.
        n : int
            Pictures of the lowest values, and as many of the highest.

        Returns
        -------
        PIL.Image.Image
            The lowest, the histogram, the highest. Pictures that failed are counted in its title.

        Examples
        --------
        >>> pictures.img.hist("mean", n=1).size
        (712, 360)
        """
        bins, n = whole("bins", bins), whole("n", n)
        cells = self._series.img.on_error("null")
        name, values = (of.name, of) if per_row(of) else (of, _measured(cells, of))
        frame = cells.to_frame("image").assign(of=values)
        known = frame.dropna(subset=["of"])
        every, low, high = self._computed(
            frame["of"], known.nsmallest(n, "of"), known.nlargest(n, "of")
        )
        found = every.dropna().to_numpy("float64")
        title = f"{name} of {len(found):,} pictures"
        if len(every) > len(found):
            title += f", {len(every) - len(found):,} without"
        return histogram(found, _pairs(low), _pairs(high), title, bins)


def _pairs(rows: pd.DataFrame) -> list[tuple[Any, float]]:
    return list(zip(rows["image"].array, rows["of"], strict=True))


def _measured(cells: Any, name: str) -> Any:
    if name not in NUMBERS:
        raise ValueError(
            f"of is a column of numbers, or names a measure ({', '.join(NUMBERS)}); got "
            f"{quoted(name)}"
        )
    values = getattr(cells.img, name)
    return values() if callable(values) else values


def compare(*pictures: Any, labels: Sequence[str] | None = None, n: int = 8) -> ContactSheet:
    """Pictures side by side: the rows of two columns or more, or single ones.

    Parameters
    ----------
    *pictures : Series, or anything that makes a picture
        Image columns (pandas or Dask) of which each row is one line; lists; or single pictures
        (an `Image`, an array, a Pillow image).
    labels : sequence of str, optional
        What stands below the pictures of each; the names of the columns by default.
    n : int
        The most rows.

    Returns
    -------
    PIL.Image.Image
        A gallery in a notebook. A failed picture shows its reason.

    Examples
    --------
    >>> compare(pictures, pictures.img.blur(1.0), labels=["as it is", "blurred"], n=2).size
    (344, 376)
    >>> compare(np.zeros((8, 8), "uint8"), np.ones((8, 8), "uint8")).size
    (344, 176)
    """
    if not pictures:
        raise TypeError("compare takes two pictures or more, or columns of them; got none")
    n = whole("n", n)
    if labels is not None and (isinstance(labels, str) or len(labels) != len(pictures)):
        raise ValueError(
            f"labels has a text for each of the {len(pictures)} that are compared; got {labels!r}"
        )
    columns = [one if per_row(one) else _column(one) for one in pictures]
    names = [column.name for column in columns] if labels is None else labels
    shown = [column.img._thumbnails(n) for column in columns]
    rows = max(map(len, shown))
    cells = [each[row] if row < len(each) else None for row in range(rows) for each in shown]
    told = any(name is not None for name in names)
    texts = ["" if name is None else str(name) for name in names] * rows
    return contact_sheet(cells, len(shown), texts if told else None)


def _column(value: Any) -> pd.Series:
    return pd.Series(value if isinstance(value, list | tuple) else [value], dtype="image")
