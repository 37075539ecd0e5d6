"""On the scheduler: what all workers tell, added up, and which runs work on pictures.

For ``dask scheduler --preload daskimg.monitor.scheduler``; clients bring it otherwise.
"""

from __future__ import annotations

import json
import logging
import pickle
import time
from collections import Counter, deque
from itertools import count, pairwise
from typing import Any

from distributed import SchedulerPlugin

from daskimg import config
from daskimg.monitor import page, prometheus
from daskimg.monitor.amount import rows_of
from daskimg.monitor.rows import passed_of
from daskimg.monitor.tally import TOPIC, WORK, Event, Figures, Sums
from daskimg.monitor.worker import Teller

__all__ = ["MonitorPlugin"]

logger = logging.getLogger("daskimg.monitor")

OFTEN = 0.5  # seconds between two points of the curve, and between what clients are told
POINTS = 1200
LAST = 5  # failures of a reason, of which paths are shown
THUMBNAILS = 32
REASONS = 100
GAP = 2.0  # seconds without a word after which nothing is under way, and the next run is another
ENDED = ("memory", "erred", "forgotten")


class MonitorPlugin(SchedulerPlugin):
    """Hears the workers, and tells clients when a run begins and ends, and who is gone.

    Parameters
    ----------
    thumbnails : bool, optional
        Whether workers send small pictures; None: as ``daskimg.thumbnails`` says.
    """

    name = "daskimg-monitor"
    idempotent = True

    def __init__(self, thumbnails: bool | None = None) -> None:
        self._pictures = config.switch("thumbnails") if thumbnails is None else bool(thumbnails)

    async def start(self, scheduler: Any) -> None:
        """The scheduler has the plugin from here on, and all workers, those to come too, tell."""
        self.scheduler = scheduler
        self.begin()
        answers = await scheduler.register_worker_plugin(
            None, pickle.dumps(Teller(self._pictures)), Teller.name, idempotent=True
        )
        for worker, answer in (answers or {}).items():
            if answer.get("status") == "error":
                why = answer.get("exception_text") or answer.get("exception")
                logger.warning("%s does not tell what it does with pictures: %s", worker, why)
        page.add(scheduler, self)
        prometheus.add(self)

    def begin(self) -> None:
        """Nothing was told yet."""
        self.before: Figures = Counter()  # what was done in runs that the page has forgotten
        self.latest = Sums()
        self._last = 0.0
        self._numbers = count()
        self._left: dict[int, set[Any]] = {}  # run: keys that its client waits for
        self._runs: dict[Any, dict[int, str]] = {}  # key: runs, and their clients
        self._untold: list[str] = []  # to clients: lists of events
        self.forget()

    def forget(self) -> None:
        """What the page shows begins anew; nothing is under way."""
        self.before, self.latest = self.total(), Sums()
        self.points: deque[tuple[float, int]] = deque(maxlen=POINTS)
        self.failures: dict[str, deque[tuple[str, str]]] = {}
        self.thumbnails: deque[str] = deque(maxlen=THUMBNAILS)
        self.seconds = 0.0  # from the first to the last time that something was told, without gaps

    def total(self) -> Figures:
        """What was done from the beginning on."""
        total: Figures = self.latest.total()
        total.update(self.before)
        return total

    def log_event(self, topic: str, msg: Any) -> None:
        """Something was told."""
        if topic != WORK:
            return
        if "told" in msg:
            for event in json.loads(msg["told"]):
                self.latest.hear(event)
            now = time.time()
            gap, self._last = now - self._last, now
            self.seconds += gap if gap < GAP else 0
            if not self.points or now - self.points[-1][0] > OFTEN:
                self.points.append((now, passed_of(self.latest.total())))
            if not self._untold:
                self.scheduler.loop.call_later(OFTEN, self._tell)
            self._untold.append(msg["told"])
        for cause, reason, path in msg.get("notes", {}).get("failed", ()):
            if cause in self.failures or len(self.failures) < REASONS:
                last = self.failures.setdefault(cause, deque(maxlen=LAST))
                if (reason, path) not in last:
                    last.append((reason, path))
        self.thumbnails.extend(msg.get("notes", {}).get("thumbnails", ()))

    def _tell(self, *events: Event) -> None:
        """Tell clients what they were not told; at last, some `events`."""
        untold, self._untold = self._untold, []
        if events:
            untold.append(json.dumps(events))
        if untold:
            self.scheduler.log_event(TOPIC, {"told": untold})

    def speeds(self) -> tuple[list[float], list[float]]:
        """Pictures a second over time."""
        passed = list(self.points)
        if time.time() - self._last > GAP and passed:  # nothing is under way
            passed += [(self._last + OFTEN, passed[-1][1]), (time.time(), passed[-1][1])]
        found = [
            (then, max(after - before, 0) / max(then - at, 1e-3))
            for (at, before), (then, after) in pairwise(passed)
        ]
        return [at for at, _ in found], [speed for _, speed in found]

    def remove_worker(self, scheduler: Any, worker: str, **kwargs: Any) -> None:
        """A worker is gone: what was not finished there is done again elsewhere."""
        gone = {"gone": worker}
        self.latest.hear(gone)
        self._tell(gone)

    # -- runs -------------------------------------------------------------------------------------
    def update_graph(
        self, scheduler: Any, *, client: str, keys: Any, tasks: Any, **kwargs: Any
    ) -> None:
        """A client wants something."""
        new = [ts for key in tasks if (ts := scheduler.tasks.get(key)) is not None]
        ours, rows = rows_of(ts.run_spec for ts in new if ts.state not in ENDED)
        left = {key for key in keys if key in scheduler.tasks} if ours else set()
        left = {key for key in left if scheduler.tasks[key].state not in ENDED}
        if not left:
            return
        if not self._left and time.time() - self._last > GAP:
            self.forget()
            self._last = time.time()
            self.points.append((self._last, 0))
        run = next(self._numbers)
        self._left[run] = left
        for key in left:
            self._runs.setdefault(key, {})[run] = client
        self._tell({"begin": run, "client": client, "rows": rows})

    def transition(self, key: Any, start: Any, finish: Any, *args: Any, **kwargs: Any) -> None:
        """A task goes from one state to another; who wants it is told of it after this."""
        if finish not in ENDED:
            return
        if self._untold and (ts := self.scheduler.tasks.get(key)) is not None and ts.who_wants:
            self._tell()
        for run, client in self._runs.pop(key, {}).items():
            left = self._left[run]
            left.discard(key)
            if finish == "erred" or not left:  # (what else it wanted is forgotten with it)
                for other in left:
                    self._runs.get(other, {}).pop(run, None)
                del self._left[run]
                self._tell({"end": run, "client": client, "well": finish == "memory"})

    def restart(self, scheduler: Any) -> None:
        """All is forgotten."""
        self._left.clear()
        self._runs.clear()


async def dask_setup(scheduler: Any) -> None:
    """For ``--preload``."""
    plugin = MonitorPlugin()
    await plugin.start(scheduler)
    scheduler.add_plugin(plugin)
