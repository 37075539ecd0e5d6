"""What workers tell costs no messages: it goes with the word that a task is done."""

from __future__ import annotations

import time

import pytest
from distributed import Client, LocalCluster

import daskimg as di
from daskimg.monitor import scheduler, worker
from daskimg.monitor.tally import TOPIC
from daskimg.testing import make_images

ROWS = 24


@pytest.fixture
def paths(tmp_path):
    return [str(path) for path in make_images(tmp_path, ROWS)]


def a_cluster() -> LocalCluster:
    return LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None)


def test_what_was_done_goes_with_the_word_that_it_is(paths, monkeypatch):
    monkeypatch.setattr(worker, "EVERY", 1e6)  # nothing is told within a task
    told, alone = [], []

    def listen(stream):
        send = stream.send

        def look(*messages):
            send(*messages)
            told.extend(filter(_tells, messages))
            if messages[0]["op"] == "task-finished":  # one message has what is in the buffer
                alone.append(not any(map(_tells, stream.buffer)))

        stream.send = look

    with a_cluster() as cluster, Client(cluster):
        for each in cluster.workers.values():
            listen(each.batched_stream)
        with di.stats() as s:
            di.read_images(paths, files_per_partition=1).image.img.mean().compute()
    assert s.kept == ROWS
    assert len(told) == ROWS
    assert alone.count(False) == ROWS


def _tells(message) -> bool:
    return message["op"] == "log-event" and "told" in message["msg"]


def test_clients_are_told_now_and_then(paths):
    heard = []
    with a_cluster() as cluster, Client(cluster) as client:
        client.subscribe_topic(TOPIC, heard.append)
        df = di.read_images(paths, files_per_partition=1)
        began = time.monotonic()
        assert len(df.image.img.mean().compute()) == ROWS
        # when it begins, with the result, at the end
        assert 0 < len(heard) <= 3 + (time.monotonic() - began) / scheduler.OFTEN


def test_who_has_a_result_has_heard_of_the_work(paths):
    """Of each of many, and of what is asked for without Dask's dataframes."""
    with a_cluster() as cluster, Client(cluster) as client:
        with di.stats() as s:
            for n, future in enumerate(client.map(_mean, paths[:8]), 1):
                future.result()
                assert s.kept >= n
        assert s.kept == 8


def _mean(path: str) -> float:
    return float(di.images([path]).img.mean()[0])
