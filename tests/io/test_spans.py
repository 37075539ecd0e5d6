"""Shards and row groups on an object store: in few large ranges, ahead, and nothing left behind."""

from __future__ import annotations

import contextlib
import http.server
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import dask
import numpy as np
import pytest

import daskimg as di
from daskimg.io.parquet import part
from daskimg.testing import make_images
from daskimg.transport import ahead, spans
from tests.patience import PATIENCE
from tests.servers import s3_server  # noqa: F401
from tests.transport.conftest import by  # noqa: F401
from tests.transport.test_ahead import idle, until

SHARDS, EACH = 6, 5
KINDS = ["tar", "tar.gz", "tfrecord", "parquet"]
pytestmark = pytest.mark.xdist_group("spans")


class Front:
    """What stands before moto: it counts what is asked of files, holds answers, breaks some off."""

    def __init__(self, behind: str) -> None:
        self.behind, self.url = behind, ""
        self.seen = threading.Condition()
        self.begin()

    def begin(self) -> None:
        """Nothing was asked yet, and nothing goes wrong."""
        self.asked: list[tuple[str, str | None]] = []
        self.breaking = 0  # bodies that break off
        self.held: Callable[[str], bool] = lambda name: False  # files that wait for `go_on`
        self.ranges = True
        self.go_on = threading.Event()

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.asked]

    def wait_for(self, true: Callable[[], bool]) -> bool:
        with self.seen:
            return self.seen.wait_for(true, PATIENCE)


