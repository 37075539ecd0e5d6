"""Counters on the scheduler's own Prometheus endpoint, ``/metrics``."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any

from daskimg.metrics import ROWS
from daskimg.monitor.rows import causes_of

__all__ = ["add"]

_plugins: weakref.WeakSet[Any] = weakref.WeakSet()
_collector: Any = None


def add(plugin: Any) -> None:
    """Count what a scheduler hears of, where prometheus_client is installed."""
    global _collector
    try:
        from prometheus_client import REGISTRY
    except ImportError:  # Dask's endpoint says so itself
        return
    _plugins.add(plugin)
    if _collector is None:
        _collector = _Collector()
        REGISTRY.register(_collector)


class _Collector:
    """Of all schedulers in this process. A counter never falls: what is done again counts once."""

    def __init__(self) -> None:
        self.told: Counter[tuple[str, str]] = Counter()

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[Any]:
        """The counters now."""
        from prometheus_client.core import CounterMetricFamily

        now: Counter[tuple[str, str]] = Counter()
        for plugin in tuple(_plugins):
            total = plugin.total()
            now.update({("errors", cause): n for cause, n in causes_of(total).items()})
            for (stage, what), number in total.items():
                if what in ("images", "bytes") and not stage.startswith(ROWS):
                    now[what, stage] += number
        for key, number in now.items():
            self.told[key] = max(self.told[key], number)
        for what, text, label in (
            ("images", "Pictures that went through a stage", "stage"),
            ("bytes", "Bytes that a stage made", "stage"),
            ("errors", "Pictures that failed", "reason"),
        ):
            family = CounterMetricFamily(f"daskimg_{what}", text, labels=[label])
            for (kind, name), number in self.told.items():
                if kind == what and number:
                    family.add_metric([name], number)
            yield family
