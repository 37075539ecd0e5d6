"""Keys listed by obstore: those that s3fs finds, in whatever order and however many at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from daskimg.io.listing import walk
from daskimg.io.listing.find import list_images
from daskimg.transport import keys as listing
from daskimg.transport import native
from daskimg.transport.fetch import Source
from tests.servers import s3_server  # noqa: F401

ODD = ["a b.jpg", "a+b.jpg", "a%20b.jpg", "ü/é.jpg", "~/z.jpg", "q?x=1.jpg", "h#1.jpg", "&;'(.jpg"]
TREE = [f"{top}/{n:03d}.jpg" for top in ("cat", "dog", "dog/deep", "zebra") for n in range(25)]
FLAT = [f"{n:03d}.png" for n in range(23)]
PLACES = ["s3://keys/pre", "s3://keys/pre/", "s3a://keys/pre", "s3://keys", "s3://keys/pre/dog"]
PLACES += ["s3://keys/pre/*.png", "s3://keys/pre/*/0?[12].jpg", "s3://keys/pre/**/01*.jpg"]
HIDDEN = [".x/1.jpg", "cat/_daskimg/1.jpg", "__MACOSX/._1.jpg"]


@pytest.fixture(scope="module")
def store(s3_server: Any) -> Iterator[Any]:  # noqa: F811
    client = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint,
        aws_access_key_id=s3_server.storage_options["key"],
        aws_secret_access_key=s3_server.storage_options["secret"],
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="keys")
    for name in [*ODD, *TREE, *FLAT, *HIDDEN]:
        client.put_object(Bucket="keys", Key=f"pre/{name}", Body=b"x" * len(name))
    client.put_object(Bucket="keys", Key="prefix/other.jpg", Body=b"x")
    client.put_object(Bucket="keys", Key="marked/", Body=b"")
    client.put_object(Bucket="keys", Key="marked/a.jpg/", Body=b"")
    client.put_object(Bucket="keys", Key="marked/b.jpg", Body=b"")
    client.put_object(Bucket="keys", Key="marked/c.jpg", Body=b"c")
    client.put_object(Bucket="keys", Key="strange//c.jpg", Body=b"c")
    client.put_object(Bucket="keys", Key="strange/d.jpg", Body=b"d")
    return s3_server


def found(store: Any, what: str, **options: Any) -> tuple[Any, ...]:
    listed = list_images(what, storage_options=store.storage_options, **options)
    assert listed.sizes is not None
    return listed.paths.to_pylist(), listed.sizes.tolist(), listed.roots.tolist(), listed.root


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """After which key each page began that obstore was asked for."""
    asked: list[str | None] = []
    page = native.Store.page

    async def counting(self: Any, prefix: str, after: str | None, most: int) -> Any:
        asked.append(after)
        return await page(self, prefix, after, most)

    monkeypatch.setattr(native.Store, "page", counting)
    return asked


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("size", [1000, 7])
@pytest.mark.parametrize("what", PLACES)
def test_what_s3fs_finds(
    store: Any, counted: list[Any], monkeypatch: pytest.MonkeyPatch, what: str, size: int
) -> None:
    monkeypatch.setattr(listing, "PAGE", size)
    mine = found(store, what)
    assert counted

    def none(*args: Any) -> Any:
        raise listing.UnlistableError

    monkeypatch.setattr(walk, "keys", none)
    assert mine == found(store, what)


def test_large_folders_are_listed_side_by_side(
    store: Any, counted: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE", 10)
    source = Source(store.storage_options)
    names = [name for name, _ in listing.keys("s3://keys/pre", source, 0)]
    assert sorted(names) == sorted(f"keys/pre/{name}" for name in [*ODD, *TREE, *FLAT, *HIDDEN])
    assert {"pre/cat/~", "pre/dog/~"} <= set(counted)
    assert len(names) != sorted(names)


def test_folders_are_not_entered_unasked(store: Any, counted: list[Any]) -> None:
    flat = found(store, "s3://keys/pre", recursive=False)
    assert flat[0] == [f"s3://keys/pre/{n}" for n in sorted([*FLAT, *ODD]) if "/" not in n]
    assert counted == [None]  # and then it was told of deeper keys


def test_what_marks_a_folder_is_no_file(store: Any, counted: list[Any]) -> None:
    for what in ("s3://keys/marked", "s3://keys/marked/*.jpg"):
        assert found(store, what)[0] == ["s3://keys/marked/b.jpg", "s3://keys/marked/c.jpg"]
    assert counted == [None, None]


def test_keys_that_obstore_cannot_name(store: Any) -> None:
    paths = found(store, "s3://keys/strange")[0]
    assert paths == ["s3://keys/strange//c.jpg", "s3://keys/strange/d.jpg"]


@pytest.mark.parametrize("lie", ["nothing new", "no order"])
def test_stores_that_list_otherwise_are_listed_by_fsspec(
    store: Any, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    page = native.Store.page

    async def lying(self: Any, prefix: str, after: str | None, most: int) -> Any:
        if lie == "nothing new":
            return await page(self, prefix, None, most)
        return (await page(self, prefix, after, most))[::-1]

    monkeypatch.setattr(listing, "PAGE", 10)
    wanted = found(store, "s3://keys/pre")
    monkeypatch.setattr(native.Store, "page", lying)
    assert found(store, "s3://keys/pre") == wanted


def test_a_page_that_fails_is_asked_for_again(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE", 10)
    wanted = found(store, "s3://keys/pre")
    page, count = native.Store.page, itertools.count(1)

    async def failing(self: Any, prefix: str, after: str | None, most: int) -> Any:
        if next(count) % 3 == 0:
            raise ConnectionResetError("reset")
        return await page(self, prefix, after, most)

    monkeypatch.setattr(native.Store, "page", failing)
    monkeypatch.setattr("daskimg.transport.retry.FIRST_DELAY", 0.001)
    assert found(store, "s3://keys/pre") == wanted


def test_no_such_folder(store: Any) -> None:
    for what in ("s3://keys/none", "s3://keys/none/*.jpg", "s3://nokeys/pre"):
        with pytest.raises(FileNotFoundError):
            list_images(what, storage_options=store.storage_options)
