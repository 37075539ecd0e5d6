"""`di.stats`: what each stage did, how fast, and what failed."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from typing import Any, Literal

import dask
import pandas as pd
from dask.utils import format_bytes

from daskimg.clients import active_client
from daskimg.errors import counted
from daskimg.metrics import ROWS, SLOWED, STORES
from daskimg.monitor import children
from daskimg.monitor.listening import HERE, Tally
from daskimg.monitor.rows import causes_of, kept_of, kind_of, missing_of
from daskimg.monitor.shares import Share, in_order, limit_of, sentence, shares
from daskimg.monitor.tally import Figures, added
from daskimg.monitor.usage import Usage

__all__ = ["Stats", "stats"]

WHAT = ["images", "seconds", "bytes", "errors"]
MORE = {"bytes in": "bytes_in", "pixels": "megapixels"}


def stats() -> Stats:
    """Measure what is computed in a ``with`` block: on threads, in processes, on a cluster.

    Returns
    -------
    Stats
        ``print(s)`` shows it, ends with the stage that was the limit, and what helps;
        ``s.to_frame()`` gives the figures. In the block it tells what was done so far. What a
        worker that died did, and another does again, counts once. Child processes that were there
        before the block are not seen.

    Examples
    --------
    >>> with di.stats() as s:
    ...     means = di.read_images(folder).image.img.mean().compute()
    >>> s.to_frame().images.to_dict()
    {'list': 4, 'fetch': 4, 'decode': 4, 'measure': 4}
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
    missing : int
        Null cells without a reason; kept + failed + missing = rows.
    causes : dict
        How many failed for what.
    limit : str or None
        The stage that the others waited for, ``"the caller"`` where that is who takes batches;
        None where none was at work most of the time.
    requests : dict
        Requests to object stores and web servers by the client that made them (``"obstore"``,
        ``"fsspec"``), those that were tried again too.
    slowed : int
        How often fewer requests were made at once, because a store said that they were too many.
    """

    def __init__(self) -> None:
        self._tally = Tally()
        self._done: dict[str, Figures] | None = None  # once it is over
        self._usage: dict[str, dict[str, Any]] = {}
        self._name = f"daskimg-stats-{uuid.uuid4().hex}"
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
        self._mine = Usage()
        self._mine.watch()
        self._tally.start(client)
        if client is not None:
            from daskimg.monitor.worker import measure

            client.run(measure, self._name, on_error="ignore")
            self._client = client
        self._start = time.perf_counter()
        return self

    def __exit__(self, *failure: object) -> None:
        self._look(over=True)
        self._end = time.perf_counter()
        self._done = self._tally.by_process()
        self._tally.stop()
        self._mine.stop()
        self._client = None

    def _look(self, over: bool = False) -> None:
        """Ask all processes what they take; `over`: for the last time."""
        if self._end is not None:
            return
        seen = self._tally.threads()
        known = {f"process {pid}": usage for pid, usage in children.usage.items()}
        found = {HERE: self._mine.read(), **{p: known[p] for p in known if p in seen}}
        if self._client is not None and self._client.status == "running":
            from daskimg.monitor.worker import usage_of

            found |= self._client.run(usage_of, self._name, over, on_error="ignore")
        self._usage.update(found)

    def _by_process(self) -> dict[str, Figures]:
        return self._tally.by_process() if self._done is None else self._done

    def _total(self) -> Figures:
        return added(self._by_process())

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
        return kept_of(self._total())

    @property
    def failed(self) -> int:
        return sum(self.causes.values())

    @property
    def missing(self) -> int:
        return missing_of(self._total())

    @property
    def causes(self) -> dict[str, int]:
        return causes_of(self._total())

    @property
    def limit(self) -> str | None:
        found = limit_of(self._shares(self._by_process()))
        return None if found is None else found.removeprefix(ROWS)

    def _shares(self, done: dict[str, Figures]) -> dict[str, Share]:
        return shares(done, self._threads(), self.seconds)

    def _threads(self) -> dict[str, int]:
        """Threads that were at work. Here each run may have had some of its own, one by one."""
        found = self._tally.threads()
        most = dask.config.get("num_workers", None) or dask.system.CPU_COUNT
        return {p: min(n, most) if p == HERE else n for p, n in found.items()}

    @property
    def requests(self) -> dict[str, int]:
        made = {what: int(n) for (stage, what), n in self._total().items() if stage == STORES}
        return {what: n for what, n in made.items() if what != SLOWED}

    @property
    def slowed(self) -> int:
        return int(self._total()[STORES, SLOWED])

    def to_frame(self, by: Literal["stage", "worker"] = "stage") -> pd.DataFrame:
        """The figures as a table.

        Parameters
        ----------
        by : {"stage", "worker"}

        Returns
        -------
        pandas.DataFrame
            A row for each stage (``list``, ``fetch``, ``header``, ``decode``, ops by name,
            ``measure`` for all measures, ``model`` for `map_batches`, ``encode``, ``write``) or
            process, with ``images``; ``seconds`` that threads were at it; ``bytes`` that fetch,
            decode, encode and write made; ``errors``; ``images/s`` of the time that passed;
            ``cores``: how many threads (of a model: instances) were at it on average.

            Of a stage also ``bytes_in``: what it was given, encoded or as pixels; ``megapixels``
            that it made, or was given where it makes none, and ``megapixels/s``; ``busy``,
            ``starved`` and ``blocked``: fractions of the time of its threads in which it was at
            work, waited for pictures, or for what comes after it.

            Of pictures that take under two milliseconds one in five is timed: the time of the
            others is shared out over the stages as its own was.

            Of a process also ``cpu`` (seconds) and ``peak_memory`` (bytes); its ``images`` are the
            pictures it opened.
        """
        if by not in ("stage", "worker"):
            raise ValueError(f'by is "stage" or "worker"; got {by!r}')
        frame = self._by_stage() if by == "stage" else self._by_worker()
        elapsed = self.seconds or float("nan")
        frame["images/s"] = frame["images"] / elapsed
        frame["cores"] = frame["seconds"] / elapsed
        if by == "stage":
            self._more(frame)
        return frame

    def _by_stage(self) -> pd.DataFrame:
        total = self._total()
        stages = in_order(s for s, _ in total if not s.startswith(ROWS))
        return _table({stage: [total[stage, what] for what in WHAT] for stage in stages}, "stage")

    def _more(self, frame: pd.DataFrame) -> None:
        """What else is told of a stage."""
        done, total, stages = self._by_process(), self._total(), frame.index
        for what, name in MORE.items():
            frame[name] = [total[stage, what] for stage in stages]
        frame["bytes_in"] = frame["bytes_in"].astype("int64")
        frame["megapixels"] = frame["megapixels"].astype("float64") / 1e6
        frame["megapixels/s"] = frame["megapixels"] / (self.seconds or float("nan"))
        found = self._shares(done)
        for name in Share._fields:
            frame[name] = [getattr(found.get(stage), name, 0.0) for stage in stages]

    def _by_worker(self) -> pd.DataFrame:
        self._look()
        found = self._by_process()
        done = {w: found.get(w, Counter()) for w in {**found, **self._usage}}
        kind = kind_of(self._total())
        rows = {}
        for worker, report in done.items():
            images = report[ROWS + kind, "passed"] - report[ROWS + kind, "missing"]
            rows[worker] = [images, *(_sum(report, what) for what in WHAT[1:])]
        frame = _table(rows, "worker")
        for name in ("cpu", "peak_memory"):
            frame[name] = [self._usage.get(worker, {}).get(name) for worker in frame.index]
        return frame

    def plot(self, ax: Any = None) -> Any:
        """A bar for each stage: busy, starved, blocked. It needs matplotlib.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where; a new figure by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError(
                "Stats.plot() needs matplotlib (pip install matplotlib); print(s) and "
                "s.to_frame() tell the same"
            ) from error
        found = self._shares(self._by_process())
        stages = [stage for stage in found if not stage.startswith(ROWS)]
        if ax is None:
            ax = pyplot.figure(figsize=(7, 1 + 0.4 * len(stages))).subplots()
        left = [0.0] * len(stages)
        for name, colour in zip(Share._fields, ("#2a7f62", "#c9d6df", "#e8a33d"), strict=True):
            widths = [100 * getattr(found[stage], name) for stage in stages]
            ax.barh(stages, widths, left=left, label=name, color=colour)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        ax.invert_yaxis()
        ax.set(xlim=(0, 100), xlabel="% of the time", title=self._sentence().partition(".")[0])
        ax.legend(loc="lower right")
        return ax

    def _sentence(self) -> str:
        return sentence(self._shares(self._by_process()), sum(self._threads().values()))

    def __str__(self) -> str:
        frame, seconds = self.to_frame(), self.seconds
        for name in ("bytes_in", "bytes"):
            frame[name] = [format_bytes(n) if n else "" for n in frame[name]]
        for name in Share._fields:
            frame[name] = [f"{n:.0%}" for n in frame[name]]
        shown = frame.drop(columns="megapixels").round(
            {"seconds": 2, "images/s": 1, "cores": 2, "megapixels/s": 1}
        )
        table = "" if frame.empty else shown.to_string(index_names=False) + "\n"
        cores = self.cpu / seconds if seconds else 0.0
        used = f"{seconds:.1f} s, {cores:.1f} cores, peak {format_bytes(self.peak_memory)}"
        limit = self._sentence()
        failed = f", {self.failed:,} failed: {counted(self.causes)}" if self.failed else ""
        asked = ", ".join(f"{n:,} requests by {name}" for name, n in self.requests.items())
        asked += f", slowed down {self.slowed} times" if self.slowed else ""
        used += f"\n{asked}" if asked else ""
        missing = f", {self.missing:,} missing" if self.missing else ""
        limit = f"{limit}\n" if limit else ""
        return f"{table}{used}\n{limit}{self.kept:,} kept{failed}{missing}"

    __repr__ = __str__


def _sum(report: Figures, what: str) -> float:
    """`what` of all stages."""
    return sum(n for (stage, w), n in report.items() if w == what and stage[: len(ROWS)] != ROWS)


def _table(rows: dict[str, list[Any]], name: str) -> pd.DataFrame:
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=WHAT).rename_axis(name)
    return frame.astype({"images": "int64", "bytes": "int64", "errors": "int64"})
