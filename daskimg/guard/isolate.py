"""Opening pictures in a child process: a decoder that crashes, or never ends, costs one row.

With ``daskimg.decode-processes``, and after a worker died, each thread that decodes or reads
headers has a child. Bytes go in and pixels come back over pipes; nothing is pickled. A child that
dies or takes longer than ``daskimg.decode-timeout`` is replaced, and its picture is a failed row.
"""

from __future__ import annotations

import contextlib
import io
import json
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import UnidentifiedImageError

from daskimg import wanted
from daskimg.errors import FormatNotAllowedError, TooManyPixelsError
from daskimg.kernels import codec, exif_tags, headers
from daskimg.kernels.pixels import give
from daskimg.kernels.resizing import Draft, Size
from daskimg.wanted import EVERY

__all__ = ["decode", "draft", "exif_block", "read_header", "serve"]

# The same daskimg as this one, without what it imports for frames (a second and a half), and
# nothing out of the folder that the process stands in.
_HOME = Path(__file__).parents[1]  # the package
START = f"""
import sys, types
sys.path.insert(0, {str(_HOME.parent)!r})
sys.modules["daskimg"] = types.ModuleType("daskimg")
sys.modules["daskimg"].__path__ = [{str(_HOME)!r}]
"""
COMMAND = [sys.executable, "-P", "-c", f"{START}from daskimg.guard.isolate import serve; serve()"]
_SIZES = struct.Struct("<QQ")  # of the header (JSON) and of the data that follow
_ERRORS: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        FormatNotAllowedError,
        MemoryError,
        OSError,
        TooManyPixelsError,
        UnidentifiedImageError,
        ValueError,
    )
}
_local = threading.local()

HEAD_BYTES = 64 * 1024
# Formats whose header stands at the beginning: read from a part, it is right or an error.
FRONT = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "PPM")


def decode(
    data: bytes | memoryview | npt.NDArray[Any],
    *,
    timeout: float | None = None,
    on_partial: Callable[[str], object] | None = None,
    out: npt.NDArray[Any] | None = None,
    **options: Any,
) -> npt.NDArray[Any]:
    """As `codec.decode`, in a child process.

    Parameters
    ----------
    data : bytes, memoryview or ndarray
    timeout : float, optional
        Seconds that one picture may take; None for any time.
    on_partial, out, **options
        As in `codec.decode`.

    Raises
    ------
    TimeoutError
    ChildProcessError
        The decoder crashed.

    Examples
    --------
    >>> decode(codec.encode(np.zeros((2, 3), np.uint8), "png"), timeout=60).shape
    (2, 3)
    """
    found, _ = _pixels({"call": "decode", **options}, data, timeout, on_partial)
    return give(found, out)


def draft(
    data: bytes | memoryview | npt.NDArray[Any],
    sizes: Collection[Size],
    *,
    timeout: float | None = None,
    on_partial: Callable[[str], object] | None = None,
    **options: Any,
) -> Draft:
    """As `codec.draft`, in a child process; `timeout` as for `decode`.

    Examples
    --------
    >>> draft(codec.encode(np.zeros((300, 400), np.uint8)), [(20, 20, "stretch")]).scale
    2
    """
    call = {"call": "draft", "sizes": list(sizes), **options}
    found, (size, scale, turned) = _pixels(call, data, timeout, on_partial)
    return Draft(found, tuple(size), scale, turned)


def read_header(
    source: bytes | memoryview | BinaryIO, *, timeout: float | None = None, **options: Any
) -> headers.Header:
    """As `headers.read_header`, in a child process.

    A file's beginning is tried first, then the whole of it.

    Parameters
    ----------
    source : bytes or binary file
    timeout : float, optional
        As for `decode`.
    **options
        As in `headers.read_header`.

    Raises
    ------
    TimeoutError
    ChildProcessError

    Examples
    --------
    >>> read_header(codec.encode(np.zeros((2, 3), np.uint8), "png"), timeout=60).width
    3
    """
    if isinstance(source, bytes | memoryview):
        answer, _ = _ask({"call": "read_header", **options}, source, timeout)
        return headers.Header(*answer["header"])
    head = source.read(HEAD_BYTES)
    try:
        if headers.sniff(head) in FRONT:
            return read_header(head, timeout=timeout, **options)
    except (ChildProcessError, TimeoutError):
        raise
    except OSError:
        if len(head) < HEAD_BYTES:
            raise
    return read_header(head + source.read(), timeout=timeout, **options)


