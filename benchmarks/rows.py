"""The rows: what is measured, against which loop, and what ratio is wanted."""

from __future__ import annotations

import contextlib
import io
import itertools
import shutil
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

import daskimg as di
from benchmarks import ceiling, fresh, library, loop, pictures, shards, store
from benchmarks.pictures import list_pictures
from benchmarks.timing import Line, Times, compare, in_turn, line, of_all, speed
from daskimg import metrics

COMPRESSION = "zstd"
THREADS = 32  # of row T
MOST_IN_SHARDS = 1000  # pictures of row S shards
BLOCKS = 20  # empty ones of row watch
WANTED = metrics.wanted


@dataclass
class Setting:
    """What the rows work on. `folder` is for what they write."""

    images: Path
    large: str | None
    folder: Path
    pairs: int = 5
    quick: bool = False

    @cached_property
    def files(self) -> list[str]:
        return list_pictures(self.images)

    @cached_property
    def large_images(self) -> Path:
        return Path(self.large) if self.large else pictures.make_large(4 if self.quick else 48)

    @property
    def count(self) -> int:
        return 8 if self.quick else 10_000

    @cached_property
    def many(self) -> Path:
        return pictures.repeat(self.files, self.count, self.folder / "many")

    def compare(self, row: str, what: str, ours: Any, loops: Any, **more: Any) -> Line:
        more = {"pictures": len(self.files), "pairs": self.pairs, **more}
        return compare(row, what, ours, loops, **more)


def row_loops(s: Setting) -> list[Line]:
    """The limit itself against what one would write first."""
    rows = [
        ("B", "decode, resize, iterate", _drained(loop.batches), _drained(loop.pillow_batches)),
        ("C", "full-size statistics", loop.statistics, loop.pillow_statistics),
        ("D", "headers", loop.headers, loop.pillow_headers),
    ]
    return [
        s.compare(
            f"loop {key}",
            f"{what}: the bare loop (as library) against a Pillow loop",
            lambda limit=limit: limit(s.files),
            lambda first=first: first(s.files),
            wanted="above 1",
        )
        for key, what, limit, first in rows
    ]


def row_b(s: Setting) -> list[Line]:
    return [
        s.compare(
            "B",
            f"decode, resize to 224, iterate in batches of 64{note}",
            lambda folder=folder: drain(library.batches(folder)),
            lambda folder=folder: drain(loop.batches(list_pictures(folder))),
            pictures=count,
            wanted="0.95",
        )
        for folder, count, note in _few_and_many(s)
    ]


def row_c(s: Setting) -> list[Line]:
    return [
        s.compare(
            "C",
            f"full-size height, width, mean, std to a pandas frame{note}",
            lambda folder=folder: library.statistics(folder)[loop.COLUMNS],
            lambda folder=folder: loop.statistics(list_pictures(folder)),
            pictures=count,
            wanted="0.95",
        )
        for folder, count, note in _few_and_many(s)
    ]


def row_d(s: Setting) -> list[Line]:
    what = f"headers of {s.count:,} files: height and width"
    loops = [("a simplejpeg loop", loop.headers), ("a Pillow loop", loop.pillow_headers)]
    return [
        s.compare(
            "D",
            f"{what}, against {name}",
            lambda: library.headers(s.many)[loop.COLUMNS[:2]],
            lambda headers=headers: headers(list_pictures(s.many)),
            pictures=s.count,
            wanted="0.8, 5,000/s",
        )
        for name, headers in loops
    ]


def _few_and_many(s: Setting) -> list[tuple[Path, int, str]]:
    """The pictures once, and as often as a run of some seconds takes: the start weighs less."""
    once = (s.images, len(s.files), "")
    return [once] if s.quick else [once, (s.many, s.count, f", {s.count:,} links to them")]


def row_e(s: Setting) -> list[Line]:
    large = s.large_images
    return [
        s.compare(
            "E",
            "12-megapixel JPEGs to 224, against a loop that decodes at reduced scale",
            lambda: drain(library.batches(large)),
            lambda: drain(loop.batches(list_pictures(large), loop.TWICE)),
            pictures=len(list_pictures(large)),
            wanted="0.95",
        )
    ]


