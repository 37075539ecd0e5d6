"""A key and a password that are planted are seen nowhere: not printed, named, logged or written."""

from __future__ import annotations

import contextlib
import io
import logging
import traceback
from pathlib import Path
from typing import Any

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from distributed import performance_report

import daskimg as di
from daskimg.column.dtype import ImageDtype
from daskimg.errors import quoted, shown
from daskimg.io.commit.result import WriteResult
from daskimg.io.commit.target import Target
from daskimg.secrets import mask_url

KEY, PASSWORD = "PLANTED-KEY-4711", "PLANTED-PASSWORD-4712"
OPTIONS = {"key": KEY, "password": PASSWORD, "client_kwargs": {"token": KEY}}
# signed, with a user, on a port where nobody listens
URL = f"https://bob:{PASSWORD}@127.0.0.1:9/a.jpg?w=7&X-Amz-Signature={KEY}"
WRITERS = {
    "parquet": {},
    "tfrecords": {},
    "webdataset": {},
    "images": {"column": "image"},
    "numpy": {"column": "small"},
}


def surfaces(x: Any) -> dict[str, str]:
    """All that can be seen of `x` without opening a pickle."""
    seen = {"repr": repr(x), "str": str(x)}
    if hasattr(x, "_repr_html_"):
        seen["html"] = str(x._repr_html_())
    if hasattr(x, "__dask_graph__") and x.__dask_graph__() is not None:
        seen["token"] = dask.base.tokenize(x)
        seen["collection keys"] = repr(x.__dask_keys__())
    if hasattr(x, "pprint"):
        for which, found in (("written", x), ("optimised", x.optimize(fuse=False))):
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                found.pprint()
            graph = dict(found.__dask_graph__())
            seen |= {
                f"{which} pprint": out.getvalue(),
                f"{which} tree": "\n".join(found.expr._tree_repr_lines()),
                f"{which} name": found._name,
                f"{which} keys": repr(list(graph)),
                f"{which} graph": repr(graph),
            }
    return seen


def clean(text: str) -> None:
    for secret in (KEY, PASSWORD):
        at = text.find(secret)
        assert at < 0, text[max(0, at - 300) : at + 80]


def shows_nothing(*things: Any) -> None:
    for x in things:
        for text in surfaces(x).values():
            clean(text)


def told_by(action: Any) -> str:
    """The whole traceback of what `action` raises."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        action()
    return "".join(traceback.format_exception(caught.value))


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    """Ports where nobody listens are tried again at once."""
    monkeypatch.setattr("daskimg.transport.retry.FIRST_DELAY", 0.001)


@pytest.fixture
def frame(vault, paths):
    """Pictures on a store that takes a key, one of them broken, and columns made of them."""
    fs = vault(key=KEY, password=PASSWORD)
    for number, path in enumerate(paths[:5]):
        fs.pipe_file(f"/pics/{number}.jpg", Path(path).read_bytes())
    fs.pipe_file("/pics/7.jpg", b"no picture")
    frame = di.read_images("vault://pics", storage_options=OPTIONS, on_error="null")
    small = frame.image.img.decode("RGB").img.resize(6, 6)
    return frame.assign(mean=frame.image.img.mean(), small=small, why=frame.image.img.check())


def test_the_planted_options_are_in_use(frame, vault):
    """Else there would be nothing to find."""
    used = frame.image.dtype.source
    assert di.transport.fetch.recall(used).options == OPTIONS
    assert len(frame.compute()) == 6


def test_frames_show_no_options(frame):
    shows_nothing(frame, frame.image, frame.image.img.mean(), frame[frame.why.isna()])
    shows_nothing(frame.img.errors(), frame.img.map_batches(lambda b: {"n": b["mean"]}))
    found = frame.compute()
    shows_nothing(found, found.image, found.image.iloc[0], found.image.dtype, found.img.errors())
    shows_nothing(found.image.dtype.to_json(), found.small.dtype.to_json())


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("name", WRITERS)
def test_writers_write_and_show_no_options(frame, vault, name):
    write = getattr(frame.img, f"write_{name}")
    later = write(
        "vault://out",
        **WRITERS[name],
        storage_options=OPTIONS,
        errors="vault://errors",
        compute=False,
    )
    shows_nothing(later)
    result = later.compute()
    shows_nothing(result, result.files, result.manifest)
    written = {n: f.getvalue() for n, f in vault.store.items() if not n.startswith("/pics")}
    assert any(n.endswith("manifest.json") for n in written)
    assert any(n.startswith("/errors") for n in written)
    for file, data in written.items():
        clean(file)
        assert KEY.encode() not in data
        assert PASSWORD.encode() not in data
    for file in written:
        if file.endswith(".parquet"):
            with vault(key=KEY, password=PASSWORD).open(file) as opened:
                clean(repr(pq.read_schema(opened).metadata))
    if name != "images":
        shows_nothing(getattr(di, f"read_{name}")("vault://out", storage_options=OPTIONS))


def test_credentials_in_urls_are_masked():
    cells = di.images(pd.Series([URL], name="image"), on_error="null")
    reasons = cells.img.check()
    assert reasons.notna().all()
    decoded = cells.img.decode()
    shows_nothing(cells, cells.iloc[0], reasons.iloc[0], decoded, decoded.iloc[0])
    shows_nothing(decoded.img.error.iloc[0], cells.to_frame(), cells.to_frame().img.errors().error)
    # the path itself is what the user gave, or nothing could be read from it
    assert cells.img.path.iloc[0] == URL
    lazy = dd.from_pandas(cells.to_frame(), npartitions=1)
    shows_nothing(lazy, lazy.assign(mean=lazy.image.img.mean()).compute())


@pytest.mark.parametrize("fill", [10, 130, 200, 400, 5000])
def test_what_is_cut_out_of_a_url_is_masked_before(fill):
    for url in (
        f"https://host/{'a' * fill}.jpg?sig=hunter2",
        f"https://host/a.jpg?X-Amz-Signature={'x' * fill}hunter2",
        f"https://bob:{'x' * fill}hunter2@host/{'b' * 20}",
        f"https://host/a.jpg?sig=hunter2&w={'a' * fill}",
    ):
        for value in (url, [url], {"url": url}, (1, url), di.Image(path=url)):
            for text in (quoted(value), shown(value)):
                assert "hunter2" not in text
    with pytest.raises(TypeError, match="got dict") as caught:
        pd.Series([{"url": url}], dtype="image")
    assert "hunter2" not in str(caught.value)


def test_sheets_show_no_credentials():
    url = "https://host/a.jpg?sig=hunter2"
    failed = pd.Series([di.Image(path=url, error=f"read: OSError: no {url}")], dtype="image[file]")
    assert "hunter2" not in failed.img.show()._repr_html_()
    assert "hunter2" not in di.compare(failed, failed)._repr_html_()


def test_text_of_any_length_is_masked_in_one_go():
    n = 300_000
    assert mask_url("a" * n + "://u:p@h").endswith("://***@h")
    assert mask_url("https://h/?" + "sig" * n).count("sig") == n
    assert mask_url("https://h/?" + "&key" * n).count("key") == n
    assert mask_url("://" + ":" * n).count(":") == n + 1


def test_summaries_and_reports(frame, client, tmp_path):
    """What is printed about a run, and Dask's own report of one."""
    report = tmp_path / "report.html"
    urls = di.images(pd.Series([URL], name="image"), on_error="null")
    with performance_report(filename=report), di.stats() as s:
        frame.compute()  # (the workers do not have these files)
        dd.from_pandas(urls.to_frame(), npartitions=1).image.img.mean().compute()
    shows_nothing(s, s.causes, s.to_frame(), s.to_frame(by="worker"))
    assert s.causes == {"not readable": 6 + 1}
    clean(report.read_text())
    clean(repr(client.get_events()))
    with dask.config.set({"daskimg.max-errors": 0}):
        many = di.images(pd.Series([URL], name="image"), on_error="null")
        clean(told_by(many.img.mean))
    where = f"https://bob:{PASSWORD}@host/errors?sig={KEY}"
    shows_nothing(WriteResult(3, 1, "", 0, {"truncated": 1}, Target(where).shown))


