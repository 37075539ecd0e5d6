"""Look-alikes and neighbours: time and memory by rows, and what is found of planted copies.

``python -m benchmarks.alike hashes 1000000 clustered``, ``... nearest 200000``,
``... neighbours 100000``, ``... planted FOLDER "half size" grey``
"""

from __future__ import annotations

import functools
import io
import os
import resource
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance

import daskimg as di

PARTS = 16


def made_hashes(rows: int, kind: str) -> np.ndarray:
    """Hashes by kind: `random`, one in ten a near copy of another; `clustered`, twenty or so around
    each centre, up to 8 bits away; `equal`; `beside`, each at most one bit from the same one."""
    rng = np.random.default_rng(0)
    made = rng.integers(0, 2**64, rows, dtype=np.uint64)
    if kind == "random":
        copies = rows // 10
        made[-copies:] = flipped(made[:copies], rng)
    elif kind == "clustered":
        made = made[rng.integers(0, max(1, rows // 20), rows)]
        for _ in range(8):
            made = np.where(rng.random(rows) < 0.5, flipped(made, rng), made)
    else:
        made[:] = made[0]
        if kind == "beside":
            made[1:] = flipped(made[1:], rng)
    return made


def flipped(hashes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hashes with one bit changed."""
    return hashes ^ (np.uint64(1) << rng.integers(0, 64, len(hashes), dtype=np.uint64))


def hashes(rows: int, kind: str = "random", parts: int = PARTS) -> None:
    """Groups and pairs of hashes within 4 bits, by threads of this process; its peak memory."""
    made = made_hashes(rows, kind)

    def part(n: int) -> pd.DataFrame:
        mine = slice(n * rows // parts, (n + 1) * rows // parts)
        return pd.DataFrame({"h": made[mine], "n": np.arange(rows)[mine]})

    df = dd.from_map(part, range(parts), meta=part(0).iloc[:0])
    asked = {"groups": df.img.duplicate_groups(hash="h", confirm=None).group.count()}
    if kind in ("random", "clustered"):
        pairs = df.img.near_duplicates(hash="h", confirm=None, key="n")
        asked["pairs"] = pairs.distance.count()
    for what, lazy in asked.items():
        began, used = time.perf_counter(), time.process_time()
        found = lazy.compute()
        wall, cpu = time.perf_counter() - began, time.process_time() - used
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        load = os.getloadavg()[0]
        print(
            f"| {what} | {kind} | {rows:,} | {found:,} | {cpu:.1f} s | {wall:.1f} s | "
            f"{peak:,.0f} MB | load {load:.1f} |",
            flush=True,
        )


def nearest(rows: int, size: int = 2**16) -> None:
    """100 queries in vectors of 512, against the bare product and choice of the same blocks; the
    memory that either takes beside the vectors."""
    rng = np.random.default_rng(0)
    vectors = np.empty((rows, 512), np.float32)
    for start in range(0, rows, size):
        rng.standard_normal(out=vectors[start : start + size], dtype=np.float32)
    queries = rng.normal(size=(100, 512)).astype(np.float32)
    blocks = [vectors[start : start + size] for start in range(0, rows, size)]
    cells = [pd.array(block, dtype="tensor[float32, 512]") for block in blocks]
    meta = pd.DataFrame({"embedding": cells[0][:0]})
    df = dd.from_map(lambda n: pd.DataFrame({"embedding": cells[n]}), range(len(cells)), meta=meta)

    def bare() -> None:
        for block in blocks:
            products = queries @ block.T
            best = np.argpartition(products, -10, axis=1)[:, -10:]
            np.take_along_axis(products, best, axis=1)

    calls: dict[str, Callable[[], Any]] = {"bare": bare}
    for metric in ("cosine", "l2", "dot"):
        lazy = df.img.nearest(queries, metric=metric)
        calls[metric] = functools.partial(lazy.compute, scheduler="sync")
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(5):
        for name, call in calls.items():
            began, used = time.perf_counter(), time.process_time()
            call()
            times[name].append((time.process_time() - used, time.perf_counter() - began))
    for name, call in calls.items():
        cpu, wall = (sorted(column) for column in zip(*times[name], strict=True))
        ratios = sorted(a[0] / b[0] for a, b in zip(times[name], times["bare"], strict=True))
        tracemalloc.start()
        call()
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        print(
            f"| {name} | {rows:,} | {cpu[2]:.2f} s of processor | {wall[2]:.2f} s | "
            f"{ratios[2]:.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}) | {peak:,.0f} MB |",
            flush=True,
        )


def neighbours(rows: int, length: int = 128) -> None:
    """Ten neighbours of each of some clustered vectors by an index; which share of those of 1,000
    rows it finds."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(rows // 100, length))
    vectors = centres[rng.integers(0, len(centres), rows)] + rng.normal(size=(rows, length)) / 2
    values = vectors.astype(np.float32)
    cells = pd.array(values, dtype=f"tensor[float32, {length}]")
    df = pd.DataFrame({"n": np.arange(rows), "embedding": cells})
    began, used = time.perf_counter(), time.process_time()
    found = df.img.neighbours(k=10, index="usearch")
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    some = np.arange(0, rows, max(1, rows // 1000))
    want = df.img.nearest(values[some], k=11)
    want = want.assign(query=some[want["query"]])
    want = want[want["query"] != want["n"]].rename(columns={"n": "neighbour"})
    right = len(found.merge(want, on=["query", "neighbour"]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(
        f"| {rows:,} of {length} | {right / len(want):.1%} | {cpu:.1f} s of processor | "
        f"{wall:.1f} s | {peak:,.0f} MB |"
    )


KINDS: dict[str, Callable[[Image.Image], tuple[Image.Image, int]]] = {
    "quality 30": lambda photo: (photo, 30),
    "quality 50": lambda photo: (photo, 50),
    "quality 75": lambda photo: (photo, 75),
    "quality 95": lambda photo: (photo, 95),
    "half size": lambda photo: (photo.resize((photo.width // 2, photo.height // 2)), 90),
    "double size": lambda photo: (photo.resize((photo.width * 2, photo.height * 2)), 90),
    "crop of 5 %": lambda photo: (
        photo.crop((photo.width // 40, photo.height // 40, photo.width - photo.width // 40,
                    photo.height - photo.height // 40)), 90),
    "brightness 0.8": lambda photo: (ImageEnhance.Brightness(photo).enhance(0.8), 90),
    "brightness 1.2": lambda photo: (ImageEnhance.Brightness(photo).enhance(1.2), 90),
    "grey": lambda photo: (photo.convert("L"), 90),
}  # fmt: skip


def planted(folder: str, *kinds: str) -> None:
    """Copies of photographs, by kind: how many are found, and how many pairs are wrong: of two
    pictures that were no copies of each other, and did not look alike before."""
    files = sorted(Path(folder).rglob("*.jpg"))
    originals = pd.Series([file.read_bytes() for file in files], dtype="image[encoded]")
    first = _hashed(originals, "original")
    own = first.img.near_duplicates(hash="phash", confirm="dhash", key="file")
    same = {frozenset(pair) for pair in zip(own["left"], own["right"], strict=True)}
    print(f"{len(files):,} photographs, {len(same)} pairs of them look alike")
    print("| kind | found | recall | precision | wrong pairs |\n| --- | --- | --- | --- | --- |")
    for kind in kinds or KINDS:
        change, cells = KINDS[kind], []
        for file in files:
            with Image.open(file) as photo:
                changed, quality = change(photo.convert("RGB"))
            out = io.BytesIO()
            changed.save(out, "jpeg", quality=quality)
            cells.append(out.getvalue())
        copies = _hashed(pd.Series(cells, dtype="image[encoded]"), kind)
        pairs = first.img.near_duplicates(hash="phash", confirm="dhash", key="file", other=copies)
        found = int((pairs["left"] == pairs["right"]).sum())
        other = pairs[pairs["left"] != pairs["right"]]
        wrong = sum(
            frozenset(pair) not in same for pair in zip(other["left"], other["right"], strict=True)
        )
        right = (len(pairs) - wrong) / max(1, len(pairs))
        print(
            f"| {kind} | {found:,} of {len(files):,} | {found / len(files):.1%} | {right:.1%} | "
            f"{wrong} |",
            flush=True,
        )


def _hashed(cells: pd.Series, kind: str) -> pd.DataFrame:
    """Hashes of pictures in memory, each opened once, by threads."""
    df = dd.from_pandas(pd.DataFrame({"image": cells}), npartitions=8)
    image = df.image.img
    columns = {"phash": image.hash("phash"), "dhash": image.hash("dhash")}
    made = df.assign(**columns)[list(columns)].compute()
    return made.assign(file=np.arange(len(made)))


if __name__ == "__main__":
    what, value, *rest = sys.argv[1:]
    print(f"daskimg {di.__version__}")
    if what == "planted":
        planted(value, *rest)
    else:
        calls: dict[str, Callable[..., None]] = {
            "hashes": hashes,
            "nearest": nearest,
            "neighbours": neighbours,
        }
        calls[what](int(float(value)), *(int(one) if one.isdigit() else one for one in rest))
