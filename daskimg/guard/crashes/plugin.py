"""On the scheduler: marks the tasks that were on a worker when it died."""

from __future__ import annotations

from typing import Any

from distributed import SchedulerPlugin

from daskimg.guard.crashes.mark import MARK

__all__ = ["CrashPlugin"]

PENDING = ("released", "waiting", "queued", "no-worker")


class CrashPlugin(SchedulerPlugin):
    """Marks tasks before they are given to another worker.

    After the second death all tasks of the same name are marked: there are more such pictures, and
    each death counts against all that was on the worker.
    """

    name = "daskimg-crashes"
    idempotent = True

    async def start(self, scheduler: Any) -> None:
        """The scheduler has the plugin from here on."""
        self.scheduler = scheduler
        self._deaths: dict[str, set[Any]] = {}

    def transition(
        self, key: Any, start: Any, finish: Any, *args: Any, stimulus_id: Any = None, **kwargs: Any
    ) -> None:
        """A task goes from one state to another."""
        if start != "processing" or finish != "released":
            return
        suspect = self.scheduler.tasks.get(key)
        if suspect is None or not suspect.suspicious:
            return
        _mark(suspect)
        deaths = self._deaths.setdefault(suspect.group.name, set())
        deaths.add(stimulus_id)
        if len(deaths) == 2:
            for task in self.scheduler.tasks.values():
                if task.group is suspect.group and task.state in PENDING:
                    _mark(task)


def _mark(task: Any) -> None:
    task.annotations = {**(task.annotations or {}), MARK: True}
