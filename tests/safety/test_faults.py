"""Workers that die, and stores that fail: nothing is lost, nothing is there twice."""

from __future__ import annotations

import http.server
import os
import signal
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster

import daskimg as di
from daskimg.testing import make_images
from daskimg.transport import fetch
from tests.patience import PATIENCE
from tests.safety.conftest import ROWS

pytestmark = pytest.mark.xdist_group("busy")  # one at a time: processes that starve fail


@pytest.fixture(scope="module")
def workers():
    """Two processes that are replaced when they die."""
    options = {"host": "127.0.0.1", "dashboard_address": None}
    with LocalCluster(processes=True, n_workers=2, threads_per_worker=1, **options) as cluster:
        yield cluster


@pytest.fixture
def anew(workers):
    with Client(workers) as client:
        client.wait_for_workers(2, timeout=PATIENCE)
        yield client


def die_once(value: Any, mark: Path | None) -> Any:
    """`value`; in one worker, once, death."""
    if mark is not None:
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return value
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def model(batch: dict[str, Any], mark: Path | None) -> dict[str, Any]:
    return die_once({"path": batch["path"], "score": np.asarray(batch["mean"]) * 2}, mark)


def name(row: Any, mark: Path | None) -> str:
    return die_once(Path(row["path"]).stem + ".png", mark)


def read(folder: Path, mark: Path | None) -> Any:
    frame = di.read_images(folder, files_per_partition=3)
    image = frame.image.img.decode("RGB").img.resize(6, 5).img.apply(partial(die_once, mark=mark))
    return frame.assign(mean=image.img.mean(), small=image)


def use_model(folder: Path, mark: Path | None) -> Any:
    meta = {"path": "string[pyarrow]", "score": "float64"}
    frame = read(folder, None)[["path", "mean"]]
    return frame.img.map_batches(model, fn_kwargs={"mark": mark}, meta=meta)


@pytest.mark.long
@pytest.mark.parametrize("work", [read, use_model])
def test_a_worker_that_is_killed_changes_no_result(anew, folder, tmp_path, work):
    wanted = work(folder, None).compute()
    mark = tmp_path / "died"
    found = work(folder, mark).compute()
    assert mark.exists()
    assert len(found) == ROWS
    assert found.index.is_unique
    numbers = [c for c in found.columns if found[c].dtype.kind in "fO" and c != "image"]
    columns = ["path", *[c for c in numbers if c in ("mean", "score")]]
    pd.testing.assert_frame_equal(found[columns], wanted[columns])
    if "small" in found:
        for mine, its in zip(found.small, wanted.small, strict=True):
            np.testing.assert_array_equal(mine.to_numpy(), its.to_numpy())


def written(target: Path) -> dict[str, bytes]:
    files = [path for path in target.rglob("*") if path.is_file()]
    found = {str(path.relative_to(target)): path.read_bytes() for path in files}
    return {name: data for name, data in found.items() if not name.startswith("_daskimg")}


@pytest.mark.long
def test_a_worker_that_is_killed_while_writing_leaves_the_same_files(anew, folder, tmp_path):
    frame = di.read_images(folder, files_per_partition=3)
    results = {}
    for which, mark in (("wanted", None), ("found", tmp_path / "died")):
        target = tmp_path / which
        results[which] = frame.img.write_images(target, "image", filename=partial(name, mark=mark))
        assert len(results[which].files) == ROWS
    assert (tmp_path / "died").exists()
    assert written(tmp_path / "found") == written(tmp_path / "wanted")
    assert (results["found"].rows, results["found"].failed) == (ROWS, 0)
    left = sorted(path.name for path in (tmp_path / "found" / "_daskimg").iterdir())
    assert left == ["_SUCCESS", "manifest.json"]


@pytest.mark.long
def test_shards_written_while_a_worker_is_killed(anew, folder, tmp_path):
    wanted = read(folder, None)[["path", "mean", "small"]].img.write_parquet(tmp_path / "wanted")
    mark = tmp_path / "died"
    found = read(folder, mark)[["path", "mean", "small"]].img.write_parquet(tmp_path / "found")
    assert mark.exists()
    assert written(tmp_path / "found") == written(tmp_path / "wanted")
    assert found.rows == wanted.rows == ROWS


# -- a store that fails ---------------------------------------------------------------------------
OBJECTS = 300
WAYS = ("503", "reset", "short", "slow", "well")


class Flaky(http.server.BaseHTTPRequestHandler):
    """Each object's first answer fails in a way of its own; those named lost always do."""

    protocol_version = "HTTP/1.1"
    data = b""
    asked: Counter[str] = Counter()  # noqa: RUF012
    lock = threading.Lock()

    def do_GET(self) -> None:
        path = self.path
        with self.lock:
            self.asked[path] += 1
            first = self.asked[path] == 1
        way = WAYS[int(path.strip("/").split(".")[0]) % len(WAYS)] if first else "well"
        if path.endswith(".lost"):
            way = "503"
        if way == "reset":
            self.close_connection = True
            self.connection.close()
            return
        self.send_response(503 if way == "503" else 200)
        body = b"" if way == "503" else self.data
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if way == "slow":
            self.wfile.write(body[:10])
            self.wfile.flush()
            time.sleep(0.05)
            body = body[10:]
        if way == "short":
            body, self.close_connection = body[: len(body) // 2], True
        self.wfile.write(body)

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def flaky(folder):
    Flaky.data = (folder / "00000.png").read_bytes()
    Flaky.asked = Counter()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Flaky)
    server.handle_error = lambda *args: None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_flaky_store_loses_nothing(flaky, monkeypatch):
    monkeypatch.setattr("daskimg.transport.retry.FIRST_DELAY", 0.001)
    urls = [f"{flaky}/{n}.png" for n in range(OBJECTS)] + [f"{flaky}/{n}.lost" for n in range(5)]
    table = pd.DataFrame({"path": urls})
    lazy = dd.from_pandas(table, npartitions=8)
    cells = di.images(lazy.path, on_error="null")
    found = lazy.assign(mean=cells.img.mean(), why=cells.img.check()).compute()
    assert len(found) == len(urls)
    kept = found.path.str.endswith(".png")
    assert found.why[kept].isna().all()
    assert found["mean"][kept].nunique() == 1
    assert found.why[~kept].str.contains(r"503.*after 6 tries").all()
    tries = [Flaky.asked[f"/{n}.png"] for n in range(OBJECTS)]
    failing = [WAYS[n % len(WAYS)] in ("503", "reset", "short") for n in range(OBJECTS)]
    # (a client may itself try a reset connection once more)
    assert all((2 <= n <= 3) if bad else n == 1 for n, bad in zip(tries, failing, strict=True))
    assert all(Flaky.asked[f"/{n}.lost"] == 6 for n in range(5))


def test_a_file_that_goes_between_listing_and_reading_is_a_failed_row(folder, tmp_path):
    paths = make_images(tmp_path, 6, size=(8, 8), formats=["png"])
    frame = di.read_images(tmp_path, on_error="null")
    os.remove(paths[2])
    Path(paths[4]).write_bytes(b"changed")
    found = frame.assign(why=frame.image.img.check()).compute()
    assert found.why.notna().tolist() == [False, False, True, False, True, False]
    assert found.why.iloc[2].startswith("read: FileNotFoundError")
    assert fetch.local_path(paths[2]) in found.why.iloc[2]
