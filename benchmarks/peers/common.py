"""What the tasks of all libraries share: NumPy and Pillow, nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image

SIDE, BATCH = 224, 64
WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
Told = dict[str, float]


class Job(NamedTuple):
    """Where the pictures of a task are, and what stands beside them."""

    folder: str  # a flat folder of pictures, or s3://bucket/prefix/
    sales: str = ""  # a folder of Parquet files: name, shop, amount
    target: str = ""  # an empty folder to write to
    endpoint: str = ""  # of the object store
    key: str = "key"
    secret: str = "secret"

    @property
    def files(self) -> list[str]:
        return sorted(str(path) for path in Path(self.folder).iterdir())

    @property
    def s3fs(self) -> dict[str, Any]:
        """What s3fs wants to be told."""
        return {"key": self.key, "secret": self.secret, "endpoint_url": self.endpoint}


def name_of(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def picture(source: str | BinaryIO) -> Image.Image:
    """In full, as RGB; from a file that is closed again."""
    with Image.open(source) as image:
        return image.convert("RGB")


def small(source: str | BinaryIO) -> np.ndarray:
    resized = picture(source).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.array(resized)


def figures(pixels: np.ndarray) -> Told:
    return {"mean": float(pixels.mean()), "std": float(pixels.std())}


def measured(path: str) -> dict[str, Any]:
    return {"name": name_of(path), **figures(np.asarray(picture(path)))}


def size_of(path: str) -> dict[str, Any]:
    """Height and width: Pillow reads no more than the header."""
    with Image.open(path) as image:
        return {"name": name_of(path), "height": image.height, "width": image.width}


def told_of_batches(batches: Iterable[Any]) -> Told:
    """How many pictures came, and their mean, of few pixels: not to be what is measured."""
    count, total = 0, 0.0
    for batch in batches:
        pixels = np.asarray(batch)
        count += len(pixels)
        total += float(pixels[:, ::32, ::32].mean()) * len(pixels)
    return {"pictures": count, "value": total / max(count, 1)}


def told_of_table(table: Any, column: str) -> Told:
    """Of a pandas frame."""
    return {"pictures": len(table), "value": float(table[column].mean())}


def told_of_labels(labels: Iterable[Any]) -> Told:
    """Of batches of labels."""
    joined = np.concatenate([np.asarray(each) for each in labels])
    return {"pictures": len(joined), "value": float(joined.mean())}


def joined(job: Job, statistics: Any) -> Told:
    """For libraries without a join: pandas reads the sales, joins and groups."""
    import pandas as pd

    sales = pd.read_parquet(job.sales).merge(statistics, on="name")
    return told_of_table(sales.groupby("shop")[["amount", "mean", "std"]].mean(), "mean")


def written(job: Job, column: str = "mean") -> Told:
    """What stands in the Parquet files of a task's target."""
    import pyarrow.parquet as pq

    files = sorted(Path(job.target).rglob("*.parquet"))
    tables = [pq.ParquetFile(path).read([column]) for path in files]
    values = np.concatenate([table.column(column).to_numpy() for table in tables])
    return {"pictures": len(values), "value": float(values.mean())}
