"""Servers on loopback that tests talk to: S3, a web server that misbehaves, PostgreSQL."""

from __future__ import annotations

import http.server
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

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
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), int(last or len(data))
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


def programs() -> Path | None:
    """The folder of ``pg_ctl``: Debian keeps it out of the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    on_path = shutil.which("pg_ctl")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@contextmanager
def postgres(password: str) -> Iterator[sa.URL]:
    """The URL of a PostgreSQL server on loopback, user bob; its data live as long as it does."""
    binaries = programs()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="daskimg-postgres-"))
    # the server refuses to run as root; Debian's package has a user for it
    user = {"user": "postgres", "group": "postgres", "extra_groups": []} if not os.getuid() else {}
    if user:
        shutil.chown(folder, "postgres", "postgres")

    def run(program: str, *options: object) -> None:
        words = [str(binaries / program), "-D", str(folder / "data"), *map(str, options)]
        done = subprocess.run(
            words, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **user
        )
        assert done.returncode == 0, done.stdout

    try:
        secret = folder / "secret"
        secret.write_text(password)
        locale = ("--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
        run("initdb", "-U", "bob", "--auth=scram-sha-256", f"--pwfile={secret}", *locale)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
        log = folder / "log"
        # files, not pipes: the server keeps them open
        run("pg_ctl", "-w", "-l", log, "-o", options, "start")
        try:
            yield sa.URL.create(
                "postgresql+psycopg", "bob", password, "127.0.0.1", port, "postgres"
            )
        finally:
            run("pg_ctl", "-w", "-m", "fast", "stop")
    finally:
        shutil.rmtree(folder)
