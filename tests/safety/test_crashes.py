"""Pictures that take their worker along, with default settings: rows that failed, no more."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster, WorkerPlugin

import daskimg as di
from daskimg.guard import isolate
from daskimg.kernels import codec, headers
from tests.safety.crash import COMMAND, CRASHES
from tests.safety.damage import corpus, seeds

ROWS = 40
OPENERS = ((codec, "decode"), (codec, "draft"), (headers, "read_header"))
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
    pytest.mark.xdist_group("busy"),  # one at a time: processes that starve fail
]


class Hostile(WorkerPlugin):
    """Workers, and the children they start, whose decoder and header reader crash."""

    name = "hostile"

    def setup(self, worker) -> None:
        isolate.COMMAND = COMMAND
        for module, name in OPENERS:
            setattr(module, name, crashing(getattr(module, name)))


def crashing(function):
    def run(data, *args, **options):
        begin = data if isinstance(data, bytes | memoryview) else data.read()
        if CRASHES in bytes(begin):
            ctypes.string_at(0)  # SIGSEGV
        return function(data, *args, **options)

    return run


@pytest.fixture
def anew():
    """Workers of the test's own: Dask may lose the name of one that dies."""
    options = {"host": "127.0.0.1", "dashboard_address": None, "silence_logs": 50}
    with (
        LocalCluster(processes=True, n_workers=2, threads_per_worker=1, **options) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(Hostile())
        yield client


def pictures(folder: Path, *bad: int) -> str:
    for number in range(ROWS):
        pixels = np.full((4, 5, 3), 5 * number, np.uint8)
        mark = CRASHES if number in bad else b""
        (folder / f"{number:02d}.png").write_bytes(codec.encode(pixels, "png") + mark)
    return str(folder)


def judge(found: pd.DataFrame, *bad: int) -> None:
    assert found.index.tolist() == list(range(ROWS))
    assert found.why.notna().to_numpy().nonzero()[0].tolist() == [*bad]
    assert found.why[found.why.notna()].str.contains(r"the decoder crashed \(SIGSEGV\)").all()
    kept = [number for number in range(ROWS) if number not in bad]
    assert found["mean"].dropna().tolist() == [5.0 * number for number in kept]
    assert found["mean"].isna().sum() == len(bad)


EIGHT = pytest.param((0, 9, 11, 17, 22, 28, 33, 39), marks=pytest.mark.long, id="eight")


@pytest.mark.long
@pytest.mark.parametrize("bad", [pytest.param((7,), id="one"), EIGHT])
def test_neighbours_of_a_crash_are_unharmed(anew, tmp_path, bad):
    """More files than a task may lose workers, each in a partition of its own."""
    frame = di.read_images(pictures(tmp_path, *bad), on_error="null", files_per_partition=4)
    frame = frame.assign(mean=frame.image.img.mean(), why=frame.image.img.check())
    judge(frame.compute(), *bad)


@pytest.mark.long
def test_headers_too(anew, tmp_path):
    frame = di.read_images(pictures(tmp_path, 7), on_error="null", files_per_partition=4)
    height = frame.image.img.height.compute()
    assert height.isna().to_numpy().nonzero()[0].tolist() == [7]


@pytest.mark.long
def test_the_file_is_named(anew, tmp_path):
    frame = di.read_images(pictures(tmp_path, 7), files_per_partition=4)
    with pytest.raises(di.ImageError, match=r"crashed \(SIGSEGV\).*07\.png"):
        frame.image.img.mean().compute()


@pytest.mark.long
def test_writers_go_on(anew, tmp_path):
    (tmp_path / "in").mkdir()
    source = pictures(tmp_path / "in", 7)
    frame = di.read_images(source, on_error="null", files_per_partition=4)
    frame = frame.assign(image=frame.image.img.resize(2, 2))
    result = frame.img.write_parquet(tmp_path / "out", errors=tmp_path / "errors")
    assert (result.rows, result.failed) == (ROWS, 1)
    assert result.reasons == {"crashed the decoder": 1}
    again = di.read_parquet(tmp_path / "errors").compute()
    assert again.path.tolist() == [os.path.join(source, "07.png")]


@pytest.mark.long
def test_iterators_go_on(anew, tmp_path):
    frame = di.read_images(pictures(tmp_path, 7), on_error="null", files_per_partition=4)
    small = frame.assign(image=frame.image.img.resize(2, 2))
    batches = small.img.iter_batches(batch_size=10, on_null="drop")
    assert sum(len(batch["image"]) for batch in batches) == ROWS - 1


def test_a_signal_is_named():
    child = isolate._Child()
    os.kill(child.process.pid, signal.SIGKILL)
    with pytest.raises(ChildProcessError, match="SIGKILL"):
        child.ask({"call": "decode"}, b"", None)


def test_headers_in_children_are_those_of_here(tmp_path):
    for number, (extension, data) in enumerate([*seeds(), *corpus(200, seed=8)]):
        (tmp_path / f"{number:03d}.{extension}").write_bytes(data)
    large = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    (tmp_path / "large.tif").write_bytes(codec.encode(large, "tiff"))
    (tmp_path / "large.png").write_bytes(codec.encode(large, "png"))
    wanted = measured(di.read_images(tmp_path, on_error="null"))
    with dask.config.set({"daskimg.decode-processes": True}):
        found = measured(di.read_images(tmp_path, on_error="null"))
    pd.testing.assert_frame_equal(found, wanted)


def measured(frame):
    img = frame.image.img
    found = frame.assign(height=img.height, mode=img.mode, format=img.format).drop(columns="image")
    return found.compute(scheduler="sync")
