"""Row shards: shards and Parquet behind an object store's latency, against the same on the disk."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import dask.dataframe as dd
import numpy as np
import pandas as pd

import daskimg as di
from benchmarks.loop import BATCH, SIDE
from daskimg.io.parquet import part

SHARDS = 8
PACKED = 3  # every third tar is compressed
GROUPS = {"parquet": 2**19, "pixels": 2**22}  # bytes of a row group: several in a file

Options = dict[str, Any] | None


KINDS = {
    "tar": f"{SHARDS} tar shards, every third compressed",
    "tfrecord": f"{SHARDS} TFRecords",
    "parquet": f"{SHARDS} Parquet files of pictures, several row groups each",
    "pixels": f"{SHARDS} Parquet files of pixels, several row groups each",
}


def make(files: list[str], folder: Path) -> Path:
    """The same pictures in each format."""
    folder.mkdir(parents=True, exist_ok=True)
    df = di.read_images(files, files_per_partition=-(-len(files) // SHARDS))[["image"]]
    read = df.assign(image=df.image.img.read())
    jpeg = read.rename(columns={"image": "jpg"})
    jpeg.img.write_webdataset(str(folder / "tar"))
    for path in sorted((folder / "tar").glob("*.tar"))[::PACKED]:
        Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes(), 6))
        path.unlink()
    read.img.write_tfrecords(str(folder / "tfrecord"))
    pixels = df.assign(image=df.image.img.decode("RGB").img.resize(SIDE, SIDE))
    for name, frame in (("parquet", read), ("pixels", pixels)):
        with mock.patch.object(part, "GROUP_BYTES", GROUPS[name]):
            frame.img.write_parquet(str(folder / name))
    return folder


def read(kind: str, place: str, options: Options = None) -> dd.DataFrame:
    """The pictures of a format."""
    if kind == "tar":
        df = di.read_webdataset(f"{place}/*.tar*", storage_options=options)
        return df[["jpg"]].rename(columns={"jpg": "image"})
    if kind == "tfrecord":
        return di.read_tfrecords(f"{place}/*.tfrecord", storage_options=options)[["image"]]
    return di.read_parquet(f"{place}/*.parquet", storage_options=options)[["image"]]


def batches(kind: str, place: str, options: Options = None) -> Iterator[np.ndarray]:
    """Arrays of 64 pictures."""
    df = read(kind, place, options)
    if kind != "pixels":
        df = df.assign(image=df.image.img.decode("RGB").img.resize(SIDE, SIDE))
    return (batch["image"] for batch in df.img.iter_batches(batch_size=BATCH))


def statistics(kind: str, place: str, options: Options = None) -> pd.DataFrame:
    """The mean and deviation of each picture."""
    image = read(kind, place, options).image.img
    return dd.concat([image.mean(), image.std()], axis=1).compute()
