"""Settings: `dask.config` keys ``daskimg.*``, documented in ``daskimg.yaml``.

They are read when a column is made and travel in its program, so that a worker needs no
configuration of its own.
"""

from __future__ import annotations

import importlib.resources
from typing import Any, NamedTuple

import dask.config
import yaml
from dask.utils import parse_timedelta

__all__ = ["Settings", "get", "max_errors", "settings"]

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


def settings() -> Settings:
    """The settings in force here and now."""
    cap = get("max-image-pixels")
    return Settings(bool(get("apply-orientation")), None if cap is None else int(cap))


def max_errors() -> int | None:
    """How many pictures may fail in a run; None for any number."""
    limit = get("max-errors")
    if limit is not None and (isinstance(limit, bool) or int(limit) < 0):
        raise ValueError(f"daskimg.max-errors is a number, 0 or more, or null; got {limit!r}")
    return None if limit is None else int(limit)


def isolation() -> tuple[tuple[float | None], ...]:
    """The time limit of decoding in child processes, as a parameter of decode; none without."""
    if not get("decode-processes"):
        return ()
    limit = get("decode-timeout")
    return ((None if limit is None else parse_timedelta(limit),),)
