"""Look-alikes and neighbours: time and memory by rows, and what is found of planted copies.

``python -m benchmarks.alike hashes 1000000``, ``... nearest 200000``, ``... planted FOLDER``
"""

from __future__ import annotations

import io
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dask.dataframe as dd
import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance

import daskimg as di

PARTS = 16


def hashes(rows: int) -> None:
    """Groups and pairs of random hashes within 4 bits, one in ten a near copy of another."""
    rng = np.random.default_rng(0)
    made = rng.integers(0, 2**64, rows, dtype=np.uint64)
    copies = rows // 10
    made[-copies:] = made[:copies] ^ (np.uint64(1) << rng.integers(0, 64, copies, dtype=np.uint64))

    def part(n: int) -> pd.DataFrame:
        mine = slice(n * rows // PARTS, (n + 1) * rows // PARTS)
        return pd.DataFrame({"h": made[mine], "n": np.arange(rows)[mine]})

    df = dd.from_map(part, range(PARTS), meta=part(0).iloc[:0])
    for what, lazy in {
        "duplicate_groups": df.img.duplicate_groups(hash="h", confirm=None).group.count(),
        "near_duplicates": df.img.near_duplicates(hash="h", confirm=None, key="n").distance.count(),
    }.items():
        began, used = time.perf_counter(), time.process_time()
        found = lazy.compute()
        wall, cpu = time.perf_counter() - began, time.process_time() - used
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(f"| {what} | {rows:,} | {found:,} | {wall:.1f} s | {cpu:.1f} s | {peak:,.0f} MB |")


def nearest(rows: int) -> None:
    """100 queries in vectors of 512, against the bare product and partition of the same blocks."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(rows, 512)).astype(np.float32)
    queries = rng.normal(size=(100, 512)).astype(np.float32)
    cells = pd.array(vectors[: rows // PARTS * PARTS], dtype="tensor[float32, 512]")
    size = rows // PARTS
    parts = [pd.DataFrame({"embedding": cells[n * size : (n + 1) * size]}) for n in range(PARTS)]
    df = dd.from_map(lambda n: parts[n], range(PARTS), meta=parts[0].iloc[:0])

    def bare(n: int) -> None:
        block = vectors[n * size : (n + 1) * size]
        near = 1 - queries @ block.T / np.sqrt(np.einsum("ij,ij->i", block, block))
        np.argpartition(near, 9, axis=1)

    def loop() -> None:
        for n in range(PARTS):
            bare(n)

    for name, call in {
        "bare": loop,
        "nearest": lambda: df.img.nearest(queries).compute(scheduler="sync"),
    }.items():
        times = []
        for _ in range(3):
            used = time.process_time()
            call()
            times.append(time.process_time() - used)
        print(f"| {name} | {rows:,} | {sorted(times)[1]:.2f} s of processor |")


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


def planted(folder: str, every: int = 1) -> None:
    """Copies of photographs, by kind: how many are found, and how many pairs are wrong."""
    files = sorted(Path(folder).rglob("*.jpg"))[::every]
    originals = pd.Series([file.read_bytes() for file in files], dtype="image[encoded]")
    first = _hashed(originals, "original")
    own = first.img.near_duplicates(hash="phash", confirm="dhash", key="file")
    same = {frozenset(pair) for pair in zip(own["left"], own["right"], strict=True)}
    print(f"{len(files):,} photographs, {len(same)} pairs of them look alike")
    print("| kind | found | recall | wrong pairs |\n| --- | --- | --- | --- |")
    for kind, change in KINDS.items():
        cells = []
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
        print(f"| {kind} | {found:,} of {len(files):,} | {found / len(files):.1%} | {wrong} |")


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
    calls = {"hashes": hashes, "nearest": nearest}
    if what == "planted":
        planted(value, *map(int, rest))
    else:
        calls[what](int(float(value)))
