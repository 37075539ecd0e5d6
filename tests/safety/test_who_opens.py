"""Paths that data names: opened in the data's own store, with that store's credentials, or not."""

from __future__ import annotations

import http.server
import io
import json
import pickle
import threading
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

import dask
import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import daskimg as di
from daskimg.transport.fetch import Source, recall
from daskimg.transport.stores import parse, store_of

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
TOKEN = {"headers": {"Authorization": "Bearer TOKEN", "X-Api-Key": "KEY"}}


def png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (5, 4), (9, 8, 7)).save(out, "PNG")
    return out.getvalue()


class Host(NamedTuple):
    url: str
    files: dict[str, bytes]
    moved: dict[str, str]  # path -> where it is said to be
    seen: list[dict[str, str]]

    @property
    def told(self) -> str:
        """All that was said to it of who asks."""
        public = ("host", "user-agent", "accept", "accept-encoding", "range", "connection")
        return str([{k: v for k, v in one.items() if k.lower() not in public} for one in self.seen])


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    """Two web servers that note what they are sent."""
    made, servers = [], []
    for _ in range(2):
        host = Host("", {}, {}, [])

        class Handler(http.server.BaseHTTPRequestHandler):
            of = host

            def do_HEAD(self) -> None:
                self.answer(b"")

            def do_GET(self) -> None:
                self.answer(None)

            def answer(self, body: bytes | None) -> None:
                self.of.seen.append(dict(self.headers))
                if self.path in self.of.moved:
                    self.send_response(302)
                    self.send_header("Location", self.of.moved[self.path])
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                data, asked = self.of.files.get(self.path), self.headers.get("Range")
                status = 404 if data is None else 206 if asked else 200
                self.send_response(status)
                data = data or b""
                if status == 206:
                    first, last = (asked or "").removeprefix("bytes=").split("-")
                    low = int(first) if first else max(0, len(data) - int(last))
                    high = min(int(last), len(data) - 1) if first and last else len(data) - 1
                    self.send_header("Content-Range", f"bytes {low}-{high}/{len(data)}")
                    data = data[low : high + 1]
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Accept-Ranges", "bytes")
                self.end_headers()
                self.wfile.write(data if body is None else body)

            def log_message(self, *args: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        made.append(host._replace(url=f"http://127.0.0.1:{server.server_port}"))
    yield made
    for server in servers:
        server.shutdown()
        server.server_close()


def table(paths: list[str], kind: str = "struct") -> bytes:
    """A Parquet file of pictures that it names by their paths."""
    cells = [{"bytes": None, "path": path} for path in paths]
    column = pa.array(cells, STRUCT) if kind == "struct" else pa.array(paths)
    out = io.BytesIO()
    pq.write_table(pa.table({"image": column}), out)
    return out.getvalue()


def through_arrow(cells: pd.Series) -> pd.Series:
    return pa.Table.from_pandas(pd.DataFrame({"x": cells})).to_pandas().x


def reasons(cells) -> list[str | None]:
    """Why each cell fails, asked of a header, of all bytes, of pixels: all the same."""
    found = [cells.img.check(), cells.img.width, cells.img.nbytes, cells.img.mean()]
    if isinstance(cells, pd.Series):
        why, *measures = found
    else:
        why, *measures = dask.compute(*found)
    for one in measures:
        assert one.isna().tolist() == why.notna().tolist()
    return [None if pd.isna(text) else str(text) for text in why]


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png())
    return path


