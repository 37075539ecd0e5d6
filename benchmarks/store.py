"""An S3 endpoint on loopback with a latency for every request, in a process of its own.

``python -m benchmarks.store FOLDER MILLISECONDS`` prints its port; bucket ``pictures`` holds the
files of the folder. It lists, answers GET and HEAD, with ranges, and takes what is PUT.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
import urllib.request
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

BUCKET = "pictures"
LATENCY = 30  # milliseconds
PAGE = 1000  # keys of an answer


class Bucket(NamedTuple):
    endpoint: str

    @property
    def url(self) -> str:
        return self.place("all/")

    def place(self, key: str) -> str:
        return f"s3://{BUCKET}/{key}"

    @property
    def options(self) -> dict[str, Any]:
        return {"key": "key", "secret": "secret", "endpoint_url": self.endpoint}

    def told(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.endpoint}/-told") as answer:
            found: dict[str, Any] = json.load(answer)
        return found


@contextmanager
def serving(folder: Path, latency: float = LATENCY) -> Iterator[Bucket]:
    """An endpoint that serves a folder."""
    command = [sys.executable, "-m", "benchmarks.store", str(folder), str(latency)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Bucket(f"http://127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.terminate()
        process.wait()


class Endpoint:
    """What is served, and what was asked."""

    def __init__(self, folder: str, latency: float) -> None:
        self.latency = latency / 1000
        paths = (os.path.join(place, n) for place, _, names in os.walk(folder) for n in names)
        self.files = {f"all/{os.path.relpath(path, folder)}": path for path in paths}
        self.keys = sorted(self.files)
        self.held: dict[str, bytes] = {}
        self.written: dict[str, bytes] = {}
        self.requests = self.now = self.most = 0
        self.sizes: list[int] = []  # of what was sent of files

    async def answer(self, request: Any) -> Any:
        from aiohttp import web

        if request.path == "/-told":
            told = {"requests": self.requests, "most": self.most, "cpu": time.process_time()}
            told["sizes"] = self.sizes
            return web.json_response(told)
        self.requests += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.latency)
            key = request.path.removeprefix(f"/{BUCKET}").removeprefix("/")
            if request.method == "PUT":
                return self.put(request, key, await request.read())
            if request.method == "DELETE":
                self.written.pop(key, None)
                return web.Response(status=204)
            return self.file(request, key) if key else self.page(request.query)
        finally:
            self.now -= 1

    def put(self, request: Any, key: str, data: bytes) -> Any:
        from aiohttp import web

        if request.headers.get("If-None-Match") == "*" and (key in self.written):
            return web.Response(status=412, text="<Error><Code>PreconditionFailed</Code></Error>")
        self.written[key] = data
        return web.Response(headers={"ETag": f'"{len(data)}"'})

    def data(self, key: str) -> bytes:
        if key in self.written:
            return self.written[key]
        path = os.path.realpath(self.files[key])
        if path not in self.held:
            self.held[path] = Path(path).read_bytes()
        return self.held[path]

    def file(self, request: Any, key: str) -> Any:
        from aiohttp import web

        if key not in self.files and key not in self.written:
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")
        data, status = self.data(key), 200
        headers = {"ETag": f'"{len(data)}"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(len(data))})
        if asked := request.headers.get("Range"):
            start, _, end = asked.removeprefix("bytes=").partition("-")
            first, last = int(start), int(end or len(data))
            headers["Content-Range"] = f"bytes {first}-{min(last, len(data) - 1)}/{len(data)}"
            data, status = data[first : last + 1], 206
        self.sizes.append(len(data))
        return web.Response(body=data, status=status, headers=headers)

    def page(self, query: Any) -> Any:
        from aiohttp import web

        after = query.get("continuation-token") or query.get("start-after", "")
        prefix = query.get("prefix", "")
        keys = self.keys if prefix.startswith("all/") else sorted([*self.keys, *self.written])
        first = max(bisect_left(keys, prefix), bisect_right(keys, after))
        below = itertools.takewhile(lambda key: key.startswith(prefix), keys[first:][: PAGE + 1])
        found = list(below)
        more = len(found) > PAGE
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.data(key))}</Size>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for key in found[:PAGE]
        )
        last = escape(found[:PAGE][-1]) if found else ""
        token = f"<NextContinuationToken>{last}</NextContinuationToken>" if more else ""
        body = (
            f"<ListBucketResult><Name>{BUCKET}</Name><IsTruncated>{str(more).lower()}"
            f"</IsTruncated><KeyCount>{len(found[:PAGE])}</KeyCount>{entries}{token}</ListBucketResult>"
        )
        return web.Response(text=body, content_type="application/xml")


async def serve(folder: str, latency: str) -> None:
    from aiohttp import web

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", Endpoint(folder, float(latency)).answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
