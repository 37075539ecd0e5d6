"""Settings: what is taken, as Python, YAML and the environment spell it, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask
import pytest
from dask.config import collect_env

from daskimg import config

SWITCHES = "apply-orientation", "decode-processes", "thumbnails"


def pixels() -> int | None:
    return config.settings().max_pixels


def idle() -> float:
    return config.seconds("model-idle")


def progress() -> str:
    return config.choice("progress", "auto", "on", "off")


RIGHT: list[tuple[str, Callable[[], Any], Any, Any]] = [
    ("retries", config.retries, 0, 0),
    ("retries", config.retries, "3", 3),
    ("retries", config.retries, 2.0, 2),
    ("max-errors", config.max_errors, None, None),
    ("max-errors", config.max_errors, "7", 7),
    ("fetch-connections", config.fetch_connections, 8, 8),
    ("fetch-ahead", config.fetch_ahead, 0, 0),
    ("fetch-ahead", config.fetch_ahead, None, 0),
    ("fetch-ahead", config.fetch_ahead, "1kB", 1000),
    ("max-image-bytes", config.max_bytes, None, None),
    ("max-image-bytes", config.max_bytes, "2KiB", 2048),
    ("in-flight", config.in_flight, 0.5, 0.5),
    ("in-flight", config.in_flight, "1MiB", 2**20),
    ("in-flight", config.in_flight, 1e6, 10**6),
    ("in-flight", config.in_flight, None, None),
    ("reduced-scale", config.reduced_scale, "auto", True),
    ("reduced-scale", config.reduced_scale, "off", False),
    ("reduced-scale", config.reduced_scale, False, False),  # what YAML makes of off
    ("max-image-pixels", pixels, 1e6, 10**6),
    ("max-image-pixels", pixels, None, None),
    ("model-idle", idle, "5m", 300.0),
    ("model-idle", idle, 2, 2.0),
    ("progress", progress, True, "on"),
    ("progress", progress, "off", "off"),
]

WRONG: list[tuple[str, Callable[[], Any], list[Any]]] = [
    ("retries", config.retries, [-1, 2.5, "often", True, None]),
    ("max-errors", config.max_errors, [-1, 0.1, "5%", False]),
    ("fetch-connections", config.fetch_connections, [0, "many", None, True, 1.5]),
    ("fetch-ahead", config.fetch_ahead, [-1, "lots", True, [1]]),
    ("max-image-bytes", config.max_bytes, [0, "big", -5]),
    ("in-flight", config.in_flight, [0, -0.5, 0.0, "half"]),
    ("reduced-scale", config.reduced_scale, ["on", "half", None]),
    ("max-image-pixels", pixels, [0, "4k", -1, True, float("nan"), float("inf")]),
    ("model-idle", idle, ["soon", None, -1, []]),
    ("progress", progress, ["loud", 7, None]),
]


@pytest.mark.parametrize(("key", "read", "given", "meant"), RIGHT)
def test_what_is_taken(key: str, read: Callable[[], Any], given: Any, meant: Any) -> None:
    with dask.config.set({f"daskimg.{key}": given}):
        assert read() == meant


@pytest.mark.parametrize(("key", "read", "given"), WRONG)
def test_what_is_not_names_the_setting(key: str, read: Callable[[], Any], given: list[Any]) -> None:
    for value in given:
        with dask.config.set({f"daskimg.{key}": value}):
            with pytest.raises(ValueError, match=f"daskimg.{key} .*got ") as told:
                read()
            assert str(told.value).endswith(f"got {value!r}")


@pytest.mark.parametrize("key", SWITCHES)
@pytest.mark.parametrize("word", ["no", "off", "False", "false", "0"])
def test_no_of_the_environment_is_no(key: str, word: str) -> None:
    """From the environment Dask makes text of "no" and "off", which is true in Python."""
    name = "DASK_DASKIMG__" + key.upper().replace("-", "_")
    with dask.config.set(collect_env({name: word})):
        assert config.switch(key) is False
    with dask.config.set({f"daskimg.{key}": "maybe"}), pytest.raises(ValueError, match=key):
        config.switch(key)