def row_l(s: Setting) -> list[Line]:
    folder = pictures.make_turned(4 if s.quick else 23)
    files = list_pictures(folder)
    return [
        s.compare(
            "L",
            f"{len(files)} 12-megapixel JPEGs, most to be turned, to 224; the loop turns them too",
            lambda: drain(library.batches(folder)),
            lambda: drain(loop.upright(files, loop.THRICE)),
            pictures=len(files),
            wanted="0.95",
        )
    ]


def row_t(s: Setting) -> list[Line]:
    """Kernels that sleep, on one core: the limit of many threads in one process."""
    lines = []
    for work in ceiling.WORK:
        told = fresh.ceiling(s.many, work, 2 if s.quick else THREADS, s.pairs)
        ours, theirs = (Times(*told[name]) for name in ("library", "loop"))
        what = f"{work} with kernels that sleep, {told['threads']} threads on one core"
        lines.append(line("T", what, ours, theirs, told["pictures"], "0.75"))
    return lines


def row_a(s: Setting) -> list[Line]:
    return [
        s.compare(
            "A",
            f"resize to 224, mean and std of that, Parquet with pixels ({COMPRESSION})",
            lambda: library.parquet(s.images, _empty(s.folder / "ours"), COMPRESSION),
            lambda: loop.parquet(
                list_pictures(s.images), _empty(s.folder / "loops", make=True), COMPRESSION
            ),
            wanted="0.9",
            look=_figures,
        )
    ]


def row_j(s: Setting) -> list[Line]:
    count = 10_000 if s.quick else 1_000_000
    sales = library.make_sales(s.files, count)
    partitions = di.read_images(s.images).npartitions

    def in_steps() -> pd.DataFrame:
        table = dd.from_pandas(library.statistics(s.images), npartitions=partitions)
        return library.joined(sales, table)

    return [
        s.compare(
            "J",
            f"statistics joined to {count:,} sales, groupby, against C and then the join",
            lambda: library.joined(sales, library.with_statistics(di.read_images(s.images))),
            in_steps,
            wanted="0.77 (1.3 times)",
        )
    ]


def row_cluster(s: Setting) -> list[Line]:
    from distributed import Client, LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**options) as cluster, Client(cluster, set_as_default=False) as client:

        def distributed(folder: Path) -> pd.DataFrame:
            with client.as_current():
                return library.statistics(folder)[loop.COLUMNS]

        return [
            s.compare(
                "cluster",
                f"C on a LocalCluster of 2 processes, against threads{note}",
                lambda folder=folder: distributed(folder),
                lambda folder=folder: library.statistics(folder)[loop.COLUMNS],
                pictures=count,
                wanted="0.85",
                cpu=False,
            )
            for folder, count, note in _few_and_many(s)
        ]


def row_watch(s: Setting) -> list[Line]:
    """What it costs to be looked at: a line of progress and `di.stats` against nothing at all.

    On a cluster processor time is that of all its processes, and without is without what workers
    tell of themselves (for the page, Prometheus). What a block costs in which nothing is done is
    told apart from what each picture does.
    """

    def plain() -> pd.DataFrame:
        return library.statistics(s.many)[loop.COLUMNS]

    def watched(work: Callable[[], Any] = plain) -> Any:
        with contextlib.redirect_stderr(io.StringIO()), di.progress(), di.stats():
            return work()

    what = f"C of {s.count:,} {{}}with progress and stats, against without"
    lines = [_watch(s, what.format("on threads "), watched, plain, time.process_time, "20 us")]
    with _workers() as client:
        watched()  # what a cluster costs once
        blocks = Times(clock=of_all)
        for _ in range(BLOCKS):
            blocks.run(lambda: watched(lambda: None))
        told = f"(an empty block: {1e3 * blocks.median:.0f} ms, "
        told += f"{1e3 * statistics.mean(blocks.cpu):.0f} ms of processor) "
        what = what.format(f"on a LocalCluster of 2 processes {told}")
        lines.append(
            _watch(s, what, watched, plain, of_all, "1 %", lambda told: client.run(_tell, told))
        )
    return lines


