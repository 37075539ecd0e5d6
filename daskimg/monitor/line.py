"""The line that shows how far a job is, while it lasts, and what was done at its end."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import threading
import time
from collections import Counter, deque
from typing import Any

from tqdm import tqdm

from daskimg.errors import counted
from daskimg.metrics import ROWS, Job
from daskimg.monitor.listening import Tally
from daskimg.monitor.rows import causes_of, kept_of, missing_of, passed_of
from daskimg.monitor.shares import name_of, shares, slower
from daskimg.monitor.tally import Figures, added

__all__ = ["Line", "in_notebook", "write_line"]

EVERY = 0.5  # seconds between two looks
WINDOW = 3.0  # seconds that "now" is
LEAST = 0.4  # of the time that a stage takes to be waited for
BAR = "{desc} {percentage:3.0f}%|{bar:20}|{postfix}"
NO_BAR = "{desc}{postfix}"
GONE = (AttributeError, OSError, ValueError)  # what a terminal raises that is closed, or none


def in_notebook() -> bool:
    """Whether what is written is seen in a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


class Line:
    """Shows the job that is waited for, from `patience` seconds on."""

    def __init__(self, job: Job, patience: float, client: Any = None) -> None:
        self.job, self.patience = job, patience
        self.totals: list[int | None] = []  # of what is computed within it
        self.failure: BaseException | None = None
        self.tally = Tally()
        self.tally.start(client)
        self.began = time.perf_counter()
        self.seen: deque[tuple[float, int, dict[str, Figures]]] = deque([(self.began, 0, {})])
        self.bar: Any = None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True, name="daskimg-progress")
        self.thread.start()

    @property
    def total(self) -> int | None:
        """How many pictures there are, if that is known."""
        if self.job.total is not None:
            return self.job.total
        known = [n for n in self.totals if n is not None]
        return sum(known) if known and len(known) == len(self.totals) else None

    def close(self) -> None:
        """The job is over: one line says what was done."""
        self.over.set()
        if self.thread is not threading.current_thread():
            self.thread.join()
        shown = self.bar is not None or not self.patience
        total = self.tally.total()
        self.tally.stop()
        if self.bar is not None:
            self.bar.close()
        some = any(n for (stage, _), n in total.items() if stage.startswith(ROWS))
        if shown and (some or self.failure is not None):
            seconds = time.perf_counter() - self.began
            write_line(summary(total, seconds, self.job, self.failure))

    def _watch(self) -> None:
        if self.over.wait(self.patience):
            return
        while not self.over.wait(EVERY):
            self._draw()
        self._draw()

    def _draw(self) -> None:
        done = self.tally.by_process()
        total = added(done)
        passed = max(passed_of(total), self.seen[-1][1])
        now, rows = time.perf_counter(), self.total
        rows = None if rows is not None and rows < passed else rows
        while len(self.seen) > 1 and now - self.seen[1][0] > WINDOW:
            self.seen.popleft()
        then, before, was = self.seen[0]
        self.seen.append((now, passed, done))
        speed = (passed - before) / max(now - then, EVERY)
        parts = [f"{speed:,.0f}/s"]
        if failed := failed_of(total):
            parts.append(f"{failed:,} failed")
        if rows and speed:
            parts.append(f"{tqdm.format_interval((rows - passed) / speed)} left")
        late = {p: Counter(n) for p, n in done.items()}
        for process, figures in was.items():
            late.setdefault(process, Counter()).subtract(figures)
        waited = slower(shares(late, self.tally.threads(), now - then), LEAST)
        if waited:
            parts.append(f"waiting for {' and '.join(map(name_of, waited))}")
        self._show(passed, rows, parts)

    def _show(self, passed: int, rows: int | None, parts: list[str]) -> None:
        if self.bar is None and sys.stderr is not None:
            with contextlib.suppress(*GONE):
                self.bar = _bar_class()(
                    total=rows, file=_Screen(), leave=False, dynamic_ncols=True, bar_format=NO_BAR
                )
        if self.bar is None:
            return
        self.bar.total, self.bar.n = rows, passed
        self.bar.bar_format = NO_BAR if rows is None else BAR
        of = "" if rows is None else f" of {rows:,}"
        self.bar.set_description_str(f"{passed:,}{of} pictures", refresh=False)
        self.bar.set_postfix_str(", ".join(parts), refresh=False)
        self.bar.refresh()


class _Screen:
    """Standard error, which may be gone: an error there, where tqdm holds its lock, would stop all
    that writes a line."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)

    def __eq__(self, other: object) -> bool:
        return other is sys.stderr or isinstance(other, _Screen)

    __hash__ = None  # type: ignore[assignment]

    def write(self, text: str) -> None:
        with contextlib.suppress(*GONE):
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(*GONE):
            sys.stderr.flush()


def write_line(text: str) -> None:
    """A line that stays, above what else tqdm shows."""
    if sys.stderr is not None:
        with contextlib.suppress(*GONE):
            tqdm.write(text, file=sys.stderr)


def _bar_class() -> Any:
    if in_notebook() and importlib.util.find_spec("ipywidgets") is not None:
        from tqdm.notebook import tqdm as widget

        return widget
    return tqdm


def failed_of(total: Figures) -> int:
    """Those that failed, with those of partitions that are under way."""
    opened = total["fetch", "errors"] + max(total["header", "errors"], total["decode", "errors"])
    return max(int(opened), sum(causes_of(total).values()))


def summary(total: Figures, seconds: float, job: Job, failure: BaseException | None) -> str:
    """What was done."""
    causes, kept = causes_of(total), kept_of(total)
    passed = max(passed_of(total), kept + sum(causes.values()))
    text = f"{passed:,} pictures in {tqdm.format_interval(seconds)} ({passed / seconds:,.0f}/s)"
    if failure is not None:
        return f"{text}, then it ended with an error"
    text += f": {kept:,} kept"
    if causes:
        text += f", {sum(causes.values()):,} failed ({counted(causes)})"
    if missing := missing_of(total):
        text += f", {missing:,} missing"
    return text + (f"; written to {job.where}" if job.where else "")
