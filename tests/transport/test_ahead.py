"""Bytes ahead of the pass: whose they are, how many, and that nothing stays behind."""

from __future__ import annotations

import contextlib
import http.server
import io
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import dask
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import daskimg as di
from daskimg.transport import ahead
from daskimg.transport.source import Source
from tests.patience import PATIENCE


def picture(number: int, side: int = 4) -> bytes:
    out = io.BytesIO()
    pixels = np.full((side, side), number, np.uint8)
    Image.fromarray(pixels).save(out, "PNG", compress_level=0)
    return out.getvalue()


class Pictures:
    """A web server of pictures ``/N.png`` that knows what is asked of it at once."""

    def __init__(self, side: int = 4) -> None:
        self.side, self.delay, self.lock = side, 0.0, threading.Lock()
        self.asked: Counter[str] = Counter()
        self.order: list[str] = []
        self.failing: dict[str, list[int]] = {}  # the answers before the good one
        self.now = self.most = 0
        self.together = 0  # at once, before any is answered
        self.late: range = range(0)  # those that are not answered before `go_on`
        self.go_on = threading.Event()
        self.first = 0  # files that are asked for before the first one is answered
        self.waited: list[bool] = []
        self.seen = threading.Condition()
        self.url = ""

    def wait_for(self, path: str) -> bool:
        return self.wait_until(lambda: self.asked[path] > 0)

    def wait_until(self, true: Callable[[], bool]) -> bool:
        with self.seen:
            return self.seen.wait_for(true, PATIENCE)

    def all_asked(self) -> int:
        """Requests that came, once no more come: one may be cancelled on its way here."""
        before = -1
        while before != (asked := sum(self.asked.values())):
            before = asked
            time.sleep(0.3)
        return asked

    def paths(self, *numbers: int) -> pd.Series:
        return pd.Series([f"{self.url}/{number}.png" for number in numbers])

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        with self.seen:
            self.asked[handler.path] += 1
            self.order.append(handler.path)
            self.seen.notify_all()
            first = self.first > 0 and self.order == [handler.path]
        number = int(handler.path[1:-4])
        try:
            with self.seen:
                self.seen.wait_for(lambda: self.most >= self.together, PATIENCE)
            if number in self.late:
                self.go_on.wait(PATIENCE)
            time.sleep(self.delay)
            if first:
                self.waited.append(self.wait_until(lambda: len(self.asked) >= self.first))
            status = next(iter(self.failing.get(handler.path, [])[:1]), 200)
            if status != 200:
                self.failing[handler.path].pop(0)
            data = picture(number % 256, self.side) if status == 200 else b""
        finally:
            with self.lock:  # before the client can know of it
                self.now -= 1
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)


@pytest.fixture
def pictures() -> Iterator[Pictures]:
    state = Pictures()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:  # is it there?
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()

        def do_GET(self) -> None:
            with contextlib.suppress(ConnectionError):
                state.answer(self)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()


def until(true) -> bool:
    end = time.monotonic() + PATIENCE
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(true())


def idle() -> bool:
    home = ahead._process()
    return home.active == home.held == 0 and not home.feeds


def test_a_pass_reads_ahead_of_itself(pictures):
    """What comes last is asked for while the first picture is still being worked on."""

    def waits(pixels):
        assert pictures.wait_for("/29.png")
        return pixels.mean()

    cells = di.images(pictures.paths(*range(30)))
    assert cells.img.apply(waits, dtype="float64").tolist() == [*range(30)]
    assert set(pictures.asked.values()) == {1}
    assert until(idle)


@pytest.mark.parametrize("how", ["compute", "iterate", "filtered", "frame"])
def test_the_next_partition_is_on_its_way(pictures, how):
    """One thread works on the first picture until the last partition but one has been asked for."""
    paths = pictures.paths(*range(8))
    table = pd.DataFrame({"path": paths, "n": range(8)})
    df = dask.dataframe.from_pandas(table, npartitions=4)
    if how != "frame":
        df = di.read_images(paths.tolist(), files_per_partition=2)
    first: list[bool] = []

    def waits(pixels):
        if not first:
            first.append(all(pictures.wait_for(f"/{n}.png") for n in range(4)))
        return float(pixels.mean())

    image = df.image if how != "frame" else di.images(df.path)
    df = df.assign(mean=image.img.apply(waits, dtype="float64"))
    with dask.config.set(scheduler="threads", num_workers=1):
        if how == "iterate":
            batches = df[["mean"]].img.iter_batches(2)
            found = [value for batch in batches for value in batch["mean"].tolist()]
        elif how == "filtered":
            found = df[df["mean"] > 2]["mean"].compute().tolist()
        else:
            found = df["mean"].compute().tolist()
    assert first == [True]
    assert found == [*range(3 if how == "filtered" else 0, 8)]
    assert set(pictures.asked.values()) == {1}
    assert until(idle)


