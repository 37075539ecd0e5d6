"""Hugging Face datasets: an Image column, `map` in processes, a DataLoader to iterate.

Its cache is off: it would answer every run but the first.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import datasets
import numpy as np
from datasets import Dataset, Image, load_dataset
from torch.utils.data import DataLoader

from benchmarks.peers import common
from benchmarks.peers.common import BATCH, SIDE, WORKERS, Job, Told

datasets.disable_caching()
datasets.disable_progress_bars()


def pictures(job: Job) -> Dataset:
    files = job.files
    columns = {"name": [common.name_of(path) for path in files], "image": files}
    return Dataset.from_dict(columns).cast_column("image", Image(mode="RGB"))


def small(image: Any) -> np.ndarray:
    return np.array(image.resize((SIDE, SIDE), 2))


def transformed(rows: dict) -> dict:
    return {"image": [small(image) for image in rows["image"]]}


def table(job: Job, function: Callable[[dict], dict]) -> Any:
    mapped = pictures(job).map(function, num_proc=WORKERS, remove_columns=["image"])
    return mapped.to_pandas()


def measured(row: dict) -> dict:
    return common.figures(np.asarray(row["image"]))


def size_of(row: dict) -> dict:
    return {"height": row["image"].height, "width": row["image"].width}


def batches(job: Job) -> Any:
    rows = pictures(job).select_columns("image").with_transform(transformed)
    loader = DataLoader(rows, batch_size=BATCH, num_workers=WORKERS)
    return (batch["image"] for batch in loader)


def iterate(job: Job) -> Told:
    return common.told_of_batches(batches(job))


large = iterate


def store(job: Job) -> Told:
    """With the store's address and keys in the environment."""
    os.environ["AWS_ENDPOINT_URL"] = job.endpoint
    os.environ |= {"AWS_ACCESS_KEY_ID": job.key, "AWS_SECRET_ACCESS_KEY": job.secret}
    rows = load_dataset("imagefolder", data_files=f"{job.folder}*", split="train", streaming=True)
    resized = rows.map(transformed, batched=True, batch_size=BATCH)
    return common.told_of_batches(batch["image"] for batch in resized.iter(BATCH))


def statistics(job: Job) -> Told:
    return common.told_of_table(table(job, measured), "mean")


def headers(job: Job) -> Told:
    return common.told_of_table(table(job, size_of), "height")


def join(job: Job) -> Told:
    return common.joined(job, table(job, measured))


def parquet(job: Job) -> Told:
    """Pictures are written as PNG: an Image column is encoded, and Array3D took minutes."""

    def row(asked: dict) -> dict:
        resized = asked["image"].resize((SIDE, SIDE), 2)
        return {"image": resized, **common.figures(np.asarray(resized))}

    pictures(job).map(row, num_proc=WORKERS).to_parquet(f"{job.target}/all.parquet")
    return common.written(job)


def classify(job: Job) -> Told:
    from benchmarks.peers.model import Classifier

    return common.told_of_labels(map(Classifier(), batches(job)))
