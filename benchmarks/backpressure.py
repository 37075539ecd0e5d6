"""``python -m benchmarks.backpressure``: do decoded pixels pile up in front of a slow stage?

Workers of 1 GiB: two that decode, one that offers a GPU (by name only: the model is a sleep).
Partitions of 50 MB are made faster than the stage takes them. The table tells what each worker's
process grew to, what was spilled, how often a worker was seen paused, and how long the stage was
kept busy.
"""

from __future__ import annotations

import argparse
import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import psutil
from distributed import Client, Nanny, Scheduler, SpecCluster

import daskimg as di
from daskimg.column.storage import Uniform
from daskimg.stage import run_stage

SIDE, ROWS = 512, 64  # 64 pictures of 512x512x3: 50 MB
DTYPE = di.ImageDtype("uint8", (SIDE, SIDE, 3))
HEADINGS = ("", "peak of a worker, MiB", "spilled, MiB", "seen paused", "wall, s", "stage busy")


def decoded(number: int) -> pd.DataFrame:
    """A partition of pixels, as a decode would make it."""
    pixels = np.full((ROWS, SIDE, SIDE, 3), number % 256, np.uint8)
    images = di.ImageArray(DTYPE, np.ones(ROWS, bool), Uniform(pixels))
    return pd.DataFrame({"number": number, "image": images})


class Slow:
    """A model that takes so long for a partition."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, part: pd.DataFrame) -> pd.DataFrame:
        time.sleep(self.seconds)
        first = part["image"].iloc[0].to_numpy()
        return part[["number"]].assign(value=int(first[0, 0, 0]))


@contextmanager
def cluster() -> Iterator[Client]:
    options: dict[str, Any] = {
        "host": "127.0.0.1",
        "dashboard": False,
        "dashboard_address": "127.0.0.1:0",
    }
    options |= {"nthreads": 1, "memory_limit": "1GiB"}
    workers: dict[str, Any] = {
        name: {"cls": Nanny, "options": {**options, "name": name, "silence_logs": 40}}
        for name in ("cpu0", "cpu1", "gpu")
    }
    workers["gpu"]["options"]["resources"] = {"GPU": 1}
    scheduler = {
        "cls": Scheduler,
        "options": {
            "host": "127.0.0.1",
            "port": 0,
            "dashboard": False,
            "dashboard_address": "127.0.0.1:0",
        },
    }
    with (
        SpecCluster(workers=workers, scheduler=scheduler, silence_logs=40) as made,
        Client(made) as client,
    ):
        yield client


class Watch(threading.Thread):
    """Looks at the worker processes until told to stop."""

    def __init__(self, client: Client) -> None:
        super().__init__(daemon=True)
        self.client, self.done = client, threading.Event()
        self.processes = {a: psutil.Process(p) for a, p in client.run(os.getpid).items()}
        self.peak, self.spilled, self.paused = dict.fromkeys(self.processes, 0), 0, 0

    def run(self) -> None:
        for look in itertools.count():
            if self.done.wait(0.02):
                return
            for address, process in self.processes.items():
                self.peak[address] = max(self.peak[address], process.memory_info().rss)
            if look % 10:
                continue
            for worker in self.client.scheduler_info()["workers"].values():
                spilled = worker["metrics"].get("spilled_bytes", {}).get("disk", 0)
                self.spilled = max(self.spilled, spilled)
                self.paused += worker["status"] == "paused"


def measure(partitions: int, seconds: float, in_flight: Any) -> tuple[str, ...]:
    with dask.config.set({"daskimg.in-flight": in_flight}), cluster() as client:
        frame = dd.from_map(decoded, range(partitions), meta=decoded(0).iloc[:0])
        meta = pd.DataFrame({"number": pd.Series([], dtype="int64")}).assign(value=0)
        staged = run_stage(frame, Slow(seconds), meta, resources={"GPU": 1}, label="model")
        staged.partitions[:3].compute()  # workers import what they need
        watch = Watch(client)
        watch.start()
        start = time.perf_counter()
        result = staged.compute()
        wall = time.perf_counter() - start
        watch.done.set()
        watch.join()
        assert len(result) == partitions * ROWS
        assert (result["value"] == result["number"] % 256).all()
        name = {w: info["name"] for w, info in client.scheduler_info()["workers"].items()}
    peak = ", ".join(f"{name[a]} {rss / 2**20:.0f}" for a, rss in watch.peak.items())
    return (
        f"in-flight {in_flight}",
        peak,
        f"{watch.spilled / 2**20:.0f}",
        str(watch.paused),
        f"{wall:.1f}",
        f"{partitions * seconds / wall:.0%}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backpressure", description=__doc__)
    parser.add_argument("--partitions", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=0.2, help="of the stage, a partition")
    parser.add_argument("--without", action="store_true", help="no window as well, to compare")
    asked = parser.parse_args()
    print(f"{asked.partitions} partitions of {ROWS * SIDE * SIDE * 3 / 1e6:.0f} MB, 1 GiB a worker")
    for cells in [HEADINGS, ("---",) * len(HEADINGS)]:
        print(f"| {' | '.join(cells)} |")
    for in_flight in [0.25, None] if asked.without else [0.25]:
        cells = measure(asked.partitions, asked.seconds, in_flight)
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
