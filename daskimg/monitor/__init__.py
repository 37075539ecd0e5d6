"""Watching a run: what each stage did, and bars."""

from daskimg.monitor.progress import progress
from daskimg.monitor.stats import Stats, stats

__all__ = ["Stats", "progress", "stats"]
