"""What is compared of a row: its hashes, made of its picture or found in columns of the frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dask
import dask.dataframe as dd
import numpy as np
import numpy.typing as npt
import pandas as pd

from daskimg.accessor.base import neighbour
from daskimg.column.dtype import ImageDtype
from daskimg.column.lists import ImageListDtype
from daskimg.curate.bands import MOST_BITS, TURNED
from daskimg.engine.program import STRING
from daskimg.errors import quoted
from daskimg.io.commit.failures import image_column, image_columns
from daskimg.lazy.nodes import numbered

__all__ = [
    "FAULTY",
    "FLAT",
    "ID",
    "OURS",
    "PIXELS",
    "SHARP",
    "Compared",
    "compared",
    "has_pictures",
    "key_of",
    "light",
    "of_quality",
    "prepared",
    "twin",
]

KINDS = ("phash", "dhash", "ahash")
#: Below this standard deviation of luma a picture is one flat tone: its hash would be noise, and
#: its tone stands for it.
FLAT = 4.0
TONES = 16  # levels of light that are one tone
SIDES = 128  # pixels of a side of the small picture that is turned
OURS = "__curate_"  # the names of our own columns begin so
ID, PIXELS, SHARP, FAULTY = (f"{OURS}{name}" for name in ("id", "pixels", "sharp", "faulty"))
MOST_PARTS, PART_ROWS = 16, 64  # of pictures in memory, looked at by threads
ROWS = 32  # bits of an id that tell the row of its partition
OTHER = 1 << 62  # what the ids of the other frame begin at
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: multiples of it lie far apart


@dataclass(frozen=True)
class Compared:
    """Which columns of a prepared frame are compared, and when two rows are near.

    Parameters
    ----------
    hash, confirm : tuple of str
        The columns of the hash and of the second one; of a picture turned eight ways, eight each.
    flat : bool
        Whether the frame tells how flat a picture is: its hashes were made here.
    bits : int
        How many bits may differ; of the second hash, twice as many.
    """

    hash: tuple[str, ...]
    confirm: tuple[str, ...]
    flat: bool
    bits: int
    across: bool = False
    side: int = 0

    def rows(self, part: pd.DataFrame) -> pd.DataFrame:
        """``id``, ``hash``, ``confirm`` and ``kind`` of all that is compared in a partition."""
        flags = {name: np.full(len(part), self.side, np.uint8) for name in self._flags()}
        tables = []
        for n, name in enumerate(self.hash):
            values, known = _unsigned(part[name])
            columns = {"id": part[ID].to_numpy(), "hash": self._told(part, values)}
            if self.confirm:
                second, also = _unsigned(part[self.confirm[n]])
                columns["confirm"], known = self._told(part, second), known & also
            if flags:
                columns["kind"] = flags["kind"] | (TURNED if n else 0)
            tables.append(pd.DataFrame(columns)[known])
        return tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)

    def _flags(self) -> tuple[str, ...]:
        return ("kind",) if len(self.hash) > 1 or self.across else ()

    def _told(self, part: pd.DataFrame, values: npt.NDArray[np.uint64]) -> Any:
        """The hashes, of flat pictures a number that tells their tone."""
        if not self.flat:
            return values
        flat = part[f"{OURS}contrast"].to_numpy(np.float64) < FLAT
        tone = np.nan_to_num(part[f"{OURS}brightness"].to_numpy(np.float64)) / TONES
        return np.where(flat, (tone.round() + 1).astype(np.uint64) * SPREAD, values)

    @property
    def meta(self) -> pd.DataFrame:
        """No rows of `rows`."""
        kinds = {"id": "int64", "hash": "uint64"}
        kinds |= {"confirm": "uint64"} if self.confirm else {}
        kinds |= {name: "uint8" for name in self._flags()}
        return pd.DataFrame({name: pd.Series([], dtype=kind) for name, kind in kinds.items()})


def compared(
    frame: Any,
    column: str | None,
    hash: str,
    bits: int,
    confirm: str | None,
    turned: bool,
    **also: Any,
) -> tuple[dict[str, Any], Compared]:
    """The columns to assign to a frame for a comparison, and what they are.

    Raises
    ------
    TypeError, ValueError, KeyError
        For what is no number of bits, no kind of hash and no column of hashes.
    """
    if isinstance(bits, bool) or not isinstance(bits, int | np.integer):
        raise TypeError(f"bits is a whole number, 0 to {MOST_BITS}; got {quoted(bits)}")
    if not 0 <= bits <= MOST_BITS:
        raise ValueError(f"bits is 0 to {MOST_BITS} of the 64 of a hash; got {bits}")
    if hash is None:
        raise TypeError("hash is the name of a column, or a kind: phash, dhash, ahash; got None")
    pictures = has_pictures(frame, column)
    made: dict[str, Any] = {}
    names: dict[str, tuple[str, ...]] = {}
    for what, one in {"hash": hash, "confirm": confirm}.items():
        if one is None or (what == "confirm" and one not in frame.columns and not pictures):
            names[what] = ()
        elif one in frame.columns:
            _check_hashes(frame.dtypes[one], one)
            if turned:
                raise ValueError(
                    f"turned=True makes hashes of turned pictures; {what}={quoted(one)} is a "
                    f"column of hashes made before: give a kind, {', '.join(KINDS)}"
                )
            made[f"{OURS}{what}"] = frame[one]
            names[what] = (f"{OURS}{what}",)
        else:
            if one not in KINDS:
                told = ", ".join(map(str, frame.columns))
                raise ValueError(
                    f"{what} is a column of 64-bit hashes or one of {', '.join(KINDS)}; got "
                    f"{quoted(one)}. The columns are {told}"
                )
            if turned:
                new = _turned(frame[image_column(frame, column)], one)
            else:
                new = [frame[image_column(frame, column)].img.hash(one)]
            columns = {f"{OURS}{what}_{n}": value for n, value in enumerate(new)}
            made |= columns
            names[what] = tuple(columns)
    flat = hash not in frame.columns and confirm not in frame.columns
    if flat:
        cells = frame[image_column(frame, column)]
        made[f"{OURS}contrast"] = cells.img.contrast()
        made[f"{OURS}brightness"] = cells.img.brightness()
    return made, Compared(names["hash"], names["confirm"], flat, int(bits), **also)


def _check_hashes(dtype: Any, name: str) -> None:
    numpy = getattr(dtype, "numpy_dtype", dtype)
    if numpy not in (np.dtype("uint64"), np.dtype("int64")):
        raise TypeError(f"hashes are 64-bit whole numbers (UInt64); column {name!r} is {dtype}")


def _turned(cells: Any, kind: str) -> list[Any]:
    """The hashes of a picture as it is, turned by quarters, and of its mirror image so."""
    small = cells.img.convert("L").img.resize(SIDES, SIDES)
    both = (small, small.img.flip("horizontal"))
    turns = [one.img.rotate(angle) if angle else one for one in both for angle in (0, 90, 180, 270)]
    return [one.img.hash(kind) for one in turns]


def _unsigned(values: pd.Series) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Hashes as unsigned numbers, and which are not null."""
    known = values.notna().to_numpy()
    own: Any = values.dtype
    dtype: Any = getattr(own, "numpy_dtype", own)
    numbers = values.to_numpy(dtype, na_value=0) if not known.all() else values.to_numpy(dtype)
    return numbers.view(np.uint64), known