def queue_of(dask_worker):
    """What a worker has begun for tasks that have not run."""
    queue = dask_worker.plugins["daskimg-queue"]
    return len(queue.begun), len(queue.running), len(queue.ready)


@pytest.mark.parametrize("how", ["pixels", "filtered", "headers"])
def test_a_worker_reads_ahead_of_its_next_task(pictures, client, how):
    """The first picture comes when one of another partition has been asked for."""
    pictures.first = 3
    paths = pictures.paths(*range(8))
    (worker, *_) = client.scheduler_info(n_workers=-1)["workers"]
    there = {"workers": [worker], "allow_other_workers": False}
    image = di.read_images(paths.tolist(), files_per_partition=2).image
    wanted = (image.img.height * 0 + 4 if how == "headers" else image.img.mean()).rename("mean")
    if how == "filtered":
        wanted = wanted[wanted > 2]
    found = client.compute(wanted, **there).result()
    expected = {"headers": [4] * 8, "filtered": [*range(3, 8)]}
    assert found.tolist() == expected.get(how, [*range(8)])
    assert pictures.waited == [True]
    assert set(pictures.asked.values()) == {1}
    assert client.run(queue_of, workers=[worker]) == {worker: (0, 0, 0)}


def test_what_a_worker_has_begun_ends_with_its_task(pictures, client):
    """Tasks that are cancelled while they wait leave no request and no bytes behind."""
    pictures.first = 20  # never: the first task is under way until it is cancelled
    df = di.read_images(pictures.paths(*range(8)).tolist(), files_per_partition=2)
    (worker, *_) = client.scheduler_info(n_workers=-1)["workers"]
    future = client.compute(df.image.img.mean(), workers=[worker], allow_other_workers=False)
    assert pictures.wait_until(lambda: len(pictures.asked) >= 3)
    client.cancel(future)
    pictures.first = 0
    with pictures.seen:
        pictures.seen.notify_all()
    assert until(lambda: client.run(queue_of, workers=[worker]) == {worker: (0, 0, 0)})
    assert until(lambda: client.run(idle_there, workers=[worker]) == {worker: True})


def idle_there():
    from daskimg.transport import ahead

    home = ahead._process()
    return home.active == home.held == 0 and not home.feeds


def test_local_files_need_no_queue():
    for text, here in [("file:///a/1.png", True), ("memory://a/1.png", True), ("/a/", True)]:
        assert Source(stores=[text]).is_here is here
    for text in ("s3://bucket/a", "http://example.org/1.png"):
        assert not Source(stores=[text]).is_here
        assert not Source(stores=["/a/"], allowed=[text]).is_here
    assert not Source.default.is_here  # cells may be anywhere


def test_headers_are_asked_for_ahead_and_once(pictures):
    cells = di.images(pictures.paths(*range(20)))
    pictures.together = 5
    assert cells.img.width.tolist() == [4] * 20
    assert set(pictures.asked.values()) == {1}


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_requests_than_allowed(pictures, most):
    pictures.delay = 0.005
    with dask.config.set({"daskimg.fetch-connections": most}):
        df = dask.dataframe.from_pandas(
            pd.DataFrame({"path": pictures.paths(*range(24))}), npartitions=6
        )
        means = di.images(df.path).img.mean().compute(scheduler="threads", num_workers=4)
    assert means.tolist() == [*range(24)]
    assert pictures.most <= most


def test_no_more_bytes_than_allowed(pictures):
    """Nobody takes any: what has been asked for fits."""
    pictures.side = 500  # 250 kB
    home = ahead._process()
    home.guess = 250_000
    asked: list[int] = []

    def waits(pixels):
        if not asked:
            until(lambda: len(pictures.asked) >= 4)
            time.sleep(0.5)  # for more, if more came
            asked.append(len(pictures.asked))
        return pixels.mean()

    with dask.config.set({"daskimg.fetch-ahead": "2MB"}):
        cells = di.images(pictures.paths(*range(40)))
        assert cells.img.apply(waits, dtype="float64").tolist() == [*range(40)]
    assert 4 <= asked[0] <= 9
    assert until(idle)


