"""Daft on its native runner, as its guide "Working with Images" writes it."""

from __future__ import annotations

from typing import Any

import daft
from daft import DataType, col
from daft.functions import image_file, image_file_metadata
from daft.io import IOConfig, S3Config

from benchmarks.peers import common
from benchmarks.peers.common import BATCH, SIDE, Job, Told

FIGURES = DataType.struct({"mean": DataType.float64(), "std": DataType.float64()})


@daft.func.batch(return_dtype=FIGURES)
def measured(images: daft.Series) -> list[dict]:
    return [common.figures(pixels) for pixels in images.to_pylist()]


def read(job: Job, io_config: IOConfig | None = None) -> daft.DataFrame:
    df = daft.from_glob_path(f"{job.folder.removesuffix('/')}/*", io_config=io_config)
    pixels = col("path").download(io_config=io_config).decode_image(mode="RGB")
    return df.select(
        col("path").regexp_extract(r"([^/]+)$", 1).alias("name"), pixels.alias("image")
    )


def small(job: Job, io_config: IOConfig | None = None) -> daft.DataFrame:
    return read(job, io_config).with_column("image", col("image").resize(SIDE, SIDE))


def figures(df: daft.DataFrame) -> daft.DataFrame:
    told = df.with_column("told", measured(col("image")))
    mean, std = (col("told").get(name).alias(name) for name in ("mean", "std"))
    return told.with_columns({"mean": mean, "std": std}).exclude("told")


def batches(df: daft.DataFrame) -> Any:
    for part in df.select("image").into_batches(BATCH).to_arrow_iter():
        image = part.column("image")
        yield image.storage.values.to_numpy().reshape(-1, SIDE, SIDE, 3)


def iterate(job: Job) -> Told:
    return common.told_of_batches(batches(small(job)))


large = iterate


def store(job: Job) -> Told:
    options = S3Config(
        endpoint_url=job.endpoint,
        key_id=job.key,
        access_key=job.secret,
        region_name="us-east-1",
        use_ssl=False,
    )
    return common.told_of_batches(batches(small(job, IOConfig(s3=options))))


def statistics(job: Job) -> Told:
    return common.told_of_table(figures(read(job)).exclude("image").to_pandas(), "mean")


def headers(job: Job) -> Told:
    """By the function that reads the header alone."""
    told = image_file_metadata(image_file(col("path")))
    df = daft.from_glob_path(f"{job.folder}/*").select("path", told.alias("told"))
    height, width = (col("told").get(name).alias(name) for name in ("height", "width"))
    return common.told_of_table(df.select("path", height, width).to_pandas(), "height")


def join(job: Job) -> Told:
    sales = daft.read_parquet(f"{job.sales}/*.parquet")
    found = sales.join(figures(read(job)).exclude("image"), on="name").groupby("shop")
    means = [col(name).mean() for name in ("amount", "mean", "std")]
    return common.told_of_table(found.agg(*means).to_pandas(), "mean")


def parquet(job: Job) -> Told:
    figures(small(job)).write_parquet(job.target)
    return common.written(job)


@daft.cls
class Labels:
    def __init__(self) -> None:
        from benchmarks.peers.model import Classifier

        self.classify = Classifier()

    @daft.method.batch(return_dtype=DataType.int64(), batch_size=BATCH)
    def label(self, images: daft.Series) -> Any:
        import numpy as np

        return self.classify(np.stack(images.to_pylist()))


def classify(job: Job) -> Told:
    labels = small(job).select(Labels().label(col("image")).alias("label"))
    return common.told_of_labels([labels.to_pandas().label])