def _watch(
    s: Setting,
    what: str,
    watched: Any,
    plain: Any,
    clock: Callable[[], float],
    wanted: str,
    ready: Callable[[bool], object] = bool,
) -> Line:
    watching, not_so, same = in_turn(watched, plain, s.pairs, clock=clock, ready=ready)
    return Line(
        "watch",
        what if same else f"{what} (results differ)",
        speed(watching.median, s.count),
        speed(not_so.median, s.count),
        _more(watching.wall, not_so.wall, s.count),
        _more(watching.cpu, not_so.cpu, s.count),
        wanted,
    )


def _tell(whether: bool) -> None:
    """Let a process count and tell what it does, or not."""
    metrics.wanted = WANTED if whether else (lambda: False)


@contextlib.contextmanager
def _workers() -> Iterator[Any]:
    """Two processes of one thread, the default of what is computed."""
    from distributed import Client, LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        yield client


def _more(ours: list[float], theirs: list[float], pictures: int) -> str:
    """Microseconds a picture that ours takes beyond theirs, and in per cent: medians of pairs.

    Then of the quickest run of each, as other programs only ever add to a run.
    """
    each = [(a - b) / pictures * 1e6 for a, b in zip(ours, theirs, strict=True)]
    share = statistics.median(a / b - 1 for a, b in zip(ours, theirs, strict=True))
    quickest = (min(ours) - min(theirs)) / pictures * 1e6, min(ours) / min(theirs) - 1
    told = f"{statistics.median(each):.1f} us ({min(each):.1f}-{max(each):.1f}), {share:+.1%}"
    return f"{told}; of the quickest {quickest[0]:.1f} us, {quickest[1]:+.1%}"


def row_cold(s: Setting) -> list[Line]:
    files = s.files[:1000]
    lines = []
    for what, code, work in [
        ("statistics (C)", fresh.STATISTICS, "statistics"),
        ("decode and resize to 224 (B)", fresh.RESIZED, "batches"),
    ]:
        told = fresh.cold_start(code, work, files, s.folder, s.pairs)
        lines.append(
            Line(
                "cold",
                f"whole process, {len(files):,} pictures: {what}",
                f"{told['wall']:.2f} s, {told['peak']:.0f} MB",
                f"{told['loop_work']:.2f} s of work in {told['loop_wall']:.2f} s, "
                f"{told['loop_peak']:.0f} MB",
                f"{told['beyond']:.2f} s beyond",
                "",
                "3 s beyond, 400 MB",
            )
        )
    return lines


def row_memory(s: Setting) -> list[Line]:
    files = list_pictures(s.large_images)
    files = list(itertools.islice(itertools.cycle(files), min(40, len(files))))
    told = fresh.run(fresh.MEMORY, files, s.folder)
    what = f"mean and sharpness of {len(files)} 12-megapixel pictures in one partition"
    growth = f"{told['peak'] - told['before']:.0f} MB of growth"
    return [Line("memory", what, growth, "", "", "", "400 MB")]


def row_torchless(s: Setting) -> list[Line]:
    arguments = ["--rows", "B,C", "--images", str(s.images), "--pairs", str(s.pairs)]
    lines = fresh.without_torch([*arguments, "--quick"] if s.quick else arguments)
    return [Line(**{**line, "row": f"{line['row']} without torch"}) for line in lines]


