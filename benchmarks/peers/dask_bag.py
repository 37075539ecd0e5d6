"""dask.bag with functions of Pillow, on threads.

Its documentation recommends them for code that lets go of the interpreter's lock.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from typing import Any

import dask.bag
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers import common
from benchmarks.peers.common import BATCH, Job, Told


def bag(job: Job) -> Any:
    return dask.bag.from_sequence(job.files, partition_size=BATCH)


def table(job: Job, function: Callable[[str], dict]) -> pd.DataFrame:
    return pd.DataFrame(bag(job).map(function).compute(scheduler="threads"))


def stacked(part: Any) -> list[np.ndarray]:
    return [np.stack(list(part))]


def iterate(job: Job) -> Told:
    batches = bag(job).map(common.small).map_partitions(stacked)
    return common.told_of_batches(batches.compute(scheduler="threads"))


large = iterate


def store(job: Job) -> Told:
    import s3fs

    files = s3fs.S3FileSystem(**job.s3fs, skip_instance_cache=True)
    paths = dask.bag.from_sequence(files.find(job.folder), partition_size=BATCH)
    fetched = paths.map_partitions(lambda part: list(files.cat(list(part)).values()))
    batches = fetched.map(io.BytesIO).map(common.small).map_partitions(stacked)
    return common.told_of_batches(batches.compute(scheduler="threads"))


def statistics(job: Job) -> Told:
    return common.told_of_table(table(job, common.measured), "mean")


def headers(job: Job) -> Told:
    return common.told_of_table(table(job, common.size_of), "height")


def join(job: Job) -> Told:
    return common.joined(job, table(job, common.measured))


def parquet(job: Job) -> Told:
    def row(path: str) -> dict:
        pixels = common.small(path)
        name = common.name_of(path)
        return {"name": name, **common.figures(pixels), "image": pixels.tobytes()}

    def write(part: Any) -> list[int]:
        rows = pa.Table.from_pylist(list(part))
        pq.write_table(rows, f"{job.target}/{uuid.uuid4().hex}.parquet")
        return [len(rows)]

    bag(job).map(row).map_partitions(write).compute(scheduler="threads")
    return common.written(job)


def classify(job: Job) -> Told:
    from benchmarks.peers.model import Classifier

    model = Classifier()
    batches = bag(job).map(common.small).map_partitions(stacked).map(model)
    return common.told_of_labels(batches.compute(scheduler="threads"))