def failing() -> dict[str, Any]:
    url = f"https://bob:{PASSWORD}@127.0.0.1:9/x?sig={KEY}"
    table = pd.DataFrame(
        {"n": [1], "image": pd.Series([np.zeros((2, 2), np.uint8)], dtype="image")}
    )
    small = table.assign(small=table.image.img.resize(2, 2))
    reads = ("images", "parquet", "tfrecords", "webdataset", "numpy")
    found = {f"read {n}": lambda n=n: getattr(di, f"read_{n}")(url) for n in reads}
    found |= {
        f"write {n}": lambda n=n: getattr(small.img, f"write_{n}")(url, **WRITERS[n])
        for n in WRITERS
    }
    found["mean"] = lambda: di.images(pd.Series([URL])).img.mean()
    found["height"] = lambda: di.images(pd.Series([URL])).img.height
    found["write csv"] = lambda: table[["n"]].img.write_csv(url)
    server = f"postgresql+psycopg://bob:{PASSWORD}@127.0.0.1:9/shop?sslpassword={KEY}"
    found["read sql"] = lambda: di.read_sql("select 1 as a", server)
    found["no database"] = lambda: di.read_sql("select 1", f"nosuch://bob:{PASSWORD}@h/d?key={KEY}")
    return found


@pytest.mark.parametrize("name", failing())
def test_errors_and_their_tracebacks_are_masked(name):
    clean(told_by(failing()[name]))


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
def test_a_database_is_shown_without_its_password(tmp_path):
    shown = di.read_sql("select 1 as a", f"sqlite:///{tmp_path}/x.db?password={PASSWORD}")
    shows_nothing(shown)


def test_logs_of_this_process(frame, caplog):
    caplog.set_level(logging.INFO)  # at DEBUG, fsspec itself logs every URL it is asked for
    frame.compute()
    cells = di.images(pd.Series([URL], name="image"), on_error="null")
    cells.img.mean()
    clean(caplog.text)


def test_a_cluster_logs_nothing_and_raises_nothing(client):
    """Workers log what failed with the arguments of its task."""
    table = pd.DataFrame({"image": pd.Series([URL, URL])})
    lazy = dd.from_pandas(table, npartitions=2)
    cells = di.images(lazy.image, storage_options={"client_kwargs": {"password": PASSWORD}})
    clean(told_by(cells.img.mean().compute))
    lines = [client.get_scheduler_logs(), client.get_worker_logs(nanny=False)]
    assert "Compute Failed" in repr(lines)
    clean(repr(lines))


def test_dtypes_travel_as_a_handle():
    cells = di.images(pd.Series(["s3://bucket/1.jpg"]), storage_options=OPTIONS)
    text = cells.dtype.to_json()
    clean(text)
    assert ImageDtype.from_json(text).source == cells.dtype.source
