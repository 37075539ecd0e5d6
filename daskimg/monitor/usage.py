"""Memory and processor time of a process, from a moment on."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import psutil

__all__ = ["Usage"]

EVERY = 0.5  # seconds between looks at the memory: each takes the interpreter from those at work


class Usage:
    """What this process takes.

    Its memory is to be looked at now and then; where the system keeps the process's highest mark
    (Linux), a peak above the mark of before is known exactly.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._before, self._mark = self._cpu(), _high_mark()
        self._peak = 0
        self._over = threading.Event()
        self.look()

    def read(self) -> dict[str, Any]:
        """The process, the most memory it held (bytes) and its processor time (seconds)."""
        self.look()
        mark = _high_mark()
        if mark > self._mark:
            self._peak = mark
        where = f"{socket.gethostname()} {os.getpid()}"
        return {"process": where, "peak_memory": self._peak, "cpu": self._cpu() - self._before}

    def look(self) -> None:
        """See how much memory is held now."""
        self._peak = max(self._peak, self._process.memory_info().rss)

    def watch(self) -> None:
        """Let a thread look, until it is told to stop."""
        threading.Thread(target=self._watch, daemon=True, name="daskimg-usage").start()

    def stop(self) -> None:
        """No more looks."""
        self._over.set()

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _watch(self) -> None:
        while not self._over.wait(EVERY):
            self.look()


def _high_mark() -> int:
    """The most bytes this process ever held; 0 where the system does not tell."""
    try:
        with open("/proc/self/status") as status:
            line = next((line for line in status if line.startswith("VmHWM:")), "VmHWM: 0 kB")
    except OSError:
        return 0
    return int(line.split()[1]) * 1024