def light(frame: Any) -> list[Any]:
    """The columns of a frame whose rows take little memory: no bytes of pictures, no pixels."""

    def is_light(dtype: Any) -> bool:
        if isinstance(dtype, ImageDtype):
            return dtype.cells == "file"
        return not isinstance(dtype, ImageListDtype)

    return [name for name, dtype in frame.dtypes.items() if is_light(dtype)]


def key_of(frame: Any, column: str | None, key: str | None) -> tuple[Mapping[str, Any], Any]:
    """What tells a row in a result, as a column to assign (none: the index), and its dtype."""
    if key is not None:
        return {f"{OURS}key": neighbour(frame, key)}, frame.dtypes[key]
    pictures = [name for name in image_columns(frame) if not frame.dtypes[name].tensor]
    if column is not None or len(pictures) == 1:
        cells = frame[image_column(frame, column)]
        if cells.img._has_paths():
            return {f"{OURS}key": cells.img.path}, STRING
    elif "path" in frame.columns:
        return {f"{OURS}key": frame["path"]}, frame.dtypes["path"]
    meta = frame if isinstance(frame, pd.DataFrame) else frame._meta
    return {}, meta.index.dtype


def has_pictures(frame: Any, column: str | None) -> bool:
    """Whether there is a column of pictures to look at."""
    return column is not None or any(not frame.dtypes[n].tensor for n in image_columns(frame))


def of_quality(frame: Any, column: str | None) -> dict[str, Any]:
    """The columns that tell the best of several."""
    image = frame[image_column(frame, column)].img
    return {PIXELS: image.height * image.width, SHARP: image.sharpness()}


def twin(frame: Any) -> Any:
    """A lazy frame of the rows of a pandas one, so that each picture is opened once for all that
    is asked of it; a Dask frame itself."""
    if not isinstance(frame, pd.DataFrame):
        return frame
    rows = frame.reset_index(drop=True)
    several = min(MOST_PARTS, len(rows) // PART_ROWS) if has_pictures(frame, None) else 1
    with dask.config.set({"dataframe.convert-string": False}):
        return dd.from_pandas(rows, npartitions=max(1, several), sort=False)


def prepared(frame: Any, lazy: Any, made: Mapping[str, Any], kept: list[Any], side: int = 0) -> Any:
    """A frame's columns `kept`, those that were `made` of its twin, and a number for each row."""
    number = _Number(side)
    if isinstance(frame, pd.DataFrame):
        columns = lazy.assign(**made)[list(made)].compute(scheduler="threads")
        return number(frame[kept].assign(**{name: columns[name].array for name in made}), 0)
    wide = lazy.assign(**made)[[*kept, *made]]
    return numbered(wide, number, number(wide._meta, 0))


class _Number:
    """A partition with numbers for its rows, which tell their order in the frame."""

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, part: pd.DataFrame, number: int) -> pd.DataFrame:
        first = (self.side * OTHER) + (number << ROWS)
        return part.assign(**{ID: np.arange(first, first + len(part), dtype=np.int64)})
