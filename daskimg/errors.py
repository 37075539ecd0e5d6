"""What can go wrong, each with what to do about it."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from daskimg.secrets import mask_url

__all__ = [
    "FormatNotAllowedError",
    "ImageError",
    "PlacementError",
    "TooManyBytesError",
    "TooManyErrors",
    "TooManyPixelsError",
    "brief",
    "cause_of",
    "counted",
    "message_of",
    "quoted",
    "reason_of",
    "shown",
]

LONGEST = 1000  # characters of a reason

# what NumPy, pandas and OpenCV say of an array that must not be written to
_READ_ONLY = re.compile(
    r"\b(array|destination|buffer|memory) is read-?only|(modify|marked as) read-?only"
    r"|cannot set WRITEABLE",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"<([\w.]+)(?: object)? at 0x[0-9a-fA-F]+>")


class ImageError(ValueError):
    """A picture that could not be read, decoded or processed.

    Parameters
    ----------
    reason : str
        ``"stage: ExceptionType: message"``, the text that ``.img.error`` holds under
        ``on_error="null"``.
    path : str, optional
        The file it happened to; credentials of a URL are masked in the message.

    Attributes
    ----------
    reason, path, stage : str or None

    Examples
    --------
    >>> print(ImageError("decode: OSError: image file is truncated", "shop/7.jpg"))
    decode: OSError: image file is truncated (shop/7.jpg). Set on_error="null" where the column \
is made to keep such rows as nulls with this reason.
    """

    def __init__(self, reason: str, path: str | None = None) -> None:
        self.reason, self.path = reason, path
        where = f" ({brief(mask_url(path), 300)})" if path else ""
        super().__init__(
            f'{reason}{where}. Set on_error="null" where the column is made to keep such rows '
            "as nulls with this reason."
        )

    @property
    def stage(self) -> str:
        """The step that failed: ``fetch``, ``decode``, ``resize``, ..."""
        return self.reason.split(":", 1)[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return ImageError, (self.reason, self.path)


class TooManyErrors(ImageError):  # noqa: N818  (there are many)
    """More pictures failed than ``daskimg.max-errors`` allows: the run ends.

    Parameters
    ----------
    limit : int
    counts : dict
        How many failed for what, as far as they were counted when the run ended.

    Examples
    --------
    >>> print(TooManyErrors(2, {"truncated": 3}))
    more pictures failed than daskimg.max-errors=2 allows: 3 truncated
    """

    def __init__(self, limit: int, counts: Mapping[str, int]) -> None:
        self.limit, self.counts = limit, dict(counts)
        text = f"more pictures failed than daskimg.max-errors={limit} allows: {counted(counts)}"
        ValueError.__init__(self, text)
        self.reason, self.path = f"max-errors: {text}", None

    def __reduce__(self) -> tuple[Any, ...]:
        return TooManyErrors, (self.limit, self.counts)


class TooManyPixelsError(ValueError):
    """A header that announces more pixels than ``daskimg.max-image-pixels`` allows."""


class TooManyBytesError(ValueError):
    """A file of more bytes than ``daskimg.max-image-bytes`` allows."""


class FormatNotAllowedError(ValueError):
    """A picture of a format that ``daskimg.formats`` does not list."""

    stage = "format"


class PlacementError(RuntimeError):
    """A stage asks for a worker resource that no live worker offers."""


def brief(text: str, most: int = LONGEST) -> str:
    """A text of at most about `most` characters: its beginning, and how long it was.

    Examples
    --------
    >>> brief("x" * 3_000_000, 4)
    'xxxx... (3,000,000 characters)'
    """
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def shown(value: Any) -> str:
    """A value in a message: what a person needs of its repr, never a whole picture.

    Examples
    --------
    >>> shown(bytes(3000)), len(shown({"bytes": bytes(3000)})) < 120
    ('3,000 bytes', True)
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{memoryview(value).nbytes:,} bytes"
    return f"{type(value).__name__} {brief(_cell.repr(value), 100)}"


def quoted(value: Any) -> str:
    """The repr of a value in a message, cut in the middle where it is long; no credentials.

    Examples
    --------
    >>> quoted("a.png"), quoted([1, np.int64(2)]), len(quoted("x" * 3_000_000))
    ("'a.png'", '[1, 2]', 300)
    """
    return mask_url(brief(_value.repr(value), 400))


