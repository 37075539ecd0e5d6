"""Clusters: our own on loopback, and one that somebody started from the command line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import dask
import psutil
import pytest
from distributed import Client

from daskimg import cluster as clusters
from daskimg.cluster import check_cluster, local, start_cluster
from daskimg.stage import call, run_stage
from tests.patience import PATIENCE, until
from tests.stage import work

ROOT = Path(__file__).parents[2]


def on_gpu(frame):
    return run_stage(frame, work.model, work.STAGED, resources={"GPU": 1}, label="model")


def test_start_check_close():
    with start_cluster(2, 1, gpus=0, memory_limit="1GiB") as client:
        assert set(work.frame(6).compute()["by"]) <= {"cpu-0", "cpu-1"}
        pids = {*client.run(os.getpid).values(), os.getpid()}
        listening = [
            connection.laddr.ip
            for pid in pids
            for connection in psutil.Process(pid).net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert set(listening) == {"127.0.0.1"}

        found = check_cluster()
        assert found.ok
        assert found.problems == []
        assert list(found.versions.index[:2]) == ["client", "scheduler"]
        assert found.versions.notna().all(axis=None)
        assert (found.workers["memory"] == 2**30).all()
        assert not found.plugin
        assert "placement plugin not registered" in repr(found)
        assert set(found.transport) == {"obstore"}
        assert "S3 is read by obstore" in repr(found)
        run_stage(work.frame(2), work.model, work.STAGED, concurrency=1).compute()
        assert "placement plugin registered" in repr(check_cluster(client))
    assert client.status == "closed"
    assert client.cluster.status.name == "closed"
    assert not [pid for pid in pids - {os.getpid()} if psutil.pid_exists(pid)]


@pytest.mark.long
def test_what_processes_tell_one_another_can_be_encrypted():
    pytest.importorskip("cryptography")
    with start_cluster(1, 1, gpus=0, memory_limit="1GiB", security=True) as client:
        assert client.scheduler.address.startswith("tls://127.0.0.1:")
        assert all(each.startswith("tls://") for each in client.scheduler_info()["workers"])
        assert set(work.frame(2).compute()["by"]) == {"cpu-0"}
        with pytest.raises((OSError, TypeError)):  # nobody gets in without the certificates
            Client(client.scheduler.address, timeout=5, set_as_default=False)


def test_taken_dashboard_port():
    with socket.socket() as taken:
        with suppress(OSError):  # someone else has it
            taken.bind(("127.0.0.1", local.DASHBOARD))
        assert local._dashboard_port() == 0


@pytest.mark.long
def test_gpu_workers_by_number(monkeypatch):
    """A GPU that is only said to be there: what its worker is told."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setattr(local, "_gpu_options", lambda device: {})
    with start_cluster(1, 1, memory_limit="1GiB") as client:
        result = on_gpu(work.frame(4)).compute()
        assert set(result["on"]) == {"gpu-0"}
        assert set(result["by"]) == {"cpu-0"}
        seen = client.run(lambda: os.environ.get("CUDA_VISIBLE_DEVICES"))
        offered = {w["name"]: a for a, w in client.scheduler_info()["workers"].items()}
        assert seen[offered["gpu-0"]] == "3"
        assert check_cluster().workers.loc[offered["gpu-0"], "resources"] == {"GPU": 1}


@pytest.mark.parametrize(
    "said, gpus",
    [("", []), ("-1", []), ("0,2", ["0", "2"]), ("1,-1,2", ["1"]), ("GPU-ab", ["GPU-ab"])],
)
def test_visible_gpus(monkeypatch, said, gpus):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", said)
    assert call.visible_gpus() == gpus


@pytest.mark.parametrize(
    "wrong",
    [{"n_workers": 0}, {"threads_per_worker": -1}, {"gpus": -1}, {"gpus": 9}, {"gpus": "2"}],
)
def test_wrong_numbers(monkeypatch, wrong):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(ValueError, match=next(iter(wrong))):
        start_cluster(**wrong)


def test_nothing_to_check():
    with dask.config.set(scheduler="sync"), pytest.raises(RuntimeError, match="start_cluster"):
        clusters.check_cluster()


def test_versions_that_differ(client):
    found = check_cluster(client)
    first = found.versions.index[2]
    found.versions.loc[first, "pillow"] = "1.0"
    found.versions.loc[first, "daskimg"] = None
    found.transport[first] = None
    from daskimg.cluster.check import ClusterCheck, _problems, _readers

    problems = _problems(found.versions, found.workers)
    assert problems[0] == f"daskimg is missing on {first}: install it there"
    assert f"{first} has 1.0: install the same everywhere" in problems[1]
    problems += _readers(found.transport)
    assert f"{first} nothing" in problems[2]
    assert "scheduler" not in problems[2]
    text = repr(ClusterCheck(found.versions, found.workers, True, problems, found.transport))
    assert "pillow DIFFERS" in text
    assert f"problem: {problems[1]}" in text


# -- from the command line ------------------------------------------------------------------------
@contextmanager
def process(*arguments: str):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    with subprocess.Popen(
        [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:]],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as started:
        try:
            yield started
        finally:
            started.terminate()
            try:
                started.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                started.kill()


@contextmanager
def from_the_command_line(tmp_path):
    """``dask scheduler`` and three ``dask worker``, one with ``--resources GPU=1``."""
    at = tmp_path / "scheduler.json"
    loopback = ("--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0")
    joined = ("--scheduler-file", str(at), "--nthreads", "1", "--local-directory", str(tmp_path))
    with (
        process("dask_scheduler", *loopback, "--port", "0", "--scheduler-file", str(at)),
        process("dask_worker", *joined, *loopback, "--name", "cpu0"),
        process("dask_worker", *joined, *loopback, "--name", "cpu1"),
        process("dask_worker", *joined, *loopback, "--name", "gpu0", "--resources", "GPU=1"),
    ):
        until(at.exists, "the scheduler never came up")
        yield at


@pytest.mark.long
def test_joined_by_address(tmp_path):
    with from_the_command_line(tmp_path) as at, Client(scheduler_file=str(at)) as client:
        client.wait_for_workers(3, timeout=PATIENCE)
        staged = on_gpu(work.frame(8)).assign(double=lambda f: f.i * 2)
        for result in (
            staged.compute(),
            client.compute(staged).result(),
            staged.persist().compute(),
        ):
            assert set(result["on"]) == {"gpu0"}
            assert set(result["by"]) <= {"cpu0", "cpu1"}
            assert sorted(result["double"]) == list(range(0, 32, 2))
        found = check_cluster(client)
        assert found.ok, found
        assert found.plugin
        assert sorted(map(str, found.workers["resources"])) == ["{'GPU': 1.0}", "{}", "{}"]
