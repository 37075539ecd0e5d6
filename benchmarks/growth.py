"""``python -m benchmarks.growth``: from a thousand pictures to a million, as Markdown tables.

The pictures are hard links to a few of 32 by 32 pixels, so that what is measured is what daskimg
and Dask add to them. Each row is a process of its own; the bare loop is that of `benchmarks.loop`.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.report import machine, versions

ROOT = Path(__file__).resolve().parents[1]
SOURCES = 32  # a file may have some 65,000 links
PER_FOLDER = 1000
BATCH = 1024
SCALES = [1_000, 10_000, 100_000, 1_000_000]
Asked = dict[str, Any]
Told = dict[str, float]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--pictures", type=int, nargs="+", default=SCALES, metavar="N")
    parser.add_argument("--middle", type=int, default=100_000, help="pictures of the other tables")
    parser.add_argument("--tables", default="scale,partitions,columns,workers")
    parser.add_argument("--output", metavar="FILE", help="append the tables to this file")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.one:
        print(json.dumps(one(json.loads(asked.one))))
        return
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="daskimg-growth-") as folder:
        place = Path(folder)
        texts = [
            TABLES[name](place, asked.pictures if name == "scale" else asked.middle)
            for name in asked.tables.split(",")
        ]
    text = f"{machine()}; load before: {load:.1f}. {versions()}.\n\n" + "\n\n".join(texts)
    print(f"\n{text}")
    if asked.output:
        with open(asked.output, "a") as file:
            file.write(f"\n{text}\n")


# What is run: in a process of its own.


def one(asked: Asked) -> Told:
    """A run: `asked` says the folder, and what is not as usual."""
    if asked.get("loop"):
        return bare_loop(asked["folder"])
    workers, processes = asked.get("workers", 2), asked.get("processes", False)
    if processes:
        from distributed import Client, LocalCluster

        options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
        with LocalCluster(host="127.0.0.1", **options) as cluster, Client(cluster):
            return streamed(asked)
    import dask

    with dask.config.set(num_workers=workers):
        return streamed(asked)


def bare_loop(folder: str) -> Told:
    from benchmarks import loop
    from benchmarks.pictures import list_pictures

    def measure(group: list[str]) -> list[tuple[float, float]]:
        return [loop.mean_std(loop.decode(path)) for path in group]

    wall, cpu = time.perf_counter(), time.process_time()
    count = sum(len(group) for group in loop.in_threads(measure, list_pictures(Path(folder))))
    return {"pictures": count, "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def streamed(asked: Asked) -> Told:
    """Batches of measures, none of them kept."""
    for _ in derived(listed({"folder": asked["warm"]}), 2).img.iter_batches(BATCH):
        pass  # imports, and what is done once a process
    wall, cpu = time.perf_counter(), time.process_time()
    frame = listed(asked)
    told: Told = {"partitions": frame.npartitions, "listing": time.perf_counter() - wall}
    told["resident"] = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
    table = derived(frame, asked.get("columns", 2))
    count, first = 0, 0.0
    for batch in table.img.iter_batches(BATCH):
        count += len(next(iter(batch.values())))
        first = first or time.perf_counter() - wall
    told |= {"pictures": count, "first": first, "wall": time.perf_counter() - wall}
    told |= {"cpu": time.process_time() - cpu, "peak": memory("VmHWM")}
    told["graph"] = len(pickle.dumps(dict(table.optimize().__dask_graph__())))
    told["expression"] = len(pickle.dumps(table.expr))
    return told


def listed(asked: Asked) -> Any:
    import dask.dataframe as dd

    import daskimg as di

    if table := asked.get("table"):
        df = dd.read_parquet(table)
        return df.assign(image=di.images(df.path))
    return di.read_images(asked["folder"], files_per_partition=asked.get("size"))


def derived(df: Any, columns: int) -> Any:
    """`columns` numbers a picture: mean and deviation, then percentiles of one histogram."""
    image = df.image.img
    made = {"mean": image.mean(), "std": image.std()}
    made |= {f"p{n}": image.percentile(100 * n / columns) for n in range(2, columns)}
    made = dict(list(made.items())[:columns])
    return df.assign(**made)[list(made)]


def memory(line: str) -> float:
    """In MB."""
    with open("/proc/self/status") as file:
        return next(int(row.split()[1]) for row in file if row.startswith(line)) / 1000


# What is asked, and the tables.


def run(place: Path, **asked: Any) -> Told:
    asked["warm"] = str(sources(place))
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.growth", "--one", json.dumps(asked)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    told: Told = json.loads(done.stdout.splitlines()[-1])
    print({**asked, **told}, flush=True)
    return told


def sources(place: Path) -> Path:
    folder = place / "sources"
    if not folder.exists():
        from daskimg.testing import make_images

        make_images(folder, SOURCES, size=(32, 32), formats=["jpeg"])
    return folder


def links(place: Path, n: int) -> Path:
    """`n` links to small pictures, in folders of a thousand."""
    root = place / f"pictures-{n}"
    if root.exists():
        return root
    few = sorted(sources(place).iterdir())
    for number in range(n):
        folder = root / f"{number // PER_FOLDER:06d}"
        if number % PER_FOLDER == 0:
            folder.mkdir(parents=True)
        os.link(few[number % SOURCES], folder / f"{number:08d}.jpg")
    return root


def listing(place: Path, n: int) -> Path:
    """The same pictures as a table of paths: 256 a row group, a hundred of these a file."""
    target = place / f"listing-{n}"
    if not target.exists():
        target.mkdir()
        paths = sorted(str(path) for path in links(place, n).rglob("*.jpg"))
        for start in range(0, n, 25_600):
            part = pd.DataFrame({"path": paths[start : start + 25_600]})
            part.to_parquet(target / f"{start:08d}.parquet", row_group_size=256)
    return target


def scale(place: Path, pictures: list[int]) -> str:
    rows = []
    for n in pictures:
        folder = str(links(place, n))
        loop = run(place, loop=True, folder=folder)
        for name, told in [
            ("folder", run(place, folder=folder)),
            ("Parquet table", run(place, table=str(listing(place, n)))),
        ]:
            rows.append([f"{n:,}", name, *cells(told), *beyond(told, loop)])
    headings = ["pictures", "listed from", *HEADINGS, "the bare loop", "beyond it"]
    return "From a thousand to a million:\n\n" + table(headings, rows)


def partitions(place: Path, n: int) -> str:
    folder = str(links(place, n))
    sizes = [16, 64, 256, 1024, 4096]
    rows = [
        [str(size), *cells(run(place, folder=folder, size=size))] for size in sizes if size <= n
    ]
    return f"{n:,} pictures, by files of a partition:\n\n" + table(["files", *HEADINGS], rows)


def columns(place: Path, n: int) -> str:
    folder = str(links(place, n))
    rows = [
        [str(many), *cells(run(place, folder=folder, columns=many))] for many in (1, 2, 8, 32, 128)
    ]
    return f"{n:,} pictures, by derived columns:\n\n" + table(["columns", *HEADINGS], rows)


def workers(place: Path, n: int) -> str:
    folder = str(links(place, n))
    rows = []
    for processes in (False, True):
        for many in (1, 2, 4):
            told = run(place, folder=folder, workers=many, processes=processes)
            rows.append([f"{many} {'processes' if processes else 'threads'}", *cells(told)])
    note = "processor time and memory are those of the process that asks"
    return f"{n:,} pictures, by workers ({note}):\n\n" + table(["workers", *HEADINGS], rows)


TABLES: dict[str, Any] = {
    "scale": scale,
    "partitions": partitions,
    "columns": columns,
    "workers": workers,
}
HEADINGS = [
    "partitions",
    "listing",
    "first batch",
    "all",
    "a picture: wall",
    "processor",
    "memory before",
    "peak",
    "graph, bytes a picture",
    "expression",
]


def cells(told: Told) -> Iterator[str]:
    n = told["pictures"]
    yield f"{told['partitions']:,.0f}"
    for name in ("listing", "first", "wall"):
        yield f"{told[name]:.2f} s"
    for name in ("wall", "cpu"):
        yield f"{1e6 * told[name] / n:.0f} us"
    for name in ("resident", "peak"):
        yield f"{told[name]:.0f} MB"
    for name in ("graph", "expression"):
        yield f"{told[name] / n:.1f}"


def beyond(told: Told, loop: Told) -> Iterator[str]:
    """The loop's microseconds a picture, and what comes beyond them: on the clock, processor."""
    n = told["pictures"]
    yield "; ".join(f"{1e6 * loop[name] / n:.0f} us" for name in ("wall", "cpu"))
    yield "; ".join(f"{1e6 * (told[name] - loop[name]) / n:.0f} us" for name in ("wall", "cpu"))


def table(headings: list[str], rows: list[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
