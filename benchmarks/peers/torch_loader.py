"""torch's DataLoader: a Dataset of files, a worker process for each core.

Pillow decodes and resizes, as torchvision's ImageFolder and Resize do.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pandas as pd
from torch.utils.data import DataLoader, Dataset

from benchmarks.peers import common
from benchmarks.peers.common import BATCH, WORKERS, Job, Told


class Files(Dataset):
    def __init__(self, files: list[str], function: Callable[[str], Any]) -> None:
        self.files, self.function = files, function

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> Any:
        return self.function(self.files[number])


class FromStore:
    """A process opens its own connections."""

    def __init__(self, options: dict) -> None:
        self.options, self.files = options, None

    def __call__(self, path: str) -> Any:
        import s3fs

        if self.files is None:
            self.files = s3fs.S3FileSystem(**self.options)
        return common.small(io.BytesIO(self.files.cat_file(path)))


def batches(files: list[str], function: Callable[[str], Any] = common.small) -> DataLoader:
    return DataLoader(Files(files, function), batch_size=BATCH, num_workers=WORKERS)


def table(job: Job, function: Callable[[str], dict]) -> pd.DataFrame:
    return pd.concat([pd.DataFrame(batch) for batch in batches(job.files, function)])


def iterate(job: Job) -> Told:
    return common.told_of_batches(batches(job.files))


large = iterate


def store(job: Job) -> Told:
    import s3fs

    listed = s3fs.S3FileSystem(**job.s3fs, skip_instance_cache=True).find(job.folder)
    return common.told_of_batches(batches(listed, FromStore(job.s3fs)))


def statistics(job: Job) -> Told:
    return common.told_of_table(table(job, common.measured), "mean")


def headers(job: Job) -> Told:
    return common.told_of_table(table(job, common.size_of), "height")


def join(job: Job) -> Told:
    return common.joined(job, table(job, common.measured))


def classify(job: Job) -> Told:
    from benchmarks.peers.model import Classifier

    return common.told_of_labels(map(Classifier(), batches(job.files)))
