"""Bytes of a path: local files, fsspec stores, ranges for headers, retries.

Nothing here knows what a picture is. A path is text; what is needed to open it (keys, an
endpoint) is a `Source`, which travels with a program and never shows what it holds.
"""

from __future__ import annotations

import asyncio
import io
import os
import time
from concurrent.futures import wait
from typing import Any, BinaryIO

from fsspec.asyn import AsyncFileSystem

from daskimg.errors import TooManyBytesError
from daskimg.transport.retry import retrying
from daskimg.transport.source import Source, common, recall
from daskimg.transport.stores import local_path
from daskimg.wanted import EVERY, check

__all__ = [
    "Source",
    "common",
    "for_cell",
    "local_path",
    "open_head",
    "read_bytes",
    "read_start",
    "recall",
    "retrying",
    "size",
]

HEAD_BYTES = 64 * 1024  # one range: holds the header of nearly every picture
LONGEST = 300.0  # seconds that one request may take, its body included
# a pipe with the name of a picture is empty: nobody is waited for
LOCAL = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


def for_cell(path: str, source: Source | None) -> Source:
    """With what a path that a cell holds is opened, or PermissionError; see `Source.for_cell`."""
    return (source or Source.default).for_cell(path)


def read_bytes(
    path: str,
    source: Source | None = None,
    *,
    retries: int = 3,
    max_bytes: int | None = None,
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
        return retrying(lambda: _read_local(local, max_bytes), path, retries)
    source = source or Source.default
    fs, name = source.filesystem(path)
    if max_bytes is None:
        # s3fs asks for the size first to fetch pieces side by side: two requests for a picture
        how = {"max_concurrency": 1} if getattr(fs, "max_concurrency", 1) > 1 else {}
        return bytes(retrying(lambda: _request(fs, name, **how), path, retries, source.mask))
    if path.startswith(("http://", "https://")):  # a web server may ignore ranges
        data = retrying(lambda: _read_stream(fs, name, max_bytes), path, retries, source.mask)
    else:
        data = _Ranges(path, source, retries).first(max_bytes + 1)
    _check_size(len(data), max_bytes)
    return data


def read_start(path: str, most: int, *, retries: int = 3) -> bytes | None:
    """The first bytes of a local file, `most` of them; None for a path on another filesystem.

    Three system calls, where a file object takes twice their time.

    Examples
    --------
    >>> read_start("s3://bucket/1.jpg", 4096) is None
    True
    """
    local = local_path(path)
    return None if local is None else retrying(lambda: _start(local, most), path, retries)


def open_head(path: str, source: Source | None = None, *, retries: int = 3) -> BinaryIO:
    """A seekable file object for reading a header.

    A remote file costs one request of 64 KiB, and one more for each block read beyond it: the
    rest of the file is never fetched.

    Parameters
    ----------
    path, source, retries
        As in :func:`read_bytes`.

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
        return retrying(lambda: os.fdopen(os.open(local, LOCAL), "rb", buffering=0), path, retries)
    reader = io.BufferedReader(_Ranges(path, source or Source.default, retries), HEAD_BYTES)
    try:
        reader.peek(1)  # the one request, now: a missing file fails where it is opened
    except BaseException:
        reader.close()
        raise
    return reader


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
    fs, name = source.filesystem(path)
    found = retrying(lambda: fs.size(name), path, retries, source.mask)
    # a web server may keep the length to itself
    return len(read_bytes(path, source, retries=retries)) if found is None else int(found)


class _Ranges(io.RawIOBase):
    """A remote file as byte ranges; `io.BufferedReader` around it is the block cache.

    Opening through fsspec asks the store for the size first; here the end of the file is known
    when a range comes back short, so a header is one request, not two.
    """

    def __init__(self, path: str, source: Source, retries: int) -> None:
        super().__init__()
        self._path, self._source, self._retries = path, source, retries
        self._fs, self._name = source.filesystem(path)
        self._at = 0
        self._size: int | None = None

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
        data = self._range(start, end)
        if len(data) > end - start:  # a web server that ignores ranges sends the whole file
            self._size = len(data)
            data = data[start:end]
        elif len(data) < end - start:
            self._size = start + len(data)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def first(self, count: int) -> bytes:
        """The beginning of the file."""
        return self._range(0, count)

    def _range(self, start: int, end: int) -> bytes:
        try:
            return bytes(
                retrying(
                    lambda: _request(self._fs, self._name, start=start, end=end),
                    self._path,
                    self._retries,
                    self._source.mask,
                )
            )
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


def _request(fs: Any, name: str, **how: Any) -> Any:
    """``fs.cat_file(name, **how)`` in limited time, as long as somebody wants it."""
    if not isinstance(fs, AsyncFileSystem):
        return fs.cat_file(name, **how)
    if "cat_file" not in vars(fs):  # its own, not fsspec's copy of the asynchronous one
        return fs.cat_file(name, timeout=LONGEST, **how)
    answer = asyncio.run_coroutine_threadsafe(fs._cat_file(name, **how), fs.loop)
    last = time.monotonic() + LONGEST
    try:
        while not wait([answer], EVERY).done:
            check()
            if time.monotonic() > last:
                raise TimeoutError(f"no answer within {LONGEST:.0f} s")
        return answer.result()
    finally:
        answer.cancel()  # no word where it has come


def _check_size(size: int, most: int | None) -> None:
    if most is not None and size > most:
        raise TooManyBytesError(
            f"the file has more than the {most:,} bytes that daskimg.max-image-bytes allows"
        )


def _read_stream(fs: Any, name: str, most: int) -> bytes:
    """A file of the web until it ends, or is longer than it may be."""
    blocks, left = [b"?"], most + 1
    # (told a size, fsspec does not ask for it)
    with fs.open(name, "rb", block_size=0, size=1) as stream:
        while left > 0 and blocks[-1]:
            blocks.append(stream.read(left))
            left -= len(blocks[-1])
    return b"".join(blocks[1:])


def _start(path: str, most: int) -> bytes:
    handle = os.open(path, LOCAL)
    try:
        return os.read(handle, most)
    finally:
        os.close(handle)


def _read_local(path: str, max_bytes: int | None = None) -> bytes:
    """A local file in two system calls, without a Python file object."""
    handle = os.open(path, LOCAL)
    try:
        left = os.fstat(handle).st_size
        _check_size(left, max_bytes)
        data = os.read(handle, left)
        if len(data) == left:
            return data
        blocks = [data]  # one read gives at most 2 GiB
        while data:
            left -= len(data)
            data = os.read(handle, left)
            blocks.append(data)
        return b"".join(blocks)
    finally:
        os.close(handle)
