"""Settings: `dask.config` keys ``daskimg.*``, documented in ``daskimg.yaml``.

They are read when a column is made and travel in its program, so that a worker needs no
configuration of its own.
"""

from __future__ import annotations

import importlib.resources
import os
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import dask.config
import yaml
from dask.utils import parse_bytes, parse_timedelta

__all__ = [
    "Settings",
    "allow_paths",
    "choice",
    "fetch_ahead",
    "fetch_connections",
    "get",
    "in_flight",
    "isolation",
    "max_bytes",
    "max_errors",
    "reduced_scale",
    "retries",
    "seconds",
    "settings",
    "switch",
]

_DEFAULTS: dict[str, Any] = yaml.safe_load(
    importlib.resources.files("daskimg").joinpath("daskimg.yaml").read_text()
)
dask.config.update_defaults(_DEFAULTS)


def get(key: str) -> Any:
    """The value of ``daskimg.<key>`` now."""
    return dask.config.get(f"daskimg.{key}", _DEFAULTS["daskimg"][key])


class Settings(NamedTuple):
    """What opening a picture depends on."""

    orientation: bool
    max_pixels: int | None
    formats: tuple[str, ...] | None  # None: all that are known


def settings() -> Settings:
    """The settings in force here and now."""
    cap = _number("max-image-pixels", 1, none=True)
    return Settings(switch("apply-orientation"), cap, _formats(get("formats")))


def _formats(names: str | Iterable[str]) -> tuple[str, ...] | None:
    """The formats that may be opened, by their names in `codec`; None where all may."""
    known = [name.upper() for name in _DEFAULTS["daskimg"]["formats"]]
    asked = re.split(r"[,\s]+", names) if isinstance(names, str) else list(names)
    found = {{"JPG": "JPEG", "TIF": "TIFF"}.get(str(n).upper(), str(n).upper()) for n in asked}
    if not found <= {*known}:
        others = ", ".join(sorted(found - {*known})).lower()
        raise ValueError(
            f"daskimg.formats lists some of {', '.join(known).lower()}; got {others}, which is "
            "never opened"
        )
    return None if found == {*known} else tuple(name for name in known if name in found)


def allow_paths() -> tuple[str, ...]:
    """Where paths that data names may lead, beside the store that the data came from."""
    found = get("allow-paths")
    listed = [found] if isinstance(found, str) else list(found or ())
    if not all(isinstance(one, str) and one for one in listed):
        raise ValueError(
            "daskimg.allow-paths lists stores or folders (s3://bucket, https://host/pics, /data); "
            f"got {found!r}"
        )
    return tuple(os.path.expanduser(one) for one in listed)


def max_bytes() -> int | None:
    """The most bytes of a file that is fetched; None for any number."""
    return _size("max-image-bytes", 1)


def max_errors() -> int | None:
    """How many pictures may fail in a run; None for any number."""
    return _number("max-errors", 0, none=True)


def retries() -> int:
    """How often a transient failure is tried again."""
    return _number("retries", 0) or 0


def fetch_ahead() -> int:
    """Bytes that this process may have fetched ahead, or be fetching."""
    return _size("fetch-ahead", 0) or 0


def fetch_connections() -> int:
    """Requests that this process may have under way."""
    return _number("fetch-connections", 1) or 1


def reduced_scale() -> bool:
    """Whether JPEGs may be read at a part of their size where all that follows is smaller."""
    return choice("reduced-scale", "auto", "off") == "auto"


def isolation() -> tuple[float | None] | None:
    """The time limit of what opens pictures in child processes; None where it is done here."""
    if not switch("decode-processes"):
        return None
    return (None if get("decode-timeout") is None else seconds("decode-timeout", 0.001),)


def in_flight() -> float | None:
    """A fraction of a worker's memory below 1, else bytes; None: no bound."""
    share = get("in-flight")
    if isinstance(share, float) and 0 < share < 1:
        return share
    return _size("in-flight", 1, " or a fraction of a worker's memory (0.25)")


def switch(key: str) -> bool:
    """A setting that is on or off."""
    return choice(key, "true", "false") == "true"


def choice(key: str, *names: str) -> str:
    """A setting that is one of a few words, in any of YAML's spellings of yes and no."""
    found = get(key)
    given = str(found).lower()
    if given in names:
        return given
    for alike in _SAME:
        if given in alike and (meant := alike.intersection(names)):
            return meant.pop()
    raise ValueError(f"daskimg.{key} is {' or '.join(names)}; got {found!r}")


# What YAML and the environment make of such words, and what people write for them.
_SAME = ({"true", "on", "yes", "1"}, {"false", "off", "no", "0"})


def seconds(key: str, least: float = 0) -> float:
    """A setting that is a time."""
    found = get(key)
    try:
        time = float(parse_timedelta(found))
    except (TypeError, ValueError, KeyError, AttributeError):
        time = -1
    if not time >= least:
        raise ValueError(f'daskimg.{key} is a time ("30s"), {least:g}s or more; got {found!r}')
    return time


def _size(key: str, least: int, other: str = "") -> int | None:
    found = get(key)
    if found is None:
        return None
    try:
        size = -1 if isinstance(found, bool) else int(parse_bytes(found))
    except (TypeError, ValueError, AttributeError):
        size = -1
    if size < least:
        above = "0 or more" if least == 0 else "above 0"
        raise ValueError(
            f'daskimg.{key} is a size ("64MiB"){other}, {above}, or null; got {found!r}'
        )
    return size


def _number(key: str, least: int, *, none: bool = False) -> int | None:
    found = get(key)
    if found is None and none:
        return None
    # A whole number however it is spelled: the environment's 1e6 is one of Python's floats.
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        if found == found // 1 and found >= least:
            return int(found)
    elif isinstance(found, str) and found.isdecimal() and int(found) >= least:
        return int(found)
    raise ValueError(
        f"daskimg.{key} is a whole number, {least} or more{', or null' * none}; got {found!r}"
    )