@pytest.fixture(scope="module")
def one_front(s3_server) -> Iterator[Front]:  # noqa: F811
    state = Front(s3_server.endpoint)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            name = self.path.partition("?")[0].rpartition("/")[2]
            is_file = self.command == "GET" and "part-" in name
            breaks = False
            with state.seen:
                if is_file:
                    state.asked.append((name, self.headers.get("Range")))
                    breaks, state.breaking = state.breaking > 0, max(state.breaking - 1, 0)
                    state.seen.notify_all()
            if is_file and state.held(name):
                state.go_on.wait(PATIENCE)
            given = int(self.headers.get("Content-Length") or 0)
            asked = urllib.request.Request(state.behind + self.path, method=self.command)
            for key in ("Range", "Content-Type", "Authorization", "x-amz-date"):
                if self.headers.get(key) and (key != "Range" or state.ranges):
                    asked.add_header(key, self.headers[key])
            try:
                answer = urllib.request.urlopen(asked, self.rfile.read(given) or None)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                data = answer.read()
                self.send_response(answer.status)
                for key, value in answer.headers.items():
                    if key.lower() not in ("connection", "server", "date", "transfer-encoding"):
                        self.send_header(key, value)
            self.end_headers()
            if breaks:
                self.close_connection = True
            self.wfile.write(data[: len(data) // 2] if breaks else data)

        def do_GET(self) -> None:
            self.forward()

        def do_HEAD(self) -> None:
            self.forward()

        def log_message(self, *args: object) -> None:
            pass

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):
                super().handle()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def front(one_front) -> Iterator[Front]:
    one_front.begin()
    yield one_front
    one_front.go_on.set()


class Stored:
    """The same pictures in each format, in a bucket behind the front."""

    def __init__(self, front: Front, straight: dict[str, Any], folder: Any, each: int) -> None:
        s3fs = pytest.importorskip("s3fs")
        self.bucket = f"spans-{uuid.uuid4().hex}"
        s3fs.S3FileSystem(**straight).mkdir(self.bucket)
        self.straight = straight
        self.options = {**straight, "client_kwargs": {"endpoint_url": front.url}}
        make_images(folder, SHARDS * each, size=(40, 50))
        self.pictures = di.read_images(folder, files_per_partition=each)
        self.answer = self.pictures.image.img.mean().compute(scheduler="threads")
        self.written: set[str] = set()

    def write(self, kind: str) -> None:
        """Once for all tests."""
        if kind not in self.written:
            with dask.config.set(scheduler="threads"):
                self._write(kind)
            self.written.add(kind)

    def _write(self, kind: str) -> None:
        df = self.pictures
        place = f"s3://{self.bucket}/{kind}"
        if kind.startswith("tar"):
            # one extension for all
            df = df.assign(image=df.image.img.decode("RGB").img.encode("png"))
            df = df[["image"]].rename(columns={"image": "png"})
            packed = "gzip" if kind.endswith("gz") else None
            df.img.write_webdataset(place, compression=packed, storage_options=self.straight)
        elif kind == "tfrecord":
            df.img.write_tfrecords(place, storage_options=self.straight)
        else:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(part, "GROUP_BYTES", 1)  # a row group for each row
                df.img.write_parquet(place, storage_options=self.straight)

    def read(self, kind: str, **more: Any) -> Any:
        place = f"s3://{self.bucket}/{kind}"
        if kind.startswith("tar"):
            more.setdefault("extensions", ["png"])
            df = di.read_webdataset(place, storage_options=self.options, **more)
            return df.rename(columns={"png": "image"})
        if kind == "tfrecord":
            more.setdefault("features", {"image": "image"})
            return di.read_tfrecords(place, storage_options=self.options, **more)
        return di.read_parquet(place, storage_options=self.options, **more)


@pytest.fixture(scope="module")
def stored(one_front, s3_server, tmp_path_factory) -> Stored:  # noqa: F811
    return Stored(one_front, s3_server.storage_options, tmp_path_factory.mktemp("pictures"), EACH)


def means(df: Any, how: str) -> list[float]:
    if how == "iterate":
        with dask.config.set(scheduler="threads"):
            batches = df[["image"]].img.iter_batches(batch_size=4)
            return [float(np.mean(x)) for batch in batches for x in batch["image"]]
    return df.image.img.mean().compute(scheduler="threads", num_workers=2).tolist()


@pytest.mark.sampled(one_in=2)
@pytest.mark.parametrize("how", ["compute", "iterate"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_request_for_each_shard(front, stored, by, kind, how):  # noqa: F811
    stored.write(kind)
    df = stored.read(kind)
    front.asked.clear()
    assert means(df, how) == pytest.approx(stored.answer.tolist(), abs=1)
    assert len(front.asked) == SHARDS == len(set(front.names))
    assert until(idle)


@pytest.mark.parametrize("how", ["compute", "iterate"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_next_shards_are_on_their_way(front, stored, kind, how):
    """None is answered before two more than there are threads have been asked for."""
    stored.write(kind)
    df = stored.read(kind)
    front.asked.clear()
    early: list[bool] = []

    def waits(name: str) -> bool:
        if len(early) < 2:
            early.append(front.wait_for(lambda: len(set(front.names)) >= 4))
        return False

    front.held = waits
    with dask.config.set(num_workers=2):
        assert len(means(df, how)) == SHARDS * EACH
    assert all(early)


def test_large_shards_come_in_pieces_side_by_side(front, stored, monkeypatch):
    monkeypatch.setattr(spans, "PIECE", 2**11)
    stored.write("tar")
    df = stored.read("tar")
    front.asked.clear()
    both: list[bool] = []

    def waits(name: str) -> bool:
        if not both:
            both.append(front.wait_for(lambda: front.names.count(name) >= 2))
        return False

    front.held = waits
    assert means(df, "compute") == pytest.approx(stored.answer.tolist(), abs=1)
    assert both
    assert all(both)
    assert len(front.asked) > 2 * SHARDS
    assert all(found for _, found in front.asked)  # ranges
    assert len(set(front.asked)) == len(front.asked)


def test_columns_alone_are_fetched(front, stored):
    stored.write("parquet")
    table = stored.read("parquet")[["path"]]
    front.asked.clear()
    assert table.path.compute().tolist() == stored.pictures.path.compute().tolist()
    assert len(front.asked) == SHARDS


@pytest.mark.parametrize("kind", KINDS)
def test_finding_the_columns_and_the_rows_takes_few_requests(front, stored, kind, monkeypatch):
    monkeypatch.setattr(spans, "FIRST", 2**12)
    stored.write(kind)
    front.asked.clear()
    if kind == "parquet":
        stored.read(kind)
        assert len(front.asked) == SHARDS  # the footers
        return
    stored.read(kind, **{"features" if kind == "tfrecord" else "extensions": None})
    assert len(front.asked) <= 6
    front.asked.clear()
    rows = {"records_per_partition" if kind == "tfrecord" else "rows_per_partition": 2}
    df = stored.read(kind, **rows)
    assert len(front.asked) == SHARDS
    assert df.npartitions == SHARDS * -(-EACH // 2)
    assert means(df, "compute") == pytest.approx(stored.answer.tolist(), abs=1)


@pytest.mark.sampled(one_in=2)
@pytest.mark.parametrize("kind", KINDS)
def test_a_body_that_breaks_off_is_asked_for_again(front, stored, by, kind):  # noqa: F811
    stored.write(kind)
    df = stored.read(kind)
    front.asked.clear()
    front.breaking = 3
    assert means(df, "compute") == pytest.approx(stored.answer.tolist(), abs=1)
    assert len(front.asked) == SHARDS + 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_shard_that_is_gone_ends_the_run_and_leaves_nothing(front, stored, kind):
    import s3fs

    stored.write(kind)
    df = stored.read(kind, on_error="null")
    store = s3fs.S3FileSystem(**stored.straight)
    gone = sorted(p for p in store.find(f"{stored.bucket}/{kind}") if "/part-" in p)[2]
    data = store.cat_file(gone)
    store.rm(gone)
    try:
        with pytest.raises(FileNotFoundError, match="part-00002"):
            means(df, "compute")
    finally:
        store.pipe_file(gone, data)
    assert until(idle)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_store_that_ignores_ranges(front, stored, by, kind, monkeypatch):  # noqa: F811
    monkeypatch.setattr(spans, "PIECE", 2**13)
    stored.write(kind)
    df = stored.read(kind)
    front.ranges = False
    assert means(df, "compute") == pytest.approx(stored.answer.tolist(), abs=1)
    assert until(idle)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tfrecord"])
def test_what_is_cut_off_is_lost_as_on_a_disk(front, stored, kind, tmp_path, monkeypatch):
    import s3fs

    monkeypatch.setattr(spans, "PIECE", 2**11)
    stored.write(kind)
    store = s3fs.S3FileSystem(**stored.straight)
    (path, *_) = (p for p in sorted(store.find(f"{stored.bucket}/{kind}")) if "/part-" in p)
    data = store.cat_file(path)
    data = data[: len(data) * 2 // 3]
    name = path.rpartition("/")[2]
    store.pipe_file(f"{stored.bucket}/cut/{kind}/{name}", data)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / name).write_bytes(data)
    read, more = di.read_webdataset, {"extensions": ["png"], "on_error": "null"}
    if kind == "tfrecord":
        read, more = di.read_tfrecords, {"features": {"image": "image"}, "on_error": "null"}
    far = read(f"s3://{stored.bucket}/cut/{kind}", storage_options=stored.options, **more).compute()
    near = read(tmp_path / "cut", **more).compute()
    column = "image" if kind == "tfrecord" else "png"
    assert 1 < len(far) <= EACH
    assert far[column].img.error.tolist() == near[column].img.error.tolist()
    assert far[column].img.failed.sum() == 1


@pytest.fixture(scope="module")
def larger(one_front, s3_server, tmp_path_factory) -> Stored:  # noqa: F811
    """More pictures in a shard than a piece of work has."""
    return Stored(one_front, s3_server.storage_options, tmp_path_factory.mktemp("pictures"), 20)


@pytest.mark.parametrize("kind", KINDS)
def test_who_stops_early_leaves_no_request(front, larger, kind):
    larger.write(kind)
    df = larger.read(kind)
    front.asked.clear()
    front.held = lambda name: "part-00004" in name or "part-00005" in name
    with dask.config.set(scheduler="threads", num_workers=2):
        batches = df[["image"]].img.iter_batches(batch_size=2)
        assert len(next(batches)["image"]) == 2
        assert front.wait_for(lambda: any(map(front.held, front.names)))
        assert ahead._process().active > 0
        batches.close()
    assert until(idle)


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_reads_ahead_of_its_next_task(front, stored, client, kind):
    stored.write(kind)
    df = stored.read(kind)
    front.asked.clear()
    workers = client.scheduler_info(n_workers=-1)["workers"]
    worker, threads = next((name, each["nthreads"]) for name, each in workers.items())
    early: list[bool] = []

    def waits(name: str) -> bool:
        if not early:
            early.append(front.wait_for(lambda: len(set(front.names)) > threads))
        return False

    front.held = waits
    there = {"workers": [worker], "allow_other_workers": False}
    found = client.compute(df.image.img.mean(), **there).result()
    assert found.tolist() == pytest.approx(stored.answer.tolist(), abs=1)
    assert early
    assert all(early)
    assert len(front.asked) == SHARDS
    assert until(lambda: client.run(idle, workers=[worker]) == {worker: True})
