"""Workers that hang, pause or run out of memory, and a scheduler that is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
from distributed import Client, KilledWorker, LocalCluster, Status

import daskimg as di
from tests.patience import PATIENCE, until
from tests.safety.conftest import ROWS

LIMIT = 900 * 2**20
pytestmark = pytest.mark.xdist_group("busy")  # one at a time: processes that starve fail


@contextlib.contextmanager
def workers(**options: Any) -> Iterator[Client]:
    """Two processes of one thread."""
    here = {"host": "127.0.0.1", "dashboard_address": None, "silence_logs": 50}
    with (
        LocalCluster(processes=True, n_workers=2, threads_per_worker=1, **here, **options) as both,
        Client(both) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def both() -> Iterator[Client]:
    """Workers that several tests share."""
    with workers(memory_limit=LIMIT) as client:
        yield client


def first(mark: Path) -> bool:
    """Whether nobody was here before; the mark tells who is."""
    try:
        handle = os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    os.write(handle, str(os.getpid()).encode())
    os.close(handle)
    return True


def measured(folder: Path, act: Callable[[Any], Any] | None = None) -> pd.DataFrame:
    frame = di.read_images(folder, files_per_partition=2)
    image = frame.image.img.decode("RGB")
    image = image if act is None else image.img.apply(act)
    small = image.img.resize(6, 5)
    return frame.assign(mean=small.img.mean(), hash=small.img.hash()).drop(columns="image")


def undisturbed(folder: Path) -> pd.DataFrame:
    return measured(folder, np.asarray).compute(scheduler="threads")


# -- a worker that hangs ---------------------------------------------------------------------------
def hang(pixels: Any, mark: Path) -> Any:
    if first(mark):
        os.kill(os.getpid(), signal.SIGSTOP)  # all of it, its heartbeat too
    return pixels


async def miss(address: str, dask_scheduler: Any) -> None:
    """As if a worker had not been heard of for longer than `distributed.scheduler.worker-ttl`."""
    dask_scheduler.workers[address].last_seen -= 2 * dask_scheduler.worker_ttl
    await dask_scheduler.check_worker_ttl()


@pytest.mark.long
def test_a_worker_that_hangs_is_replaced(folder, tmp_path):
    """By a clock that is put forward: a short `worker-ttl` finds workers that are only slow."""
    mark = tmp_path / "hangs"
    with workers() as client:
        addresses = {pid: address for address, pid in client.run(os.getpid).items()}
        future = client.compute(measured(folder, partial(hang, mark=mark)))
        until(lambda: mark.exists() and mark.read_text(), "no worker hangs")
        hangs = int(mark.read_text())
        client.run_on_scheduler(miss, addresses[hangs])
        found = future.result(timeout=PATIENCE)
        with contextlib.suppress(ProcessLookupError):  # it is killed, as one that hangs
            os.kill(hangs, signal.SIGKILL)
    pd.testing.assert_frame_equal(found, undisturbed(folder))


@pytest.mark.long
def test_a_worker_that_hangs_for_a_while(both, folder, tmp_path):
    mark = tmp_path / "hangs"

    def go_on() -> None:
        while not mark.exists() or not mark.read_text():
            time.sleep(0.01)
        time.sleep(1)
        os.kill(int(mark.read_text()), signal.SIGCONT)

    thread = threading.Thread(target=go_on)
    thread.start()
    found = measured(folder, partial(hang, mark=mark)).compute()
    thread.join()
    pd.testing.assert_frame_equal(found, undisturbed(folder))


# -- memory ---------------------------------------------------------------------------------------
def take_too_much(pixels: Any, mark: Path | None) -> Any:
    """Memory without end, until the nanny sees it; with a mark once."""
    held = []
    while mark is None or (held or first(mark)):
        held.append(np.ones(2**24, np.uint8))
        time.sleep(0.005)
    return pixels


@pytest.mark.long
def test_a_worker_that_runs_out_of_memory_is_replaced(both, folder, tmp_path):
    mark = tmp_path / "died"
    found = measured(folder, partial(take_too_much, mark=mark)).compute()
    assert mark.exists()
    pd.testing.assert_frame_equal(found, undisturbed(folder))


@pytest.mark.long
def test_one_that_always_does_ends_in_an_error_that_says_so(folder, tmp_path):
    frame = di.read_images(folder, files_per_partition=ROWS)
    image = frame.image.img.apply(partial(take_too_much, mark=None))
    once = {"distributed.scheduler.allowed-failures": 1}
    with (
        dask.config.set(once),
        workers(memory_limit=LIMIT),
        pytest.raises(KilledWorker) as caught,
    ):
        frame.assign(image=image).img.write_parquet(tmp_path / "out")
    assert "files_per_partition" in "".join(caught.value.__notes__)
    assert not (tmp_path / "out" / "_daskimg" / "_SUCCESS").exists()


def pause(dask_worker: Any) -> None:
    dask_worker.memory_manager.memory_pause_fraction = 1e-9  # as if it held too much
    dask_worker.memory_manager.memory_monitor(dask_worker)


def unpause(dask_worker: Any) -> None:
    dask_worker.memory_manager.memory_pause_fraction = 0.8


def status(dask_worker: Any) -> str:
    return str(dask_worker.status.name)


@pytest.mark.long
def test_paused_workers_go_on_when_there_is_memory_again(both, folder):
    """One is paused throughout; for a while both are."""
    both.wait_for_workers(2, timeout=PATIENCE)
    one, two = both.scheduler_info()["workers"]
    both.run(pause)
    until(lambda: {*both.run(status).values()} == {Status.paused.name}, "they were not paused")
    future = both.compute(measured(folder))
    time.sleep(0.5)
    assert not future.done()
    both.run(unpause, workers=[two])
    found = future.result(timeout=PATIENCE)
    assert both.run(status)[one] == Status.paused.name
    both.run(unpause)
    pd.testing.assert_frame_equal(found, undisturbed(folder))


@pytest.mark.long
def test_what_dead_workers_did_is_not_forgotten(both, folder):
    both.wait_for_workers(2, timeout=PATIENCE)
    with di.stats() as s:
        measured(folder).compute()
        before = {*s.to_frame(by="worker").index}
        for pid in both.run(os.getpid).values():
            os.kill(pid, signal.SIGKILL)
        until(
            lambda: both.status == "running" and not {*both.scheduler_info()["workers"]} & before,
            "the dead are still listed",
        )
        both.wait_for_workers(2, timeout=PATIENCE)
        until(lambda: s.kept == ROWS, "the figures of the dead are lost")
        measured(folder).head(2, npartitions=1)  # those that take their place are measured too
        until(lambda: s.kept == ROWS + 2, "the figures of the living never came")
        until(lambda: len(s.to_frame(by="worker")) == 5, "a worker is missing")
    assert s.kept == ROWS + 2
    workers = s.to_frame(by="worker")
    assert len(workers) == 5  # two before, two now, and this process
    assert workers.images.sum() == ROWS + 2


# -- the scheduler ---------------------------------------------------------------------------------
def program(name: str, file: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", f"distributed.cli.dask_{name}", *options]
    command += ["--scheduler-file", str(file), "--no-dashboard"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def named(row: Any, enough: Path) -> str:
    """Slow once enough is written, so that there is a time to strike."""
    target = enough / "_daskimg"
    if len([*target.glob("run-*/[0-9]*.json")]) >= 4:
        time.sleep(0.5)
    return Path(row["path"]).stem + ".png"


@pytest.mark.long
def test_a_scheduler_that_is_lost(folder, tmp_path):
    """What was computed is gone with it, what was written is not: the same call resumes."""
    file, target = tmp_path / "scheduler.json", tmp_path / "out"
    frame = di.read_images(folder, files_per_partition=2)
    write = partial(frame.img.write_images, filename=partial(named, enough=target))
    scheduler = program("scheduler", file, "--host", "127.0.0.1", "--port", "0")
    crew = program(
        "worker", file, "--nworkers", "2", "--nthreads", "1", "--death-timeout", str(PATIENCE)
    )
    try:
        with Client(scheduler_file=str(file), timeout=PATIENCE) as client:
            client.wait_for_workers(2, timeout=PATIENCE)
            client._timeout = 1  # it waits no longer for the scheduler to come back

            def kill() -> None:
                while len([*target.glob("_daskimg/run-*/[0-9]*.json")]) < 4:
                    time.sleep(0.01)
                scheduler.kill()

            killer = threading.Thread(target=kill)
            killer.start()
            with pytest.raises(Exception) as caught:  # noqa: PT011
                write(target)
            killer.join()
    finally:
        scheduler.kill()
        crew.kill()
    assert 'mode="resume"' in "".join(getattr(caught.value, "__notes__", [repr(caught.value)]))
    assert not (target / "_daskimg" / "_SUCCESS").exists()
    done = len([*target.glob("_daskimg/run-*/[0-9]*.json")])
    assert 4 <= done < ROWS // 2
    with di.stats() as s:
        result = write(target, mode="resume")
    assert result.rows == ROWS
    assert s.to_frame().images["write"] == ROWS - 2 * done
    write(tmp_path / "wanted")
    for path in (tmp_path / "wanted").glob("*.png"):
        assert (target / path.name).read_bytes() == path.read_bytes()
    assert len([*target.glob("*.png")]) == ROWS
