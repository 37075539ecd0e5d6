"""What is under way is bounded, and ends when the iterator does."""

from __future__ import annotations

import sys
import threading
import time

import dask
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg import metrics
from daskimg.stream import window
from daskimg.testing import make_images
from tests.patience import PATIENCE, until
from tests.stream.conftest import ROWS, gathered, uniform

BEGUN = []


def noted(part):
    BEGUN.append(part.n.iloc[0])
    return part


LET_GO = threading.Event()


def held(part):
    """The first partition; the others are under way until they are let go."""
    assert part.n.iloc[0] == 0 or LET_GO.wait(PATIENCE)
    return part


def own_threads():
    names = ("daskimg-stream", "daskimg-fetch")  # a model's may live on
    return [t for t in threading.enumerate() if t.name.startswith(names)]


def test_closing_leaves_no_thread(frame):
    LET_GO.clear()
    with dask.config.set(scheduler="threads"):  # whatever clusters other tests left
        batches = frame.map_partitions(held, meta=frame._meta).img.iter_batches(2)
        next(batches)
        assert own_threads()
        LET_GO.set()
        batches.close()
    assert own_threads() == []


def test_leaving_a_loop_ends_the_run(frame):
    for _ in frame.img.iter_batches(2):
        break
    assert own_threads() == []


def test_an_error_leaves_no_thread(frame):
    def fails(part):
        if part.n.iloc[0] > 10:
            raise ZeroDivisionError("a user's mistake")
        return part

    batches = frame.map_partitions(fails, meta=frame._meta).img.iter_batches(7)
    assert next(batches)["n"].tolist() == list(range(7))
    with pytest.raises(ZeroDivisionError):
        list(batches)
    assert own_threads() == []


def test_closing_leaves_no_task_on_a_cluster(frame, client):
    def slow(part):  # but for the first: the others are under way when that is there
        time.sleep(0.05 if 0 in part["n"].tolist() else 2)
        return part

    batches = frame.map_partitions(slow, meta=frame._meta).img.iter_batches(3)
    next(batches)
    assert client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) > 0
    batches.close()
    until(
        lambda: not client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)),
        "tasks are left on the scheduler",
    )
    assert own_threads() == []


def test_two_iterators_of_one_frame_on_a_cluster(frame, client):
    first, second = frame.img.iter_batches(5), frame.img.iter_batches(8)
    next(first), next(second)
    first.close()
    assert sum(len(batch["n"]) for batch in second) == ROWS - 8


def test_partitions_under_way_are_bounded(folder):
    BEGUN.clear()
    df = uniform(folder, 2)
    df = df.map_partitions(noted, meta=df._meta)
    most = 0
    with dask.config.set(num_workers=2):
        for done, _ in enumerate(df.img.iter_batches(2, prefetch_partitions=1), 1):
            time.sleep(0.01)
            most = max(most, len(BEGUN) - done)
    assert len(BEGUN) == ROWS // 2
    assert most <= 3


def test_large_pictures_go_in_slices(folder, monkeypatch):
    df = uniform(folder, 100)
    monkeypatch.setattr(window, "BYTES", 6 * 5 * 3 * 4)  # four pictures
    metrics.reset()
    with dask.config.set(num_workers=2):
        batches = df.img.iter_batches(2, prefetch_partitions=0)
        next(batches)
        time.sleep(0.3)
        # two slices for the threads; the first is handed out before another is begun
        assert metrics.snapshot()["decode"] <= 8
        batches.close()
    assert len(list(df.img.iter_batches(2))) == ROWS // 2


def test_slices_learn_the_size_of_pictures():
    pixels = np.zeros((3, 500, 500), "uint8")
    part = pd.DataFrame({"image": pd.Series(list(pixels), dtype="image[pixels]")})
    size = window._Size(part.iloc[:0], batch=1, most=None)
    assert size.rows() == window.FIRST
    size.saw(part)
    assert 60 <= size.rows() <= 68
    assert window._Size(part.iloc[:0], batch=1, most=5).rows() == 5


def test_slices_hold_whole_batches(frame):
    size = window._Size(frame._meta, batch=10_000, most=None)
    assert size.rows() % 10_000 == 0


KNOWN = pd.DataFrame({"image": pd.Series([], dtype="image[uint8, 224x224x3]")})