def test_nothing_ahead(pictures):
    asked: list[int] = []

    def counts(pixels):
        asked.append(len(pictures.asked))
        return pixels.mean()

    with dask.config.set({"daskimg.fetch-ahead": 0}):
        cells = di.images(pictures.paths(*range(5)))
        assert cells.img.apply(counts, dtype="float64").tolist() == [*range(5)]
    assert asked[:3] <= [2, 3, 4]


def test_rows_of_one_file_and_of_none(pictures):
    paths = pictures.paths(3, 1, 3, 3, 2)
    paths[1] = None
    cells = di.images(paths)
    assert cells.img.mean().tolist()[0] == 3
    assert cells.img.mean().fillna(-1).tolist() == [3, -1, 3, 3, 2]
    assert pictures.asked["/3.png"] == 6


def test_two_passes_do_not_take_each_others(pictures):
    pictures.delay = 0.01
    cells = di.images(pictures.paths(*range(30)))
    found: list[list[float]] = []
    threads = [
        threading.Thread(target=lambda: found.append(cells.img.mean().tolist())) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[*range(30)]] * 4
    assert set(pictures.asked.values()) == {4}


def test_the_first_try_is_one_of_the_tries(pictures, monkeypatch):
    monkeypatch.setattr("daskimg.transport.retry.FIRST_DELAY", 0.001)
    pictures.failing = {"/1.png": [503, 500], "/2.png": [404], "/3.png": [503] * 9}
    with dask.config.set({"daskimg.retries": 3}):
        cells = di.images(pictures.paths(*range(6)), on_error="null")
        with di.stats() as s:
            why = cells.img.check().fillna("").tolist()
    assert [bool(text) for text in why] == [False, False, True, True, False, False]
    assert why[2].startswith("read: FileNotFoundError")
    assert "503" in why[3]
    assert "(after 4 tries)" in why[3]
    assert pictures.asked == {
        "/0.png": 1,
        "/1.png": 3,
        "/2.png": 1,
        "/3.png": 4,
        "/4.png": 1,
        "/5.png": 1,
    }
    assert s.requests == {"fsspec": 11}
    assert s.slowed > 0
    assert "11 requests by fsspec" in str(s)


def test_a_store_that_is_asked_too_much_is_asked_less(pictures, monkeypatch):
    monkeypatch.setattr("daskimg.transport.retry.FIRST_DELAY", 0.001)
    home = ahead._process()
    monkeypatch.setattr(home, "pace", ahead.Pace())
    pictures.failing = {f"/{n}.png": [503] for n in range(20)}
    cells = di.images(pictures.paths(*range(60)))
    assert cells.img.mean().tolist() == [*range(60)]
    assert home.pace.lowered > 0
    slow = home.pace.most
    assert slow < 64
    assert cells.img.mean().tolist() == [*range(60)]
    assert home.pace.most > slow  # it grows again


@pytest.mark.parametrize("end", ["closed", "failed", "taken"])
def test_what_is_not_wanted_is_cancelled(pictures, end):
    pictures.late = range(100, 200)
    paths = pictures.paths(*range(200))
    df = di.read_images(paths.tolist(), files_per_partition=10, size=(999, 999))
    before = threading.active_count()
    with dask.config.set(
        {"scheduler": "threads", "num_workers": 2, "daskimg.fetch-connections": 8}
    ):
        if end == "closed":
            batches = df.img.iter_batches(5)
            assert len(next(batches)["image"]) == 5
            batches.close()
        elif end == "failed":
            pictures.failing = {f"/{n}.png": [403] * 9 for n in range(5, 200, 10)}
            with pytest.raises(di.ImageError, match="PermissionError"):
                df.image.compute()
        else:
            assert len(df.img.take_batch(5)["image"]) == 5
    pictures.go_on.set()
    assert until(idle)
    assert pictures.all_asked() <= 100 + 8  # those under way when it ended
    assert until(lambda: threading.active_count() <= before + 2)  # the loop's, and its resolver's


def test_local_files_are_not_fetched_ahead(tmp_path, monkeypatch):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    monkeypatch.setattr(ahead, "_process", None)  # nobody asks for it
    df = di.read_images(str(tmp_path), files_per_partition=1)
    assert df.image.img.mean().compute(scheduler="threads").tolist() == [0, 1, 2]
