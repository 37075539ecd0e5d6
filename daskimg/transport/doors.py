"""How a store is asked: by obstore where it is installed and the options mean the same to it, by
fsspec's asynchronous interface elsewhere."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable
from typing import Any, NamedTuple

from fsspec.asyn import AsyncFileSystem

from daskimg.transport import native
from daskimg.transport.source import Source

__all__ = ["Door", "door_of", "served"]

#: Requests by who made them.
served: Counter[str] = Counter()


class Door(NamedTuple):
    """One store, as it is asked."""

    fs: Any
    asynchronous: bool
    bucket: native.Store | None = None  # as obstore asks it

    def read(self, name: str, start: int | None = None, end: int | None = None) -> Awaitable[bytes]:
        """The bytes of a file, or a range of them."""
        key = None if self.bucket is None else self.bucket.key(name)
        if self.bucket is not None and key is not None:
            return self._native(self.bucket, key, name, start, end)
        return self._fsspec(name, start, end)

    async def _native(
        self, store: native.Store, key: str, name: str, start: int | None, end: int | None
    ) -> bytes:
        served["obstore"] += 1
        found = await store.read(key, start, end)
        # what it cannot do (ranges that are ignored, another region) fsspec can, perhaps
        return await self._fsspec(name, start, end) if found is None else found

    async def _fsspec(self, name: str, start: int | None, end: int | None) -> bytes:
        served["fsspec"] += 1
        how: dict[str, Any] = {} if end is None else {"start": start, "end": end}
        if end is None and getattr(self.fs, "max_concurrency", 1) > 1:
            # s3fs asks for the size first to fetch pieces side by side: two requests for a picture
            how = {"max_concurrency": 1}
        return bytes(await self.fs._cat_file(name, **how))


_buckets: dict[tuple[Source, str], Door] = {}


def door_of(path: str, source: Source) -> tuple[Door, str]:
    """The door to a remote path, and what the path is called there."""
    place = native.place_of(path)
    known = None if place is None else _buckets.get((source, place))
    if known is not None:
        return known, path.partition("://")[2].rstrip("/")
    fs, name = source.filesystem(path)
    # its own cat_file, not fsspec's copy of the asynchronous one
    if not isinstance(fs, AsyncFileSystem) or "cat_file" not in vars(fs):
        return Door(fs, False), name
    if place is None:
        return Door(fs, True), name
    door = Door(fs, True, native.store_of(place, source.options))
    return _buckets.setdefault((source, place), door), name


def _forked() -> None:
    _buckets.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
