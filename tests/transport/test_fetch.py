from __future__ import annotations

import contextlib
import errno
import http.server
import io
import os
import pickle
import random
import subprocess
import sys
import threading
import traceback
import uuid
from pathlib import Path
from typing import ClassVar

import fsspec
import numpy as np
import pandas as pd
import PIL.Image
import pytest
from dask.base import tokenize

import daskimg as di
from daskimg.secrets import mask_url
from daskimg.transport import ahead, fetch, retry
from daskimg.transport.fetch import Source, local_path, open_head, read_bytes, size
from tests.servers import S3Server, WebServer, s3_server, web_server  # noqa: F401


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.001)


class TestMaskUrl:
    @pytest.mark.parametrize(
        "url, masked",
        [
            ("/data/a?token=1.jpg", "/data/a?token=1.jpg"),
            ("s3://bucket/a.jpg", "s3://bucket/a.jpg"),
            ("ftp://bob:pw@host/a.jpg", "ftp://***@host/a.jpg"),
            ("https://tok3n@host/a.jpg", "https://***@host/a.jpg"),
            ("sftp://bob@host/a.jpg", "sftp://bob@host/a.jpg"),
            (
                "abfs://pics@account.dfs.core.windows.net/a",
                "abfs://pics@account.dfs.core.windows.net/a",
            ),
            ("https://h/a@b.jpg", "https://h/a@b.jpg"),
            ("https://h/a?id=7&sig=x%2F", "https://h/a?id=7&sig=***"),
            (
                "https://h/a?X-Amz-Credential=AK&X-Amz-Date=1&X-Amz-Security-Token=q",
                "https://h/a?X-Amz-Credential=***&X-Amz-Date=1&X-Amz-Security-Token=***",
            ),
            (
                "zip://a.jpg::https://u:p@h/x.zip?token=t",
                "zip://a.jpg::https://***@h/x.zip?token=***",
            ),
            ("403 for 'https://h/a?TOKEN=t', retry", "403 for 'https://h/a?TOKEN=***', retry"),
        ],
    )
    def test_credentials_and_nothing_else(self, url: str, masked: str) -> None:
        assert mask_url(url) == masked


class TestSource:
    secret: ClassVar[dict[str, object]] = {
        "key": "AKIA123",
        "client_kwargs": {"password": "hunter22"},
    }

    def test_shows_no_value(self) -> None:
        source = Source(self.secret)
        shown = f"{source!r} {source} {source.__dask_tokenize__()} {tokenize(source)}"
        assert repr(source) == "Source(storage_options={'key': '***', 'client_kwargs': '***'})"
        assert "AKIA123" not in shown
        assert "hunter22" not in shown

    def test_equal_by_content_in_any_order(self) -> None:
        one, other = Source({"a": 1, "b": {"c": [1, 2]}}), Source({"b": {"c": [1, 2]}, "a": 1})
        assert one == other
        assert hash(one) == hash(other)
        assert tokenize(one) == tokenize(other)
        assert one != Source({"a": "1", "b": {"c": [1, 2]}})
        assert tokenize(one) != tokenize(Source({"a": 2}))
        assert one != {"a": 1}

    def test_pickles_with_its_options(self) -> None:
        source = Source(self.secret)
        copy = pickle.loads(pickle.dumps(source))
        assert copy == source
        assert copy.options == self.secret

    def test_token_is_the_same_in_another_process(self) -> None:
        made = "Source({'b': {3, 1, 2}, 'a': 'x', 'p': Path('/q')}).__dask_tokenize__()[1]"
        imports = "from pathlib import Path; from daskimg.transport.fetch import Source"
        here = os.environ.get("PYTHONHASHSEED", "random")
        other = subprocess.run(
            [sys.executable, "-c", f"{imports}; print({made})"],
            env={
                **os.environ,
                "PYTHONHASHSEED": "2" if here == "1" else "1",
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        source = Source({"b": {3, 1, 2}, "a": "x", "p": Path("/q")})
        assert other == f"{source.__dask_tokenize__()[1]}\n"

    def test_is_frozen(self) -> None:
        options = {"client_kwargs": {"a": 1}}
        source = Source(options)
        options["client_kwargs"]["a"] = 2
        source.options["client_kwargs"]["a"] = 3
        assert source.options == {"client_kwargs": {"a": 1}}
        with pytest.raises(AttributeError, match="frozen"):
            source.key = 1  # type: ignore[attr-defined]

    def test_default_has_no_options(self) -> None:
        assert Source.default == Source() == Source({})
        assert Source.default.options == {}

    def test_says_what_it_cannot_take(self) -> None:
        with pytest.raises(TypeError, match="expected a dict"):
            Source("key")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="picklable"):
            Source({"callback": lambda: None})


class TestLocal:
    def test_paths(self) -> None:
        assert local_path("/a::b/://c.jpg") == "/a::b/://c.jpg"
        assert local_path("file:///a/b.jpg") == "/a/b.jpg"
        assert local_path("local:///a/b.jpg") == "/a/b.jpg"
        assert local_path("a/b.jpg") == "a/b.jpg"
        assert local_path("memory://a") is None
        assert local_path("simplecache::file:///a") is None

    @pytest.mark.parametrize("length", [0, 1, 100_000])
    def test_reads_what_is_there(self, tmp_path, length: int) -> None:
        data = np.random.default_rng(0).bytes(length)
        file = tmp_path / "a [1] é.jpg"
        file.write_bytes(data)
        for path in (str(file), f"file://{file}", file):
            assert read_bytes(path) == data
            assert size(path) == length
            with open_head(path) as head:
                assert head.read() == data

    def test_short_reads_are_continued(self, tmp_path, monkeypatch) -> None:
        (tmp_path / "a").write_bytes(b"0123456789")
        read = os.read
        monkeypatch.setattr(os, "read", lambda handle, n: read(handle, min(n, 3)))
        assert read_bytes(str(tmp_path / "a")) == b"0123456789"

    @pytest.mark.parametrize("function", [read_bytes, open_head, size])
    def test_a_missing_file_is_named(self, tmp_path, function) -> None:
        with pytest.raises(FileNotFoundError, match=str(tmp_path / "no.jpg")) as caught:
            function(str(tmp_path / "no.jpg"))
        assert caught.value.errno == errno.ENOENT
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)

    def test_a_folder_is_no_file(self, tmp_path) -> None:
        with pytest.raises(IsADirectoryError, match=str(tmp_path)):
            read_bytes(str(tmp_path))


