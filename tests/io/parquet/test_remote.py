"""Parquet in a store that fails now and then, and whose URLs hold secrets."""

from __future__ import annotations

import traceback

import dask
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from tests.servers import web_server

__all__ = ["web_server"]

TABLE = pd.DataFrame({"a": range(1000), "b": np.random.default_rng(0).random(1000)})


@pytest.fixture
def url(web_server, tmp_path, one_thread):
    """A file of ten row groups behind a signed URL."""
    TABLE.to_parquet(tmp_path / "x.parquet", row_group_size=100)
    web_server.files["/x.parquet"] = (tmp_path / "x.parquet").read_bytes()
    return f"{web_server.url}/x.parquet?X-Amz-Signature=9f3e"


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_a_store_that_is_asked_again(web_server, url, failures):
    web_server.failures["/x.parquet"] = failures
    frame = di.read_parquet(url)
    web_server.failures["/x.parquet"] = failures
    pd.testing.assert_frame_equal(frame.compute(), TABLE)


def test_what_the_store_says_in_the_end_shows_no_secret(web_server, url):
    frame = di.read_parquet(url)
    for status, text in ((503, "503"), (404, "No such file")):
        web_server.status["/x.parquet"] = status
        for ask in (lambda: di.read_parquet(url), frame.compute):
            with (
                dask.config.set({"daskimg.retries": 1}),
                pytest.raises(OSError, match=text) as told,
            ):
                ask()
            assert "9f3e" not in "".join(traceback.format_exception_only(told.value))
            assert isinstance(told.value, FileNotFoundError) == (status == 404)


def test_columns_are_asked_for_without_what_lies_between(web_server, url):
    frame = di.read_parquet(url)[["a"]]
    web_server.sent = 0
    assert frame.a.compute().tolist() == TABLE.a.tolist()
    assert web_server.sent < len(web_server.files["/x.parquet"]) + 2**16
