"""On the scheduler: what all workers tell, added up, and which runs work on pictures.

For ``dask scheduler --preload daskimg.monitor.scheduler``; clients bring it otherwise.
"""

from __future__ import annotations

import pickle
from itertools import count
from typing import Any

from distributed import SchedulerPlugin

from daskimg.monitor.amount import rows_of
from daskimg.monitor.tally import Sums
from daskimg.monitor.topic import TOPIC
from daskimg.monitor.worker import Teller

__all__ = ["MonitorPlugin"]

ENDED = ("memory", "erred", "forgotten")


class MonitorPlugin(SchedulerPlugin):
    """Hears the workers, and tells clients when a run begins and ends, and who is gone."""

    name = "daskimg-monitor"
    idempotent = True

    async def start(self, scheduler: Any) -> None:
        """The scheduler has the plugin from here on, and all workers, those to come too, tell."""
        self.scheduler = scheduler
        self.tally = Sums()
        self._numbers = count()
        self._left: dict[int, set[Any]] = {}  # run: keys that its client waits for
        self._runs: dict[Any, dict[int, str]] = {}  # key: runs, and their clients
        await scheduler.register_worker_plugin(
            None, pickle.dumps(Teller()), Teller.name, idempotent=True
        )

    def log_event(self, topic: str, msg: Any) -> None:
        """Something was told."""
        if topic == TOPIC:
            self.tally.hear(msg)

    def remove_worker(self, scheduler: Any, worker: str, **kwargs: Any) -> None:
        """A worker is gone: what was not finished there is done again elsewhere."""
        scheduler.log_event(TOPIC, {"gone": worker})

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
        run = next(self._numbers)
        self._left[run] = left
        for key in left:
            self._runs.setdefault(key, {})[run] = client
        scheduler.log_event(TOPIC, {"begin": run, "client": client, "rows": rows})

    def transition(self, key: Any, start: Any, finish: Any, *args: Any, **kwargs: Any) -> None:
        """A task goes from one state to another."""
        if finish not in ENDED or key not in self._runs:
            return
        for run, client in self._runs.pop(key).items():
            left = self._left[run]
            left.discard(key)
            if finish == "erred" or not left:  # (what else it wanted is forgotten with it)
                for other in left:
                    self._runs.get(other, {}).pop(run, None)
                del self._left[run]
                end = {"end": run, "client": client, "well": finish == "memory"}
                self.scheduler.log_event(TOPIC, end)

    def restart(self, scheduler: Any) -> None:
        """All is forgotten."""
        self._left.clear()
        self._runs.clear()


async def dask_setup(scheduler: Any) -> None:
    """For ``--preload``."""
    plugin = MonitorPlugin()
    await plugin.start(scheduler)
    scheduler.add_plugin(plugin)
