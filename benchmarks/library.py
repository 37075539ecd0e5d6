"""The same work as in `loop`, as a user of daskimg writes it."""

from __future__ import annotations

import collections
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd

import daskimg as di
from benchmarks.loop import BATCH, COLUMNS, SIDE, THREADS

Options = dict[str, Any] | None


def small_pictures(folder: Path | str, options: Options = None) -> dd.DataFrame:
    """Rows B, E and A; S with the options of a store."""
    df = di.read_images(folder, storage_options=options)
    return df.assign(image=df.image.img.decode("RGB").img.resize(SIDE, SIDE))


def batches(folder: Path | str, options: Options = None) -> Iterator[np.ndarray]:
    """Arrays of 64 pictures."""
    df = small_pictures(folder, options)[["image"]]
    if has(df, "iter_batches"):
        return (batch["image"] for batch in df.img.iter_batches(batch_size=BATCH))
    return _rebatched(part["image"].img.to_numpy() for part in _partitions(df))


def with_statistics(df: dd.DataFrame) -> dd.DataFrame:
    image = df.image.img
    figures = dict(height=image.height, width=image.width, mean=image.mean(), std=image.std())
    return df.assign(**figures)[["path", *COLUMNS]]


def statistics(folder: Path | str, options: Options = None) -> pd.DataFrame:
    """Row C."""
    return with_statistics(di.read_images(folder, storage_options=options)).compute()


def first_batch(folder: Path | str, options: Options = None) -> list[int]:
    """How many pictures a first batch has."""
    return [len(small_pictures(folder, options).img.take_batch(20)["image"])]


def headers(folder: Path | str, options: Options = None) -> pd.DataFrame:
    """Row D."""
    df = di.read_images(folder, storage_options=options)
    sizes = df.assign(height=df.image.img.height, width=df.image.img.width)
    return sizes[["path", "height", "width"]].compute()


def parquet(folder: Path, target: Path, compression: str) -> Path:
    """Row A."""
    df = small_pictures(folder)
    df = df.assign(mean=df.image.img.mean(), std=df.image.img.std())
    df.img.write_parquet(str(target), compression=compression)
    return target


def written(folder: Path, target: str, kind: str, options: Options = None) -> Any:
    """Row W: small pictures as files of their own, or encoded in Parquet."""
    df = di.read_images(folder)
    df = df.assign(image=df.image.img.convert("RGB").img.resize(SIDE, SIDE).img.encode("jpeg"))
    write = df[["image"]].img.write_images if kind == "images" else df.img.write_parquet
    return write(target, mode="overwrite", storage_options=options)


def joined(sales: dd.DataFrame, statistics: dd.DataFrame) -> pd.DataFrame:
    """Row J: a number per shop, of a million sales and the pictures of what was sold."""
    table = sales.merge(statistics, on="path")
    return table.groupby("shop")[["amount", "mean", "std"]].mean().compute().sort_index()


def make_sales(paths: list[str], rows: int) -> dd.DataFrame:
    """A table of sales, each of a product that has a picture."""
    rng = np.random.default_rng(0)
    sold = pd.array(paths, dtype="string[pyarrow]").take(rng.integers(len(paths), size=rows))
    columns = {"path": sold, "shop": rng.integers(50, size=rows), "amount": rng.random(rows)}
    return dd.from_pandas(pd.DataFrame(columns), npartitions=8)


def has(frame: Any, method: str) -> bool:
    """Whether this version of the library has ``frame.img.<method>``."""
    return hasattr(frame, "img") and hasattr(frame.img, method)


def _partitions(df: dd.DataFrame) -> Iterator[pd.DataFrame]:
    """Each partition in order, two at work while two more wait."""
    waiting: collections.deque[Any] = collections.deque()
    tasks = iter(df.optimize().to_delayed(optimize_graph=False))
    with ThreadPoolExecutor(THREADS) as pool, dask.config.set(scheduler="sync"):
        for task in islice(tasks, 2 * THREADS):
            waiting.append(pool.submit(task.compute, optimize_graph=True))
        while waiting:
            yield waiting.popleft().result()
            for task in islice(tasks, 1):
                waiting.append(pool.submit(task.compute, optimize_graph=True))


def _rebatched(arrays: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    held: list[np.ndarray] = []
    for array in arrays:
        held.append(array)
        if sum(map(len, held)) >= BATCH:
            joined = np.concatenate(held)
            yield joined[:BATCH]
            held = [joined[BATCH:]]
    if held:
        yield np.concatenate(held)
