"""What a stage does to one partition, and what it asks of the place where it runs."""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from numbers import Real
from pathlib import Path
from typing import Any

import cloudpickle
import pandas as pd
from dask.base import tokenize

from daskimg import config
from daskimg.engine.lasting import Facts, content_of, named
from daskimg.errors import PlacementError, quoted, whole

__all__ = ["MARK", "StageCall", "most_of", "resources_of", "visible_gpus"]

# The annotation that the scheduler plugin leaves on the tasks that it has placed.
MARK = "daskimg-placed"

_gates: dict[str, threading.BoundedSemaphore] = {}
_gates_lock = threading.Lock()


def resources_of(
    num_gpus: float = 0, resources: dict[str, float] | None = None
) -> dict[str, float] | None:
    """Worker resources for `num_gpus` GPUs (``daskimg.gpu-resource``) and `resources`.

    Examples
    --------
    >>> resources_of(0.5)
    {'GPU': 0.5}
    """
    wanted = dict(resources or {})
    if not _is_amount(num_gpus) or num_gpus < 0:
        raise ValueError(f"num_gpus is a number of GPUs, 0 or more; got {quoted(num_gpus)}")
    if num_gpus:
        wanted[config.get("gpu-resource")] = num_gpus
    return wanted or None


def visible_gpus() -> list[str]:
    """The NVIDIA GPUs that this process may use, found without loading CUDA."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        driver = Path("/proc/driver/nvidia/gpus")
        return [str(n) for n, _ in enumerate(driver.iterdir())] if driver.is_dir() else []
    names = [name.strip() for name in visible.split(",")]
    return list(itertools.takewhile(lambda name: name not in ("", "-1"), names))


class StageCall:
    """A task for each partition of one stage, with what it asks for.

    The task is pickled apart, so that a scheduler that unpickles the graph needs none of the
    modules that the task needs.

    Attributes
    ----------
    kept : set of str
        Columns that it hands on as they came.
    tells : bool
        Whether the task can tell of its failures in a column beside its result.
    """

    def __init__(
        self,
        task: Callable[[pd.DataFrame], pd.DataFrame],
        label: str,
        resources: dict[str, float],
        concurrency: int | tuple[int, int] | None,
        heavy: bool,
        kept: Iterable[Any] = (),
    ) -> None:
        for name, amount in resources.items():
            if not _is_amount(amount) or not amount > 0:
                raise ValueError(
                    f"{label}: resources[{name!r}] must be above 0; got {quoted(amount)}"
                )
        self._task: Callable[[pd.DataFrame], pd.DataFrame] | None = task
        self._pickled: bytes | None = None
        self.kept = frozenset(kept)
        self.tells = hasattr(task, "telling")
        self.label = re.sub(r"[^\w.]+", "-", label).strip("-")
        self.resources = dict(resources)
        self.limit = most_of(concurrency, label)
        self.in_flight = config.in_flight() if heavy else None
        self.timeout = config.seconds("worker-timeout")
        self.gpu_resource = str(config.get("gpu-resource"))
        self.token = tokenize(task, label, self.resources, self.limit, self.in_flight)

    @property
    def placed(self) -> bool:
        """Whether the scheduler has a say in where or when it runs."""
        return bool(self.resources) or self.limit is not None

    @property
    def wants(self) -> str:
        """The resources, as ``dask worker --resources`` takes them."""
        return _listed(self.resources)

    def offered_by(self, supplied: dict[str, float] | None) -> bool:
        """Whether a worker that supplies these resources can run it."""
        return all((supplied or {}).get(name, 0) >= n for name, n in self.resources.items())

    def __call__(self, part: pd.DataFrame) -> pd.DataFrame:
        if not self.placed:
            return self._open()(part)
        worker = _this_worker()
        if worker is not None:
            self._check_placed(worker)
            return self._open()(part)
        with self._local_gate():
            return self._open()(part)

    def telling(self, name: str) -> StageCall:
        """The same, whose task tells of its failures too: see `batch.task.Task.telling`."""
        task: Any = self._open()
        told = copy.copy(self)
        told._task, told._pickled = task.telling(name), None
        told.token = tokenize(self.token, name)
        return told

    def _open(self) -> Callable[[pd.DataFrame], pd.DataFrame]:
        if self._task is None:
            assert self._pickled is not None
            self._task = cloudpickle.loads(self._pickled)
        return self._task

    def check_local(self) -> None:
        """Raise unless this process alone has what the stage asks for."""
        others = [name for name in self.resources if name != self.gpu_resource]
        if others or self.resources.get(self.gpu_resource, 0) > len(visible_gpus()):
            raise PlacementError(
                f"{self.label} asks for {self.wants}, and there is no cluster: "
                f"{len(visible_gpus())} GPUs are visible to this process. Start one with "
                f"di.start_cluster(), connect a distributed.Client to one that has workers "
                f"started with --resources {self.wants}"
                + (", or run on CPUs: num_gpus=0" if self.gpu_resource in self.resources else "")
            )

    def no_worker(self, workers: dict[str, dict[str, Any]], scheduler: str) -> PlacementError:
        """What there is, and what to do. `workers`: address to name, nthreads and resources."""
        lines = [
            f"  {address} ({worker['name']}): {worker['nthreads']} threads, resources "
            + (
                ", ".join(f"{k}={v:g}" for k, v in (worker.get("resources") or {}).items())
                or "none"
            )
            for address, worker in workers.items()
        ]
        listed = "\n".join(lines) or "  none"
        asks = f"asks for {self.wants} on one worker" if self.resources else "waits for a worker"
        missing = "no live worker offers it" if lines else "the cluster has no worker at all"
        how = f" --resources {self.wants}" if self.resources else ""
        ways = f"Start one: dask worker {scheduler}{how}"
        if self.gpu_resource in self.resources:
            ways += (
                " (dask cuda worker for GPUs), or di.start_cluster(gpus=1). Or run it on CPU "
                "workers: num_gpus=0"
            )
        return PlacementError(
            f"{self.label} {asks}, and after {self.timeout:g} s {missing}. Workers:\n{listed}\n"
            f"{ways}. Where workers take longer to start, daskimg.worker-timeout is how long to "
            "wait for them"
        )

    def _check_placed(self, worker: Any) -> None:
        key = worker.get_current_task()
        if not (worker.state.tasks[key].annotations or {}).get(MARK):
            raise PlacementError(
                f"{self.label} ran as task {key!r} on worker {worker.name}, where nothing placed "
                "it: the scheduler does not know daskimg's plugin, or the task was packed into "
                "another one. Call daskimg.stage.register(client) once (di.check_cluster(client) "
                "tells whether it is registered), and compute the frame itself"
            )

    @contextlib.contextmanager
    def _local_gate(self) -> Iterator[None]:
        """In one process: at most `limit` at once, and as many as share the GPUs."""
        limits = [] if self.limit is None else [self.limit]
        if self.resources:
            self.check_local()
            limits.append(int(len(visible_gpus()) / self.resources[self.gpu_resource]))
        with _gates_lock:
            gate = _gates.setdefault(self.token, threading.BoundedSemaphore(min(limits)))
        with gate:
            yield

    def __getstate__(self) -> dict[str, Any]:
        if self._pickled is None:
            self._pickled = cloudpickle.dumps(self._task)
        return {**self.__dict__, "_task": None}

    def __dask_tokenize__(self) -> tuple[str, str]:
        return "daskimg-stage", self.token

    def __repr__(self) -> str:
        return f"<{self.label}{' on ' + self.wants if self.resources else ''}>"


@content_of.register
def _content(value: StageCall, facts: Facts) -> Any:
    return ["stage", named(value._open(), facts)]


def _listed(resources: dict[str, float]) -> str:
    return ",".join(f"{name}={amount:g}" for name, amount in resources.items())


def _is_amount(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def most_of(concurrency: int | tuple[int, int] | None, label: str) -> int | None:
    """The most that `concurrency` allows: itself, or the second of (min, max); None: any number."""
    if concurrency is None:
        return None
    both = tuple(concurrency) if isinstance(concurrency, tuple | list) else (concurrency,) * 2
    name = f"{label}: concurrency"
    if len(both) != 2 or whole(name, both[0], also=", or (min, max)") > whole(name, both[1]):
        raise ValueError(f"{name} is a whole number, or (min, max); got {quoted(concurrency)}")
    return int(both[1])


@functools.cache
def _get_worker() -> Callable[[], Any]:
    from distributed import get_worker

    return get_worker


def _this_worker() -> Any:
    """The worker that runs this very thread's task, if any."""
    if "distributed" not in sys.modules:
        return None
    try:
        return _get_worker()()
    except ValueError:
        return None
