"""daskimg, as its tutorial writes it; on threads."""

from __future__ import annotations

import dask.dataframe as dd

import daskimg as di
from benchmarks.peers import common
from benchmarks.peers.common import BATCH, SIDE, Job, Told


def read(job: Job) -> dd.DataFrame:
    options = job.s3fs if job.endpoint else None
    return di.read_images(job.folder, partitioning="{name}", storage_options=options)


def small(job: Job) -> dd.DataFrame:
    df = read(job)
    return df.assign(image=df.image.img.decode("RGB").img.resize(SIDE, SIDE))


def figures(df: dd.DataFrame) -> dd.DataFrame:
    return df.assign(mean=df.image.img.mean(), std=df.image.img.std())


def iterate(job: Job) -> Told:
    batches = small(job)[["image"]].img.iter_batches(BATCH)
    return common.told_of_batches(batch["image"] for batch in batches)


large = store = iterate


def statistics(job: Job) -> Told:
    return common.told_of_table(figures(read(job))[["name", "mean", "std"]].compute(), "mean")


def headers(job: Job) -> Told:
    df = read(job)
    sizes = df.assign(height=df.image.img.height, width=df.image.img.width)
    return common.told_of_table(sizes[["name", "height", "width"]].compute(), "height")


def parquet(job: Job) -> Told:
    figures(small(job)).img.write_parquet(job.target)
    return common.written(job)


def join(job: Job) -> Told:
    pictures = figures(read(job)).repartition(npartitions=1)  # numbers: one partition holds them
    sales = dd.read_parquet(job.sales).merge(pictures, on="name")
    grouped = sales.groupby("shop")[["amount", "mean", "std"]].mean().compute()
    return common.told_of_table(grouped, "mean")


class Labels:
    def __init__(self) -> None:
        from benchmarks.peers.model import Classifier

        self.classify = Classifier()

    def __call__(self, batch: dict) -> dict:
        return {"label": self.classify(batch["image"])}


def classify(job: Job) -> Told:
    labels = small(job).img.map_batches(
        Labels, columns=["image"], batch_size=BATCH, meta={"label": "int64"}
    )
    return common.told_of_labels([labels[["label"]].compute().label])
