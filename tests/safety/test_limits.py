"""``daskimg.formats`` and ``daskimg.max-image-bytes``: what is not opened, wherever it runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import dask
import dask.dataframe as dd
import fsspec
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg import config
from daskimg.errors import TooManyBytesError
from daskimg.kernels.reader import READERS
from daskimg.transport import fetch
from tests.clusters import ON_CLUSTER
from tests.safety.damage import seeds

JPEG_ONLY = {"daskimg.formats": ["jpeg"]}
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(sh) (w) file pop\nshowpage\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A good file of every kind, all of them called JPEG."""
    folder = tmp_path_factory.mktemp("kinds")
    for number, (extension, data) in enumerate(seeds()):
        (folder / f"{number:03d}-{extension}.jpg").write_bytes(data)
    return folder


def looked_at(frame):
    img = frame.image.img
    columns = {"why": img.check(), "height": img.height, "mean": img.mean()}
    return frame.assign(small=img.resize(4, 5), **columns)


def test_the_setting_lists_all_there_are():
    assert [name.upper() for name in config.get("formats")] == [*READERS]
    assert config.settings().formats is None


@pytest.mark.parametrize("names", [["jpg", "PNG"], "jpeg, png", ("png", "jpeg")])
def test_ways_to_write_it(names):
    with dask.config.set({"daskimg.formats": names}):
        assert config.settings().formats == ("JPEG", "PNG")


@pytest.mark.parametrize("name", ["eps", "pdf", "all", ""])
def test_what_is_not_known_is_never_opened(name):
    with (
        dask.config.set({"daskimg.formats": ["jpeg", name]}),
        pytest.raises(ValueError, match="never opened"),
    ):
        di.images(pd.Series(["a.jpg"])).img.mean()


def judge(found) -> None:
    kind = found.path.str.extract(r"-(\w+)\.jpg$")[0]
    other = kind != "jpg"
    assert 0 < other.sum() < len(found)
    assert (found.why.notna() == other).all()
    assert found.why[other].str.startswith("format: FormatNotAllowedError: expected").all()
    assert found.why[kind == "webp"].str.endswith("(jpeg), got WEBP").all()
    for name in ("height", "mean", "small"):
        assert (found[name].isna() == other).all()


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_other_formats_are_failed_rows(folder, scheduler, isolated):
    with dask.config.set({**JPEG_ONLY, "daskimg.decode-processes": isolated}):
        frame = looked_at(di.read_images(folder, on_error="null", files_per_partition=12))
    judge(frame.compute(scheduler=scheduler))


@pytest.mark.long
def test_the_setting_travels_to_workers(client, folder):
    with dask.config.set(JPEG_ONLY):
        frame = looked_at(di.read_images(folder, on_error="null", files_per_partition=12))
    judge(frame.compute())


def test_it_is_told_in_summaries(folder, tmp_path):
    with dask.config.set(JPEG_ONLY):
        frame = di.read_images(folder, on_error="null")
        frame = frame.assign(image=frame.image.img.resize(4, 5))
    n = len(seeds()) - sum(extension == "jpg" for extension, _ in seeds())
    assert f"{n} failed: {n} of another format" in str(frame.img.write_parquet(tmp_path / "out"))


def test_postscript_starts_nothing(tmp_path, monkeypatch):
    """Whatever it is called: Ghostscript is not asked even where it is installed."""
    asked = []
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: asked.append(a))
    monkeypatch.setattr(os, "system", asked.append)
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", "gs")
    for name in ("a.eps", "b.jpg", "c.png"):
        (tmp_path / name).write_bytes(EPS)
    frame = looked_at(di.read_images(tmp_path, on_error="null", file_extensions="*"))
    found = frame.compute(scheduler="sync")
    assert found.why.str.contains("cannot identify image file").tolist() == [True] * 3
    assert asked == []


# -- bytes ----------------------------------------------------------------------------------------
@pytest.fixture
def sizes(tmp_path) -> Path:
    for name, extra in (("a.png", 0), ("b.png", 400), ("c.png", 401), ("d.png", 4000)):
        png = seeds()[5][1]
        (tmp_path / name).write_bytes(png + bytes(extra))  # (what follows a picture is ignored)
    return tmp_path


def capped(sizes: Path) -> int:
    return (sizes / "b.png").stat().st_size


