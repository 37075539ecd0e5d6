"""What is said of threads and clusters before a computation."""

from __future__ import annotations

import logging

import dask
import pytest

import daskimg as di
from daskimg import clients
from daskimg.testing import make_images


@pytest.fixture
def frame(tmp_path, monkeypatch):
    make_images(tmp_path, 3)
    monkeypatch.setattr(clients, "_told", False)
    monkeypatch.setattr(clients, "other_clients", lambda active: [])  # of other tests
    monkeypatch.setattr(clients, "active_client", lambda: None)
    with dask.config.set(scheduler="threads"):
        yield di.read_images(tmp_path)


def lines(caplog):
    return [r.getMessage() for r in caplog.records if r.name == "daskimg.clients"]


@pytest.mark.parametrize("how", ["compute", "iterate"])
def test_one_line_where_threads_are_more_than_a_process_feeds(frame, caplog, how):
    frame = frame.assign(image=frame.image.img.resize(8, 8))[["image"]]
    with dask.config.set(num_workers=48), caplog.at_level(logging.WARNING):
        for _ in range(2):
            if how == "compute":
                assert len(frame.compute()) == 3
            else:
                assert sum(len(batch["image"]) for batch in frame.img.iter_batches(2)) == 3
    (line,) = lines(caplog)
    assert line.startswith("48 threads are more than one process can feed")
    assert "di.start_cluster() starts 12 processes of 4 threads" in line


@pytest.mark.parametrize(
    "options",
    [{"num_workers": 8}, {"num_workers": 48, "scheduler": "sync"}],
    ids=["few", "one thread"],
)
def test_nothing_is_said_where_a_process_feeds_its_threads(frame, caplog, options):
    with dask.config.set(options), caplog.at_level(logging.WARNING):
        assert frame.image.img.mean().compute().notna().all()
    assert lines(caplog) == []


def test_nothing_is_said_where_no_picture_is_decoded(frame, caplog):
    with dask.config.set(num_workers=48), caplog.at_level(logging.WARNING):
        assert frame.image.img.height.compute().notna().all()
        assert len(frame) == 3
    assert lines(caplog) == []


def test_nothing_is_said_on_a_cluster(frame, caplog, monkeypatch):
    monkeypatch.setattr(clients, "other_clients", lambda active: [object()])
    with dask.config.set(num_workers=48), caplog.at_level(logging.WARNING):
        clients.tell_of_threads()
    assert lines(caplog) == []
