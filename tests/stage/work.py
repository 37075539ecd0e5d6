"""What the tests of stages run: partitions that tell where and when they were made."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from pathlib import Path

import dask.dataframe as dd
import pandas as pd
from distributed import Nanny, Scheduler, SpecCluster, get_worker

from tests.patience import crowd

LOADED = pd.DataFrame({"i": pd.Series([], dtype="int64"), "by": pd.Series([], dtype="str")})
STAGED = LOADED.assign(on=pd.Series([], dtype="str"))


def here() -> str:
    try:
        return str(get_worker().name)
    except ValueError:
        return "client"


def load(i: int, rows: int = 2) -> pd.DataFrame:
    return pd.DataFrame({"i": range(i * rows, (i + 1) * rows), "by": here()})


def frame(n: int = 8) -> dd.DataFrame:
    return dd.from_map(load, range(n), meta=LOADED)


def model(part: pd.DataFrame) -> pd.DataFrame:
    return part.assign(on=here())


class Slow:
    """A model that takes a while, and leaves a file as long as it runs."""

    def __init__(self, folder: Path, seconds: float = 0.1, together: int = 1) -> None:
        self.folder, self.seconds, self.together = str(folder), seconds, together

    def __call__(self, part: pd.DataFrame) -> pd.DataFrame:
        with present(self.folder, f"run-{part['i'].iloc[0]}", self.together):
            time.sleep(self.seconds)
        return model(part)


@contextmanager
def present(folder: str, name: str, together: int):
    """A file while something runs, and another that says how many there were then.

    The first wait until `together` of them run at once.
    """
    mine = Path(folder, f"{name}-{os.getpid()}")  # two threads never run the same partition
    mine.touch()
    try:
        yield
        crowd(Path(folder), "run-*", "saw", together)
    finally:
        mine.unlink()


def crowds(folder: Path) -> set[int]:
    """How many were seen to run at once."""
    return {int(path.name.removeprefix("saw-")) for path in folder.glob("saw-*")}


def spec(cpus: int = 2, threads: int = 1, gpus: int = 1) -> SpecCluster:
    """CPU workers, and workers that offer a GPU by name."""
    options = {
        "host": "127.0.0.1",
        "dashboard": False,
        "dashboard_address": "127.0.0.1:0",
        "nthreads": threads,
        "memory_limit": "1GiB",
        "silence_logs": 40,
    }
    workers = {
        f"cpu{n}": {"cls": Nanny, "options": {**options, "name": f"cpu{n}"}} for n in range(cpus)
    }
    for n in range(gpus):
        mine = {**options, "name": f"gpu{n}", "resources": {"GPU": 1}}
        workers[f"gpu{n}"] = {"cls": Nanny, "options": mine}
    scheduler = {"host": "127.0.0.1", "port": 0, "dashboard": False}
    scheduler["dashboard_address"] = "127.0.0.1:0"
    return SpecCluster(
        workers=workers, scheduler={"cls": Scheduler, "options": scheduler}, silence_logs=40
    )
