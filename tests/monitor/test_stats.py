"""`di.stats`: what was done is counted, on threads, in processes and on a cluster."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import ClassVar

import dask.dataframe as dd
import fsspec
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from fsspec.implementations.memory import MemoryFileSystem

import daskimg as di
from daskimg import metrics
from daskimg.engine import onepass
from daskimg.engine.gauge import gauge_of
from daskimg.engine.plan import Plan
from daskimg.engine.program import Program, Step
from daskimg.io.commit.target import Target
from daskimg.monitor.tally import Sums
from daskimg.monitor.worker import Teller
from daskimg.testing import make_images
from tests.patience import until

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
    assert s.kept + s.failed + s.missing == ROWS
    assert stages.bytes_in["decode"] == stages.bytes["fetch"]
    assert stages.megapixels["decode"] == pytest.approx(GOOD * 20 * 30 / 1e6)
    assert stages.megapixels["resize"] == stages.megapixels["decode"]
    shares = stages[["busy", "starved", "blocked"]]
    assert shares.stack().between(0, 1).all()
    assert (shares.sum(axis=1) < 1.001).all()
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
    *table, used, limit, summary = str(s).splitlines()
    why = summary.removeprefix(f"{GOOD} kept, {ROWS - GOOD} failed: ").split(", ")
    assert "1 not found" in why
    assert sum(int(each.split(" ")[0]) for each in why) == ROWS - GOOD
    assert len(table) == 6
    assert "cores, peak" in used
    assert "limit" in limit


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


def test_a_plan_serves_all_partitions_with_and_without_a_gauge(frame, monkeypatch, one_thread):
    made = []

    class Counted(Plan):
        def __init__(self, programs):
            made.append(programs)
            super().__init__(programs)

    monkeypatch.setattr(onepass, "Plan", Counted)
    onepass._plans().clear()  # those of other tests of the same frame
    means = frame.image.img.mean().optimize()
    with di.stats() as s:
        means.compute()
        told = s.to_frame().images
        means.compute()
    assert len(made) == 1
    again = s.to_frame().images
    assert (again["decode"], again["measure"]) == (2 * told["decode"], 2 * told["measure"])
    means.compute()  # the kernels are the plan's own again
    assert s.to_frame().images.equals(again)


def test_who_looks_late_hears_nothing_more(paths):
    """A pass ends between the moment that somebody sees it under way and the one that he asks."""
    cells = di.images(pd.Series(paths[:3])).array
    heard: list[float] = []
    stop = metrics.listen(
        lambda report, by: heard.append(report.get(("rows of fetch", "passed"), 0))
    )
    try:
        root = Plan([Program((Step("fetch", (None, 0, None)),), "object")]).root
        gauge = gauge_of(root, 3)
        rows = gauge.over(cells)
        next(rows), next(rows)
        gauge.flush()
        assert sum(heard) == 1
        next(rows)
        gauge.tell(cells, {})
        gauge.flush()
    finally:
        stop()
    assert sum(heard) == 3


def test_the_workers_of_a_cluster(client, frame, paths):
    with di.stats() as s:
        measured(frame).compute()
    judge(s, paths)
    workers = s.to_frame(by="worker")
    assert {*client.scheduler_info()["workers"], "client"} == {*workers.index}
    assert workers.images["client"] == 0
    # one tells the scheduler, for its page
    assert {*client.run(lambda: len(metrics._listeners)).values()} == {1}


def test_blocks_on_a_cluster_share_the_plugin_of_a_worker(client, frame):
    measured(frame).compute()
    before = client.run(_plugins)
    with di.stats() as outer:
        with di.stats() as inner:
            measured(frame).compute()
            assert {*client.run(_blocks).values()} == {2}
            assert client.run(_plugins) == before
        assert {*client.run(_blocks).values()} == {1}
    assert {*client.run(_blocks).values()} == {0}
    assert 0 < inner.cpu <= outer.cpu
    with di.stats() as s:
        client.run(lambda dask_worker: dask_worker.plugins[Teller.name].usages.clear())
    # who came within the block has no mark of its beginning: all that it took is told
    assert set(client.scheduler_info()["workers"]) <= {*s.to_frame(by="worker").index}


def _plugins(dask_worker) -> list[str]:
    return sorted(dask_worker.plugins)


def _blocks(dask_worker) -> int:
    return len(dask_worker.plugins[Teller.name].usages)


def test_the_dashboard_is_told(client, frame):
    def figures(dask_scheduler):
        return {key: n for key, n in dask_scheduler.cumulative_worker_metrics.items() if key[1:]}

    def blurred() -> float:
        found = client.run_on_scheduler(figures)
        return sum(n for key, n in found.items() if key[-2:] == ("daskimg-blur", "count"))

    frame.image.img.blur(1.0).compute()
    until(lambda: blurred() == GOOD, "they come with the next heartbeat")


# -- which stage was the limit --------------------------------------------------------------------
class SlowStore(MemoryFileSystem):
    """Answers late."""

    protocol = "slowstore"
    store: ClassVar = {}
    pseudo_dirs: ClassVar = [""]

    def cat_file(self, path, **how):
        time.sleep(0.1)
        return super().cat_file(path, **how)

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("slowstore:", "memory:"))


def slow_store(folder, paths, monkeypatch):
    fsspec.register_implementation("slowstore", SlowStore, clobber=True)
    for n, path in enumerate(paths):
        SlowStore().pipe_file(f"/pics/{n}.png", Path(path).read_bytes())
    df = di.read_images("slowstore://pics")
    return lambda: df.image.img.resize(8, 8).img.mean().compute()


def slow_decode(folder, paths, monkeypatch):
    make_images(folder / "large", 6, size=(900, 1200))
    df = di.read_images(folder / "large")
    return lambda: df.image.img.mean().compute()


def slow_model(folder, paths, monkeypatch):
    def model(batch):
        time.sleep(0.1)
        return {"n": np.zeros(len(batch["image"]))}

    df = di.images(pd.Series(paths, name="image")).to_frame()
    meta = {"n": "float64"}
    df = dd.from_pandas(df, npartitions=4)
    return lambda: df.img.map_batches(model, batch_size=4, meta=meta).compute()


def slow_function(folder, paths, monkeypatch):
    def function(pixels):
        time.sleep(0.1)
        return pixels

    df = di.read_images([*map(str, paths)], mode="RGB")
    return lambda: df.image.img.apply(function).compute()


def slow_writer(folder, paths, monkeypatch):
    put = Target.put

    def late(self, *args, **how):
        time.sleep(0.1)
        return put(self, *args, **how)

    monkeypatch.setattr(Target, "put", late)
    df = di.read_images([*map(str, paths)], files_per_partition=7)
    return lambda: df.img.write_parquet(folder / "out")


def slow_caller(folder, paths, monkeypatch):
    df = di.read_images([*map(str, paths)], size=(8, 8))

    def take():
        for _ in df.img.iter_batches(4):
            time.sleep(0.2)

    return take


CASES = {
    "fetch": slow_store,
    "decode": slow_decode,
    "model": slow_model,
    "apply": slow_function,
    "write": slow_writer,
    "the caller": slow_caller,
}


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("limit", CASES)
def test_the_limit_has_a_name(tmp_path, paths, monkeypatch, limit):
    run = CASES[limit](tmp_path, paths[:GOOD], monkeypatch)
    with di.stats() as s:
        run()
    assert s.limit == limit, str(s)
    sentence = str(s).splitlines()[-2]
    assert "was the limit" in sentence
    assert "What helps: " in sentence
    stages = s.to_frame()
    if limit != "the caller":
        assert stages.busy.idxmax() == limit
        later = stages.index[stages.index.get_loc(limit) + 1 :]
        assert (stages.starved[later] >= stages.blocked[later]).all()
        before = stages.index[: stages.index.get_loc(limit)]
        assert (stages.blocked[before] >= stages.starved[before]).all()


def test_the_time_of_a_listing(tmp_path):
    make_images(tmp_path, 3)
    with di.stats() as s:
        di.read_images(tmp_path)
    assert s.to_frame().loc["list", ["images", "errors"]].tolist() == [3, 0]


def test_missing_pictures_are_counted(paths):
    table = di.images(pd.Series([*paths, None, None]), on_error="null")
    with di.stats() as s:
        table.img.mean()
    assert (s.kept, s.failed, s.missing) == (GOOD, ROWS - GOOD, 2)
    assert str(s).endswith("2 missing")


def test_a_plot(frame):
    pytest.importorskip("matplotlib").use("agg")
    with di.stats() as s:
        measured(frame).compute()
    ax = s.plot()
    assert [label.get_text() for label in ax.get_yticklabels()] == s.to_frame().index.tolist()
    assert "limit" in ax.get_title()


# -- processes ------------------------------------------------------------------------------------
@pytest.mark.long
def test_child_processes_are_measured(frame, paths):
    with di.stats() as s:
        measured(frame).compute(scheduler="processes", num_workers=2)
    assert s.to_frame().images["decode"] == ROWS - 1
    assert (s.kept, s.failed) == (GOOD, ROWS - GOOD)
    workers = s.to_frame(by="worker")
    assert workers.images["client"] == 0
    assert workers.images.sum() == ROWS
    assert (workers.peak_memory[workers.images > 0] > 10 * 2**20).all()
    assert "DASKIMG_MONITOR" not in os.environ


def test_what_a_dead_worker_did_counts_once():
    """What it did is done again elsewhere."""
    tally = Sums()
    done = [["decode", "images", 3], ["rows of decode", "kept", 3]]
    event = {"worker": "a", "task": "t", "thread": 1, "report": done}
    tally.hear(event)
    tally.hear({**event, "task": "u"})
    tally.hear({"gone": "a"})
    tally.hear({**event, "worker": "b", "report": [["decode", "images", 1]]})
    tally.hear({**event, "worker": "b", "report": [["decode", "images", 2]]})
    assert tally.total()["decode", "images"] == 6
    assert {p: n["decode", "images"] for p, n in tally.by_process().items()} == {"a": 3, "b": 3}


def late(folder, pixels):
    """A process that has done a partition of six, and one more, waits for the word to go on."""
    with open(folder / str(os.getpid()), "a") as file:
        file.write("x")
        n = file.tell()
    while n > 7 and not (folder / "go").exists():
        time.sleep(0.01)
    return pixels


def begun(s, workers) -> bool:
    """Whether all workers have told of pictures."""
    done = s.to_frame(by="worker")
    return all(done.images.get(worker, 0) > 2 for worker in workers)


@pytest.mark.long
def test_a_worker_that_is_killed_counts_once(paths, tmp_path):
    df = di.read_images([*map(str, paths[:-1])], files_per_partition=6, on_error="null")
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        processes = client.run(os.getpid)
        with di.stats() as s:
            result = client.compute(df.image.img.apply(partial(late, tmp_path)).img.mean())
            until(lambda: begun(s, processes), "both are at work")
            os.kill(next(iter(processes.values())), signal.SIGKILL)
            (tmp_path / "go").touch()
            assert len(result.result()) == ROWS - 1
    assert s.to_frame().images["decode"] == ROWS - 1
    assert (s.kept, s.failed, s.missing) == (GOOD, BROKEN, 0)
