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
    "fetch_ahead",
    "fetch_connections",
    "get",
    "isolation",
    "max_bytes",
    "max_errors",
    "reduced_scale",
    "settings",
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
    cap = get("max-image-pixels")
    cap = None if cap is None else int(cap)
    return Settings(bool(get("apply-orientation")), cap, _formats(get("formats")))


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


def max_bytes() -> int | None:
    """The most bytes of a file that is fetched; None for any number."""
    limit = get("max-image-bytes")
    found = None if limit is None else parse_bytes(limit)
    if found is not None and found <= 0:
        raise ValueError(f"daskimg.max-image-bytes is a size above 0, or null; got {limit!r}")
    return found


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


def max_errors() -> int | None:
    """How many pictures may fail in a run; None for any number."""
    limit = get("max-errors")
    if limit is not None and (isinstance(limit, bool) or int(limit) < 0):
        raise ValueError(f"daskimg.max-errors is a number, 0 or more, or null; got {limit!r}")
    return None if limit is None else int(limit)


def fetch_ahead() -> int:
    """Bytes that this process may have fetched ahead, or be fetching."""
    limit = get("fetch-ahead")
    found = 0 if limit is None else parse_bytes(limit)
    if found < 0:
        raise ValueError(f"daskimg.fetch-ahead is a size, or 0; got {limit!r}")
    return int(found)


def fetch_connections() -> int:
    """Requests that this process may have under way."""
    limit = get("fetch-connections")
    if isinstance(limit, bool) or int(limit) < 1:
        raise ValueError(f"daskimg.fetch-connections is a number, 1 or more; got {limit!r}")
    return int(limit)


def reduced_scale() -> bool:
    """Whether JPEGs may be read at a part of their size where all that follows is smaller."""
    found = get("reduced-scale")
    if found not in ("auto", "off", False):  # YAML reads off as false
        raise ValueError(f"daskimg.reduced-scale is auto or off; got {found!r}")
    return bool(found == "auto")


def isolation() -> tuple[float | None] | None:
    """The time limit of what opens pictures in child processes; None where it is done here."""
    if not get("decode-processes"):
        return None
    limit = get("decode-timeout")
    return (None if limit is None else parse_timedelta(limit),)
