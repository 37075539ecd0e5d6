"""Shards on a web server that answers any range with the whole file."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

import daskimg as di

pytest_plugins = ["tests.servers"]

TABLE = pd.DataFrame({"cls": range(10)})


@pytest.fixture(params=[True, False], ids=["ranges", "no ranges"])
def server(request, web_server, one_thread):
    web_server.ranges = request.param
    return web_server


def test_rows_of_an_array(server):
    pixels, file = np.arange(160, dtype="uint8").reshape(10, 4, 4), io.BytesIO()
    np.save(file, pixels)
    server.files["/a.npy"] = file.getvalue()
    found = di.read_numpy(f"{server.url}/a.npy", rows_per_partition=3).image.compute()
    assert np.array_equal(found.img.to_numpy(), pixels)


@pytest.mark.parametrize("kind", ["tfrecord", "tar"])
def test_rows_of_records(server, tmp_path, kind):
    write, read, most = {
        "tfrecord": (TABLE.img.write_tfrecords, di.read_tfrecords, "records_per_partition"),
        "tar": (TABLE.img.write_webdataset, di.read_webdataset, "rows_per_partition"),
    }[kind]
    write(tmp_path / "out")
    server.files[f"/a.{kind}"] = (tmp_path / "out" / f"part-00000.{kind}").read_bytes()
    found = read(f"{server.url}/a.{kind}", **{most: 3}).compute()
    assert found.cls.tolist() == TABLE.cls.tolist()
    assert found.index.tolist() == TABLE.index.tolist()
