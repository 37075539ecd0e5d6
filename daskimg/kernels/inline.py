"""Pictures that stand in text, and text that is no path."""

from __future__ import annotations

import base64
import binascii
import re
import urllib.parse

__all__ = ["LONGEST", "as_base64", "check_path", "inline"]

# How the base64 of PNG, JPEG, GIF and WebP begins.
_BEGINNINGS = ("iVBORw0KGgo", "/9j/", "_9j_", "R0lGOD", "UklGR")
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]{64,}={0,2}\s*")
_OBJECT = re.compile(
    r"<PIL\.|<Image .*>\Z|\[\[[-+.\d\seinfa,\[\]]*\]\Z|\{'(bytes|path)': |b(['\"]).*\2\Z", re.DOTALL
)
LONGEST = 4096  # characters of a path on any system


def inline(text: str) -> bytes | None:
    """The bytes of a picture that `text` holds (a data URL, base64), None where it is a path.

    What is damaged gives damaged bytes, which fail when they are opened.

    Examples
    --------
    >>> inline("data:image/png;base64,iVBORw0KGgo=")
    b'\\x89PNG\\r\\n\\x1a\\n'
    >>> inline("data/1.png") is None
    True
    """
    if text[:1].isspace():
        text = text.lstrip()
    if text[:5].lower() == "data:":
        head, _, body = text.partition(",")
        if not head.rstrip().lower().endswith("base64"):
            return urllib.parse.unquote_to_bytes(body)
        return as_base64(urllib.parse.unquote(body))
    if text.startswith(_BEGINNINGS) and _BASE64.fullmatch(text):
        return as_base64(text)
    return None


def as_base64(text: str) -> bytes:
    """The bytes of base64, in either alphabet, broken into lines or not, or of a data URL.

    Examples
    --------
    >>> as_base64(" aGVs\\nbG8"), as_base64("data:text/plain;base64,aGVsbG8=")
    (b'hello', b'hello')
    """
    text = text.strip()
    if text[:5].lower() == "data:":
        return inline(text) or b""
    try:
        return base64.b64decode(text.translate({45: "+", 95: "/"}).rstrip("=") + "===")
    except (binascii.Error, ValueError):
        return b""


def check_path(text: str) -> None:
    """Raise for text that cannot be the path of a picture.

    Raises
    ------
    TypeError
        For the repr of an object, as Dask makes it of the objects of a column.
    ValueError
        For more characters than a path has.

    Examples
    --------
    >>> check_path("[[0 1]\\n [2 3]]")
    Traceback (most recent call last):
    ...
    TypeError: this is no path but the text of an object: ...
    """
    if text[:1] in "<[{b" and _OBJECT.match(text):
        raise TypeError(
            "this is no path but the text of an object: Dask makes text of the objects in a "
            'column. dask.config.set({"dataframe.convert-string": False}) before from_pandas, or '
            'astype("image") in pandas first'
        )
    if len(text) > LONGEST:
        raise ValueError(
            f"a text of {len(text):,} characters is no path; of base64 make pictures with "
            'di.images(series, kind="base64")'
        )
