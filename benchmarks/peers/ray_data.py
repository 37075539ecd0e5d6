"""Ray Data on one machine, as its guide "Working with images" writes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import ray
import ray.data

from benchmarks.peers import common
from benchmarks.peers.common import BATCH, SIDE, Job, Told

if not ray.is_initialized():  # it is in the workers, which import this file, too
    ray.init(include_dashboard=False, log_to_driver=False)
context = ray.data.DataContext.get_current()
context.enable_progress_bars = False


def read(job: Job, **options: Any) -> ray.data.Dataset:
    return ray.data.read_images(job.folder, mode="RGB", include_paths=True, **options)


def small(job: Job) -> ray.data.Dataset:
    return read(job, size=(SIDE, SIDE))


def measured(row: dict) -> dict:
    return {"name": common.name_of(row["path"]), **common.figures(row["image"])}


def size_of(row: dict) -> dict:
    height, width = row["image"].shape[:2]
    return {"name": common.name_of(row["path"]), "height": height, "width": width}


def with_figures(batch: dict) -> dict:
    means = [float(picture.mean()) for picture in batch["image"]]
    return {**batch, "mean": means, "std": [float(picture.std()) for picture in batch["image"]]}


def iterate(job: Job) -> Told:
    batches = small(job).iter_batches(batch_size=BATCH)
    return common.told_of_batches(batch["image"] for batch in batches)


large = iterate


def store(job: Job) -> Told:
    import pyarrow.fs

    files = pyarrow.fs.S3FileSystem(
        access_key=job.key,
        secret_key=job.secret,
        endpoint_override=job.endpoint,
        region="us-east-1",
    )
    folder = job.folder.removeprefix("s3://")
    rows = ray.data.read_images(folder, filesystem=files, mode="RGB", size=(SIDE, SIDE))
    batches = rows.iter_batches(batch_size=BATCH)
    return common.told_of_batches(batch["image"] for batch in batches)


def statistics(job: Job) -> Told:
    return common.told_of_table(read(job).map(measured).to_pandas(), "mean")


def headers(job: Job) -> Told:
    return common.told_of_table(read(job).map(size_of).to_pandas(), "height")


def join(job: Job) -> Told:
    sales = ray.data.read_parquet(job.sales)
    found = sales.join(
        read(job).map(measured), join_type="inner", num_partitions=common.WORKERS, on=("name",)
    )
    grouped = found.groupby("shop").mean(["amount", "mean", "std"]).to_pandas()
    return common.told_of_table(grouped, "mean(mean)")


def parquet(job: Job) -> Told:
    small(job).map_batches(with_figures).write_parquet(job.target)
    return common.written(job)


class Labels:
    def __init__(self) -> None:
        from benchmarks.peers.model import Classifier

        self.classify = Classifier()

    def __call__(self, batch: dict) -> dict[str, np.ndarray]:
        return {"label": self.classify(batch["image"])}


def classify(job: Job) -> Told:
    labels = small(job).map_batches(
        Labels, batch_size=BATCH, compute=ray.data.ActorPoolStrategy(size=1)
    )
    batches = labels.iter_batches(batch_size=None)
    return common.told_of_labels(batch["label"] for batch in batches)
