"""Decoders that crash or never end, where pictures are decoded in child processes."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg.guard import isolate
from daskimg.kernels import codec
from tests.safety.crash import COMMAND, CRASHES, HANGS
from tests.safety.damage import corpus, seeds

ON = {"daskimg.decode-processes": True}


def hostile(command=COMMAND) -> None:
    """Children of this process start as `command`."""
    isolate.COMMAND = command
    isolate._local = threading.local()


@pytest.fixture
def crashing():
    before = isolate.COMMAND
    hostile()
    yield
    hostile(before)
    gc.collect()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Ten pictures; the third crashes its decoder, the seventh takes for ever."""
    folder = tmp_path_factory.mktemp("hostile")
    for number in range(10):
        mark = {3: CRASHES, 7: HANGS}.get(number, b"")
        pixels = np.full((4, 5, 3), 20 * number, np.uint8)
        (folder / f"{number}.png").write_bytes(codec.encode(pixels, "png") + mark)
    return folder


def judge(frame) -> None:
    with dask.config.set({**ON, "daskimg.decode-timeout": "5s"}):
        img = frame.image.img
        frame = frame.assign(mean=img.mean(), why=img.check())
    found = frame.compute()
    assert len(found) == 10
    bad = found.why.dropna().tolist()
    assert bad[0].startswith("decode: ChildProcessError: the decoder crashed (SIGSEGV)")
    assert bad[1].startswith("decode: TimeoutError: decoding took longer than")
    assert found.path[found.why.notna()].str[-5:].tolist() == ["3.png", "7.png"]
    assert found["mean"].dropna().tolist() == [20.0 * n for n in range(10) if n not in (3, 7)]


def test_same_pixels_and_reasons_as_without():
    files = [data for _, data in [*seeds(), *corpus(300, seed=3)]]
    cells = pd.Series(files, dtype="image[encoded]").img.on_error("null")
    with dask.config.set({"daskimg.max-image-pixels": 1_000_000}):
        wanted = cells.img.decode(truncated="partial")
        small = cells.img.resize(5, 4)
        with dask.config.set(ON):
            found = cells.img.decode(truncated="partial")
            pd.testing.assert_series_equal(cells.img.resize(5, 4).isna(), small.isna())
    assert found.img.error.fillna("").tolist() == wanted.img.error.fillna("").tolist()
    for mine, its in zip(found.dropna(), wanted.dropna(), strict=True):
        np.testing.assert_array_equal(mine.to_numpy(), its.to_numpy())


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ValueError])
def test_who_did_not_wait_gets_no_answer_to_another_question(error, monkeypatch):
    first, second = (codec.encode(np.full((4, 5), n, np.uint8), "png") for n in (1, 2))
    assert isolate.decode(first).max() == 1

    def left():
        raise error

    with monkeypatch.context() as leaving:
        leaving.setattr(isolate.wanted, "check", left)
        with pytest.raises(error):
            isolate.decode(first)
    assert isolate.decode(second).max() == 2


@pytest.mark.usefixtures("crashing")
def test_a_crash_and_a_hang_cost_one_row_each(folder):
    judge(di.read_images(folder, on_error="null", files_per_partition=5))


@pytest.mark.usefixtures("crashing")
def test_the_file_is_named(folder):
    with dask.config.set(ON), pytest.raises(di.ImageError, match=r"crashed.*3\.png"):
        di.read_images(folder).image.img.mean().compute(scheduler="sync")


@pytest.mark.long
@pytest.mark.usefixtures("crashing")
def test_exif_of_what_pillow_opens_is_read_in_a_child_too(folder):
    with dask.config.set({**ON, "daskimg.decode-timeout": "2s"}):
        cells = di.read_images(folder, on_error="null").image
        told = cells.img.exif(["Model"]).compute(scheduler="sync").exif_error
    assert told[3].startswith("exif: ChildProcessError: the decoder crashed (SIGSEGV)")
    assert told[7].startswith("exif: TimeoutError")
    assert told.notna().sum() == 2


@pytest.mark.long
def test_workers_of_a_cluster_live_on(client, folder):
    before = client.run(lambda: __import__("os").getpid())
    client.run(hostile)
    try:
        judge(di.read_images(folder, on_error="null", files_per_partition=2))
    finally:
        client.run(hostile, isolate.COMMAND)
    assert client.run(lambda: __import__("os").getpid()) == before
