"""Files of many rows: which there are, their bytes, frames and writes of one after another."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import dask.dataframe as dd
import pandas as pd

from daskimg import config
from daskimg.column.dtype import ImageDtype, common_root
from daskimg.column.lists import ImageListDtype
from daskimg.io.commit.manifest import published
from daskimg.io.commit.target import Target
from daskimg.io.listing.find import UrlPath, given_paths, list_images
from daskimg.io.listing.roots import rooted
from daskimg.io.listing.walk import name_of, own_part
from daskimg.lazy import chunks
from daskimg.lazy.source import from_reader
from daskimg.secrets import mask_url
from daskimg.transport import fetch, spans
from daskimg.transport.spans import Spans

__all__ = [
    "Part",
    "Positions",
    "Shard",
    "from_shards",
    "list_shards",
    "numbered",
    "open_shard",
    "read_range",
    "spans_of",
    "with_bytes",
]

# Shards whose rows are not counted: the index of row r of shard s is s * EXTENT + r.
EXTENT = 10**9
LOOKED_THROUGH = 4  # shards elsewhere that are in memory at once to find their rows
PNG = ("bool", "uint8", "uint16")  # values that it can hold


class Shard(NamedTuple):
    """A file of many rows, and its size where the listing told it."""

    path: str
    size: int | None

    @property
    def shown(self) -> str:
        """The path without credentials."""
        return mask_url(self.path)


def list_shards(
    urlpath: UrlPath | Iterable[UrlPath], names: re.Pattern[str], source: fetch.Source
) -> list[Shard]:
    """The files that `urlpath` stands for: of a list in its order, of a folder sorted by path.

    A file named as such is taken; of a folder the files are whose names `names` matches, and of
    a glob too, unless none does. ``{000..011}`` and ``{a,b}`` in a path stand for several.

    Raises
    ------
    FileNotFoundError
        Naming the path that is missing, or holds no such file.

    Examples
    --------
    >>> import fsspec
    >>> fsspec.filesystem("memory").pipe({"/tars/0.tar": b"12", "/tars/1.tar": b"1"})
    >>> list_shards("memory://tars/{0..1}.tar", re.compile("tar$"), fetch.Source.default)
    [Shard(path='memory://tars/0.tar', size=2), Shard(path='memory://tars/1.tar', size=1)]
    """
    found: dict[str, int | None] = {}
    for entry in given_paths(urlpath, source):
        files = _listed(entry, source)
        right = {path: size for path, size in files.items() if names.search(own_part(path))}
        folder = Target(entry, source).href("")
        if not right and not any(path.startswith(folder) for path in files):
            right = files
        if not right:
            seen = ", ".join(name_of(path) for path in itertools.islice(files, 3))
            raise FileNotFoundError(
                f"no file in {mask_url(entry)!r} that ends as {names.pattern!r}; it holds "
                f"{seen or 'none'}{', ...' if len(files) > 3 else ''}. Name the files, or give a "
                "glob"
            )
        found.update(sorted(right.items()))
    return [Shard(path, size) for path, size in found.items()]


def _listed(entry: str, source: fetch.Source) -> dict[str, int | None]:
    """Files with their sizes; those of a committed folder are those of its manifest."""
    listing = list_images(entry, file_extensions="*", storage_options=source, manifest=published)
    paths = listing.paths.to_pylist()
    sizes = [None] * len(paths) if listing.sizes is None else listing.sizes.tolist()
    return dict(zip(paths, sizes, strict=True))


def spans_of(
    shard: Shard, source: fetch.Source, start: int = 0, end: int | None = None
) -> Spans | None:
    """Bytes of a shard, where they come in ranges that can be under way before they are read."""
    if end is not None:
        return spans.spans_of(shard.path, source, start, end)
    return spans.spans_of(shard.path, source, 0, shard.size or 0, whole=True)


def read_range(shard: Shard, source: fetch.Source, start: int, end: int) -> bytes:
    """The bytes of a file from `start` to `end`; fewer where it ends before."""
    retries = config.retries()
    local = fetch.local_path(shard.path)
    if local is not None:

        def read() -> bytes:
            with open(local, "rb") as file:
                file.seek(start)
                return file.read(end - start)

        return fetch.retrying(read, shard.path, retries)
    found = spans_of(shard, source, start, end)
    if found is not None:
        return chunks.read(found)
    with fetch.open_ranges(shard.path, source, retries=retries) as file:
        file.seek(start)
        return file.read(end - start)


def open_shard(shard: Shard, source: fetch.Source, head: bool = False) -> BinaryIO:
    """A file to read from its start: a remote one comes whole, by growing blocks for its head."""
    retries = config.retries()
    if fetch.local_path(shard.path) is not None:
        return fetch.open_head(shard.path, source, retries=retries)
    if head:
        return spans.open_start(shard.path, source, retries)
    found = spans_of(shard, source)
    if found is not None:
        return io.BytesIO(chunks.read(found))
    return io.BytesIO(fetch.read_bytes(shard.path, source, retries=retries))


def numbered(shards: int) -> list[int]:
    """Divisions of one partition a shard, whose rows nobody counted."""
    return [*(n * EXTENT for n in range(shards)), shards * EXTENT - 1]


class Part(NamedTuple):
    """Rows of one shard: all, or `rows` from `first` on (bytes `start` to `end`)."""

    shard: Shard
    row: int  # the index of the first
    first: int = 0
    rows: int | None = None
    start: int = 0
    end: int | None = None

    def spans(self, source: fetch.Source) -> Spans | None:
        """The bytes that are read for them."""
        return spans_of(self.shard, source, self.start, self.end)


# Where each row of a shard begins, and where the last ends; None in one that is compressed.
Positions: TypeAlias = tuple[Sequence[int], int | None]


def from_shards(
    reader: Callable[..., pd.DataFrame],
    shards: Sequence[Shard],
    most: int | None,
    positions: Callable[[Shard], Positions],
    meta: pd.DataFrame,
    label: str,
) -> dd.DataFrame:
    """A lazy frame of a partition for each shard, or of at most so many rows: then counted."""
    paths = [shard.path for shard in shards]
    meta = rooted(meta, common_root(path.rpartition("/")[0] + "/" for path in paths))
    if most is None:
        whole = [Part(shard, n * EXTENT) for n, shard in enumerate(shards)]
        divisions = numbered(len(shards))
        return from_reader(reader, whole, meta=meta, divisions=divisions, label=label, stores=paths)
    parts = list(_cut(shards, most, positions))
    lengths = [part.rows or 0 for part in parts]
    divisions = [*(part.row for part in parts), max(sum(lengths) - 1, 0)]
    counted: dict[str, Any] = {"divisions": divisions, "lengths": lengths}
    return from_reader(reader, parts, meta=meta, label=label, stores=paths, **counted)


def _cut(
    shards: Sequence[Shard], most: int, positions: Callable[[Shard], Positions]
) -> Iterator[Part]:
    row = 0
    for shard, (starts, end) in zip(shards, _looked_through(shards, positions), strict=True):
        for first in range(0, len(starts), most):
            last = min(first + most, len(starts))
            span: Any = ()
            if end is not None:
                span = starts[first], starts[last] if last < len(starts) else end
            yield Part(shard, row, first, last - first, *span)
            row += last - first
    if not row:
        yield Part(shards[0], 0, 0, 0)


def _looked_through(
    shards: Sequence[Shard], positions: Callable[[Shard], Positions]
) -> Iterator[Positions]:
    """The positions in each shard; of those elsewhere some are fetched while one is looked at."""
    if all(fetch.local_path(shard.path) is not None for shard in shards):
        yield from map(positions, shards)
        return
    with ThreadPoolExecutor(LOOKED_THROUGH) as pool:
        yield from pool.map(positions, shards)


def with_bytes(frame: dd.DataFrame, where: str) -> dd.DataFrame:
    """The frame with its pictures as the bytes of files: as they are, pixels as PNG.

    Raises
    ------
    ValueError
        For pixels that PNG cannot hold, lists of pictures, and names of columns that are no
        strings.
    """
    made = {}
    for name in frame.columns:
        if not isinstance(name, str):
            raise ValueError(f"columns of {where} have names that are strings; got {name!r}")
    for name, dtype in frame.dtypes.items():
        if isinstance(dtype, ImageListDtype):
            raise ValueError(
                f"the column {name!r} is {dtype}, and {where} holds no lists of pictures: explode "
                "it first, or use write_parquet"
            )
        if not isinstance(dtype, ImageDtype) or dtype.tensor or dtype.cells == "encoded":
            continue
        if dtype.cell_dtype is not None and dtype.cells not in PNG:
            raise ValueError(
                f"the column {name!r} is {dtype}, and {where} holds pictures as files: "
                'astype("uint8") or encode() them first, or use write_parquet or write_numpy'
            )
        cells = frame[name].img
        made[name] = cells._op("export", "PNG", None) if dtype.holds_pixels else cells.read()
    return frame.assign(**made) if made else frame
