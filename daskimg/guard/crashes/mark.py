"""Which tasks are suspected to have killed a worker."""

from __future__ import annotations

from daskimg import metrics

__all__ = ["MARK", "suspected"]

MARK = "daskimg-suspected"  # an annotation of tasks


def suspected() -> bool:
    """Whether a worker died that had the task at hand."""
    worker = metrics.worker()
    if worker is None:
        return False
    task = worker.state.tasks.get(worker.get_current_task())
    return task is not None and MARK in (task.annotations or {})
