"""Waiting in tests: for what happens, never for so many seconds, which a busy machine outlasts."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["PATIENCE", "crowd", "until"]

PATIENCE = 240  # seconds after which something will never happen; no test waits so long and passes


def until(condition: Callable[[], Any], what: str, every: float = 0.02) -> Any:
    """What `condition` gives once it is true."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(every)
    return found


def crowd(folder: Path, there: str, saw: str, together: int = 1) -> None:
    """Leave a file that says how many of the files `there` there are.

    Until `together` of them were seen once, wait for more to come: on a busy machine, too, those
    that may run at once do.
    """

    def seen() -> bool:
        most = len(list(folder.glob(there)))
        (folder / f"{saw}-{most}").touch()
        return together <= max(int(path.name.split("-")[1]) for path in folder.glob(f"{saw}-*"))

    until(seen, f"{together} never ran at once")
