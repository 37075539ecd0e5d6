"""Parts of large files in stores: in large ranges, several of them under way at once.

A shard or a row group is wanted as a whole. It is asked for in pieces of a few MB, by the feeds
that single files have (`daskimg.transport.ahead`): one budget, the same connections, cancelled in
the same way, and perhaps begun before the turn of whoever reads it has come.
"""

from __future__ import annotations

import functools
import io
import itertools
import threading
from bisect import bisect_right
from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple

from daskimg.transport import ahead
from daskimg.transport.ahead import Feed, Feeds
from daskimg.transport.doors import door_of
from daskimg.transport.fetch import HEAD_BYTES, Ranges, Source, local_path
from daskimg.transport.stores import WEB

__all__ = ["Span", "Spans", "joined", "open_start", "pieces_of", "span_file", "spans_of"]

PIECE = 2**22  # bytes of a request: a store's latency is a small part of its time
FIRST = 2**20  # of the first one for the start of a file; each that follows has twice as many


class Span(NamedTuple):
    """Bytes of a file, and how many of them are wanted: what lies between others may be few."""

    start: int
    end: int
    wanted: int | None = None  # once each; None: any number of times


class Spans(NamedTuple):
    """Spans of a file in the order in which they are wanted; `whole`: all of it is one span."""

    path: str
    source: Source
    spans: tuple[Span, ...]
    whole: bool = False

    def begin(self, feeds: Feeds) -> Feed:
        """Ask for them, unless that is done already."""
        feed = feeds.of(("spans", self), lambda: Feed(self._asking, size=_size))
        feed.expect(self.spans)
        return feed

    def _asking(self, span: Span) -> ahead.Ask | None:
        try:
            door, name = door_of(self.path, self.source)
        except Exception:
            return None  # who reads it fails the same way, and says so
        if not door.asynchronous:
            return None
        start, end = (None, None) if self.whole else (span.start, span.end)
        return functools.partial(door.read, name, start, end)

    def read(self, feeds: Feeds, retries: int) -> bytes:
        """The bytes from the first to the last; fewer where the file ends before."""
        ranges, found = Ranges(self.path, self.source, retries), []
        if not ranges.asynchronous:  # one after the other: all at once
            return ranges.read_range(self.spans[0].start, self.spans[-1].end, whole=self.whole)
        feed = self.begin(feeds)
        for span in self.spans:
            data = ranges.read_range(span.start, span.end, feed.take(span), whole=self.whole)
            if len(data) > span.end - span.start and not self.whole:
                # a store that ignores ranges sends the whole file: the others are not needed
                feed.close()
                return b"".join(data[each.start : each.end] for each in self.spans)
            found.append(data)
        return found[0] if len(found) == 1 else b"".join(found)


def _size(span: Span) -> int:
    return span.end - span.start


def spans_of(path: str, source: Source, start: int, end: int, whole: bool = False) -> Spans | None:
    """Bytes `start` to `end` of a file, or the `whole` of it, which has so many.

    None where they are not asked for in ranges: here, and of a web server, which may ignore them.
    """
    if local_path(path) is not None or path.partition("://")[0] in WEB or end <= start:
        return None
    pieces = tuple(Span(*each) for each in pieces_of(start, end))
    return Spans(path, source, pieces, whole and len(pieces) == 1)