def whole(name: str, value: Any, least: int = 1, also: str = "") -> int:
    """`value`, which a caller gave for `name` and which counts something; `also`: what else may be.

    Examples
    --------
    >>> whole("n", np.int64(3))
    3
    >>> whole("n", 0)
    Traceback (most recent call last):
    ValueError: n is a whole number, 1 or more; got 0
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < least:
        raise ValueError(f"{name} is a whole number, {least} or more{also}; got {quoted(value)}")
    return int(value)


class _Repr(reprlib.Repr):
    """Shortened, no credentials; a number of NumPy as people write it: 3, not np.int64(3)."""

    def repr_str(self, x: str, level: int) -> str:
        return super().repr_str(mask_url(x), level)  # (of a cut one nobody knows what it was)

    def repr1(self, x: Any, level: int) -> str:
        return str(x) if isinstance(x, np.number | np.bool_) else super().repr1(x, level)


_cell, _value = _Repr(), _Repr()
_cell.maxother = _cell.maxstring = 60
_value.maxother = _value.maxstring = 300
_value.maxlist = _value.maxtuple = _value.maxset = _value.maxdict = 12


def message_of(error: BaseException) -> str:
    """What an exception says, and what to do where it was raised by a write to our arrays.

    Examples
    --------
    >>> message_of(ValueError("assignment destination is read-only"))
    'assignment destination is read-only (it belongs to the column: .copy() what you change)'
    """
    text = str(error)
    if not isinstance(error, OSError) and _READ_ONLY.search(text):
        text += " (it belongs to the column: .copy() what you change)"
    return text


def reason_of(stage: str, error: BaseException) -> str:
    """The stable one-line text of a failure.

    Object addresses are taken out (Pillow's messages hold them), so that equal failures read
    equal on every run and worker.

    Examples
    --------
    >>> reason_of("decode", OSError("cannot identify image file <_io.BytesIO object at 0x7f>"))
    'decode: OSError: cannot identify image file <_io.BytesIO>'
    """
    if isinstance(error, ImageError):  # one cell's, which told all of it
        return error.reason
    stage = getattr(error, "stage", stage)  # some errors know better
    text = brief(" ".join(_ADDRESS.sub(r"<\1>", message_of(error)).split()))
    return (
        f"{stage}: {type(error).__name__}: {text}" if text else f"{stage}: {type(error).__name__}"
    )


# What a reason says to a person, by the first pattern found in it.
_CAUSES = [
    (re.compile(pattern), cause)
    for pattern, cause in (
        (r"^\w+: TooManyPixelsError", "over the pixel cap"),
        (r"^\w+: TooManyBytesError", "over the byte cap"),
        (r"^\w+: FormatNotAllowedError", "of another format"),
        (r"^\w+: FileNotFoundError", "not found"),
        (r"^\w+: PermissionError", "not permitted"),
        (r"^\w+: EOFError", "truncated"),
        (r"^read: ", "not readable"),
        (r"^\w+: ChildProcessError", "crashed the decoder"),
        (r"^\w+: TimeoutError", "over the time limit"),
        (r"^\w+: MemoryError", "out of memory"),
        (r"(?i)truncated|Expected to read|EOF while reading", "truncated"),
        (r"cannot identify image file: expected", "not an image"),
        (r"^(decode|header|export): (OSError|UnidentifiedImageError)", "broken"),
    )
]


def cause_of(reason: str) -> str:
    """Why a picture failed, in a few words: what failures are counted by.

    A reason of which nothing more is known is told by its stage. What is a cause already stays.

    Examples
    --------
    >>> cause_of("decode: OSError: image file is truncated (3 bytes not processed)")
    'truncated'
    >>> cause_of("crop: ValueError: the box leaves the picture")
    'crop failed'
    """
    found = next((cause for pattern, cause in _CAUSES if pattern.search(reason)), None)
    stage, told, _ = reason.partition(": ")
    return found or (f"{stage} failed" if told else reason)


def counted(causes: Mapping[str, int]) -> str:
    """Numbers of failures in words, the most frequent first.

    Examples
    --------
    >>> counted({"not an image": 31, "truncated": 87})
    '87 truncated, 31 not an image'
    """
    why = sorted(causes.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{n:,} {cause}" for cause, n in why)
