"""On the scheduler: where stage tasks run, how many at once, and how far decoding runs ahead.

Everything is decided on the tasks themselves when a graph arrives (`update_graph`), whichever way
it was computed, so nobody has to annotate anything:

- A stage task gets its resources; all other tasks of such a graph stay on workers that do not
  offer them, while there are such workers.
- ``concurrency``: its tasks are held when they are ready, and let go while fewer run.
- The window: what feeds only one stage task is held at its roots, and let go while the bytes that
  wait for the stage are few. A held task is an order, not a dependency: nothing is moved between
  workers for it, and another query that shares the task computes nothing more.

A held task asks for a resource that no worker has.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

from daskimg.stage.call import MARK, StageCall
from daskimg.stage.feeders import feeders_of

__all__ = ["StagePlugin"]

HOLD = {"daskimg-hold": 1.0}
UNLIMITED = 2**30  # the memory assumed of a worker without a limit
ENDED = ("memory", "erred", "forgotten")
WAITING = ("waiting", "no-worker")


@dataclass(eq=False)
class Window:
    """The partitions of one stage in one graph: those held back, and those on their way."""

    call: StageCall
    waiting: dict[Any, list[Any]]  # stage task: its feeders
    flowing: set[Any] = field(default_factory=set)
    nbytes: float = 0  # of the largest input seen


@dataclass(eq=False)
class Crew:
    """The tasks of one stage, in all graphs: those ready to run, and those that do."""

    call: StageCall
    ready: dict[Any, None] = field(default_factory=dict)
    busy: set[Any] = field(default_factory=set)


@dataclass(eq=False)
class Entry:
    """What is known of one stage task."""

    call: StageCall
    crew: Crew | None = None
    window: Window | None = None


class StagePlugin(SchedulerPlugin):
    """Places the tasks of stages. Registered once a scheduler; see `daskimg.stage.register`."""

    name = "daskimg-stage"
    idempotent = True

    async def start(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.restart(scheduler)

    def restart(self, scheduler: Any) -> None:
        self._entries: dict[Any, Entry] = {}
        self._crews: dict[str, Crew] = {}
        self._held: dict[Any, tuple[Any, Any]] = {}
        self._without: dict[frozenset[str], set[str]] = {}
        self._due: set[Window | Crew] = set()
        self._loose: list[Any] = []
        self._missing: dict[str, float] = {}  # stages that no worker can run, since when

    # -- a graph arrives --------------------------------------------------------------------------
    def update_graph(self, scheduler: Any, *, keys: Any, **kwargs: Any) -> None:
        pending = _to_run(scheduler.tasks[key] for key in keys if key in scheduler.tasks)
        calls = {ts: call for ts in pending if (call := _call_of(ts.run_spec)) is not None}
        if not calls:
            return
        away = self._workers_without(frozenset(n for c in calls.values() for n in c.resources))
        for ts in pending:
            if ts in calls:
                self._place(ts, calls[ts])
            elif away and not ts.worker_restrictions and not ts.host_restrictions:
                ts.worker_restrictions = away
        heavy = {ts for ts, call in calls.items() if call.in_flight is not None}
        windows: dict[str, Window] = {}
        for ts, feeders in feeders_of(pending, heavy).items():
            call = calls[ts]
            window = windows.setdefault(call.token, Window(call, {}))
            window.waiting[ts.key] = [feeder.key for feeder in feeders]
            self._entries[ts.key].window = window
            for feeder in feeders:
                self._hold(feeder)
        for window in windows.values():
            self._let_flow(window)
        for call in {call.token: call for call in calls.values()}.values():
            self._watch(call)

    def _place(self, ts: Any, call: StageCall) -> None:
        ts.annotations = {**(ts.annotations or {}), MARK: True}
        ts.resource_restrictions = dict(call.resources) or None
        entry = self._entries.setdefault(ts.key, Entry(call))
        if call.limit is not None:
            entry.crew = self._crews.setdefault(call.token, Crew(call))
            self._hold(ts)

    # -- tasks move -------------------------------------------------------------------------------
    def transition(self, key: Any, start: Any, finish: Any, *args: Any, **kwargs: Any) -> None:
        if finish == "forgotten":
            self._held.pop(key, None)
        entry = self._entries.get(key)
        if entry is None:
            return
        ts = self.scheduler.tasks[key]
        if (window := entry.window) is not None:
            if start == "waiting" and finish in ("processing", "no-worker"):
                window.nbytes = max(window.nbytes, sum(d.get_nbytes() for d in ts.dependencies))
                self._soon(window)
            elif finish in ENDED:
                self._loose += window.waiting.pop(key, [])
                window.flowing.discard(key)
                entry.window = None
                self._soon(window)
        if (crew := entry.crew) is not None:
            if finish == "no-worker" and key in self._held:
                crew.ready[key] = None
                self._soon(crew)
            elif finish in (*ENDED, "released"):
                crew.busy.discard(key)
                crew.ready.pop(key, None)
                if finish != "forgotten":
                    self._hold(ts)
                self._soon(crew)
        if finish == "forgotten":
            del self._entries[key]

    def _soon(self, what: Window | Crew) -> None:
        """Look again once the transitions under way are through."""
        if not self._due:
            self.scheduler.loop.add_callback(self._look)
        self._due.add(what)

    def _look(self) -> None:
        loose, self._loose = self._loose, []
        self._let_go(loose)
        due, self._due = self._due, set()
        for what in due:
            if isinstance(what, Window):
                self._let_flow(what)
            else:
                self._let_run(what)

    # -- the window -------------------------------------------------------------------------------
    def _let_flow(self, window: Window) -> None:
        least, most = self._slots(window.call) + 1, self._bytes(window.call)
        while window.waiting:
            n = len(window.flowing)
            if n >= least and not (window.nbytes and (n + 1) * window.nbytes <= most):
                return
            key = next(iter(window.waiting))
            feeders = window.waiting.pop(key)
            window.flowing.add(key)
            self._let_go(feeders)

    def _slots(self, call: StageCall) -> int:
        """How many of its tasks the workers can run at once."""
        slots = sum(_fit(call, ws) for ws in self.scheduler.workers.values())
        return max(1, slots if call.limit is None else min(slots, call.limit))

    def _bytes(self, call: StageCall) -> float:
        """How much may wait: bounded by the workers that take it and by those that make it."""
        assert call.in_flight is not None
        takers, makers = 0.0, 0.0
        away = self._workers_without(frozenset(call.resources))
        for address, ws in self.scheduler.workers.items():
            share = call.in_flight
            if share < 1:
                share *= ws.memory_limit or UNLIMITED
            takers += share if call.offered_by(ws.resources) else 0
            makers += share if not away or address in away else 0
        return min(takers, makers)

    # -- concurrency ------------------------------------------------------------------------------
    def _let_run(self, crew: Crew) -> None:
        tasks = self.scheduler.tasks
        assert crew.call.limit is not None
        while crew.ready and len(crew.busy) < crew.call.limit:
            key = min(crew.ready, key=lambda k: tasks[k].priority)
            del crew.ready[key]
            crew.busy.add(key)
            self._let_go([key], on=self._free_workers(crew))

    def _free_workers(self, crew: Crew) -> set[str]:
        """Workers with room for one more task of a stage: it must not queue behind its like."""
        running: dict[str, int] = {}
        for key in crew.busy:
            ws = self.scheduler.tasks[key].processing_on
            if ws is not None:
                running[ws.address] = running.get(ws.address, 0) + 1
        return {
            address
            for address, ws in self.scheduler.workers.items()
            if ws in self.scheduler.running and running.get(address, 0) < _fit(crew.call, ws)
        }

    # -- holding and letting go -------------------------------------------------------------------
    def _hold(self, ts: Any) -> None:
        if ts.key not in self._held:
            entry = self._entries.get(ts.key)
            where = None if entry else ts.worker_restrictions
            resources = entry.call.resources if entry else ts.resource_restrictions
            self._held[ts.key] = (resources or None, where)
        ts.resource_restrictions = HOLD

    def _let_go(self, keys: Iterable[Any], on: set[str] | None = None) -> None:
        recommendations = {}
        for key in keys:
            resources, where = self._held.pop(key, (None, None))
            ts = self.scheduler.tasks.get(key)
            if ts is None or ts.resource_restrictions is not HOLD:
                continue
            ts.resource_restrictions, ts.worker_restrictions = resources, on or where
            if ts.state == "no-worker":
                recommendations[key] = "processing"
        if recommendations:
            self.scheduler.transitions(recommendations, "daskimg-let-go")

    # -- workers come and go ----------------------------------------------------------------------
    def _workers_without(self, names: frozenset[str]) -> set[str]:
        """Addresses of workers that offer none of these; one set for all tasks, kept up to date."""
        addresses = self._without.setdefault(names, set())
        addresses.clear()
        if names:
            workers = self.scheduler.workers.items()
            addresses |= {a for a, ws in workers if not names & set(ws.resources)}
        return addresses

    def add_worker(self, scheduler: Any, worker: str) -> None:
        self._workers_changed()

    def remove_worker(self, scheduler: Any, worker: str, **kwargs: Any) -> None:
        self._workers_changed()

    def _workers_changed(self) -> None:
        self.scheduler.loop.add_callback(self._count_workers)

    def _count_workers(self) -> None:
        for names in self._without:
            self._workers_without(names)
        kept = {id(addresses) for addresses in self._without.values()}
        stuck = [ts for ts in self.scheduler.unrunnable if id(ts.worker_restrictions) in kept]
        self.scheduler.transitions({ts.key: "processing" for ts in stuck}, "daskimg-retry")
        self._due |= {e.window for e in self._entries.values() if e.window is not None}
        self._due |= set(self._crews.values())
        self._look()
        for call in {e.call.token: e.call for e in self._entries.values()}.values():
            self._watch(call)

    def _watch(self, call: StageCall) -> None:
        """Notice since when no worker can run a stage."""
        if any(call.offered_by(ws.resources) for ws in self.scheduler.workers.values()):
            self._missing.pop(call.token, None)
        elif call.token not in self._missing:
            self._missing[call.token] = monotonic()
            self.scheduler.loop.call_later(call.timeout, self._give_up, call)

    def _give_up(self, call: StageCall) -> None:
        """Fail the tasks that no worker came for in time."""
        scheduler, since = self.scheduler, self._missing.get(call.token)
        tasks = [key for key, entry in self._entries.items() if entry.call.token == call.token]
        if since is None or not tasks:
            self._missing.pop(call.token, None)
            return
        left = since + call.timeout - monotonic()
        scheduler.loop.call_later(left if left > 0 else 0.5, self._give_up, call)
        if left > 0:
            return
        workers = {
            address: {"name": ws.name, "nthreads": ws.nthreads, "resources": ws.resources}
            for address, ws in scheduler.workers.items()
        }
        error = pickle.dumps(call.no_worker(workers, scheduler.address))
        # themselves, and not what they wait for: others may want that, and it may be queued only
        lost = [ts for k in tasks if (ts := scheduler.tasks.get(k)) and ts.state in WAITING]
        for ts in lost:
            ts.exception, ts.exception_blame = error, ts
        scheduler.transitions({ts.key: "erred" for ts in lost}, "daskimg-no-worker")


def _call_of(spec: Any) -> StageCall | None:
    """The stage that a task runs, be it inside of one that Dask's arrays or bags have fused."""
    call = getattr(spec, "func", None)
    if isinstance(call, StageCall):
        return call if call.placed else None
    inner = (v for arg in getattr(spec, "args", ()) if isinstance(arg, dict) for v in arg.values())
    return next((found for task in inner if (found := _call_of(task)) is not None), None)


def _to_run(wanted: Iterable[Any]) -> dict[Any, None]:
    """The tasks of a graph that are not there and not on their way."""
    pending: dict[Any, None] = {}
    stack = [ts for ts in wanted if ts.state == "released"]
    while stack:
        ts = stack.pop()
        if ts not in pending:
            pending[ts] = None
            stack += [dep for dep in ts.dependencies if dep.state == "released"]
    return pending


def _fit(call: StageCall, ws: Any) -> int:
    """How many tasks of a stage a worker can run at once."""
    room = [ws.resources.get(name, 0) / amount for name, amount in call.resources.items()]
    return int(min([ws.nthreads, *room]))


async def dask_setup(scheduler: Any) -> None:
    """For ``dask scheduler --preload daskimg.stage.plugin``."""
    plugin = StagePlugin()
    await plugin.start(scheduler)
    scheduler.add_plugin(plugin)