def pieces_of(start: int, end: int) -> Iterable[tuple[int, int]]:
    """`start` to `end` in pieces of about one size, none larger than `PIECE`.

    Examples
    --------
    >>> list(pieces_of(0, 2**22 + 2))
    [(0, 2097153), (2097153, 4194306)]
    """
    count = max(-(-(end - start) // PIECE), 1)
    size = -(-(end - start) // count)
    return ((at, min(at + size, end)) for at in range(start, end, size))


def joined(wanted: Iterable[tuple[int, int]], again: tuple[int, int], gap: int) -> tuple[Span, ...]:
    """Ranges as spans of a few MB: what lies between two that are near each other comes with them.

    Parameters
    ----------
    wanted : iterable of (int, int)
        Each is read once.
    again : (int, int)
        One that is read first, and may be read again.
    gap : int
        Bytes between two that are near.

    Examples
    --------
    >>> for span in joined([(4, 50), (50, 60), (900, 950)], (1000, 1100), 10):
    ...     print(span)
    Span(start=1000, end=1100, wanted=None)
    Span(start=4, end=60, wanted=56)
    Span(start=900, end=950, wanted=50)
    """
    ranges = sorted(each for each in {*wanted, again} if each[1] > each[0])
    whole: list[list[int]] = []
    for start, end in ranges:
        if whole and start <= whole[-1][1] + gap:
            whole[-1][1] = max(whole[-1][1], end)
        else:
            whole.append([start, end])
    spans = [Span(*piece) for start, end in whole for piece in pieces_of(start, end)]

    starts, counts = [span.start for span in spans], [0] * len(spans)
    kept = set()  # places of those that `again` lies in
    for each in ranges:
        place = bisect_right(starts, each[0]) - 1
        while place < len(spans) and spans[place].start < each[1]:
            span = spans[place]
            counts[place] += min(span.end, each[1]) - max(span.start, each[0])
            if each == again:
                kept.add(place)
            place += 1
    counted = [
        span if place in kept else span._replace(wanted=counts[place])
        for place, span in enumerate(spans)
    ]
    return tuple(sorted(counted, key=lambda span: span.wanted is not None))  # (stable)


class _SpanFile(Ranges):
    """A file whose spans are under way; other ranges of it are a request each.

    A span is held until all that is wanted of it has been read.
    """

    def __init__(self, spans: Spans, size: int, feed: Feed, retries: int) -> None:
        super().__init__(spans.path, spans.source, retries)
        self._size, self._feed, self._spans = size, feed, spans.spans
        self._order = {span: place for place, span in enumerate(spans.spans)}
        self._sorted = sorted(spans.spans)
        self._requests: list[ahead.Request | None] = []
        self._held: dict[Span, bytes] = {}
        self._left = {span: span.wanted for span in spans.spans}
        self._lock = threading.Lock()

    def read(self, size: int = -1) -> bytes:
        """Some bytes from where it stands."""
        end = self._length() if size < 0 else min(self._at + size, self._length())
        if end <= self._at:
            return b""
        with self._lock:
            parts = self._parts(self._at, end)
        data = self.read_range(self._at, end) if parts is None else b"".join(parts)
        data = data if len(data) <= end - self._at else data[self._at : end]
        self._at += len(data)
        return data

    def _parts(self, start: int, end: int) -> list[bytes | memoryview] | None:
        """The bytes from `start` to `end`; None where not all of them are in spans."""
        first = bisect_right(self._sorted, start, key=lambda span: span.start) - 1
        found = list(itertools.takewhile(lambda s: s.start < end, self._sorted[max(first, 0) :]))
        at = start
        for span in found:
            if not (span.start <= at < span.end) or self._left[span] == 0:
                return None
            at = span.end
        if at < end:
            return None
        parts: list[bytes | memoryview] = []
        for span in found:
            data, from_, to = self._data(span), max(start, span.start), min(end, span.end)
            parts.append(memoryview(data)[from_ - span.start : to - span.start])
            left = self._left[span]
            if left is not None:
                self._left[span] = max(left - (to - from_), 0)
                if not self._left[span]:
                    del self._held[span]
        return parts

    def _data(self, span: Span) -> bytes:
        if span not in self._held:
            while len(self._requests) <= self._order[span]:
                self._requests.append(self._feed.take(self._spans[len(self._requests)]))
            first = self._requests[self._order[span]]
            self._requests[self._order[span]] = None
            data = self.read_range(span.start, span.end, first)
            if len(data) > span.end - span.start:  # of a store that ignores ranges
                data = data[span.start : span.end]
            self._held[span] = data
        return self._held[span]


def span_file(spans: Spans, size: int, feed: Feed, retries: int) -> BinaryIO:
    """A file of `size` bytes, some spans of which `feed` has."""
    return _SpanFile(spans, size, feed, retries)  # type: ignore[return-value]


class _Start(Ranges):
    """A file that is read from its start, who knows how far: each range has twice the bytes.

    Unless much is left out between them, as by those who look at headers of large members.
    """

    def __init__(self, path: str, source: Source, retries: int) -> None:
        super().__init__(path, source, retries)
        self._block, self._from, self._next = b"", 0, FIRST

    def readinto(self, buffer: Any) -> int:
        end = self._from + len(self._block)
        if not self._from <= self._at < end:
            if self._size is not None and self._at >= self._size:
                return 0
            near = abs(self._at - end) <= self._next
            start, stop = self._at, self._at + (self._next if near else HEAD_BYTES)
            self._from, self._block = start, self._begin[start:stop] or self._read(start, stop)
            self._next = min(2 * (stop - start), PIECE)
        offset = self._at - self._from
        data = self._block[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def open_start(path: str, source: Source, retries: int) -> BinaryIO:
    """A seekable remote file for reading its first rows: few requests, whose sizes double."""
    reader = io.BufferedReader(_Start(path, source, retries))
    try:
        reader.peek(1)  # a missing file fails where it is opened
    except BaseException:
        reader.close()
        raise
    return reader
