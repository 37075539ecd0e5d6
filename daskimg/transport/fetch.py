"""Bytes of a path: local files, fsspec stores, ranges for headers, retries.

Nothing here knows what a picture is. A path is text; what is needed to open it (keys, an
endpoint) is a `Source`, which travels with a program and never shows what it holds.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable
from typing import Any, BinaryIO

from fsspec.asyn import AsyncFileSystem

from daskimg.transport import ahead, disk
from daskimg.transport.ahead import Request
from daskimg.transport.doors import Door, door_of
from daskimg.transport.retry import retrying
from daskimg.transport.source import Source, common, recall
from daskimg.transport.stores import WEB, local_path

__all__ = [
    "Ranges",
    "Source",
    "asking",
    "common",
    "for_cell",
    "local_path",
    "open_head",
    "open_ranges",
    "read_bytes",
    "read_start",
    "recall",
    "retrying",
    "size",
    "tries",
]

HEAD_BYTES = 64 * 1024  # one range: holds the header of nearly every picture


def for_cell(path: str, source: Source | None) -> Source:
    """With what a path that a cell holds is opened, or PermissionError; see `Source.for_cell`."""
    return (source or Source.default).for_cell(path)


def read_bytes(
    path: str,
    source: Source | None = None,
    *,
    retries: int = 3,
    max_bytes: int | None = None,
    first: Request | None = None,
) -> bytes:
    """All bytes of a file.

    Parameters
    ----------
    path : str
        A local path or the URL of any fsspec filesystem.
    source : Source, optional
        The options of that filesystem.
    retries : int
        How often to try again after a transient failure: a reset connection, a time-out, a
        5xx answer. A missing or forbidden file is never tried again.
    max_bytes : int, optional
        The most bytes that are read.
    first : Request, optional
        What was asked for ahead (by `asking`): the first try.

    Returns
    -------
    bytes

    Raises
    ------
    TooManyBytesError
        For a file of more than `max_bytes`.
    FileNotFoundError, PermissionError, OSError
        Naming the path, its credentials masked.

    Examples
    --------
    >>> import fsspec
    >>> fsspec.filesystem("memory").pipe_file("/pics/1.jpg", b"pixels")
    >>> read_bytes("memory://pics/1.jpg")
    b'pixels'
    """
    local = local_path(path)
    if local is not None:
        try:
            return disk.read(local, max_bytes) if first is None else first.result()
        except OSError:  # it is tried again there, and told by its path
            return retrying(functools.partial(disk.read, local, max_bytes), path, retries)
    source = source or Source.default
    if max_bytes is None:
        door, name = door_of(path, source)
        whole = tries(first, functools.partial(_request, door, name))
        return bytes(retrying(whole, path, retries, source.mask))
    if _is_web(path):  # a web server may ignore ranges
        fs, name = source.filesystem(path)
        data = retrying(lambda: _read_stream(fs, name, max_bytes), path, retries, source.mask)
    else:
        data = Ranges(path, source, retries).read_range(0, max_bytes + 1, first)
    disk.check_size(len(data), max_bytes)
    return data


def asking(
    path: str, source: Source, *, head: bool = False, max_bytes: int | None = None
) -> ahead.Ask | None:
    """The request that `read_bytes` or, for a `head`, `open_head` makes first, for a `Feed`.

    None where it is not made ahead: of a local file on a fast disk, on a filesystem that has no
    asynchronous requests, and under a limit of bytes on a web server, which may send the whole
    file.
    """
    local = local_path(path)
    if local is not None:
        if not disk.is_slow():
            return None
        read = functools.partial(disk.start, local, HEAD_BYTES) if head else None
        return functools.partial(disk.ask, read or functools.partial(disk.read, local, max_bytes))
    if max_bytes is not None and not head and _is_web(path):
        return None
    door, name = door_of(path, source)
    if not door.asynchronous:
        return None
    if head:
        return functools.partial(door.read, name, 0, HEAD_BYTES)
    if max_bytes is not None:
        return functools.partial(door.read, name, 0, max_bytes + 1)
    return functools.partial(door.read, name)


def _is_web(path: str) -> bool:
    return path.partition("://")[0] in WEB


def tries(first: Request | None, other: Callable[[], Any]) -> Callable[[], Any]:
    """What is tried: what was asked for ahead, then another request each time."""
    if first is None:
        return other
    ways = iter([first.result])
    return lambda: next(ways, other)()


def read_start(
    path: str, most: int, *, retries: int = 3, first: Request | None = None
) -> bytes | None:
    """The first bytes of a local file, `most` of them (or what was asked for ahead); None for a
    path on another filesystem.

    Three system calls, where a file object takes twice their time.

    Examples
    --------
    >>> read_start("s3://bucket/1.jpg", 4096) is None
    True
    """
    local = local_path(path)
    if local is None:
        return None
    start: bytes = retrying(tries(first, lambda: disk.start(local, most)), path, retries)
    return start


def open_head(
    path: str, source: Source | None = None, *, retries: int = 3, first: Request | None = None
) -> BinaryIO:
    """A seekable file object for reading a header.

    A remote file costs one request of 64 KiB, and one more for each block read beyond it: the
    rest of the file is never fetched.

    Parameters
    ----------
    path, source, retries
        As in :func:`read_bytes`.
    first : Request, optional
        For the first 64 KiB of it.

    Returns
    -------
    BinaryIO

    Examples
    --------
    >>> import fsspec
    >>> fsspec.filesystem("memory").pipe_file("/pics/1.jpg", b"pixels")
    >>> with open_head("memory://pics/1.jpg") as file:
    ...     file.seek(3), file.read()
    (3, b'els')
    """
    local = local_path(path)
    if local is not None:
        # unbuffered: a header is one read
        return retrying(
            lambda: os.fdopen(os.open(local, disk.FLAGS), "rb", buffering=0), path, retries
        )
    ranges = Ranges(path, source or Source.default, retries, first)
    reader = io.BufferedReader(ranges, HEAD_BYTES)
    try:
        reader.peek(1)  # the one request, now: a missing file fails where it is opened
    except BaseException:
        reader.close()
        raise
    return reader


def open_ranges(path: str, source: Source | None = None, *, retries: int = 3) -> BinaryIO:
    """A seekable remote file of which each read is one request, made again like any other.

    For readers that ask for large pieces of it, such as columns of a Parquet file. Parameters as
    in :func:`read_bytes`.
    """
    return Ranges(path, source or Source.default, retries)  # type: ignore[return-value]


def size(path: str, source: Source | None = None, *, retries: int = 3) -> int:
    """The number of bytes of a file, without reading it where its store can tell.

    Parameters
    ----------
    path, source, retries
        As in :func:`read_bytes`.

    Returns
    -------
    int

    Examples
    --------
    >>> import fsspec
    >>> fsspec.filesystem("memory").pipe_file("/pics/1.jpg", b"pixels")
    >>> size("memory://pics/1.jpg")
    6
    """
    local = local_path(path)
    if local is not None:
        return retrying(lambda: os.stat(local).st_size, path, retries)
    source = source or Source.default
    door, name = door_of(path, source)
    found = retrying(lambda: _size(door, name), path, retries, source.mask)
    # a web server may keep the length to itself
    return len(read_bytes(path, source, retries=retries)) if found is None else int(found)


class Ranges(io.RawIOBase):
    """A remote file as byte ranges; `io.BufferedReader` around it is the block cache.

    What was asked for ahead is the `first` try for its first range.

    Opening through fsspec asks the store for the size first; here the end of the file is known
    when a range comes back short, so a header is one request, not two.
    """

    def __init__(
        self, path: str, source: Source, retries: int, first: Request | None = None
    ) -> None:
        super().__init__()
        self._path, self._source, self._retries = path, source, retries
        self._first = first
        self._begin = b""  # of the file, as far as it has been read at once
        self._door, self._name = door_of(path, source)
        self._at = 0
        self._size: int | None = None

    @property
    def asynchronous(self) -> bool:
        """Whether several requests may be under way."""
        return self._door.asynchronous

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: -1}[whence]
        self._at = max(0, (self._length() if start < 0 else start) + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        start, end = self._at, self._at + len(buffer)
        if self._size is not None:
            end = min(end, self._size)
        if end <= start:
            return 0
        data = self._begin[start:end] or self._read(start, end)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _read(self, start: int, end: int) -> bytes:
        first, self._first = self._first, None
        data = self.read_range(start, end, first if start == 0 else None)
        if len(data) > end - start:  # a web server that ignores ranges sends the whole file
            self._size, self._begin = len(data), data
            return data[start:end]
        if len(data) < end - start:
            self._size = start + len(data)
        if start == 0:
            self._begin = data
        return data

    def read_range(
        self, start: int, end: int, first: Request | None = None, whole: bool = False
    ) -> bytes:
        """Some bytes of the file, or all; what was asked for ahead is the first try."""
        span = (None, None) if whole else (start, end)
        ways = tries(first, functools.partial(_request, self._door, self._name, *span))
        try:
            return bytes(retrying(ways, self._path, self._retries, self._source.mask))
        except (FileNotFoundError, PermissionError):
            raise
        except (OSError, ValueError):
            # stores answer "range not satisfiable" at and beyond the end, each in its own words
            if start < self._length():
                raise
            return b""

    def _length(self) -> int:
        if self._size is None:
            self._size = size(self._path, self._source, retries=self._retries)
        return self._size


def _request(door: Door, name: str, start: int | None = None, end: int | None = None) -> Any:
    """A file or a range of it in limited time, as long as somebody wants it."""
    if door.asynchronous:
        return ahead.now(functools.partial(door.read, name, start, end))
    how: dict[str, Any] = {} if end is None else {"start": start, "end": end}
    if isinstance(door.fs, AsyncFileSystem):
        how["timeout"] = ahead.LONGEST
    return door.fs.cat_file(name, **how)


def _size(door: Door, name: str) -> Any:
    if door.asynchronous:
        return ahead.now(functools.partial(door.fs._size, name))
    return door.fs.size(name)


def _read_stream(fs: Any, name: str, most: int) -> bytes:
    """A file of the web until it ends, or is longer than it may be."""
    blocks, left = [b"?"], most + 1
    # (told a size, fsspec does not ask for it)
    with fs.open(name, "rb", block_size=0, size=1) as stream:
        while left > 0 and blocks[-1]:
            blocks.append(stream.read(left))
            left -= len(blocks[-1])
    return b"".join(blocks[1:])
