"""One task for what belongs together, whose columns travel as bare arrays.

Plain ``compute()`` leaves out Dask's fusion, and a pandas object costs more than a small picture
does: a task for each step of a partition would take longer than its pixels. A fusion runs all
steps of a partition in one task. Of the steps that are ours it calls the twin that works on
`Table` and `Column`; pandas objects are made where a step of somebody else's looks, and at last.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from graphlib import TopologicalSorter
from typing import Any

from daskimg.lazy.bare import as_pandas, joined
from daskimg.lazy.expr import (
    Blockwise,
    Expr,
    List,
    RepartitionToFewer,
    Task,
    TaskRef,
    is_valid_blockwise_op,
)
from daskimg.lazy.nodes import users_of

__all__ = [
    "Fusion",
    "Together",
    "bare",
    "fusion",
    "is_light",
    "run_bare",
    "run_in_order",
    "twin_of",
    "unfused",
]

_fusing = ContextVar("fusing", default=True)
# by identity: what others run may have no hash
_twins: dict[int, Callable[..., Any]] = {}
_ours: set[int] = set()
_light: set[int] = set()


def bare(operation: Any, twin: Callable[..., Any], light: bool = False) -> None:
    """Register what a fusion calls in place of `operation`: it takes and gives bare columns.

    A `light` one may be called more than once: it makes rows of what its task holds.
    """
    _twins[id(operation)] = twin
    _ours.add(id(twin))
    if light:
        _light.update((id(operation), id(twin)))


def is_light(task: Any) -> bool:
    """Whether a task gives rows without work."""
    return id(getattr(task, "func", None)) in _light


@contextmanager
def unfused() -> Iterator[None]:
    """For those who look into lowered expressions: no `Fusion` while they are made."""
    token = _fusing.set(False)
    try:
        yield
    finally:
        _fusing.reset(token)


def fusion(root: Expr, dependents: Any, bare: bool = False) -> Fusion | None:
    """`root` and the row-wise work that it alone uses, as one task for each partition."""
    group, names = [root], {root._name}
    grown = _fusing.get()
    while grown:
        grown = False
        for below in [below for node in group for below in node.dependencies()]:
            users = {user._name for user in users_of(below, dependents)}
            fits = is_valid_blockwise_op(below) and below.npartitions == root.npartitions
            if below._name not in names and fits and users <= names:
                group.append(below)
                names.add(below._name)
                grown = True
    if len(group) < 2:
        return None
    outside = {
        below._name: below
        for node in group
        for below in node.dependencies()
        if below._name not in names
    }
    single = tuple(name for name, below in outside.items() if below.npartitions == 1)
    inside = {node._name: node for node in group}
    needs = {name: [x._name for x in inside[name].dependencies()] for name in inside}
    order = TopologicalSorter(needs).static_order()  # what others need comes first
    exprs = tuple(inside[name] for name in order if name in inside)
    return Fusion(exprs, tuple(outside), single, bare, *outside.values())


class Fusion(Blockwise):  # type: ignore[misc]
    """Row-wise expressions as one task; `names` are those under which they know what is below.

    Those that are `single` have one partition. (Asked while a graph is made, a scheduler in this
    process may wait for ever: see `compile`.) A `bare` one is read by `Together` alone.
    """

    _parameters = ["exprs", "names", "single", "bare"]  # noqa: RUF012

    @functools.cached_property
    def _meta(self) -> Any:
        return self.exprs[-1]._meta

    @functools.cached_property
    def _name(self) -> str:
        return f"images-{self.deterministic_token}"

    def _divisions(self) -> Any:
        return self.exprs[-1].divisions

    def _broadcast_dep(self, dep: Expr) -> bool:
        return bool(dep.npartitions == 1)

    def _tasks(self, nodes: Iterable[Expr], index: int) -> list[Task]:
        return [twin_of(node._task((node._name, index), index)) for node in nodes]

    @functools.cached_property
    def _own(self) -> list[Expr]:
        """The steps whose tasks differ from partition to partition."""
        return [node for node in self.exprs if _varies(node)]

    @functools.cached_property
    def _shared(self) -> list[Task] | None:
        """The tasks of the first partition that do for all, where the others need nothing."""
        if any(node.dependencies() for node in self._own):
            return None
        return self._tasks([node for node in self.exprs if not _varies(node)], 0)

    @functools.cached_property
    def _outer(self) -> list[Any]:
        """What the shared tasks need from outside."""
        own = {(node._name, 0) for node in self._own}
        return [key for key in _outside(self._shared or []) if key not in own]

    def _task(self, name: Any, index: int) -> Task:
        func = run_bare if self.bare else run_in_order
        # simplified further, what is below has another name by now
        below = dict(zip(self.names, self.operands[4:], strict=True))
        if self._shared is None:
            tasks = self._tasks(self.exprs, index)
            outer = _outside(tasks)
            refs = [TaskRef((below[node]._name, place)) for node, place in outer]
            return Task(name, func, tasks, [], outer, *refs)
        own = [twin_of(node._task((node._name, 0), index)) for node in self._own]
        places = [(node, 0 if node in self.single else index) for node, _ in self._outer]
        refs = [TaskRef((below[node]._name, place)) for node, place in places]
        return Task(name, func, own, self._shared, self._outer, *refs)


def _varies(node: Expr) -> bool:
    """Whether the partition shows in more of its task than in keys: in rows, or a number."""
    if hasattr(type(node), "varies"):  # (not of the node: its columns are attributes of it)
        return bool(node.varies)
    return type(node)._task is not Blockwise._task


def _outside(tasks: list[Task]) -> list[Any]:
    """What tasks need that none of them makes."""
    made = {task.key for task in tasks}
    return sorted({key for task in tasks for key in task.dependencies if key not in made})


class Together(RepartitionToFewer):  # type: ignore[misc]
    """Bare partitions put together as pandas: what ends a ``compute()``."""

    def _simplify_up(self, parent: Expr, dependents: Any) -> None:
        """Nothing goes below it: who looks at bare partitions would not know them."""

    def _layer(self) -> dict[Any, Task]:
        bounds = self._partitions_boundaries
        return {
            (name := (self._name, i)): Task(
                name, _together, List(*[TaskRef((self.frame._name, j)) for j in range(start, stop)])
            )
            for i, (start, stop) in enumerate(itertools.pairwise(bounds))
        }


def _together(parts: list[Any]) -> Any:
    return as_pandas(joined(parts))


def twin_of(task: Task) -> Task:
    """`task` with the twin of its operation, where that is one of ours."""
    twin = _twins.get(id(getattr(task, "func", None)))
    return task if twin is None else Task(task.key, twin, *task.args, **task.kwargs)


def run_in_order(own: list[Task], shared: list[Task], keys: list[Any], *given: Any) -> Any:
    """What the last of all tasks gives; those that all partitions share come last."""
    return as_pandas(run_bare(own, shared, keys, *given))


def run_bare(own: list[Task], shared: list[Task], keys: list[Any], *given: Any) -> Any:
    """The same, bare where a step of ours is the last; values are let go after their last use."""
    tasks = [*own, *shared]
    values = dict(zip(keys, given, strict=True))
    users = Counter(key for task in tasks for key in task.dependencies)
    for task in tasks:
        func = getattr(task, "func", None)  # an alias has none: it hands on what it is given
        if func is None or id(func) in _ours:
            values[task.key] = task(values)
        else:
            values[task.key] = task({key: as_pandas(values[key]) for key in task.dependencies})
        for key in task.dependencies:
            users[key] -= 1
            if not users[key]:
                values.pop(key, None)
    return values[tasks[-1].key]