def chains(tmp_path, picture) -> list[str]:
    """Every way to have fsspec open something else than a plain file."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.write(picture, "a.png")
    refs = {"version": 1, "refs": {"k": [str(picture)]}}
    (tmp_path / "refs.json").write_text(json.dumps(refs))
    return [
        f"zip://a.png::{tmp_path}/x.zip",
        f"zip://a.png::file://{tmp_path}/x.zip",
        f"simplecache::file://{picture}",
        f"filecache::file://{picture}",
        f"blockcache::file://{picture}",
        f"cached::file://{picture}",
        f"reference://k::file://{tmp_path}/refs.json",
        "reference://k::data:application/json,{}",
        f"dir://a.png::file://{tmp_path}",
        f"dask::file://{picture}",
        f"libarchive://a.png::{tmp_path}/x.zip",
        "github://someone:repo@main/a.png",
        "jupyter://host/a.png",
        "reference://a.png",
        "nobody://a.png",
        "FILE:///etc/hostname",
    ]


@pytest.mark.parametrize("kind", ["struct", "text"])
def test_chains_in_a_file_are_never_followed(tmp_path, picture, kind):
    bad = chains(tmp_path, picture)
    (tmp_path / "t.parquet").write_bytes(table([*bad, str(picture), picture.as_uri()], kind))
    df = di.read_parquet(str(tmp_path / "t.parquet"), on_error="null", image_columns=["image"])
    why = reasons(df.image)
    assert why[-2:] == [None, None]  # a local file of local data
    assert all(text and text.startswith("read: PermissionError: ") for text in why[:-2])
    assert "daskimg.allow-paths" in str(why[0])
    with pytest.raises(di.ImageError, match=r"(?s)^read: PermissionError.*allow-paths"):
        di.read_parquet(
            str(tmp_path / "t.parquet"), image_columns=["image"]
        ).image.img.mean().compute()


def test_chains_in_a_text_column_are_never_followed(tmp_path, picture):
    bad = chains(tmp_path, picture)
    pd.DataFrame({"path": [*bad, str(picture)]}).to_csv(tmp_path / "t.csv", index=False)
    for texts in (pd.read_csv(tmp_path / "t.csv").path, dd.read_csv(tmp_path / "t.csv").path):
        for cells in (
            di.images(texts, on_error="null"),
            texts.astype("image[file]").img.on_error("null"),
        ):
            why = reasons(cells)
            assert why[-1] is None
            assert all(text and "PermissionError" in text for text in why[:-1])
    with pytest.raises(PermissionError, match="allow-paths"):
        di.images(pd.Series(bad[:1])).iloc[0].to_bytes()


def test_what_stands_in_code_is_the_callers(tmp_path, picture):
    bad = chains(tmp_path, picture)
    for chain in (
        bad[0],
        f"zip://*.png::{tmp_path}/x.zip",
        f"simplecache::file://{tmp_path}/*.png",
    ):
        df = di.read_images(chain)
        assert df.image.img.width.compute().tolist() == [5]
        assert df.image.img.mean().compute().tolist() == [8.0]
        assert df.image.compute().iloc[0].to_numpy().shape == (4, 5, 3)
    with dask.config.set({"daskimg.allow-paths": [f"zip://::{tmp_path}", "simplecache::file://"]}):
        cells = di.images(pd.Series(bad[:3]))
        assert cells.img.width.tolist() == [5, 5, 5]
        other = di.images(pd.Series([f"zip://a.png::{tmp_path}x/x.zip", bad[3]]), on_error="null")
        assert all(reasons(other))


def test_remote_data_opens_its_own_store_alone(hosts, picture):
    own, other = hosts
    own.files.update({"/pics/a.png": png()})
    other.files.update({"/a.png": png()})
    names = [
        f"{own.url}/pics/a.png",
        f"{other.url}/a.png",
        str(picture),
        picture.as_uri(),
        "../a.png",
        "memory://a.png",
        own.url.replace("http://", "http://me:pw@") + "/pics/a.png",
        own.url.replace("http://", "http://x\\@") + "/pics/a.png",
        f"http://{own.url[7:]}@{other.url[7:]}/a.png",
        f"{own.url}@{other.url[7:]}/a.png",
        f"{own.url}/pics/../pics/a.png",
    ]
    own.files["/t.parquet"] = table(names)
    df = di.read_parquet(f"{own.url}/t.parquet", on_error="null", storage_options=TOKEN)
    why = reasons(df.image)
    assert [n for n, text in enumerate(why) if text is None] == [0]
    assert all("PermissionError" in str(why[n]) for n in (1, 2, 3, 4, 5, 7, 8, 9, 10))
    assert other.seen == []
    assert "TOKEN" in own.told
    with dask.config.set({"daskimg.allow-paths": [f"{other.url}/"]}):
        assert reasons(df.image)[:2] == [None, None]
    assert other.seen  # opened, with no word of who asks
    assert "TOKEN" not in other.told
    assert "KEY" not in other.told


def test_local_data_opens_no_host_but_those_allowed(tmp_path, hosts):
    own, other = hosts
    for host in hosts:
        host.files.update({"/pics/a.png": png(), "/pics2/a.png": png()})
    names = [f"{own.url}/pics/a.png", f"{own.url}/pics2/a.png", f"{other.url}/pics/a.png"]
    (tmp_path / "t.parquet").write_bytes(table(names))
    df = di.read_parquet(str(tmp_path / "t.parquet"), on_error="null", storage_options=TOKEN)
    assert all(reasons(df.image))
    assert own.seen == other.seen == []
    with dask.config.set({"daskimg.allow-paths": [f"{own.url}/pics"]}):
        assert [text is None for text in reasons(df.image)] == [True, False, False]
    assert "TOKEN" in own.told
    assert other.seen == []


@pytest.mark.parametrize("lazy", [False, True])
def test_credentials_of_images_go_to_no_host_that_only_data_names(hosts, lazy):
    own, other = hosts
    for host in hosts:
        host.files["/a.png"] = png()
    texts = pd.Series([f"{own.url}/a.png", f"{other.url}/a.png"])
    texts = dd.from_pandas(texts, npartitions=2) if lazy else texts
    plain = di.images(texts, on_error="null")
    assert reasons(plain) == [None, None]  # no credentials: any plain URL
    own.seen.clear()
    other.seen.clear()
    cells = di.images(texts, on_error="null", storage_options=TOKEN)
    assert all("storage_options go to no host" in str(text) for text in reasons(cells))
    assert own.seen == other.seen == []
    with dask.config.set({"daskimg.allow-paths": [own.url]}):
        assert [text is None for text in reasons(cells)] == [True, False]
        again = cells.compute() if lazy else cells
        assert again.iloc[0].to_numpy().shape == (4, 5, 3)
    assert "TOKEN" in own.told
    assert other.seen == []


OPTIONS = {
    "headers": TOKEN,
    "session": {
        "client_kwargs": {"headers": {"X-Api-Key": "KEY", "Authorization": "Bearer TOKEN"}}
    },
    "cookies": {"client_kwargs": {"cookies": {"session": "TOKEN"}}},
}


@pytest.mark.parametrize("how", [*OPTIONS, "auth", "keyed"])
def test_credentials_follow_no_redirect_to_another_host(hosts, how):
    aiohttp = pytest.importorskip("aiohttp")
    own, other = hosts
    own.files["/b.png"], other.files["/a.png"] = png(), png()
    own.moved.update({"/a.png": f"{other.url}/a.png", "/c.png": "/b.png"})
    if how == "auth":
        options: dict = {"client_kwargs": {"auth": aiohttp.BasicAuth("me", "TOKEN")}}
    else:
        options = OPTIONS.get(how, {"http": TOKEN})
    urls = [f"{own.url}/{name}.png" for name in "abc"]
    if how == "keyed":
        urls = [f"simplecache::{url}" for url in urls]
    df = di.read_images(urls, storage_options=options)
    assert df.image.img.width.compute().tolist() == [5, 5, 5]
    assert df.image.img.mean().compute().tolist() == [8.0, 8.0, 8.0]
    assert own.told != str([{}] * len(own.seen))
    assert other.seen
    assert other.told == str([{}] * len(other.seen))


def test_a_listing_leads_nowhere_else(hosts):
    """A page of links is data as well."""
    own, other = hosts
    page = f'<a href="a.png">a</a><a href="b.png::{other.url}/z.png">b</a>'
    own.files.update({"/pics/": page.encode(), "/pics": page.encode(), "/pics/a.png": png()})
    other.files["/a.png"] = png()
    for options in (None, TOKEN):
        df = di.read_images(
            f"{own.url}/pics/", file_extensions="*", on_error="null", storage_options=options
        )
        why = reasons(df.image)
        assert len(why) == 2
        assert sorted(text is None for text in why) == [False, True]
    assert other.seen == []


def test_the_rule_travels_with_the_column(tmp_path, hosts, picture):
    """Shuffles, joins, concatenation, pickles, Arrow: the restriction is in the dtype's handle."""
    own, _ = hosts
    own.files.update({"/a.png": png()})
    own.files["/t.parquet"] = table([f"{own.url}/a.png", str(picture)] * 4)
    df = di.read_parquet(f"{own.url}/t.parquet", on_error="null")
    wanted = [False, True] * 4
    key = pd.DataFrame({"n": range(8)})
    numbered = df.assign(n=df.index)
    joined = numbered.merge(dd.from_pandas(key, npartitions=2), on="n").sort_values("n")
    whole = df.compute().image
    for cells in (
        df.repartition(npartitions=3).image,
        joined.image,
        dd.concat([df, df]).image.loc[0:7].partitions[0],
        whole,
        pd.concat([whole[:3], whole[3:]]),
        pickle.loads(pickle.dumps(whole)),
        pa.table({"image": whole}).to_pandas().image,
        whole.astype("image[file]"),
        whole.astype("image"),
        whole.map(lambda cell: cell).astype(whole.dtype),
    ):
        assert [bool(text) for text in reasons(cells)] == wanted


