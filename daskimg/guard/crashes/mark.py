"""Which tasks are suspected to have killed a worker."""

from __future__ import annotations

from daskimg import metrics

__all__ = ["MARK", "suspect_all", "suspected"]

MARK = "daskimg-suspected"  # an annotation of tasks


_all = False


def suspect_all() -> None:
    """Take care from here on: this process stands for one that died."""
    global _all
    _all = True


def suspected() -> bool:
    """Whether a worker died that had the task at hand."""
    if _all:
        return True
    worker = metrics.worker()
    if worker is None:
        return False
    task = worker.state.tasks.get(worker.get_current_task())
    return task is not None and MARK in (task.annotations or {})
