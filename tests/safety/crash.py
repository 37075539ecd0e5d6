"""A child whose decoder crashes, or never ends, on marked files."""

from __future__ import annotations

import ctypes
import io
import sys
import time
from pathlib import Path

from daskimg.guard import isolate
from daskimg.kernels import codec, exif_tags, headers

ROOT = str(Path(__file__).parents[2])
SERVE = f"sys.path.insert(0, {ROOT!r}); from tests.safety.crash import serve; serve()"
COMMAND = [sys.executable, "-P", "-c", isolate.START + SERVE]
CRASHES, HANGS = b"crashes the decoder", b"takes for ever"


def hostile(function):
    """`function` of bytes, that crashes or hangs."""

    def run(data, *args, **options):
        if CRASHES in data:
            ctypes.string_at(0)
        if HANGS in data:
            time.sleep(60)
        return function(data, *args, **options)

    return run


def serve() -> None:
    codec.decode, codec.draft = hostile(codec.decode), hostile(codec.draft)
    headers.read_header = hostile(headers.read_header)
    block_of = exif_tags.block_of
    held = hostile(lambda data, **how: block_of(io.BytesIO(data), **how))
    exif_tags.block_of = lambda file, **how: held(file.read(), **how)
    isolate.serve()