class TestRemote:
    def test_memory(self) -> None:
        fsspec.filesystem("memory").pipe_file("/fetch/a.jpg", b"0123")
        assert read_bytes("memory://fetch/a.jpg") == b"0123"
        assert size("memory://fetch/a.jpg") == 4
        with pytest.raises(FileNotFoundError, match=r"memory://fetch/no\.jpg"):
            read_bytes("memory://fetch/no.jpg")

    @pytest.mark.parametrize("length", [0, 5, 65_535, 65_536, 65_537, 300_000])
    @pytest.mark.parametrize("ranges", [True, False])
    def test_head_is_a_file(self, web_server: WebServer, length: int, ranges: bool) -> None:  # noqa: F811
        data = np.random.default_rng(1).bytes(length)
        web_server.files["/a"] = data
        web_server.ranges = ranges
        rng = random.Random(length)
        with open_head(f"{web_server.url}/a") as file:
            wanted = io.BytesIO(data)
            assert file.seekable()
            for _ in range(30):
                where = rng.choice([os.SEEK_SET, os.SEEK_END])
                offset = rng.randint(0, length)
                offset = offset if where == os.SEEK_SET else -offset
                assert file.seek(offset, where) == wanted.seek(offset, where)
                count = rng.choice([0, 1, 100, 70_000, -1])
                assert file.read(count) == wanted.read(count)
                assert file.tell() == wanted.tell()

    def test_a_header_is_one_request_of_one_block(self, web_server: WebServer) -> None:  # noqa: F811
        out = io.BytesIO()
        noise = np.random.default_rng(2).integers(0, 256, (600, 800, 3), dtype=np.uint8)
        PIL.Image.fromarray(noise).save(out, "jpeg", quality=95)
        web_server.files["/big.jpg"] = out.getvalue()
        assert len(out.getvalue()) > 5 * 65_536
        with open_head(f"{web_server.url}/big.jpg") as file, PIL.Image.open(file) as picture:
            assert picture.size == (800, 600)
        assert web_server.requests["/big.jpg"] == 1
        assert web_server.sent == 65_536

    def test_s3(self, s3_server: S3Server, by: str) -> None:  # noqa: F811
        bucket = f"fetch-{uuid.uuid4().hex[:8]}"
        source = Source(s3_server.storage_options)
        fs, _ = source.filesystem(f"s3://{bucket}")
        fs.mkdir(bucket)
        data = np.random.default_rng(3).bytes(200_000)
        fs.pipe({f"{bucket}/a.jpg": data, f"{bucket}/empty.jpg": b""})
        assert read_bytes(f"s3://{bucket}/a.jpg", source) == data
        assert size(f"s3://{bucket}/a.jpg", source) == 200_000
        with open_head(f"s3://{bucket}/a.jpg", source) as file:
            file.seek(-10, os.SEEK_END)
            assert file.read() == data[-10:]
            assert file.read() == b""
        with open_head(f"s3://{bucket}/empty.jpg", source) as file:
            assert file.read() == b""
        for function in (read_bytes, open_head, size):
            with pytest.raises(FileNotFoundError, match=f"s3://{bucket}/no.jpg"):
                function(f"s3://{bucket}/no.jpg", source)


