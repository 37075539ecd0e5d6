"""Ctrl-C, a failure, a loop that was left: no picture begins that nobody wants."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg import wanted
from daskimg.io.tfrecord import example as tf
from daskimg.testing import make_images
from daskimg.transport import fetch, retry
from tests.interrupted import WAYS, begun
from tests.io.tfrecord.test_tfrecord import example
from tests.io.webdataset.test_webdataset import tar_bytes
from tests.patience import PATIENCE, until
from tests.servers import web_server  # noqa: F401

ROOT = Path(__file__).parents[1]
APART = {"DataLoader"}  # imports torch in a process of its own


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    place = tmp_path_factory.mktemp("wanted")
    make_images(place, 60, size=(8, 8), formats=["png"])
    return str(place)


def run(what: str, folder: str, place: Path) -> None:
    """`what` in a process that may be interrupted, and its group with it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.interrupted", what, folder, str(place)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        start_new_session=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "done" in done.stdout


def test_ctrl_c_on_threads(folder, tmp_path):
    run(",".join(way for way in WAYS if way not in APART), folder, tmp_path)


@pytest.mark.long
def test_ctrl_c_on_a_cluster(folder, tmp_path):
    run("cluster", folder, tmp_path)


@pytest.mark.long
def test_ctrl_c_in_a_worker_of_a_data_loader(folder, tmp_path):
    run("DataLoader", folder, tmp_path)


@pytest.mark.long
def test_an_iterator_that_is_held_when_the_interpreter_ends(folder, tmp_path):
    run("held", folder, tmp_path)
    assert begun(tmp_path / "held") <= 8  # of 60


# -- what it stands on ----------------------------------------------------------------------------
def test_one_failure_ends_the_other_threads(folder):
    """Under "raise" nothing goes on once the error is there."""
    seen, out = [], threading.Event()

    def look(pixels):
        seen.append(1)
        if len(seen) > 2:
            out.wait(PATIENCE)
        return pixels

    def fails(part):
        if part.n.iloc[0]:
            while len(seen) < 3:
                pass
            raise ZeroDivisionError
        return part

    table = di.read_images(folder, files_per_partition=60)
    shown = table.assign(image=table.image.img.decode("RGB").img.apply(look, dtype="image[uint8]"))
    other = dd.from_pandas(pd.DataFrame({"n": [1]}), npartitions=1)
    other = other.map_partitions(fails, meta=other._meta)
    with dask.config.set(scheduler="threads", num_workers=2):
        with pytest.raises(ZeroDivisionError):
            dask.compute(shown, other)
        out.set()
    before = len(seen)
    assert before <= 4
    # the thread is free again for other work, and has begun no picture
    assert table.image.img.width.sum().compute(scheduler="threads", num_workers=1) == 480
    assert len(seen) == before


def test_a_run_ends_with_what_it_is_a_part_of():
    outer = wanted.Run()
    inner = outer.call(wanted.Run)
    assert inner.call(max, 1, 2) == 2
    outer.end()
    with pytest.raises(wanted.Unwanted):
        inner.call(max, 1, 2)
    wanted.check()  # nothing is known of this thread's work


def test_a_computation_inside_of_another_does_not_end_it(folder):
    df = di.read_images(folder, files_per_partition=30)

    def inside(part):
        with pytest.raises(ZeroDivisionError):
            df.map_partitions(lambda part: 1 / 0, meta=(None, "f8")).compute()
        return part.assign(width=part.image.img.width)  # a pass: it is wanted still

    made = df.map_partitions(inside, meta=df._meta.assign(width=df._meta.image.img.width))
    assert made.width.compute(scheduler="threads").tolist() == [8] * 60


def test_nobody_waits_to_try_again_what_is_not_wanted(monkeypatch):
    monkeypatch.setattr(retry, "FIRST_DELAY", 1e6)
    monkeypatch.setattr(retry, "LONGEST_DELAY", 1e6)
    one = wanted.Run()

    def fails():
        one.end()
        raise ConnectionError("reset")

    with pytest.raises(wanted.Unwanted):
        one.call(retry.retrying, fails, "s3://bucket/a.jpg", 3)


class Ends(wanted.Run):
    """A run that is over at the fourth look."""

    looks = 0

    def check(self):
        self.looks += 1
        if self.looks == 4:
            self.end()
        super().check()


def tar(folder):
    (folder / "a.tar").write_bytes(tar_bytes([(f"{n}.txt", b"a") for n in range(9)]))
    return di.read_webdataset(folder)


def tfrecords(folder):
    (folder / "a.tfrecord").write_bytes(b"".join(tf.frame_bytes(example(n=[n])) for n in range(9)))
    return di.read_tfrecords(folder)


def npz(folder):
    for n in range(9):
        np.savez(folder / f"{n}.npz", n=np.arange(2))
    return di.read_numpy(folder)


def parquet(folder):
    pd.DataFrame({"n": range(9)}).to_parquet(folder / "a.parquet", row_group_size=1)
    return di.read_parquet(folder)


@pytest.mark.parametrize("reader", [tar, tfrecords, npz, parquet])
def test_readers_of_shards_look_between_records(reader, tmp_path):
    df = reader(tmp_path)
    assert df.npartitions == 1
    with pytest.raises(wanted.Unwanted):
        Ends().call(lambda: df.compute(scheduler="sync"))
    assert len(df.compute(scheduler="sync")) == (18 if reader is npz else 9)


@pytest.mark.parametrize("what", [fetch.read_bytes, fetch.open_head])
def test_a_request_under_way_is_left(web_server, what):  # noqa: F811
    web_server.files["/a"] = b"content"
    web_server.waits["/a"] = answered = threading.Event()
    one = wanted.Run()

    def end():
        until(lambda: web_server.requests["/a"], "nobody asked")
        one.end()

    threading.Thread(target=end, daemon=True).start()
    with pytest.raises(wanted.Unwanted):
        one.call(what, f"{web_server.url}/a")
    assert not answered.is_set()
    answered.set()
    assert fetch.read_bytes(f"{web_server.url}/a") == b"content"


def test_it_is_no_failure(folder):
    """A step that is left because nobody wants it makes no failed row."""
    one = wanted.Run()

    def ends(pixels):
        one.end()
        wanted.check()

    cells = di.read_images(folder, on_error="null").image.compute(scheduler="sync")
    with pytest.raises(wanted.Unwanted):
        one.call(cells.img.decode("RGB").img.apply, ends)
