"""A proxy that misbehaves, before a store that does not."""

from __future__ import annotations

import http.client
import http.server
import random
import socket
import struct
import threading
import time
import urllib.parse
from collections import Counter, defaultdict
from typing import Any

WAYS = ("503", "reset", "short", "slow", "well", "well", "well")
MOST = 3  # failures of an object in a row, unless it is lost


class Proxy:
    """What a proxy was asked, and how it answers: by seed, object and attempt.

    Objects named ``lost`` are never answered, those named ``forbidden`` with 403.
    """

    def __init__(self, upstream: str, seed: int = 0) -> None:
        self.upstream = urllib.parse.urlsplit(upstream).netloc
        self.seed = seed
        self.answers: dict[str, list[str]] = defaultdict(list)  # by object, in order
        self.lock = threading.Lock()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.server.handle_error = lambda *args: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self) -> Proxy:
        self.thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def ways(self) -> Counter[str]:
        """How often which answer was given."""
        return Counter(way for answers in self.answers.values() for way in answers)

    def _way(self, method: str, path: str) -> str:
        if method != "GET" or "?" in path:
            return "well"  # what is asked about objects is answered
        with self.lock:
            answers = self.answers[path]
            way = random.Random(f"{self.seed} {path} {len(answers)}").choice(WAYS)
            if len(answers) >= MOST:
                way = "well"
            for name, fixed in (("lost", "503"), ("forbidden", "403"), ("missing", "well")):
                way = fixed if name in path else way
            answers.append(way)
        return way

    def _handler(self) -> type:
        proxy = self
        local = threading.local()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                way = proxy._way(self.command, self.path)
                if way == "reset":  # no goodbye
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.close_connection = True
                    return
                if way in ("503", "403"):
                    self.reply(int(way), {}, b"")
                    return
                status, headers, body = self.ask()
                if way == "short":
                    self.close_connection = True
                self.reply(status, headers, body, way)

            do_HEAD = do_GET  # noqa: N815

            def ask(self) -> tuple[int, dict[str, Any], bytes]:
                if not hasattr(local, "upstream"):
                    local.upstream = http.client.HTTPConnection(proxy.upstream)
                local.upstream.request(self.command, self.path, headers=dict(self.headers))
                answer = local.upstream.getresponse()
                return answer.status, dict(answer.headers), answer.read()

            def reply(
                self, status: int, headers: dict[str, Any], body: bytes, way: str = "well"
            ) -> None:
                self.send_response(status)
                kept = {"content-type", "etag", "last-modified", "content-range"}
                for name, value in headers.items():
                    if name.lower() in kept:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if way == "slow":
                    self.wfile.write(body[:10])
                    self.wfile.flush()
                    time.sleep(0.02)
                    body = body[10:]
                self.wfile.write(body[: len(body) // 2] if way == "short" else body)

            def log_message(self, *args: Any) -> None:
                """Nothing."""

        return Handler
