"""Ctrl-C, a failure, a loop that was left: no picture begins that nobody wants."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import dask
import dask.dataframe as dd
import pandas as pd
import pytest

import daskimg as di
from daskimg import retry, wanted
from daskimg.testing import make_images
from tests.interrupted import WAYS, begun
from tests.patience import PATIENCE

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


def test_ctrl_c_on_a_cluster(folder, tmp_path):
    run("cluster", folder, tmp_path)


def test_ctrl_c_in_a_worker_of_a_data_loader(folder, tmp_path):
    run("DataLoader", folder, tmp_path)


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


def test_it_is_no_failure(folder):
    """A step that is left because nobody wants it makes no failed row."""
    one = wanted.Run()

    def ends(pixels):
        one.end()
        wanted.check()

    cells = di.read_images(folder, on_error="null").image.compute(scheduler="sync")
    with pytest.raises(wanted.Unwanted):
        one.call(cells.img.decode("RGB").img.apply, ends)
