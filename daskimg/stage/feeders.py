"""Which tasks feed one stage task alone, and may therefore be held back for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["feeders_of"]


def feeders_of(pending: Iterable[Any], stages: set[Any]) -> dict[Any, list[Any]]:
    """For each task of a stage the roots of what it alone needs, in the order they will run.

    A task that two of them need (the input of a shuffle) feeds neither: holding it back for one
    might keep the other from ever running. Of two stages in a row on the same partition only the
    later one has feeders: the partition is on its way until that one is through.

    Parameters
    ----------
    pending : iterable of TaskState
        All tasks that are about to run.
    stages : set of TaskState
        Those of stages.
    """
    todo = set(pending)
    held: dict[Any, list[Any]] = {}
    left = set(stages)
    while left:
        below = _ancestors(left, todo)
        tops = left - below
        owner = _owners(tops, todo)
        for task, top in owner.items():
            if top is not None and task not in stages:
                if not any(owner.get(dep) is top for dep in task.dependencies):
                    held.setdefault(top, []).append(task)
        left = {task for task in left - tops if owner.get(task) is None}
    return {task: held[task] for task in sorted(held, key=lambda ts: ts.priority)}


def _ancestors(tasks: set[Any], todo: set[Any]) -> set[Any]:
    """What the tasks need, not counting themselves unless another one needs them."""
    found: set[Any] = set()
    stack = list(tasks)
    while stack:
        for dep in stack.pop().dependencies:
            if dep in todo and dep not in found:
                found.add(dep)
                stack.append(dep)
    return found


def _owners(tops: set[Any], todo: set[Any]) -> dict[Any, Any]:
    """The one top that needs a task, or None where several do."""
    owner: dict[Any, Any] = {}
    for top in tops:
        stack = [top]
        while stack:
            for dep in stack.pop().dependencies:
                if dep not in todo or owner.get(dep, dep) in (top, None):
                    continue
                owner[dep] = None if dep in owner else top
                stack.append(dep)
    return owner