def handed_out(batch, workers, rows, weight):
    size, found = window._Size(KNOWN, batch, None, workers, rows, weight), []
    while sum(found) < rows:
        found.append(min(size.rows(), rows - sum(found)))
        size.took(found[-1])
    return found


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("weight", [0.0, 20_000, 4_400_000], ids=["unknown", "small", "large"])
@pytest.mark.parametrize("rows", [1, 23, 64, 1000])
@pytest.mark.parametrize("workers", [2, 16])
@pytest.mark.parametrize("batch", [1, 64, 100])
def test_the_last_rows_are_for_all_threads(batch, workers, rows, weight):
    found = handed_out(batch, workers, rows, weight)
    assert sum(found) == rows
    left = rows
    for n in found:
        small = window.SMALL // weight if weight else 1
        assert n <= max(-(-left // (2 * workers)), small)
        assert n * weight <= max(window.FILES, weight)
        left -= n


def test_few_large_pictures_are_many_pieces():
    assert max(handed_out(64, 2, 23, 4_400_000)) == 1
    assert max(handed_out(64, 2, 1000, 20_000)) == 64


@pytest.mark.parametrize("workers", [0, 1])
def test_one_thread_has_its_pieces_whole(workers):
    assert handed_out(64, workers, 128, 20_000) == [64, 64]


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces of so many rows, whatever pictures weigh."""

    def cut(rows):
        monkeypatch.setattr(window._Size, "rows", lambda size: size._even(rows))

    return cut


def memory_of(pixels):
    return pixels if pixels.base is None else memory_of(pixels.base)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("rows", [1, 3, 5])
def test_pieces_of_a_batch_are_made_in_one_array(frame, answer, small_pieces, threads, rows):
    small_pieces(rows)
    scheduler = "threads" if threads > 1 else "sync"
    with dask.config.set(num_workers=threads, scheduler=scheduler):
        batches = list(frame.img.iter_batches(16))
    assert [memory_of(batch["image"]).nbytes for batch in batches] == [1440, 1440, 720]
    assert (gathered(batches) == answer).all()
    assert gathered(batches, "n").tolist() == list(range(ROWS))


@pytest.mark.parametrize("batch", [5, 16])
def test_pieces_of_two_columns_are_made_apart(frame, answer, small_pieces, batch):
    small_pieces(3)
    both = frame.assign(other=frame.image.img.flip(), again=frame.image)
    batches = list(both.img.iter_batches(batch))
    for name in ("image", "again"):
        assert (gathered(batches, name) == answer).all()
    assert (gathered(batches, "other") == answer[:, :, ::-1]).all()
    memory = {id(memory_of(batch[name])) for batch in batches for name in ("image", "other")}
    assert len(memory) == 2 * len(batches)


def test_pieces_that_lose_rows_are_put_together(folder, small_pieces):
    small_pieces(4)
    frame = uniform(folder)
    frame = frame[frame.image.img.mean() > 100]
    whole = frame.compute(scheduler="sync")
    assert 5 < len(whole) < ROWS
    batches = list(frame.img.iter_batches(6))
    assert {len(batch["n"]) for batch in batches[:-1]} == {6}
    assert gathered(batches, "n").tolist() == whole["n"].tolist()
    assert (gathered(batches) == whole["image"].img.to_numpy()).all()


@pytest.mark.parametrize("on_null", ["fill", "drop"])
def test_a_null_among_pieces_made_in_one_array(tmp_path, small_pieces, on_null):
    make_images(tmp_path, 12, size=(20, 24))
    bad = sorted(tmp_path.iterdir())[5]
    bad.write_bytes(b"no picture")
    small_pieces(2)
    df = di.read_images(tmp_path, on_error="null")
    df = df.assign(image=df.image.img.decode("RGB").img.resize(6, 5))
    whole = df.image.compute(scheduler="sync").img
    batches = list(df.img.iter_batches(8, on_null=on_null))
    expected = whole.to_numpy(na_value=0)
    if on_null == "drop":
        expected = np.delete(expected, 5, axis=0)
    assert (gathered(batches) == expected).all()
    assert [len(batch["path"]) for batch in batches] == [8, len(expected) - 8]


def test_shuffled_rows_are_not_held_together(frame, small_pieces):
    small_pieces(4)
    work = window.work_of(frame)
    with dask.config.set(scheduler="sync"):
        found = list(window.pieces(work, window.runner(), batch=20, whole=False))
    pixels = [piece.arrays["image"].data.values for piece in found]
    assert len(pixels) == 10
    assert all(memory_of(each).nbytes == each.nbytes for each in pixels)


def test_files_of_a_listing_have_a_weight(tmp_path):
    for n in range(5):
        (tmp_path / f"{n}.jpg").write_bytes(bytes(1000 * (n + 1)))
    df = di.read_images(tmp_path, files_per_partition=2)
    work = window.work_of(df.assign(image=df.image.img.resize(8, 8))[["image"]])
    assert (work.total, work.weight) == (5, 3000)
    assert window.work_of(df.partitions[2]).weight == 5000


@pytest.mark.parametrize("size", [1, 7, 40])
def test_measures_of_small_partitions_are_made_together(folder, size):
    df = di.read_images(folder, files_per_partition=size)
    table = df.assign(mean=df.image.img.mean(), width=df.image.img.width)[["mean", "width"]]
    expected = table.compute(scheduler="sync")
    with dask.config.set(scheduler="sync"):
        found = list(window.pieces(window.work_of(table), window.runner(), batch=ROWS))
    assert [len(piece) for piece in found] == [ROWS]
    batches = list(table.img.iter_batches(16))
    assert [len(batch["mean"]) for batch in batches] == [16, 16, 8]
    assert gathered(batches, "mean").tolist() == expected["mean"].tolist()
    assert gathered(batches, "width").tolist() == expected["width"].tolist()


def test_measures_of_large_partitions_are_made_where_they_are_read(folder, monkeypatch):
    monkeypatch.setattr(window, "MERGED", 7)
    df = di.read_images(folder, files_per_partition=7)
    work = window.work_of(df.assign(mean=df.image.img.mean())[["mean"]])
    assert work.rows is None
    assert len(work.sources) == df.npartitions


def test_switch_interval_is_lowered_and_restored(frame):
    before = sys.getswitchinterval()
    outer = frame.img.iter_batches(4)
    next(outer)
    assert sys.getswitchinterval() == pytest.approx(0.0005)
    for _ in frame.img.iter_batches(16):
        assert sys.getswitchinterval() == pytest.approx(0.0005)
    assert sys.getswitchinterval() == pytest.approx(0.0005)
    outer.close()
    assert sys.getswitchinterval() == before


def test_many_threads_ask_for_the_interpreter_less_often(frame):
    before = sys.getswitchinterval()
    with dask.config.set(scheduler="threads", num_workers=32):
        rows = frame.img.iter_batches(4)
        next(rows)
        assert 0.0005 < sys.getswitchinterval() <= before
        rows.close()
    assert sys.getswitchinterval() == before


def test_nothing_is_read_before_the_first_batch(frame):
    metrics.reset()
    frame.img.iter_batches(4)
    assert metrics.snapshot() == {}
    assert own_threads() == []
