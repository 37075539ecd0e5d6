"""``concurrency=n``: n at once and never more, wherever and however often it is computed."""

from __future__ import annotations

import os
import signal
import threading

import dask
import pandas as pd
import pytest
from distributed import Client

from daskimg.stage import run_stage
from tests.patience import PATIENCE, until
from tests.stage import work


def staged(folder, n=12, seconds=0.05, together=1, **kwargs):
    slow = work.Slow(folder, seconds, together)
    return run_stage(work.frame(n), slow, work.STAGED, label="slow", **kwargs)


@pytest.mark.long
def test_on_a_cluster(tmp_path):
    with work.spec(cpus=3, threads=2, gpus=0) as cluster, Client(cluster) as client:
        result = staged(tmp_path, 24, together=3, concurrency=3).compute()
        assert result["i"].tolist() == list(range(48))
        assert max(work.crowds(tmp_path)) == 3
        assert len(set(result["on"])) > 1

        two = tmp_path / "two"
        two.mkdir()
        frame = staged(two, 12, together=2, concurrency=(1, 2))
        futures = [client.compute(part) for part in frame.partitions]  # a graph each
        assert sum(len(part) for part in client.gather(futures)) == 24
        assert max(work.crowds(two)) == 2

        kept = staged(two, 12, together=2, concurrency=(1, 2)).persist()
        assert len(kept) == 24
        assert max(work.crowds(two)) == 2


@pytest.mark.long
def test_a_worker_is_killed(tmp_path):
    """Its tasks run again elsewhere, what it held is let go, and no more run than may."""
    with work.spec(cpus=3, threads=2, gpus=0) as cluster, Client(cluster) as client:
        frame = staged(tmp_path, 30, seconds=0.1, together=3, concurrency=3)
        future = client.compute(frame)
        pids = set(client.run(os.getpid).values())
        busy = first_at_work(tmp_path, pids)
        os.kill(busy, signal.SIGKILL)
        for path in tmp_path.glob(f"run-*-{busy}"):
            path.unlink()
        result = future.result(timeout=PATIENCE)
        expected = pd.concat([work.load(n) for n in range(30)])
        assert result["i"].tolist() == expected["i"].tolist()
        assert max(work.crowds(tmp_path)) == 3


@pytest.mark.long
def test_the_gpu_worker_is_killed(tmp_path):
    with work.spec(cpus=2) as cluster, Client(cluster) as client:
        future = client.compute(staged(tmp_path, 20, resources={"GPU": 1}))
        busy = first_at_work(tmp_path, set(client.run(os.getpid).values()))
        os.kill(busy, signal.SIGKILL)
        result = future.result(timeout=PATIENCE)  # its nanny starts it again
        assert result["i"].tolist() == list(range(40))
        assert set(result["on"]) == {"gpu0"}


def first_at_work(folder, pids) -> int:
    """The process that was first seen to run a task."""

    def at_work() -> set[int]:
        return {int(path.name.rpartition("-")[2]) for path in folder.glob("run-*")} & pids

    return until(at_work, "no task ran", every=0.01).pop()


def test_on_threads(tmp_path):
    with dask.config.set(scheduler="threads", num_workers=6):
        result = staged(tmp_path, 18, together=3, concurrency=3).compute()
    assert result["i"].tolist() == list(range(36))
    assert max(work.crowds(tmp_path)) == 3


def test_gpus_of_this_process_are_shared(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with dask.config.set(scheduler="threads", num_workers=6):
        result = staged(tmp_path, 12, together=2, resources={"GPU": 0.5}).compute()
    assert len(result) == 24
    assert max(work.crowds(tmp_path)) == 2


def test_a_failure_gives_its_place_back(tmp_path):
    lock, ran = threading.Lock(), []

    def fails(part):
        with lock:
            ran.append(part["i"].iloc[0])
        raise ValueError("no such model")

    with dask.config.set(scheduler="threads", num_workers=4):
        frame = run_stage(work.frame(4), fails, work.STAGED, concurrency=1)
        for _ in range(2):
            with pytest.raises(ValueError, match="no such model"):
                frame.compute()
    assert len(ran) >= 2
