"""Trying again where that may help, and errors that name the path but no credentials."""

from __future__ import annotations

import errno
import itertools
import os
import random
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from daskimg.secrets import mask_url
from daskimg.wanted import pause

__all__ = ["is_slow_down", "retrying"]

T = TypeVar("T")

FIRST_DELAY, LONGEST_DELAY = 0.1, 8.0  # seconds between tries
_jitter = random.Random()  # its own, so that a user's random.seed() is left alone


def retrying(
    action: Callable[[], T], path: str, retries: int, mask: Callable[[str], str] = mask_url
) -> T:
    """Run an action of a filesystem; what it finally raises names the path and no secret.

    Parameters
    ----------
    action : callable
    path : str
        What it is about.
    retries : int
        How often to try again after a transient failure.
    mask : callable
        Takes the secrets out of a text.
    """
    for tries in itertools.count(1):
        try:
            return action()
        except Exception as raised:
            error = _real(raised)
            if tries <= retries and _is_transient(error):
                longest = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (tries - 1))
                pause(longest * _jitter.uniform(0.5, 1.0))
                continue
            ours = type(error).__module__.split(".")[0] in ("builtins", "daskimg")
            if ours and not isinstance(error, OSError):
                raise
            named = _named(error, path, tries, mask)
        # outside the handler: its context would print the URL with its credentials
        raise named
    raise AssertionError("unreachable")


def _real(error: Exception) -> Exception:
    """What went wrong: fsspec's HTTP, asked for a size, says of any failure "not found"."""
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and isinstance(cause, Exception):
        return cause if _is_transient(cause) else error
    return error


def _named(error: Exception, path: str, tries: int, mask: Callable[[str], str]) -> OSError:
    """The same failure as a built-in OSError (which pickles) that names the masked path."""
    number = _errno(error)
    text = getattr(error, "strerror", None) or ""
    if not text:
        text = mask(" ".join(str(error).split()))
        if str(error) in path:  # fsspec raises FileNotFoundError(path)
            text = os.strerror(number)
        if type(error).__module__ != "builtins":
            text = f"{type(error).__name__}: {text}"
    if tries > 1:
        text += f" (after {tries} tries)"
    return OSError(number, mask(text), mask(path))


def _errno(error: Exception) -> int:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, FileNotFoundError) or _status(error) in (404, 410):
        return errno.ENOENT
    if isinstance(error, PermissionError) or _status(error) in (401, 403):
        return errno.EACCES
    if isinstance(error, TimeoutError):
        return errno.ETIMEDOUT
    if isinstance(error, ConnectionError):
        return errno.ECONNRESET
    return errno.EIO


def _is_transient(error: BaseException) -> bool:
    """Whether trying again may help: resets, time-outs, 429 and 5xx answers, here or in a cause.

    Stores raise their own classes (aiohttp's, botocore's, google's, azure's); they are known by
    what they carry and by name, so that none has to be imported.
    """
    if isinstance(error, FileNotFoundError | PermissionError):
        return False
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    status = _status(error)
    if status is not None:
        return status in (408, 429) or status >= 500
    if type(error).__module__ != "builtins":
        names = " ".join(kind.__name__ for kind in type(error).__mro__)
        if re.search("SSL|Certificate", names):
            return False
        if re.search("Timeout|Connection|Disconnected|IncompleteRead|PayloadError", names):
            return True
    return error.__cause__ is not None and _is_transient(error.__cause__)


def is_slow_down(error: BaseException) -> bool:
    """Whether a store says that it is asked too much."""
    if _status(error) in (429, 503):
        return True
    return error.__cause__ is not None and is_slow_down(error.__cause__)


def _status(error: BaseException) -> int | None:
    """The HTTP status that an exception of any client carries."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):  # botocore
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return found if isinstance(found, int) else None
    for holder in (error, response):
        for name in ("status", "status_code", "code"):
            found = getattr(holder, name, None)
            if isinstance(found, int) and 100 <= found < 600:
                return found
    return None
