"""Local files, and whether their disk is a slow one: a network's, a spinning one, one behind FUSE.

How long reads take is looked at as they are made. Where most take milliseconds, files are read
ahead by a few threads (`daskimg.transport.ahead`); elsewhere that would cost more than a read.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter, sleep
from typing import Any

from daskimg.errors import TooManyBytesError

__all__ = ["FLAGS", "ask", "check_size", "is_slow", "read", "start"]

FIRST = 256 * 1024  # bytes of a local file that are read at once
WHOLE = b"\xff\xd9"  # ends a JPEG: one that came in less than was asked for is all there
# a pipe with the name of a picture is empty: nobody is waited for
FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
SLOW = 0.002  # seconds: a file of a fast disk takes some 0.05, as long as a picture is decoded 1
MOMENT = 1e-4
CALLS = 3  # as many calls that hand over the interpreter as a read has, and some more
THREADS = 16

_last: deque[float] = deque(maxlen=16)  # seconds that reads took
_readers: dict[int, ThreadPoolExecutor] = {}  # by process


def start(path: str, most: int) -> bytes:
    """The first bytes of a local file, `most` of them."""
    began = perf_counter()
    handle = os.open(path, FLAGS)
    try:
        data = os.read(handle, most)
        _saw(perf_counter() - began)
        return data
    finally:
        os.close(handle)


def read(path: str, max_bytes: int | None = None) -> bytes:
    """A local file in three system calls, without a Python file object.

    Each call hands over the interpreter, and waits among all threads to get it back.
    """
    began = perf_counter()
    handle = os.open(path, FLAGS)
    try:
        most = FIRST if max_bytes is None else min(FIRST, max_bytes)
        data = os.read(handle, most)
        _saw(perf_counter() - began)
        if len(data) < most and data.endswith(WHOLE):
            return data
        left = os.fstat(handle).st_size
        check_size(left, max_bytes)
        blocks = [data]
        left -= len(data)
        while left > 0 and data:  # one read gives at most 2 GiB, and less where a disk fails
            data = os.read(handle, left)
            left -= len(data)
            blocks.append(data)
        return b"".join(blocks) if len(blocks) > 1 else blocks[0]
    finally:
        os.close(handle)


def check_size(size: int, most: int | None) -> None:
    """TooManyBytesError for a file of more bytes than there may be."""
    if most is not None and size > most:
        raise TooManyBytesError(
            f"the file has more than the {most:,} bytes that daskimg.max-image-bytes allows"
        )


# -- how fast it is ------------------------------------------------------------------------------
def _saw(seconds: float) -> None:
    """A file was read in so many seconds."""
    if seconds > SLOW:  # or others kept the interpreter, as they do from who sleeps for a moment
        start = perf_counter()
        sleep(MOMENT)
        seconds -= CALLS * (perf_counter() - start - MOMENT)
    _last.append(seconds)


def is_slow() -> bool:
    """Whether three of four of the last files were slow to come."""
    last = sorted(_last)
    return len(last) == _last.maxlen and last[len(last) // 4] > SLOW


async def ask(reading: Callable[[], Any]) -> Any:
    """What `reading` gives, called by one of the threads that read ahead."""
    pool = _readers.get(os.getpid())
    if pool is None:
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="daskimg-disk")
        pool = _readers.setdefault(os.getpid(), pool)
    return await asyncio.get_running_loop().run_in_executor(pool, reading)