def test_the_rule_holds_in_a_fresh_process(hosts, picture, monkeypatch):
    own, other = hosts
    for host in hosts:
        host.files["/a.png"] = png()
    own.files["/t.parquet"] = table([f"{own.url}/a.png", str(picture), f"{other.url}/a.png"])
    for options in (None, TOKEN):
        df = di.read_parquet(f"{own.url}/t.parquet", on_error="null", storage_options=options)
        df = df.compute()
        pickled, arrow = pickle.dumps(df.image), pa.Table.from_pandas(df)
        for name in ("_known", "_handles"):  # what a worker that has just started knows
            monkeypatch.setattr(di.transport.source, name, {})
        assert recall(df.image.dtype.source).options == {}
        for cells in (pickle.loads(pickled), arrow.to_pandas().image):
            assert [bool(text) for text in reasons(cells)] == [False, True, True]
    assert other.seen == []


def test_a_handle_that_a_file_makes_up_grants_nothing(tmp_path, picture):
    chain = chains(tmp_path, picture)[0]
    mine = di.read_images(chain).image.dtype.source
    for made_up in (
        '["zip://"]',
        f'["{store_of(chain)}"]',
        '["file://", "reference://"]',
        "[",
        "x",
        '["a',
    ):
        source = recall(made_up)
        for path in (chain, "reference://k::data:x"):
            with pytest.raises(PermissionError):
                (source or Source.default).for_cell(path)
    assert recall(mine).for_cell(chain) == recall(mine)


