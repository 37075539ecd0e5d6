"""The bare loop of `benchmarks.loop`: the fastest calls there are, two threads, no framework."""

from __future__ import annotations

from benchmarks import loop
from benchmarks.peers import common
from benchmarks.peers.common import Job, Told


def iterate(job: Job) -> Told:
    return common.told_of_batches(loop.batches(job.files))


def large(job: Job) -> Told:
    return common.told_of_batches(loop.batches(job.files, loop.TWICE))


def statistics(job: Job) -> Told:
    return common.told_of_table(loop.statistics(job.files), "mean")


def headers(job: Job) -> Told:
    return common.told_of_table(loop.headers(job.files), "height")


def parquet(job: Job) -> Told:
    from pathlib import Path

    loop.parquet(job.files, Path(job.target), "zstd")
    return common.written(job)


def join(job: Job) -> Told:
    files = job.files
    table = loop.statistics(files).assign(name=[common.name_of(path) for path in files])
    return common.joined(job, table[["name", "mean", "std"]])


def classify(job: Job) -> Told:
    from benchmarks.peers.model import Classifier

    return common.told_of_labels(map(Classifier(), loop.batches(job.files)))
