"""obstore in place of fsspec: the same bytes, the same failures, credentials no further."""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import socket
import struct
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from daskimg.transport import ahead, doors, native
from daskimg.transport.fetch import Source, open_head, read_bytes, size
from tests.servers import s3_server  # noqa: F401

SECRET = {"key": "AKIAKEY", "secret": "hunter22", "client_kwargs": {"region_name": "us-east-1"}}


class Answers:
    """An endpoint that answers as the key says; what it was sent."""

    url = ""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.elsewhere = ""


@pytest.fixture
def endpoints() -> Iterator[list[Answers]]:
    made, servers = [], []
    for _ in range(2):
        state = Answers()

        class Handler(http.server.BaseHTTPRequestHandler):
            of = state

            def do_HEAD(self) -> None:
                self.reply(404, b"")

            def do_GET(self) -> None:
                self.of.seen.append((self.path, dict(self.headers)))
                what = self.path.rpartition("/")[2].partition(".")[0]
                if what.isdigit():
                    code = {"404": "NoSuchKey", "403": "AccessDenied"}.get(what, "Other")
                    body = f"<Error><Code>{code}</Code><Message>said hunter22</Message></Error>"
                    return self.reply(int(what), body.encode())
                if what == "reset":
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.close_connection = True
                    return None
                if what == "half":
                    return self.reply(
                        206, b"x" * 50, {"Content-Length": "100", "Content-Range": "bytes 0-99/100"}
                    )
                if what == "moved":
                    return self.reply(307, b"", {"Location": f"{self.of.elsewhere}/b/other"})
                if what == "whole":
                    return self.reply(200, bytes(range(200)))
                return self.reply(206, b"abc", {"Content-Range": "bytes 0-2/3"})

            def reply(self, status: int, body: bytes, more: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **(more or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        state.url = f"http://127.0.0.1:{server.server_port}"
        made.append(state)
    made[0].elsewhere = made[1].url
    yield made
    for server in servers:
        server.shutdown()
        server.server_close()


def source_at(url: str, **more: Any) -> Source:
    return Source({**SECRET, "endpoint_url": url, **more})


@pytest.mark.sampled(one_in=2)
@pytest.mark.parametrize(
    "what, kind, told, tries",
    [
        ("404", FileNotFoundError, r"404\.jpg", 1),
        ("403", PermissionError, r"403\.jpg", 1),
        ("400", OSError, r"400|Other", 1),
        ("429", OSError, r"after 3 tries", 3),
        ("500", OSError, r"after 3 tries", 3),
        ("503", OSError, r"after 3 tries", 3),
        ("reset", OSError, r"after 3 tries", 3),
        ("half", OSError, r"after 3 tries", 3),
    ],
)
def test_failures_are_the_same(by, endpoints, monkeypatch, what, kind, told, tries):
    monkeypatch.setattr("daskimg.transport.retry.FIRST_DELAY", 0.001)
    source, path = source_at(endpoints[0].url), f"s3://b/pre/{what}.jpg"
    with pytest.raises(kind, match=told) as caught:
        read_bytes(path, source, retries=2)
    # (aiohttp asks again by itself where a connection that it kept was reset)
    assert len(endpoints[0].seen) in (tries, 2 * tries if what == "reset" else tries)
    assert {*doors.served} == {by}
    assert caught.value.filename == path
    text = str(caught.value)
    assert "hunter22" not in text
    assert "AKIAKEY" not in text
    assert "\n" not in text
    assert len(text) < 400


def test_nobody_there(by, monkeypatch):
    monkeypatch.setattr("daskimg.transport.retry.FIRST_DELAY", 0.001)
    for url in ("http://127.0.0.1:9", "http://no-such-host.invalid"):
        with pytest.raises(OSError, match=r"\(after 2 tries\)") as caught:
            read_bytes("s3://b/a.jpg", source_at(url), retries=1)
        assert "hunter22" not in str(caught.value)


def test_an_endpoint_that_hangs(by, monkeypatch):
    monkeypatch.setattr(ahead, "LONGEST", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(TimeoutError, match="no answer within"):
            read_bytes("s3://b/a.jpg", source_at(url), retries=0)
    assert time.monotonic() - start < 60


def test_ranges_that_are_ignored(by, endpoints):
    source, path = source_at(endpoints[0].url), "s3://b/pre/whole.jpg"
    assert read_bytes(path, source) == bytes(range(200))
    with open_head(path, source) as file:
        file.seek(150)
        assert file.read(10) == bytes(range(150, 160))


def test_an_empty_file_and_part_of_one(by, endpoints):
    source = source_at(endpoints[0].url)
    assert read_bytes("s3://b/pre/a.jpg", source) == b"abc"
    if by == "obstore":  # (fsspec asks for no range of a whole file)
        assert read_bytes("s3://b/pre/416.jpg", source) == b""


KEYS = [
    "plain.png",
    "a b.png",
    "ü ñ.png",
    "a%20b.png",
    "a+b.png",
    "q?v=1.png",
    "h#1.png",
    "s*[1].png",
]
ODD = ["a//b.png", "./b.png", "c/../b.png", "x/.hidden", "~a.png"]


def test_keys_are_what_they_are(by, s3_server):  # noqa: F811
    models = pytest.importorskip("moto.s3.models")
    bucket = f"keys-{uuid.uuid4().hex[:8]}"
    backend = models.s3_backends["123456789012"]["aws"]
    backend.create_bucket(bucket, "us-east-1")
    source = Source(s3_server.storage_options)
    for number, key in enumerate((*KEYS, *ODD)):
        backend.put_object(bucket, key, f"{number}".encode())
    for number, key in enumerate((*KEYS, *ODD)):
        try:
            found = read_bytes(f"s3://{bucket}/{key}", source)
        except OSError:  # botocore itself would not ask for it
            assert ".." in key or "./" in key
            continue
        assert found == f"{number}".encode(), key
    assert doors.served[by] >= len(KEYS)


@pytest.mark.parametrize(
    "key", ["a//b", "../a", "a/../b", "/a", "a/", "./a", "a/.", "a?versionId=1"]
)
def test_odd_keys_are_not_given_to_obstore(key):
    store = native.Store("s3://b", None)
    assert store.key(f"b/{key}") is None
    assert store.key("b/x/a.b..c") == "x/a.b..c"


@pytest.mark.parametrize(
    "more",
    [
        {"profile": "work"},
        {"config_kwargs": {"signature_version": "s3"}},
        {"client_kwargs": {"verify": False}},
        {"token": "t0ken"},  # it would follow a redirect
        {"key": None, "secret": None},
        {"session": object},
    ],
)
def test_other_options_are_left_to_fsspec(more):
    options = {**SECRET, "endpoint_url": "http://127.0.0.1:9", **more}
    assert native.store_of("s3://b", options) is None


def test_options_that_mean_the_same(monkeypatch):
    pytest.importorskip("obstore")
    for more in ({}, {"anon": True, "key": None}, {"requester_pays": True}, {"use_ssl": False}):
        assert native.store_of("s3://b", {**SECRET, "endpoint_url": "http://h:9", **more})
    assert native.store_of("s3://b", {**SECRET, "token": "t"})  # to Amazon itself
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere")
    assert native.store_of("s3://b", SECRET) is None


@pytest.mark.parametrize("more", [{}, {"token": "SESSIONS"}])
def test_credentials_follow_no_redirect(by, endpoints, monkeypatch, more):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "ENVIRONMENTS")
    with contextlib.suppress(OSError):
        read_bytes("s3://b/pre/moved.jpg", source_at(endpoints[0].url, **more), retries=0)
    assert endpoints[0].seen
    told = str([one[1] for one in endpoints[1].seen])
    for secret in ("AKIAKEY", "hunter22", "uthorization", "SESSIONS"):
        assert secret not in told
    assert "ENVIRONMENTS" not in str([endpoints[0].seen, endpoints[1].seen])


def test_who_is_sent_elsewhere_by_an_endpoint_is_told(endpoints):
    with pytest.raises(PermissionError, match=r"no other host") as raised:
        read_bytes("s3://b/pre/moved.jpg", source_at(endpoints[0].url, token="SESSIONS"))
    assert len(endpoints[0].seen) == 1  # it would say the same again
    assert not endpoints[1].seen
    assert "SESSIONS" not in str(raised.value)


@pytest.mark.long
def test_a_forked_child_is_not_left_waiting(by, endpoints):
    source = source_at(endpoints[0].url)
    assert read_bytes("s3://b/pre/a.jpg", source) == b"abc"
    child = os.fork()
    if child == 0:  # the answer is its exit status
        status = 1
        try:
            status = 0 if read_bytes("s3://b/pre/a.jpg", source) == b"abc" else 2
        finally:
            os._exit(status)
    end = time.monotonic() + 60
    done = (0, 0)
    while done == (0, 0) and time.monotonic() < end:
        done = os.waitpid(child, os.WNOHANG)
        time.sleep(0.05)
    assert done == (child, 0)


def test_a_size_and_a_head(by, s3_server):  # noqa: F811
    models = pytest.importorskip("moto.s3.models")
    bucket = f"sizes-{uuid.uuid4().hex[:8]}"
    backend = models.s3_backends["123456789012"]["aws"]
    backend.create_bucket(bucket, "us-east-1")
    data = np.random.default_rng(0).bytes(100_000)
    backend.put_object(bucket, "a.bin", data)
    source, path = Source(s3_server.storage_options), f"s3://{bucket}/a.bin"
    assert size(path, source) == len(data)
    assert read_bytes(path, source, max_bytes=100_000) == data
    with open_head(path, source) as file:
        assert file.read() == data
    assert re.fullmatch("obstore|fsspec", by)