def exif_block(
    data: bytes, kind: str, max_pixels: int | None, timeout: float | None = None
) -> bytes:
    """As `exif_tags.block_of`, in a child process; `timeout` as for `decode`.

    Examples
    --------
    >>> exif_block(codec.encode(np.zeros((2, 3), np.uint8), "png"), "PNG", None)
    b''
    """
    call = {"call": "exif_block", "kind": kind, "max_pixels": max_pixels}
    return bytes(_ask(call, data, timeout)[1])


def _pixels(
    call: dict[str, Any],
    data: Any,
    timeout: float | None,
    on_partial: Callable[[str], object] | None,
) -> tuple[npt.NDArray[Any], list[Any]]:
    answer, pixels = _ask(call, data, timeout)
    if answer["partial"] and on_partial is not None:
        on_partial(answer["partial"][0])
    return np.frombuffer(pixels, answer["dtype"]).reshape(answer["shape"]), answer["draft"]


def _ask(
    call: dict[str, Any], data: Any, timeout: float | None
) -> tuple[dict[str, Any], bytearray]:
    child = getattr(_local, "child", None)
    if child is None or child.process.poll() is not None:
        child = _local.child = _Child()
    answer, body = child.ask(call, data, timeout)
    if "error" in answer:
        raise _ERRORS.get(answer["error"], OSError)(answer["text"])
    return answer, body


class _Child:
    """A process that opens pictures, and the pipes to it. It ends when its pipe is closed."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._receive(None)  # it is ready: what it imports does not count as decoding

    def ask(
        self, options: dict[str, Any], data: Any, timeout: float | None
    ) -> tuple[dict[str, Any], bytearray]:
        try:
            with contextlib.suppress(BrokenPipeError):  # it has died: told below
                _send(self.process.stdin, options, data)
            return self._receive(timeout)
        except EOFError:
            code = self.process.wait()
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise ChildProcessError(f"the decoder crashed ({how})") from None
        except BaseException:  # whatever ended it: its answer is not that to the next question
            self.process.kill()
            self.process.wait()
            raise

    def _receive(self, timeout: float | None) -> tuple[dict[str, Any], bytearray]:
        deadline = None if timeout is None else time.monotonic() + timeout
        stream = self.process.stdout
        assert stream is not None

        def exactly(n: int) -> bytearray:
            got, filled = bytearray(n), 0
            while filled < n:
                wanted.check()
                left = EVERY if deadline is None else deadline - time.monotonic()
                if not select.select([stream], [], [], min(max(left, 0.0), EVERY))[0]:
                    if left > 0:
                        continue
                    raise TimeoutError(
                        f"decoding took longer than daskimg.decode-timeout={timeout:g} s"
                    )
                count = stream.readinto(memoryview(got)[filled:])  # type: ignore[attr-defined]
                if not count:
                    raise EOFError
                filled += count
            return got

        head, body = _SIZES.unpack(exactly(_SIZES.size))
        return json.loads(exactly(head)), exactly(body)

    def __del__(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self.process.kill()
        self.process.wait()


def _send(stream: Any, head: dict[str, Any], data: Any = b"") -> None:
    text, view = json.dumps(head).encode(), memoryview(data).cast("B")
    for part in (_SIZES.pack(len(text), view.nbytes), text, view):
        rest = memoryview(part)
        while rest.nbytes:
            rest = rest[stream.write(rest) :]


def serve() -> None:
    """The child: decode what comes in until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes the pipe
    source, sink = open(0, "rb"), open(1, "wb", buffering=0, closefd=False)  # noqa: SIM115
    _send(sink, {})
    while sizes := source.read(_SIZES.size):
        head, body = _SIZES.unpack(sizes)
        options, data = json.loads(source.read(head)), source.read(body)
        partial: list[str] = []
        try:
            call = options.pop("call")
            if call == "read_header":
                _send(sink, {"header": headers.read_header(data, **options)})
                continue
            if call == "exif_block":
                _send(sink, {}, exif_tags.block_of(io.BytesIO(data), **options))
                continue
            if "sizes" in options:  # JSON has no tuples
                options["sizes"] = [tuple(size) for size in options["sizes"]]
            how = codec.draft if call == "draft" else codec.decode
            read = how(data, on_partial=partial.append, **options)
            draft = read if isinstance(read, Draft) else Draft(read, read.shape[:2])
            pixels = np.ascontiguousarray(draft.pixels)
        except Exception as error:
            kinds = [kind.__name__ for kind in type(error).__mro__]
            known = next((name for name in kinds if name in _ERRORS), "OSError")
            _send(sink, {"error": known, "text": str(error)})
            continue
        told = {
            "shape": pixels.shape,
            "dtype": pixels.dtype.str,
            "partial": partial,
            "draft": (draft.size, draft.scale, draft.orientation),
        }
        _send(sink, told, pixels)
