"""`di.stats` and `di.progress`: what was done is counted, on threads and on a cluster."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg import metrics
from daskimg.engine.gauge import gauge_of
from daskimg.engine.plan import Plan
from daskimg.testing import make_images
from tests.clusters import client, cluster
from tests.patience import until

__all__ = ["client", "cluster"]

GOOD, BROKEN = 21, 3
ROWS = GOOD + BROKEN + 1  # one is not there


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("some")
    return [*make_images(folder, GOOD, size=(20, 30), broken=BROKEN), str(folder / "gone.png")]


@pytest.fixture
def frame(paths):
    table = di.images(pd.Series(paths, name="image"), on_error="null").to_frame()
    return dd.from_pandas(table.assign(path=paths), npartitions=5)


def measured(frame):
    img = frame.image.img
    small = img.decode("RGB").img.resize(8, 8)
    return frame.assign(mean=img.mean(), sharp=img.sharpness(), small=small)


def judge(s, paths) -> None:
    """What is counted is what was done."""
    stages = s.to_frame()
    assert stages.images.to_dict() == {
        "fetch": ROWS,
        "decode": ROWS - 1,
        "convert": GOOD,
        "resize": GOOD,
        "measure": GOOD,
    }
    assert stages.errors[stages.errors > 0].to_dict() == {"fetch": 1, "decode": BROKEN}
    assert stages.bytes["fetch"] == sum(os.path.getsize(path) for path in paths[:-1])
    assert stages.bytes["decode"] >= GOOD * 20 * 30
    assert (stages.seconds[["fetch", "decode", "resize", "measure"]] > 0).all()
    assert (stages.seconds / stages.cores).dropna().round(6).nunique() == 1
    assert (s.kept, s.failed) == (GOOD, ROWS - GOOD)
    assert s.kept + s.failed == ROWS
    assert sum(s.causes.values()) == s.failed
    assert s.causes["not found"] == 1
    workers = s.to_frame(by="worker")
    assert workers.images.sum() == ROWS
    assert workers.errors.sum() == stages.errors.sum()
    assert workers.bytes.sum() == stages.bytes.sum()
    assert workers.peak_memory.max() == s.peak_memory > 10 * 2**20
    assert s.seconds > 0
    assert s.cpu > 0


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_stages_of_a_pass(frame, paths, scheduler):
    with di.stats() as s:
        measured(frame).compute(scheduler=scheduler)
    judge(s, paths)
    assert s.to_frame(by="worker").index.tolist() == ["client"]
    before = str(s)
    measured(frame).compute()
    assert str(s) == before  # outside nothing is measured


def test_pandas_is_measured_too(paths):
    with di.stats() as s:
        _ = di.images(pd.Series(paths), on_error="null").img.height
        assert s.to_frame().images.to_dict() == {"header": ROWS}  # within the block, so far
        assert s.kept >= GOOD
    assert s.failed >= 1


def test_what_a_reader_saw_fail(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 6, 5, 3), np.uint8))
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[: len(whole) - 100])
    df = di.read_numpy(tmp_path, on_error="null")
    takes = {
        "as it is": lambda: df.compute(),
        "resized": lambda: df.image.img.resize(3, 3).compute(),
        "a header": lambda: df.image.img.width.compute(),
        "a measure": lambda: df.image.img.mean().compute(),
        "written": lambda: df.img.write_parquet(tmp_path / "out"),
        "cells of Parquet": lambda: di.read_parquet(tmp_path / "out").compute(),
        "measured": lambda: di.read_parquet(tmp_path / "out").image.img.mean().compute(),
        "encoded": lambda: df.assign(image=df.image.img.encode("png")).img.write_parquet(
            tmp_path / "encoded"
        ),
        "bytes": lambda: di.read_parquet(tmp_path / "encoded").compute(),
        "decoded": lambda: di.read_parquet(tmp_path / "encoded").image.img.mean().compute(),
        "both": lambda: (
            (frame := di.read_parquet(tmp_path / "encoded"))
            .assign(mean=frame.image.img.mean(), wide=frame.image.img.width)
            .compute()
        ),
    }
    for name, take in takes.items():
        with di.stats() as s:
            take()
        assert (s.kept, s.failed, s.causes) == (2, 2, {"truncated": 2}), name


def test_a_summary_line(frame):
    with di.stats() as s:
        measured(frame).compute()
    *table, used, summary = str(s).splitlines()
    why = summary.removeprefix(f"{GOOD} kept, {ROWS - GOOD} failed: ").split(", ")
    assert "1 not found" in why
    assert sum(int(each.split(" ")[0]) for each in why) == ROWS - GOOD
    assert len(table) == 6
    assert "cores, peak" in used


def test_models_encoders_and_writers_are_stages(frame, tmp_path):
    def model(batch):
        if (batch["path"] == batch["path"][0]).any() and len(batch["path"]) == 1:
            raise KeyError("unknown")
        if len(batch["path"]) > 1:
            raise KeyError("too many")  # so that each row is tried alone
        return {"score": np.ones(len(batch["path"]))}

    meta = {"score": "float64"}
    scored = frame[["path"]].img.map_batches(model, meta=meta, on_error="null")
    with di.stats() as s:
        scored.compute(scheduler="sync")
    assert s.to_frame().loc["model", ["images", "errors"]].tolist() == [ROWS, ROWS]
    assert s.causes == {"map_batches failed": ROWS}
    with di.stats() as s:
        encoded = frame.image.img.resize(4, 4).img.encode("png")
        result = frame.assign(image=encoded).img.write_parquet(tmp_path / "out")
    stages = s.to_frame()
    assert stages.images[["encode", "write"]].tolist() == [GOOD, ROWS]
    assert stages.bytes["write"] == sum(os.path.getsize(path) for path in result.files)
    assert (s.kept, s.failed) == (result.written, result.failed)
    assert s.causes == result.reasons


def test_the_peak_of_memory_is_that_of_the_block():
    held = np.ones(100 * 2**20, np.uint8)  # before
    with di.stats() as s:
        assert s.peak_memory >= held.nbytes
        more = np.ones(900 * 2**20, np.uint8)
        del more
    assert s.peak_memory >= 1000 * 2**20
    with di.stats() as later:
        pass
    # the rest of the process may have grown meanwhile
    assert later.peak_memory < s.peak_memory - 300 * 2**20


def test_two_blocks_at_once(frame):
    with di.stats() as outer:
        frame.image.img.height.compute()
        with di.stats() as inner:
            frame.image.img.mean().compute()
    assert inner.to_frame().images["decode"] == outer.to_frame().images["decode"] == ROWS - 1
    assert "header" not in inner.to_frame().index
    assert outer.to_frame().images["header"] == ROWS


def test_wrong_uses():
    s = di.stats()
    assert s.to_frame().empty
    with pytest.raises(ValueError, match='"stage" or "worker"'):
        s.to_frame(by="day")
    with s:
        pass
    with pytest.raises(RuntimeError, match="again"):
        s.__enter__()
    assert str(s).splitlines()[-1] == "0 kept"


def test_nothing_is_timed_where_nobody_asks():
    root = Plan([]).root
    assert gauge_of(root) is None
    with di.stats():
        assert gauge_of(root) is not None


def test_the_workers_of_a_cluster(client, frame, paths):
    with di.stats() as s:
        measured(frame).compute()
    judge(s, paths)
    workers = s.to_frame(by="worker")
    assert {*client.scheduler_info()["workers"], "client"} == {*workers.index}
    assert workers.images["client"] == 0
    assert {*client.run(lambda: len(metrics._listeners)).values()} == {0}  # it is over


def test_the_dashboard_is_told(client, frame):
    def figures(dask_scheduler):
        return {key: n for key, n in dask_scheduler.cumulative_worker_metrics.items() if key[1:]}

    def blurred() -> float:
        found = client.run_on_scheduler(figures)
        return sum(n for key, n in found.items() if key[-2:] == ("daskimg-blur", "count"))

    frame.image.img.blur(1.0).compute()
    until(lambda: blurred() == GOOD, "they come with the next heartbeat")


# -- bars -----------------------------------------------------------------------------------------
def test_a_bar_on_threads(frame, capsys):
    with di.progress():
        frame.image.img.mean().compute(scheduler="threads")
    assert "100% Completed" in capsys.readouterr().err
    frame.image.img.mean().compute()
    assert capsys.readouterr().err == ""


def test_a_switch(frame, capsys):
    di.progress()
    di.progress()  # twice is once
    try:
        frame.image.img.mean().compute()
        assert capsys.readouterr().err.count("100% Completed") == 1
    finally:
        di.progress(False)
    frame.image.img.mean().compute()
    assert capsys.readouterr().err == ""


def wait_for(pixels, mark: Path):
    while not mark.exists():
        time.sleep(0.01)
    return pixels


class Screen:
    """Standard error that lets the work go on once a bar is seen."""

    def __init__(self, mark: Path) -> None:
        self.mark, self.text = mark, ""

    def write(self, text: str) -> None:
        self.text += text
        self.mark.touch()

    def flush(self) -> None:
        pass


def test_a_bar_on_a_cluster(client, frame, tmp_path, monkeypatch):
    screen = Screen(tmp_path / "seen")
    monkeypatch.setattr("sys.stderr", screen)
    with di.progress():
        waits = frame.image.img.apply(partial(wait_for, mark=screen.mark))
        waits.img.mean().compute()
    assert "% Completed" in screen.text
    assert "100% Completed" in screen.text.splitlines()[-1]
