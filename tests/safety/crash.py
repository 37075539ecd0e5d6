"""A child whose decoder crashes, or never ends, on marked files."""

from __future__ import annotations

import ctypes
import time

from daskimg import isolate
from daskimg.kernels import codec

CRASHES, HANGS = b"crashes the decoder", b"takes for ever"
_decode = codec.decode


def decode(data, **options):
    if CRASHES in data:
        ctypes.string_at(0)
    if HANGS in data:
        time.sleep(60)
    return _decode(data, **options)


def serve() -> None:
    codec.decode = decode
    isolate.serve()
