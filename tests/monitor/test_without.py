"""Where something is missing that a run could be watched with, the run goes on."""

from __future__ import annotations

import importlib.util
import io
import logging
import socket
import subprocess
import sys
import time
import urllib.request
import warnings

import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster

import daskimg as di
from daskimg.monitor import line
from daskimg.monitor.worker import Teller
from daskimg.notebook import as_html
from daskimg.testing import make_images

GOOD, BROKEN = 10, 2
ROWS = GOOD + BROKEN


@pytest.fixture(scope="module")
def df(tmp_path_factory):
    folder = tmp_path_factory.mktemp("some")
    make_images(folder, GOOD, size=(20, 30), broken=BROKEN)
    return di.read_images(folder, on_error="null", files_per_partition=4)


def late(pixels):
    time.sleep(0.05)
    return pixels


# -- no terminal ----------------------------------------------------------------------------------
class Gone(io.StringIO):
    """What nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    def flush(self) -> None:
        raise BrokenPipeError(32, "Broken pipe")


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [lambda: None, Gone, closed], ids=["none", "gone", "closed"])
def test_without_a_terminal(df, monkeypatch, stream):
    """Twice: an error where a line is shown would leave tqdm locked."""
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr("sys.stderr", stream())
            with di.progress():
                assert len(df.image.img.apply(late).img.mean().compute()) == ROWS


def test_an_ascii_terminal(df, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(raw, "ascii", write_through=True))
    with di.progress():
        df.image.img.apply(late).img.mean().compute()
    assert f"{GOOD} kept, {BROKEN} failed" in raw.getvalue().decode("ascii")


def test_a_notebook_without_widgets(df, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(line, "in_notebook", lambda: True)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ipywidgets" else find(name)
    )
    with di.progress():
        df.image.img.apply(late).img.mean().compute()
    shown = capsys.readouterr().err
    assert "pictures" in shown
    assert f"{GOOD} kept, {BROKEN} failed" in shown


# -- no packages ----------------------------------------------------------------------------------
WITHOUT = """
import sys

for name in ("bokeh", "prometheus_client", "matplotlib", "IPython", "ipywidgets"):
    sys.modules[name] = None

import daskimg as di
from distributed import Client, LocalCluster

if __name__ == "__main__":
    df = di.read_images(sys.argv[1], on_error="null", files_per_partition=4)
    with LocalCluster(
        n_workers=1, processes=False, dashboard_address="127.0.0.1:0"
    ) as cluster, Client(cluster):
        with di.progress(), di.stats() as s:
            df.image.img.mean().compute()
    print(s)
    try:
        s.plot()
    except ImportError as error:
        print(error)
"""


def test_without_bokeh_and_others(df, tmp_path):
    folder = str(df.path.head(1).iloc[0]).rpartition("/")[0]
    command = [sys.executable, "-c", WITHOUT, folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"{GOOD} kept, {BROKEN} failed" in done.stdout
    assert "Stats.plot() needs matplotlib (pip install matplotlib)" in done.stdout
    assert f"{GOOD} kept, {BROKEN} failed" in done.stderr  # the line of progress


# -- clusters -------------------------------------------------------------------------------------
def a_cluster(address: str | None = None) -> LocalCluster:
    """Of threads; a dashboard somewhere, or none."""
    return LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        dashboard_address=address,
    )


def test_the_port_is_taken(df):
    """Dask says so, and takes another; the page is there."""
    pytest.importorskip("bokeh")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            with a_cluster(f"127.0.0.1:{port}") as cluster, Client(cluster):
                assert len(df.image.img.mean().compute()) == ROWS
                found = cluster.scheduler.http_server.port
                with urllib.request.urlopen(f"http://127.0.0.1:{found}/daskimg") as answer:
                    assert answer.status == 200
    assert found != port
    assert any(f"Port {port} is already in use" in str(one.message) for one in told)


def test_a_worker_without_the_plugin(df, monkeypatch, caplog):
    """It works, and who looks is told that it does not tell."""
    setup, teardown = Teller.setup, Teller.teardown

    def some(self, worker):
        if worker.name == 1:
            raise RuntimeError("an older daskimg")
        setup(self, worker)

    def end(self, worker):
        if worker.name != 1:
            teardown(self, worker)

    monkeypatch.setattr(Teller, "setup", some)
    monkeypatch.setattr(Teller, "teardown", end)
    caplog.set_level(logging.WARNING, "daskimg.monitor")
    with a_cluster() as cluster, Client(cluster), di.stats() as s:
        means = df.image.img.mean().compute()
    assert (len(means), int(means.notna().sum())) == (ROWS, GOOD)
    assert s.kept + s.failed <= ROWS
    told = [record.getMessage() for record in caplog.records if record.name == "daskimg.monitor"]
    assert len(told) == 1
    assert "does not tell what it does with pictures: RuntimeError('an older daskimg')" in told[0]


# -- very much ------------------------------------------------------------------------------------
MANY = 200_000


@pytest.mark.long
def test_very_many_failures_take_a_few_lines(capsys):
    reason = "decode: OSError: image file is truncated (3 bytes not processed)"
    one = pd.Series([di.Image(path="a.jpg", error=reason)], dtype="image[file]")
    many = pd.Series(one.array.take(np.zeros(MANY, int)), name="image")
    with di.progress(), di.stats() as s:
        assert many.img.mean().isna().all()
    assert (s.kept, s.failed, s.causes) == (0, MANY, {"truncated": MANY})
    assert len(str(s)) < 1000
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.endswith(f"0 kept, {MANY:,} failed ({MANY:,} truncated)")
    assert len(told) < 200
    assert len(as_html(many.to_frame())) < 10_000
