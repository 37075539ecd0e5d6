"""Opening a cell: its file's bytes, its header, its pixels. The kernels of an op's first steps.

A step that opens what others wrote takes ``child`` as its last parameter: None where that is done
in this process, else the time limit of doing it in a child process (`daskimg.guard.isolate`).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import numpy as np

from daskimg.column.array import ImageArray
from daskimg.guard import isolate
from daskimg.kernels import codec, exif_tags, headers
from daskimg.kernels.inline import LONGEST, check_path, inline
from daskimg.kernels.resizing import Draft, Size
from daskimg.transport import ahead, disk, fetch

__all__ = ["ISOLATED", "decode", "exif", "expect", "export", "fetch_bytes", "header", "size"]

ISOLATED = ("header", "decode", "exif", "export")  # steps that open what others wrote
HEAD = 4096  # holds most headers of JPEGs


def expect(
    feeds: ahead.Feeds, cells: ImageArray, step: str, params: Sequence[Any]
) -> ahead.Feed | None:
    """The feed of a step that opens cells, which now expects their files; None: all are at hand."""
    paths = _far(cells) if step in ("fetch", "header") else []
    if not paths:
        return None
    head = step == "header"
    source = (params[0] or fetch.Source.default).kept_to(fetch.recall(cells.dtype.source))
    limit = None if head or len(params) < 3 else params[2]

    def asking(path: str) -> ahead.Ask | None:
        try:
            check_path(path)
            return fetch.asking(path, fetch.for_cell(path, source), head=head, max_bytes=limit)
        except Exception:
            return None  # its row fails the same way, and says so

    most = fetch.HEAD_BYTES if head else None
    feed = feeds.of((step, source, limit), lambda: ahead.Feed(asking, most))
    feed.expect(paths)
    return feed


def _far(cells: ImageArray) -> list[str]:
    """The files that cells name in other places than this machine, or on a slow disk of it."""
    if cells.path is None:
        return []
    slow = disk.is_slow()
    found = [
        (i, path)
        for i, path in enumerate(cells.path.to_pylist())
        if path is not None
        and (slow or (not path.startswith("/") and fetch.local_path(path) is None))
    ]
    valid, data = cells.valid, cells.data
    return [
        path
        for i, path in found
        if valid[i] and (data is None or data.content(i) is None) and inline(path) is None
    ]


def fetch_bytes(
    path: Any,
    source: fetch.Source | None,
    retries: int,
    max_bytes: int | None = None,
    feed: ahead.Feed | None = None,
) -> Any:
    """All bytes of a file; what is bytes or pixels already stays what it is."""
    path = _content(path)
    if not isinstance(path, str):
        return path
    source = fetch.for_cell(path, source)
    first = None if feed is None else feed.take(path)
    return fetch.read_bytes(path, source, retries=retries, max_bytes=max_bytes, first=first)


def _content(cell: Any) -> Any:
    """A picture that stands in the text of a path, as its bytes; any other cell as it is."""
    if not isinstance(cell, str):
        return cell
    if cell[:1] == "/" and "." in cell and len(cell) <= LONGEST:
        return cell  # a local path: what stands in text begins otherwise, or has no full stop
    found = inline(cell)
    if found is None:
        check_path(cell)
    return cell if found is None else found


def header(
    cell: Any,
    source: fetch.Source | None,
    retries: int,
    orientation: bool,
    max_pixels: int | None,
    formats: tuple[str, ...] | None,
    child: tuple[float | None] | None = None,
    feed: ahead.Feed | None = None,
) -> headers.Header:
    """What a cell says of its picture before any pixel is read."""
    cell = _content(cell)
    if isinstance(cell, np.ndarray):
        return headers.of_pixels(cell)
    how: dict[str, Any] = {"orientation": orientation, "max_pixels": max_pixels, "formats": formats}
    read = headers.read_header if child is None else partial(isolate.read_header, timeout=child[0])
    if not isinstance(cell, str):
        return read(cell, **how)
    source = fetch.for_cell(cell, source)
    first = None if feed is None else feed.take(cell)
    start = fetch.read_start(cell, HEAD, retries=retries, first=first)
    found = None if start is None else headers.quick_header(start, **how)
    if found is not None:
        return found
    if first is not None and start is not None:  # as much of a local file as most headers take
        with contextlib.suppress(Exception):
            return read(io.BytesIO(start), **how)
    with fetch.open_head(cell, source, retries=retries, first=first) as file:
        return read(file, **how)


def exif(
    cell: Any,
    source: fetch.Source | None,
    retries: int,
    max_pixels: int | None,
    formats: tuple[str, ...] | None,
    child: tuple[float | None] | None = None,
) -> Any:
    """The EXIF tags of a cell, from its header."""
    cell = _content(cell)
    opened = None if child is None else partial(isolate.exif_block, timeout=child[0])
    if not isinstance(cell, str):
        return exif_tags.read_exif(cell, max_pixels, formats, opened)
    with fetch.open_head(cell, fetch.for_cell(cell, source), retries=retries) as file:
        return exif_tags.read_exif(file, max_pixels, formats, opened)


def decode(
    data: Any,
    truncated: bool,
    reduced: bool,
    orientation: bool,
    max_pixels: int | None,
    formats: tuple[str, ...] | None,
    child: tuple[float | None] | None = None,
    on_partial: Callable[[str], object] | None = None,
    sizes: Collection[Size] | None = None,
    out: np.ndarray[Any, Any] | None = None,
    scratch: codec.Scratch | None = None,
) -> np.ndarray[Any, Any] | Draft:
    """The pixels of a file's bytes: decoded here, or in a child process with a time limit.

    Where `sizes` tells what resizes alone follow, and pictures may be `reduced`, a draft of them.
    """
    if isinstance(data, np.ndarray):
        return data
    drafted = sizes is not None and reduced
    if child is None:  # (written out: a picture's time is that of its calls)
        if not drafted:
            return codec.decode(
                data,
                orientation=orientation,
                max_pixels=max_pixels,
                formats=formats,
                truncated=truncated,
                on_partial=on_partial,
                out=out,
                scratch=scratch,
            )
        return codec.draft(
            data,
            sizes or (),
            orientation=orientation,
            max_pixels=max_pixels,
            formats=formats,
            truncated=truncated,
            on_partial=on_partial,
            scratch=scratch,
        )
    how: dict[str, Any] = {
        "orientation": orientation,
        "max_pixels": max_pixels,
        "formats": formats,
        "truncated": truncated,
        "on_partial": on_partial,
    }
    if not drafted:
        return isolate.decode(data, timeout=child[0], out=out, **how)
    return isolate.draft(data, sizes or (), timeout=child[0], **how)


def size(cell: Any, source: fetch.Source | None, retries: int) -> int:
    """The bytes of a file, of encoded bytes or of pixels."""
    cell = _content(cell)
    if isinstance(cell, str):
        return fetch.size(cell, fetch.for_cell(cell, source), retries=retries)
    return memoryview(cell).nbytes


def export(
    cell: Any,
    file_format: str | None,
    quality: int | None,
    orientation: bool,
    max_pixels: int | None,
    formats: tuple[str, ...] | None,
    child: tuple[float | None] | None = None,
    *,
    decoded: Callable[[Any], Any] | None = None,
) -> Any:
    """The bytes of a file: the cell's own where they are in the format, else encoded anew.

    `decoded` gives the pixels of a cell that has been decoded beside it, or None.
    """
    if isinstance(cell, np.ndarray):
        return codec.encode(cell, file_format or "png", quality or 90)
    own = headers.sniff(cell)
    if own is not None and quality is None and file_format in (None, own):
        return cell
    pixels: Any = None if decoded is None else decoded(cell)
    if pixels is None:
        pixels = decode(cell, False, False, orientation, max_pixels, formats, child)
    return codec.encode(pixels, file_format or own or "png", quality or 90)
