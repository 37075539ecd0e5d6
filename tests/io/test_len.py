"""How many rows a reader has: told by what it looked at when it was built, where it did."""

from __future__ import annotations

import dask
import numpy as np
import pytest

import daskimg as di
from daskimg.testing import make_images

ROWS = 7


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    root = tmp_path_factory.mktemp("rows")
    make_images(root / "pictures", ROWS, size=(8, 10))
    df = di.read_images(root / "pictures", files_per_partition=3)
    df.img.write_parquet(root / "parquet")
    df.img.write_tfrecords(root / "records")
    df.img.write_webdataset(root / "tars")
    np.save(root / "a.npy", np.zeros((ROWS, 8, 10, 3), "uint8"))
    return {
        "images": df,
        "parquet": di.read_parquet(root / "parquet"),
        "numpy": di.read_numpy(root / "a.npy", rows_per_partition=2),
        "array": di.from_array(np.zeros((ROWS, 8, 10, 3), "uint8")),
        "records, counted": di.read_tfrecords(root / "records", records_per_partition=2),
        "tars, counted": di.read_webdataset(root / "tars", rows_per_partition=2),
        "records": di.read_tfrecords(root / "records"),
        "filtered": di.read_parquet(root / "parquet", filters=[("path", ">", "")]),
    }


@pytest.mark.parametrize(
    "name", ["images", "parquet", "numpy", "array", "records, counted", "tars, counted"]
)
def test_counting_runs_no_reader(readers, name):
    df = readers[name]
    ran = []

    def watched(graph, keys, **options):
        ran.extend(str(key) for key in graph)
        return dask.get(graph, keys, **options)

    with dask.config.set(scheduler=watched):
        column = next(c for c, d in df.dtypes.items() if isinstance(d, di.ImageDtype))
        assert len(df) == len(df[column].img.mean()) == len(df.assign(x=1)) == ROWS
    assert len(ran) == 3  # a number each
    parts = [len(df.partitions[part]) for part in range(df.npartitions)]
    assert parts == df.map_partitions(len).compute().tolist()


@pytest.mark.parametrize("name", ["records", "filtered"])
def test_others_are_counted_by_reading(readers, name):
    assert len(readers[name]) == ROWS