def row_s(s: Setting) -> list[Line]:
    """An object store of this machine, 30 ms a request, against the same files on the disk."""
    lines = []
    for folder, count, note in _few_and_many(s):
        with store.serving(folder) as bucket:
            for what, work, wanted in (
                ("decode, resize to 224, iterate", lambda *a: drain(library.batches(*a)), "0.7"),
                ("statistics", lambda *a: library.statistics(*a)[loop.COLUMNS], "0.65"),
                ("headers", lambda *a: library.headers(*a)[loop.COLUMNS[:2]], "600/s"),
                ("take_batch(20)", library.first_batch, ""),
            ):
                lines.append(
                    s.compare(
                        "S",
                        f"{what} behind 30 ms a request, against local files{note}",
                        lambda work=work: work(bucket.url, bucket.options),
                        lambda work=work, folder=folder: work(folder),
                        pictures=20 if "20" in what else count,
                        wanted=wanted,
                    )
                )
            told = bucket.told()
            lines[-1].what += (
                f" (endpoint: {told['requests']:,} requests, {told['most']} at most at once, "
                f"{told['cpu']:.0f} s of processor time)"
            )
    return lines


def row_shards(s: Setting) -> list[Line]:
    """Files of many pictures in that object store, against the same on the disk."""
    files = s.files[:MOST_IN_SHARDS]
    folder = shards.make(files, s.folder / "shards")
    lines = []
    with store.serving(folder) as bucket:
        for name, what in shards.KINDS.items():
            for how, work, wanted in (
                ("resize to 224, iterate", lambda *a: drain(shards.batches(*a)), "0.7"),
                ("mean, std", shards.statistics, ""),
            ):
                place = name, bucket.place(f"all/{name}"), bucket.options
                before = bucket.told()["sizes"]
                work(*place)
                sizes = bucket.told()["sizes"][len(before) :]
                lines.append(
                    s.compare(
                        "shards",
                        f"{what}: {how} behind 30 ms a request, against local files "
                        f"({len(sizes)} GETs of {sum(sizes) / 1e6:.1f} MB)",
                        lambda work=work, place=place: work(*place),
                        lambda work=work, name=name: work(name, str(folder / name)),
                        pictures=len(files),
                        wanted=wanted,
                    )
                )
    return lines


def row_w(s: Setting) -> list[Line]:
    """Writing to that object store, against a folder on the disk."""

    def work(kind: str, place: str, options: Any = None) -> Callable[[], Any]:
        return lambda: [library.written(s.images, place, kind, options).rows]

    with store.serving(s.images) as bucket:
        return [
            s.compare(
                "W",
                f"resize to 224, {what} behind 30 ms a request, against the disk",
                work(kind, bucket.place(f"out-{kind}"), bucket.options),
                work(kind, str(s.folder / f"out-{kind}")),
            )
            for kind, what in (("images", "a JPEG each"), ("parquet", "Parquet of JPEGs"))
        ]


ROWS: dict[str, Callable[[Setting], list[Line]]] = {
    "loops": row_loops,
    "B": row_b,
    "C": row_c,
    "D": row_d,
    "E": row_e,
    "L": row_l,
    "T": row_t,
    "A": row_a,
    "J": row_j,
    "S": row_s,
    "shards": row_shards,
    "W": row_w,
    "cluster": row_cluster,
    "watch": row_watch,
    "cold": row_cold,
    "memory": row_memory,
    "torchless": row_torchless,
}


def drain(batches: Iterable[np.ndarray]) -> list[float]:
    """How many pictures came, and the mean of the last one."""
    count, last = 0, np.zeros(1)
    for batch in batches:
        count, last = count + len(batch), batch[-1]
    return [count, float(last.mean())]


def _drained(batches: Callable[[list[str]], Iterable[np.ndarray]]) -> Callable[[list[str]], Any]:
    return lambda files: drain(batches(files))


def _figures(written: Path) -> pd.DataFrame:
    table = pq.read_table(sorted(written.glob("*.parquet")), columns=["path", "mean", "std"])
    return table.to_pandas().sort_values("path")[["mean", "std"]]


def _empty(folder: Path, make: bool = False) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    if make:
        folder.mkdir()
    return folder


def as_json(lines: list[Line]) -> list[dict[str, str]]:
    return [asdict(line) for line in lines]
