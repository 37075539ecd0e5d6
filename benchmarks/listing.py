"""``python -m benchmarks.listing``: a million files, and a listing that is a Parquet table.

Prints a Markdown table. The files are empty, but for those of one label, and removed at the end.
"""

from __future__ import annotations

import argparse
import os
import pickle
import tempfile
import time
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import daskimg as di
from benchmarks import store
from benchmarks.report import machine, versions
from daskimg.io.listing.find import list_images
from daskimg.testing import make_images

FOLDERS = 1000  # of files, each a label
LABEL = FOLDERS // 2  # the one whose files are pictures
GROUPS = 2000  # row groups of the Parquet listing, a partition each
GROUP_ROWS = 500

Row = tuple[str, str, str]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.listing", description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000, help="default: %(default)s")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="daskimg-listing-") as folder:
        rows = [*files(Path(folder), asked.files), *table(Path(folder))]
        rows += bucket(Path(folder) / "bucket", asked.files // 10)
    print(f"{machine()}; {versions()}.\n")
    print("| what | value | wanted |\n| --- | --- | --- |")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def files(folder: Path, n: int) -> list[Row]:
    """Listing files on a disk."""
    root = folder / "files"
    fill(root, n)
    walks = [walk(root) for _ in range(2)]  # the first finds an empty cache
    start = time.perf_counter()
    df = di.read_images(root, partitioning="hive")
    build = time.perf_counter() - start
    start = time.perf_counter()
    filtered = df[df.label == LABEL]
    batch = next(filtered.img.iter_batches(batch_size=64))
    first = time.perf_counter() - start
    assert len(batch["image"]) == min(64, n // FOLDERS)
    assert len(df.divisions) == df.npartitions + 1
    return [
        (f"walk and stat of {n:,} files, in Python", f"{walks[-1]:.1f} s", ""),
        ("read_images beyond that", f"{build - walks[-1]:.1f} s", "< 15 s"),
        ("partitions", f"{df.npartitions:,}", ""),
        ("graph, pickled", f"{size(graph(df)) / 1e6:.1f} MB", "< 25 MB"),
        ("expression, pickled: what a cluster is sent", f"{size(df.expr) / 1e6:.1f} MB", "< 25 MB"),
        ("graph of all partitions with a measure", f"{measured(df) / 1e6:.1f} MB", "< 25 MB"),
        ("first batch of 64 pictures of one label of 1,000", f"{first:.1f} s", ""),
    ]


def fill(root: Path, n: int) -> None:
    """Empty files in folders; those of one label are pictures."""
    (picture,) = make_images(root.parent / "picture", 1, size=(32, 32), formats=["jpeg"])
    per_folder = n // FOLDERS
    for label in range(FOLDERS):
        place = root / f"label={label}"
        place.mkdir(parents=True)
        for number in range(label * per_folder, (label + 1) * per_folder):
            name = place / f"{number:08d}.jpg"
            if label == LABEL:
                os.link(picture, name)
            else:
                os.close(os.open(name, os.O_CREAT | os.O_WRONLY))


def walk(root: Path) -> float:
    start = time.perf_counter()
    found = []
    for folder in os.scandir(root):
        for entry in os.scandir(folder):
            found.append((entry.path, entry.stat().st_size))
    return time.perf_counter() - start


def table(folder: Path) -> list[Row]:
    """A listing in Parquet: what a partition adds to the graph does not depend on its rows."""
    sizes = []
    for groups in (GROUPS // 2, GROUPS):
        place = folder / f"{groups}.parquet"
        rows = groups * GROUP_ROWS
        paths = "s3://catalogue/" + pd.Series(np.arange(rows)).astype("string[pyarrow]") + ".jpg"
        pq.write_table(pa.table({"path": paths, "label": np.arange(rows)}), place, GROUP_ROWS)
        start = time.perf_counter()
        df = di.read_parquet(place, blocksize=1)
        df = df.assign(image=di.images(df.path))
        build = time.perf_counter() - start
        assert df.npartitions == groups
        sizes.append(np.array([size(graph(df)), size(df.expr), measured(df)]))
    each = (sizes[1] - sizes[0]) / (GROUPS - GROUPS // 2)
    return [
        (
            f"Parquet listing of {GROUPS:,} row groups: read_parquet and images",
            f"{build:.2f} s",
            "",
        ),
        ("graph of a partition, pickled", f"{each[0]:,.0f} B", "< 2,000 B"),
        ("expression of a partition, pickled", f"{each[1]:,.0f} B", "< 2,000 B"),
        ("graph of a partition with a measure", f"{each[2]:,.0f} B", "< 2,000 B"),
    ]


def bucket(folder: Path, n: int) -> list[Row]:
    """Listing a bucket that answers after 30 ms, its own processor's time beside ours."""
    (picture,) = make_images(folder / "picture", 1, size=(32, 32), formats=["jpeg"])
    for number in range(n):
        place = folder / "all" / f"{number // 5000:03d}"
        place.mkdir(parents=True, exist_ok=True)
        os.link(picture, place / f"{number:08d}.jpg")
    told = []
    with store.serving(folder / "all") as served:
        options = served.options
        for name, find in [
            ("daskimg", lambda: len(list_images(served.url, storage_options=options))),
            ("s3fs's find", lambda: len(fs_of(options).find(served.url))),
        ]:
            find()  # what is imported, and connected
            start, used = time.perf_counter(), time.process_time()
            assert find() == n
            wall, used = time.perf_counter() - start, time.process_time() - used
            what = f"listing {n:,} keys of a bucket, 30 ms an answer: {name}"
            told.append((what, f"{wall:.1f} s, {used:.1f} s of processor", ""))
    return told


def fs_of(options: dict[str, Any]) -> Any:
    return fsspec.filesystem("s3", skip_instance_cache=True, **options)


def graph(df: Any) -> dict[Any, Any]:
    return dict(df.optimize().__dask_graph__())


def measured(df: Any) -> int:
    return size(graph(df.assign(light=df.image.img.brightness())))


def size(what: Any) -> int:
    return len(pickle.dumps(what))


if __name__ == "__main__":
    main()
