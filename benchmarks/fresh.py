"""Rows that need a process of their own: cold start, memory, a machine without PyTorch."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

STATISTICS = """
import sys, daskimg as di
df = di.read_images(open(sys.argv[1]).read().splitlines())
image = df.image.img
table = df.assign(height=image.height, width=image.width, mean=image.mean(), std=image.std())
table = table[["path", "height", "width", "mean", "std"]].compute()
told = {"pictures": len(table)}
"""
RESIZED = """
import sys, daskimg as di
df = di.read_images(open(sys.argv[1]).read().splitlines())
small = df.assign(image=df.image.img.decode("RGB").img.resize(224, 224))[["image"]]
told = {"pictures": sum(len(batch["image"]) for batch in small.img.iter_batches(64))}
"""
LOOP = """
import sys, time
from benchmarks import loop
files = open(sys.argv[1]).read().splitlines()
start = time.perf_counter()
done = list(loop.WORK(files))
told = {"seconds": time.perf_counter() - start}
"""
MEMORY = """
import sys, daskimg as di
def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1000
def run(files):
    df = di.read_images(files, files_per_partition=len(files))
    assert df.npartitions == 1
    image = df.image.img
    df = df.assign(mean=image.mean(), sharpness=image.sharpness())
    return len(df.drop(columns="image").compute())
import numpy as np, PIL.Image, tempfile, os
with tempfile.TemporaryDirectory() as folder:
    PIL.Image.new("RGB", (64, 64)).save(os.path.join(folder, "warm.jpg"))
    run([os.path.join(folder, "warm.jpg")])
before = resident()
told = {"pictures": run(open(sys.argv[1]).read().splitlines()), "before": before}
"""
# a process's peak since it began to run this program; getrusage counts its parent's too
PEAK = """
import json
with open("/proc/self/status") as file:
    told["peak"] = next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1000
print(json.dumps(told))
"""


def run(code: str, files: list[str], folder: Path) -> dict[str, Any]:
    """What `code` told in a fresh process, and the wall time of that process."""
    listing = folder / "files.txt"
    listing.write_text("\n".join(files))
    start = time.perf_counter()
    told = _python(["-c", code + PEAK, str(listing)])
    return {**told, "wall": time.perf_counter() - start}


def cold_start(code: str, loop: str, files: list[str], folder: Path, pairs: int) -> dict[str, Any]:
    """Medians of a cold start, of the loop's own time and of what the start takes beyond it."""
    ours, theirs = [], []
    for _ in range(pairs):
        ours.append(run(code, files, folder))
        theirs.append(run(LOOP.replace("WORK", loop), files, folder))
    wall = statistics.median(told["wall"] for told in ours)
    work = statistics.median(told["seconds"] for told in theirs)
    return {
        "wall": wall,
        "beyond": wall - work,
        "peak": statistics.median(told["peak"] for told in ours),
        "loop_work": work,
        "loop_wall": statistics.median(told["wall"] for told in theirs),
        "loop_peak": statistics.median(told["peak"] for told in theirs),
    }


def without_torch(arguments: list[str]) -> list[dict[str, str]]:
    """The lines that this benchmark prints where PyTorch cannot be imported."""
    return _python(["-m", "benchmarks", "--without-torch", "--json", *arguments])


def _python(arguments: list[str]) -> Any:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def ceiling(folder: Path, work: str, threads: int, pairs: int) -> dict[str, Any]:
    """What `benchmarks.ceiling` tells of a folder."""
    given = ["--work", work, "--threads", str(threads), "--pairs", str(pairs)]
    command = [sys.executable, "-m", "benchmarks.ceiling", str(folder), *given]
    told = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found