class TestRetries:
    def test_a_5xx_is_tried_again(self, web_server: WebServer) -> None:  # noqa: F811
        web_server.files["/a.jpg"] = b"data"
        web_server.failures["/a.jpg"] = 3
        assert read_bytes(f"{web_server.url}/a.jpg", retries=3) == b"data"
        assert web_server.requests["/a.jpg"] == 4
        web_server.failures["/a.jpg"] = 2
        with open_head(f"{web_server.url}/a.jpg") as file:
            assert file.read() == b"data"

    def test_not_for_ever(self, web_server: WebServer) -> None:  # noqa: F811
        web_server.files["/a.jpg"] = b"data"
        web_server.failures["/a.jpg"] = 100
        with pytest.raises(OSError, match=r"503.*\(after 3 tries\).*/a.jpg"):
            read_bytes(f"{web_server.url}/a.jpg", retries=2)
        assert web_server.requests["/a.jpg"] == 3

    @pytest.mark.parametrize(
        "status, kind", [(404, FileNotFoundError), (403, PermissionError), (400, OSError)]
    )
    def test_an_answer_that_stays_is_asked_for_once(
        self,
        web_server: WebServer,  # noqa: F811
        status: int,
        kind: type[OSError],
    ) -> None:
        web_server.status["/a.jpg"] = status
        with pytest.raises(kind, match=r"/a\.jpg"):
            read_bytes(f"{web_server.url}/a.jpg")
        assert web_server.requests["/a.jpg"] == 1

    @pytest.mark.parametrize(
        "error, tries",
        [
            (ConnectionResetError(errno.ECONNRESET, "reset"), 3),
            (TimeoutError(), 3),
            (ConnectionResetError("lost"), 3),
            (FileNotFoundError("x"), 1),
            (PermissionError("x"), 1),
            (OSError(errno.EIO, "disk"), 1),
        ],
    )
    def test_kinds(self, error: OSError, tries: int) -> None:
        calls = []

        def action() -> None:
            calls.append(1)
            raise error

        with pytest.raises(OSError, match="memory://a") as caught:
            retry.retrying(action, "memory://a", 2)
        assert len(calls) == tries
        assert isinstance(caught.value, type(error))

    def test_a_mistake_in_the_program_is_not_disguised(self) -> None:
        def action() -> None:
            raise TypeError("wrong argument")

        with pytest.raises(TypeError, match=r"^wrong argument$"):
            retry.retrying(action, "memory://a", 3)

    def test_the_random_numbers_of_the_user_stay(self, web_server: WebServer) -> None:  # noqa: F811
        web_server.files["/a.jpg"] = b"data"
        web_server.failures["/a.jpg"] = 1
        random.seed(0)
        wanted = random.random()
        random.seed(0)
        read_bytes(f"{web_server.url}/a.jpg")
        assert random.random() == wanted

    def test_no_credentials_in_the_traceback(self, web_server: WebServer) -> None:  # noqa: F811
        web_server.status["/a.jpg"] = 403
        url = f"{web_server.url}/a.jpg?token=s3cr3t"
        for function in (read_bytes, open_head, size):
            with pytest.raises(OSError, match=r"token=\*\*\*") as caught:
                function(url)
            text = "".join(traceback.format_exception(caught.value))
            assert "s3cr3t" not in text

    def test_no_options_in_the_message(self) -> None:
        def action() -> None:
            raise OSError("the secret hunter22 was refused at /here")

        with pytest.raises(OSError, match=r"the secret \*\*\* was refused"):
            retry.retrying(action, "memory://a", 0, Source({"secret": "hunter22"}).mask)


def test_fetch_needs_no_dask() -> None:
    code = "import ast,sys; print([n for n in ast.walk(ast.parse(open(sys.argv[1]).read()))" + (
        " if isinstance(n,(ast.Import,ast.ImportFrom)) and 'dask' == "
        "(getattr(n,'module',None) or n.names[0].name).split('.')[0]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, fetch.__file__], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    path = str(tmp_path / "a.jpg")
    assert read_bytes(path) == b""
    cells = di.images(pd.Series([path]), on_error="null")
    assert "no bytes" in cells.img.check().iloc[0]
    assert cells.img.height.isna().all()


def test_a_body_that_never_ends_is_given_up(monkeypatch):
    """A byte now and then: no read of a socket takes long."""
    monkeypatch.setattr(ahead, "LONGEST", 0.5)
    monkeypatch.setattr("daskimg.transport.retry.FIRST_DELAY", 0.001)
    over = threading.Event()

    class Trickle(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            with contextlib.suppress(OSError):
                while not over.wait(0.05):
                    self.wfile.write(b".")

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Trickle)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/a.jpg"
    try:
        with pytest.raises(OSError, match="after 2 tries") as caught:
            read_bytes(url, retries=1)
        assert caught.value.errno == errno.ETIMEDOUT
        with pytest.raises(OSError, match="after 2 tries"):
            open_head(url, retries=1)
    finally:
        over.set()
        server.shutdown()
        server.server_close()
