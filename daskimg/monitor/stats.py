"""`di.stats`: what each stage did, how fast, and what failed."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from typing import Any, Literal, TypeAlias

import pandas as pd
from dask.utils import format_bytes

from daskimg import metrics
from daskimg.clients import active_client
from daskimg.engine.gauge import HELD, LATER, OPENING, READ
from daskimg.errors import counted
from daskimg.metrics import ROWS
from daskimg.monitor.usage import Usage

__all__ = ["Stats", "stats"]

HERE = "client"  # this process, among workers
Report: TypeAlias = "Counter[tuple[str, str]]"
WHAT = ["images", "seconds", "bytes", "errors"]


def stats() -> Stats:
    """Measure what is computed in a ``with`` block, on threads or on the active cluster.

    Returns
    -------
    Stats
        ``print(s)`` shows it, ``s.to_frame()`` gives the figures. In the block it tells what was
        done so far. Work that is done twice (a worker died) counts twice; what runs in processes
        that are no Dask workers (the ``processes`` scheduler, workers of a ``DataLoader``) is not
        seen.

    Examples
    --------
    >>> with di.stats() as s:
    ...     means = di.read_images(folder).image.img.mean().compute()
    >>> s.to_frame().images.to_dict()
    {'fetch': 4, 'decode': 4, 'measure': 4}
    >>> print(str(s).splitlines()[-1])
    4 kept
    """
    return Stats()


class Stats:
    """What was done in a block.

    Attributes
    ----------
    seconds : float
        From the beginning to the end of the block, or until now.
    peak_memory : int
        The most bytes that one process, this one or a worker, has held.
    cpu : float
        Processor seconds of all processes, with all they did.
    kept, failed : int
        Pictures that came through the passes that open files (of cells that no pass opened:
        through their readers), and that did not.
    causes : dict
        How many failed for what.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: dict[str, Report] = {}
        self._usage: dict[str, dict[str, Any]] = {}
        self._topic = f"daskimg-stats-{uuid.uuid4().hex}"
        self._client: Any = None
        self._start: float | None = None
        self._end: float | None = None

    # -- the block --------------------------------------------------------------------------------
    def __enter__(self) -> Stats:
        if self._start is not None:
            raise RuntimeError("a block is measured once: call di.stats() again")
        client = active_client()
        if client is not None and client.asynchronous:
            raise RuntimeError("di.stats() asks the workers, which an asynchronous client cannot")
        if client is not None:
            from daskimg.monitor.worker import Meter

            client.subscribe_topic(self._topic, self._hear)
            client.register_plugin(Meter(self._topic))
            self._client = client
        self._mine = Usage()
        self._stop = metrics.listen(self._own)
        self._start = time.perf_counter()
        return self

    def __exit__(self, *failure: object) -> None:
        self._look()
        self._end = time.perf_counter()
        self._stop()
        self._mine.stop()
        client, self._client = self._client, None
        if client is not None and client.status == "running":
            client.unregister_worker_plugin(self._topic)
            client.unsubscribe_topic(self._topic)

    def _own(self, report: metrics.Report) -> None:
        if metrics.worker() is None:  # (that of a worker in this process comes as an event)
            self._count(HERE, report)

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        told = event[1]
        self._count(told["worker"], {(stage, what): n for stage, what, n in told["report"]})

    def _count(self, worker: str, report: metrics.Report) -> None:
        with self._lock:
            self._done.setdefault(worker, Counter()).update(report)  # type: ignore[arg-type]

    def _look(self) -> None:
        """Ask all processes what they take. The events sent before have come then."""
        if self._end is not None:
            return
        found = {HERE: self._mine.read()}
        if self._client is not None and self._client.status == "running":
            from daskimg.monitor.worker import usage_of

            found |= self._client.run(usage_of, self._topic, on_error="ignore")
        self._usage.update(found)

    # -- the figures ------------------------------------------------------------------------------
    @property
    def seconds(self) -> float:
        if self._start is None:
            return 0.0
        return (self._end or time.perf_counter()) - self._start

    @property
    def peak_memory(self) -> int:
        self._look()
        return max((usage["peak_memory"] for usage in self._usage.values()), default=0)

    @property
    def cpu(self) -> float:
        self._look()
        by_process = {usage["process"]: usage["cpu"] for usage in self._usage.values()}
        return float(sum(by_process.values()))

    @property
    def kept(self) -> int:
        total = self._total()
        kind = _kind(total)
        later = 0 if kind == LATER else sum(_rows(total, LATER, "failed").values())
        return sum(_rows(total, kind, "kept").values()) - later

    @property
    def failed(self) -> int:
        return sum(self.causes.values())

    @property
    def causes(self) -> dict[str, int]:
        total, found = self._total(), Counter[str]()
        opened = any(_rows(total, kind) for kind in OPENING)  # with what was recorded before
        for kind in (*OPENING, READ, LATER) if opened else (READ, HELD, LATER):
            found.update(_rows(total, kind, "failed"))
        return dict(found)

    def _total(self) -> Report:
        total: Report = Counter()
        with self._lock:
            for done in self._done.values():
                total.update(done)
        return total

    def to_frame(self, by: Literal["stage", "worker"] = "stage") -> pd.DataFrame:
        """The figures as a table.

        Parameters
        ----------
        by : {"stage", "worker"}

        Returns
        -------
        pandas.DataFrame
            A row for each stage (``fetch``, ``header``, ``decode``, ops by name, ``measure`` for
            all measures, ``model`` for `map_batches`, ``encode``, ``write``) or process, with
            ``images``; ``seconds`` that threads were at it; ``bytes`` that fetch, decode, encode
            and write made; ``errors``; ``images/s`` of the time that passed; ``cores``: how many
            threads (of a model: instances) were at it on average. Of a process also ``cpu``
            (seconds) and ``peak_memory`` (bytes); its ``images`` are the pictures it opened.
        """
        if by not in ("stage", "worker"):
            raise ValueError(f'by is "stage" or "worker"; got {by!r}')
        frame = self._by_stage() if by == "stage" else self._by_worker()
        elapsed = self.seconds or float("nan")
        frame["images/s"] = frame["images"] / elapsed
        frame["cores"] = frame["seconds"] / elapsed
        return frame

    def _by_stage(self) -> pd.DataFrame:
        total = self._total()
        stages = dict.fromkeys(s for s, _ in total if not s.startswith(ROWS))
        rows = {stage: [total[stage, what] for what in WHAT] for stage in stages}
        return _table(rows, "stage")

    def _by_worker(self) -> pd.DataFrame:
        self._look()
        kind = _kind(self._total())
        with self._lock:
            done = {w: self._done.get(w, Counter()) for w in {**self._done, **self._usage}}
        rows = {}
        for worker, report in done.items():
            images = sum(_rows(report, kind).values())
            rows[worker] = [images, *(_sum(report, what) for what in WHAT[1:])]
        frame = _table(rows, "worker")
        for name in ("cpu", "peak_memory"):
            frame[name] = [self._usage.get(worker, {}).get(name) for worker in frame.index]
        return frame

    def __str__(self) -> str:
        frame, seconds = self.to_frame(), self.seconds
        frame["bytes"] = [format_bytes(n) if n else "" for n in frame["bytes"]]
        shown = frame.round({"seconds": 2, "images/s": 1, "cores": 2})
        table = "" if frame.empty else shown.to_string(index_names=False) + "\n"
        cores = self.cpu / seconds if seconds else 0.0
        used = f"{seconds:.1f} s, {cores:.1f} cores, peak {format_bytes(self.peak_memory)}"
        failed = f", {self.failed:,} failed: {counted(self.causes)}" if self.failed else ""
        return f"{table}{used}\n{self.kept:,} kept{failed}"

    __repr__ = __str__


def _kind(report: Report) -> str:
    """How far files were opened."""
    return next((kind for kind in (*OPENING, READ, HELD) if _rows(report, kind)), LATER)


def _rows(report: Report, kind: str, which: str | None = None) -> dict[str, int]:
    """What became of rows in passes of a kind: those "kept", those "failed" by cause, or both."""
    return {
        what: int(n)
        for (stage, what), n in report.items()
        if stage == ROWS + kind and which in (None, "kept" if what == "kept" else "failed")
    }


def _sum(report: Report, what: str) -> float:
    """`what` of all stages."""
    return sum(n for (stage, w), n in report.items() if w == what and stage[: len(ROWS)] != ROWS)


def _table(rows: dict[str, list[Any]], name: str) -> pd.DataFrame:
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=WHAT).rename_axis(name)
    return frame.astype({"images": "int64", "bytes": "int64", "errors": "int64"})