@pytest.mark.parametrize(
    "scheduler", ["sync", "threads", pytest.param("workers", marks=ON_CLUSTER)]
)
def test_files_of_more_bytes_are_failed_rows(request, sizes, scheduler):
    if scheduler == "workers":
        request.getfixturevalue("client")
    with dask.config.set({"daskimg.max-image-bytes": f"{capped(sizes)}B"}):
        frame = looked_at(di.read_images(sizes, on_error="null", files_per_partition=2))
    found = frame.compute(**({} if scheduler == "workers" else {"scheduler": scheduler}))
    assert found.why.isna().tolist() == [True, True, False, False]
    assert found.why[2:].str.startswith("read: TooManyBytesError: the file has more than").all()
    assert found["mean"].isna().tolist() == [False, False, True, True]
    assert looked_at(di.read_images(sizes)).compute().why.isna().all()


def test_a_large_file_is_not_read(tmp_path):
    """A terabyte, were it not a hole."""
    with open(tmp_path / "hole.jpg", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(TooManyBytesError, match="1,000"):
        fetch.read_bytes(str(tmp_path / "hole.jpg"), max_bytes=1000)


def test_a_store_is_not_read_beyond(monkeypatch):
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/caps/a.jpg", bytes(100_000))
    asked, real = [], type(fs).cat_file

    def cat_file(self, path, start=None, end=None, **kwargs):
        asked.append((start, end))
        return real(self, path, start, end, **kwargs)

    monkeypatch.setattr(type(fs), "cat_file", cat_file)
    with pytest.raises(TooManyBytesError):
        fetch.read_bytes("memory://caps/a.jpg", max_bytes=99_999)
    assert len(fetch.read_bytes("memory://caps/a.jpg", max_bytes=100_000)) == 100_000
    assert asked == [(0, 100_000), (0, 100_001)]
    fs.pipe_file("/caps/empty.jpg", b"")
    assert fetch.read_bytes("memory://caps/empty.jpg", max_bytes=10) == b""


@pytest.mark.parametrize("ranges", [True, False])
def test_a_web_server_is_not_read_beyond(web_server, ranges):
    web_server.ranges = ranges
    data = np.random.default_rng(0).bytes(3_000_000)
    web_server.files["/a.jpg"] = data
    web_server.files["/empty.jpg"] = b""
    url = f"{web_server.url}/a.jpg"
    assert fetch.read_bytes(url, max_bytes=len(data)) == data
    with pytest.raises(TooManyBytesError):
        fetch.read_bytes(url, max_bytes=len(data) - 1)
    assert fetch.read_bytes(f"{web_server.url}/empty.jpg", max_bytes=10) == b""
    assert web_server.requests["/a.jpg"] == 2
    web_server.failures["/a.jpg"] = 1
    assert fetch.read_bytes(url, max_bytes=len(data)) == data
    with pytest.raises(FileNotFoundError):
        fetch.read_bytes(f"{web_server.url}/no.jpg", max_bytes=10)


def test_an_object_store(s3_server):
    s3fs = pytest.importorskip("s3fs")
    fs = s3fs.S3FileSystem(**s3_server.storage_options)
    fs.mkdir("caps")
    for name, size in (("a.jpg", 1000), ("empty.jpg", 0)):
        fs.pipe_file(f"caps/{name}", bytes(size))
    source = fetch.Source(s3_server.storage_options)
    assert fetch.read_bytes("s3://caps/a.jpg", source, max_bytes=1000) == bytes(1000)
    assert fetch.read_bytes("s3://caps/empty.jpg", source, max_bytes=10) == b""
    with pytest.raises(TooManyBytesError):
        fetch.read_bytes("s3://caps/a.jpg", source, max_bytes=999)


@pytest.mark.parametrize("limit", [0, -1, "0B"])
def test_a_limit_is_a_size(limit):
    with dask.config.set({"daskimg.max-image-bytes": limit}), pytest.raises(ValueError, match="0"):
        di.images(pd.Series(["a.jpg"])).img.mean()


def test_limits_are_those_of_when_the_column_was_made(sizes):
    lazy = dd.from_pandas(pd.DataFrame({"path": sorted(map(str, sizes.iterdir()))}), npartitions=2)
    why = di.images(lazy.path, on_error="null").img.check()
    with dask.config.set({"daskimg.max-image-bytes": 10, **JPEG_ONLY}):
        assert why.compute().isna().all()
