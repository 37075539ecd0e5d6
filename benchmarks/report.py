"""Results as Markdown: when, on what machine, with which versions."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path

from benchmarks.timing import Line

VERSIONS = ["daskimg", "dask", "pandas", "pyarrow", "numpy", "pillow", "simplejpeg", "torch"]
HEADINGS = ("row", "what", "library", "loop", "ratio (of a pair)", "processor", "wanted")


def table(lines: list[Line]) -> str:
    body = [(n.row, n.what, n.library, n.loop, n.ratio, n.cpu, n.wanted) for n in lines]
    rows = [HEADINGS, ("---",) * len(HEADINGS), *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def render(lines: list[Line], described: str, pairs: int, rows: list[str], load: float) -> str:
    """A section of RESULTS.md."""
    return f"""## {datetime.date.today():%Y-%m-%d}

{machine()}; load before: {load:.1f}. {versions()}. {described}; medians of {pairs} pairs in turn.
Ratio: the loop's time divided by the library's; processor: the same of processor time.
`python -m benchmarks --rows {",".join(rows)} --pairs {pairs}`

{table(lines)}
"""


def machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{_processor()}, {cores} cores, {memory:.0f} GiB, {platform.system()}"


def versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for name in VERSIONS:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"no {name}")
    return ", ".join(found)


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    if told.exists():
        for line in told.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
