"""Shards on an object store: written with one PUT each, read by ranges."""

from __future__ import annotations

import uuid

import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg.testing import make_images

pytest_plugins = ["tests.servers"]


@pytest.fixture
def options(s3_server):
    return s3_server.storage_options


@pytest.fixture
def bucket(options):
    s3fs = pytest.importorskip("s3fs")
    name = f"bucket-{uuid.uuid4().hex}"
    s3fs.S3FileSystem(**options).mkdir(name)
    return f"s3://{name}"


@pytest.fixture
def pictures(tmp_path):
    make_images(tmp_path, 5, size=(8, 10))
    return di.read_images(tmp_path, files_per_partition=2)


def test_tfrecords(bucket, options, pictures):
    pictures.img.write_tfrecords(f"{bucket}/tf", storage_options=options)
    frame = di.read_tfrecords(f"{bucket}/tf", storage_options=options)
    assert frame.image.img.width.compute().tolist() == [10] * 5
    cut = di.read_tfrecords(f"{bucket}/tf/part-*", records_per_partition=1, storage_options=options)
    assert cut.npartitions == 5
    assert cut.path.compute().tolist() == pictures.path.compute().tolist()


def test_tar_shards(bucket, options, pictures):
    pictures.img.write_webdataset(f"{bucket}/wd", storage_options=options)
    wanted = ["jpg", "png"]
    for per in (None, 1):
        frame = di.read_webdataset(
            f"{bucket}/wd", extensions=wanted, rows_per_partition=per, storage_options=options
        )
        assert frame.jpg.img.width.compute().count() == 3
        assert frame.png.img.width.compute().count() == 2


def test_arrays_and_tables(bucket, options, pictures):
    small = pictures.assign(image=pictures.image.img.decode("RGB").img.resize(4, 4))
    small.img.write_numpy(f"{bucket}/np", storage_options=options)
    frame = di.read_numpy(f"{bucket}/np", rows_per_partition=2, storage_options=options)
    assert np.array_equal(
        frame.image.compute().img.to_numpy(), small.image.compute().img.to_numpy()
    )
    pictures[["path"]].img.write_csv(f"{bucket}/paths.csv", storage_options=options)
    table = pd.read_csv(f"{bucket}/paths.csv", storage_options=options)
    assert table.path.tolist() == pictures.path.compute().tolist()


def test_secrets_stay_hidden(bucket, options, pictures):
    pictures.img.write_tfrecords(f"{bucket}/tf", storage_options=options)
    frame = di.read_tfrecords(f"{bucket}/tf", storage_options=options)
    shown = repr(frame) + repr(frame.expr) + repr([node.operands for node in frame.expr.walk()])
    assert options["secret"] not in shown