def test_columns_of_one_bucket_and_another_keep_their_options():
    options = {"key": "K", "secret": "SECRET"}
    one, two = (Source(options, stores=[f"s3://{b}/x"]).handle for b in "ab")
    both = recall(di.transport.fetch.common([one, two]))
    assert both.options == options
    assert both.for_cell("s3://a/1.png") == both.for_cell("s3a://b/1.png") == both
    with pytest.raises(PermissionError):
        both.for_cell("s3://c/1.png")
    other = recall(di.transport.fetch.common([one, Source({"key": "L"}, stores=["s3://b"]).handle]))
    assert other.options == {}
    assert di.transport.fetch.common([one, None]) is None
    assert "SECRET" not in one + two


def test_data_opens_no_more_for_standing_below_what_the_caller_wrote(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(png())
    names = [str(tmp_path / "a.png"), "s3://tables/b.png", "https://inside/c.png"]
    theirs = di.images(names).array
    kept = Source(stores=["s3://tables/t.parquet"])
    theirs = theirs.astype(theirs.dtype.derive("file", source=kept.handle))
    mine = di.images([str(tmp_path / "b.png"), None])
    both = pd.concat([pd.Series(theirs), mine], ignore_index=True)
    assert both.isna().tolist() == [True, False, True, False, True]
    assert [path for path in both.img.path][:3] == names
    reasons = both.img.error.tolist()
    assert all("outside its store (s3://tables)" in reasons[k] for k in (0, 2))
    assert reasons[1] is pd.NA
    assert reasons[3] is pd.NA
    assert both[3:].img.decode().img.height.tolist()[0] == 4
    with dask.config.set({"daskimg.allow-paths": [str(tmp_path)]}):
        allowed = pd.concat([pd.Series(theirs), mine], ignore_index=True)
    assert allowed.isna().tolist() == [False, False, True, False, True]
    below_bytes = pd.concat([pd.Series(theirs), di.images([png()])])
    assert recall(below_bytes.dtype.source) == kept


@pytest.mark.parametrize("options", [None, {"anon": True}])
def test_what_is_put_into_a_column_opens_no_more_than_before(tmp_path, options):
    kept = Source(stores=["s3://tables/t.parquet"])
    names = ["/etc/hostname.png", "s3://tables/b.png"]
    theirs = di.images(names).array
    theirs = pd.Series(theirs.astype(theirs.dtype.derive("file", source=kept.handle)))
    mine = di.images([str(tmp_path / "a.png")] * 2, storage_options=options)
    gone = mine.where([False, False])
    one, several, updated = mine.copy(), mine.copy(), mine.copy()
    one.iloc[0] = theirs.iloc[0]
    several.iloc[0:2] = list(theirs)
    updated.update(theirs)
    for made in (
        mine.where([False, True], theirs),
        mine.mask([True, False], theirs),
        gone.fillna(theirs),
        gone.combine_first(theirs),
        one,
        several,
        updated,
    ):
        assert made.dtype == mine.dtype
        assert made.dtype.source == mine.dtype.source
        assert "outside its store (s3://tables)" in made.img.error.iloc[0]
        assert made.img.path.iloc[0] == names[0]
        assert not made.isna().iloc[1]
    lists = pd.Series([list(mine)] * 2, dtype="list[image]")
    lists.iloc[0] = list(theirs)
    assert [cell.failed for cell in lists.iloc[0]] == [True, False]
    written = mine.copy()
    written.iloc[0] = names[0]  # what the caller names is the caller's
    assert written.iloc[0] == di.Image(path=names[0])


def test_an_allowed_bucket_is_asked_with_the_options_of_the_first():
    options = {"key": "K", "secret": "S"}
    data = Source(options, stores=["s3://tables/t.parquet"]).allowing(["s3://pics", "https://h"])
    assert data.for_cell("s3://pics/1.png").options == options  # the endpoint is the options' own
    assert data.for_cell("https://h/1.png").options == {}
    for path in (
        "s3://pics2/1.png",
        "https://h.evil/1.png",
        "https://h:8443/1.png",
        "http://h/1.png",
    ):
        with pytest.raises(PermissionError):
            data.for_cell(path)
    texts = Source(options)
    assert texts.for_cell("s3://any/1.png").options == options
    with pytest.raises(PermissionError, match="storage_options"):
        texts.for_cell("https://any/1.png")
    with pytest.raises(PermissionError, match="storage_options"):
        texts.for_cell("abfs://c@account.dfs.core.windows.net/1.png")


@pytest.mark.parametrize(
    "place, inside, outside",
    [
        ("s3://b", ["s3://b/x", "s3a://b/x/y"], ["s3://bb/x", "gs://b/x", "s3://b/../c/x"]),
        ("s3://", ["s3://b/x"], ["gs://b/x"]),
        (
            "https://H/p",
            ["https://h/p/a", "https://h:443/p"],
            ["https://h/pp", "https://h/p/%2e%2e/x"],
        ),
        (
            "/data/p/",
            ["/data/p/a", "file:///data/p/a"],
            ["/data/p2/a", "/data/p/../a", "s3://data/p"],
        ),
        ("file://", ["/a/../b", "a", "local:///x"], ["memory://a", "zip://x::/a"]),
        (
            "zip://::s3://b/x.zip",
            ["zip://a::s3://b/x.zip"],
            ["zip://a::s3://b/y.zip", "tar://a::s3://b/x.zip"],
        ),
    ],
)
def test_places(place, inside, outside):
    found = parse(place)
    assert [path for path in inside if not found.holds(parse(path))] == []
    assert [path for path in outside if found.holds(parse(path))] == []


def test_allow_paths_is_a_list_of_texts():
    for wrong in ([1], 7, [""]):
        with (
            dask.config.set({"daskimg.allow-paths": wrong}),
            pytest.raises((ValueError, TypeError)),
        ):
            di.images(pd.Series(["a.png"])).img.mean()


READERS = {
    "di.parquet": lambda url: di.read_parquet(f"{url}/t.parquet"),
    "dd.parquet": lambda url: dd.read_parquet(f"{url}/t.parquet"),
    "dd.csv": lambda url: dd.read_csv(f"{url}/t.csv"),
}


@pytest.mark.parametrize("reader", [*READERS])
def test_text_of_a_remote_file_is_data(hosts, picture, reader):
    """Until an operation of the caller's makes something of it."""
    own, other = hosts
    for host in hosts:
        host.files["/a.png"] = png()
    rows = pd.DataFrame({"path": [f"{own.url}/a.png", f"{other.url}/a.png", str(picture)]})
    rows = rows.assign(n=[0, 1, 2])
    out = io.BytesIO()
    rows.to_parquet(out)
    own.files.update({"/t.parquet": out.getvalue(), "/t.csv": rows.to_csv(index=False).encode()})
    df = READERS[reader](own.url)
    mine = dd.from_pandas(pd.DataFrame({"n": [0, 1, 2], "local": str(picture)}), npartitions=1)
    joined = df.merge(mine, on="n")
    for texts in (
        df.path,
        df[df.n >= 0].path,
        df.assign(other=df.path).other,
        df.rename(columns={"path": "other"}).other,
        dd.concat([df, df]).path.partitions[0],
        df.astype({"path": "object"}).path,
        joined.sort_values("n").path,
    ):
        assert [bool(text) for text in reasons(di.images(texts, on_error="null"))] == [
            False,
            True,
            True,
        ]
    cells = df.path.astype("image[file]")
    assert [bool(text) for text in reasons(cells.img.on_error("null"))] == [False, True, True]
    with pytest.raises(di.ImageError, match="allow-paths"):
        df.assign(image=cells)[["image"]].img.take_batch(3)
    assert other.seen == []
    with dask.config.set({"daskimg.allow-paths": ["http://"]}):
        allowed = reasons(di.images(df.path, on_error="null"))
    assert [bool(text) for text in allowed] == [False, False, True]
    # what the caller wrote, and what he makes of a column
    assert reasons(di.images(joined.local)) == [None] * 3
    for made in (
        str(picture.parent) + "/a.png" + df.n.astype(str).str.slice(0, 0),
        df.n.map(lambda n: str(picture), meta=("path", "string")),
    ):
        assert reasons(di.images(made)) == [None] * 3


def test_options_for_texts_of_a_remote_file(hosts):
    """They are for the paths: also for a store that is allowed, and for no other."""
    own, other = hosts
    for host in hosts:
        host.files["/a.png"] = png()
    rows = pd.DataFrame({"path": [f"{own.url}/a.png", f"{other.url}/a.png"]})
    own.files["/t.csv"] = rows.to_csv(index=False).encode()
    texts = dd.read_csv(f"{own.url}/t.csv").path
    cells = di.images(texts, on_error="null", storage_options=TOKEN)
    assert [bool(text) for text in reasons(cells)] == [False, True]
    assert other.seen == []
    again = di.images(cells.compute(), storage_options={"headers": {"X-Api-Key": "NEW"}})
    assert [bool(text) for text in reasons(again)] == [False, True]  # other options, same data
    with dask.config.set({"daskimg.allow-paths": [other.url]}):
        cells = di.images(texts, on_error="null", storage_options=TOKEN)
        assert reasons(cells) == [None, None]
    assert "TOKEN" in other.told


def test_texts_of_local_files_and_of_memory_name_what_they_will(tmp_path, hosts, picture):
    own, _ = hosts
    own.files["/a.png"] = png()
    rows = pd.DataFrame({"path": [f"{own.url}/a.png", str(picture)]})
    rows.to_csv(tmp_path / "t.csv", index=False)
    rows.to_parquet("memory://who/t.parquet")
    for df in (dd.read_csv(tmp_path / "t.csv"), di.read_parquet("memory://who/t.parquet")):
        assert reasons(di.images(df.path)) == [None, None]


def test_relative_paths_are_below_the_datasets_folder(hosts, picture, monkeypatch):
    own, other = hosts
    inside = dict.fromkeys(("/d/pics/a.png", "/a.png", "/d/b:c.png", "/x.png"), png())
    names = ["pics/a.png", "./pics/a.png", "../a.png", "pics/../../a.png", "pics/%2e%2e/x.png"]
    names += ["/a.png", "..\\a.png", "b:c.png", "//" + other.url[7:] + "/a.png", "x@y/../../a.png"]
    own.files.update(inside)
    monkeypatch.chdir(picture.parent)
    for kind in ("struct", "text"):
        own.files["/d/t.parquet"] = table(names, kind)
        df = di.read_parquet(f"{own.url}/d/t.parquet", on_error="null", image_columns=["image"])
        assert [text is None for text in reasons(df.image)] == [True] * 2 + [False] * 8
        assert df.image.img.path.compute()[1] == f"{own.url}/d/pics/a.png"
    assert other.seen == []


def test_cells_in_lists_dicts_and_files_of_these(hosts, picture):
    """A picture among other values is opened where the column that it came from is."""
    own, _ = hosts
    own.files["/a.png"] = png()
    own.files["/t.parquet"] = table([f"{own.url}/a.png", str(picture)])
    cells = di.read_parquet(f"{own.url}/t.parquet").compute().image
    good, bad = cells
    for held in (
        pd.Series([[good, 1], {"k": bad}], dtype="json"),
        pd.Series([[good], [bad]], dtype="list[image]"),
    ):
        for again in (held, pickle.loads(pickle.dumps(held)), through_arrow(held)):
            one, two = again
            one, two = one[0], two["k"] if isinstance(two, dict) else two[0]
            assert one.to_numpy().shape == (4, 5, 3)
            with pytest.raises(PermissionError, match="outside its store"):
                two.to_numpy()
            why = reasons(pd.Series([one, two], dtype=di.ImageDtype("file", on_error="null")))
            assert [bool(text) for text in why] == [False, True]
    lazy = dd.from_pandas(pd.DataFrame({"n": [0, 1]}), npartitions=1)
    meta = {"one": "image[file]", "many": "list[image[file]]"}
    made = lazy.img.map_batches(lambda b: {"one": [good, bad], "many": [[good], [bad]]}, meta=meta)
    for column in (made.one, made.explode("many").many):
        assert [bool(text) for text in reasons(column.img.on_error("null"))] == [False, True]


def test_json_of_a_file_makes_no_picture_that_opens_more(hosts, picture, tmp_path):
    own, _ = hosts
    own.files["/a.png"] = png()
    held = pd.Series([[di.Image(path=f"{own.url}/a.png")], [di.Image(path="@")]], dtype="json")
    out = io.BytesIO()
    pa_table = pa.Table.from_pandas(pd.DataFrame({"x": held}))
    text = pa_table.column("x").combine_chunks().storage.to_pylist()
    made_up = json.dumps([{"daskimg.image": {"path": str(picture), "source": '["file://"]'}}])
    words = pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array([text[0], made_up]))
    pq.write_table(pa_table.set_column(0, "x", words), out)
    own.files["/t.parquet"] = out.getvalue()
    good, bad = di.read_parquet(f"{own.url}/t.parquet").compute().x
    assert good[0].to_numpy().shape == (4, 5, 3)
    with pytest.raises(PermissionError, match="outside its store"):
        bad[0].to_numpy()


def test_what_only_looks_like_a_picture_stays_what_it_is(picture):
    one = {"daskimg.image": {"path": str(picture)}}
    values = [
        [one, {"~daskimg.bytes": "AAAA"}],
        {"daskimg.bytes": "AAAA"},
        {"a": {"~~daskimg.": 1}},
    ]
    values += [[{"daskimg.image": one, "b": b"1"}, di.Image(path="x.png")]]
    held = pd.Series(values, dtype="json")
    assert through_arrow(held).tolist() == values
