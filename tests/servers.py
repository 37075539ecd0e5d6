"""Servers on loopback that tests talk to: a real S3 interface, a web server that misbehaves."""

from __future__ import annotations

import http.server
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.patience import PATIENCE


class S3Server(NamedTuple):
    endpoint: str
    storage_options: dict[str, Any]


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A moto server; each test uses a bucket of its own."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    options = {
        "key": "test-access-key",
        "secret": "test-secret-key",
        "client_kwargs": {"endpoint_url": endpoint},
    }
    yield S3Server(endpoint, options)
    server.stop()


class WebServer:
    """Answers ranges, counts requests, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.failures: dict[str, int] = {}  # path -> how many 503 answers first
        self.status: dict[str, int] = {}  # path -> the answer it always gets
        self.waits: dict[str, threading.Event] = {}  # path -> what its answer waits for
        self.requests: Counter[str] = Counter()
        self.sent = 0
        self.ranges = True
        self.url = ""


@pytest.fixture
def web_server() -> Iterator[WebServer]:
    state = WebServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = self.path.partition("?")[0]
            state.requests[path] += 1
            if path in state.waits:
                state.waits[path].wait(PATIENCE)
            if path in state.status:
                return self.reply(state.status[path], b"", body)
            if state.failures.get(path, 0) > 0:
                state.failures[path] -= 1
                return self.reply(503, b"", body)
            if path not in state.files:
                return self.reply(404, b"", body)
            data = state.files[path]
            wanted = self.headers.get("Range")
            if wanted is None or not state.ranges:
                return self.reply(200, data, body)
            start, end = (int(number) for number in wanted.removeprefix("bytes=").split("-"))
            if start >= len(data):
                return self.reply(416, b"", body)
            part = data[start : end + 1]
            said = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
            return self.reply(206, part, body, said)

        def reply(self, status: int, data: bytes, body: bool, said: str | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            if said:
                self.send_header("Content-Range", said)
            self.end_headers()
            if body:
                state.sent += len(data)
                self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()
