from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import uuid
import zipfile
from collections import Counter
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from dask.tokenize import tokenize

import daskimg as di
from daskimg.io.images.read import Partitions, Rows
from daskimg.io.listing.find import Listing, list_images
from daskimg.io.listing.partitions import parse_partitions, shuffle_order, split_rows
from daskimg.transport import fetch
from tests.servers import S3Server, WebServer, s3_server, web_server  # noqa: F401
from tests.versions import STR


def tree(root: Path, *names: str) -> str:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * len(name))
    return str(root)


def below(listing: Listing, root: str | Path) -> list[str]:
    prefix = f"{root}/"
    paths = listing.paths.to_pylist()
    assert all(path.startswith(prefix) for path in paths)
    return [path[len(prefix) :] for path in paths]


@pytest.fixture
def shop(tmp_path: Path) -> str:
    return tree(
        tmp_path / "shop",
        "cat/1.jpg",
        "cat/2.JPEG",
        "cat/notes.txt",
        "cat/old/3.png",
        "cat-x.png",
        "dog/1.webp",
        "dog/b c%é.png",
        "raw.dat",
        ".hidden/5.png",
        ".6.png",
        "_daskimg/7.png",
    )


ALL = ["cat-x.png", "cat/1.jpg", "cat/2.JPEG", "cat/old/3.png", "dog/1.webp", "dog/b c%é.png"]


class TestLocal:
    def test_a_folder(self, shop: str) -> None:
        listing = list_images(shop)
        assert below(listing, shop) == ALL
        assert listing.sizes is not None
        assert listing.sizes.tolist() == [len(name) for name in ALL]
        assert set(listing.roots.tolist()) == {len(shop)}
        assert str(listing.paths.type) == "large_string"

    @pytest.mark.parametrize("make", [str, Path, lambda p: p + "/", lambda p: f"file://{p}"])
    def test_spellings_of_a_folder(self, shop: str, make) -> None:
        assert below(list_images(make(shop)), shop) == ALL

    def test_a_relative_path_and_home(self, shop: str, monkeypatch) -> None:
        monkeypatch.chdir(shop)
        assert below(list_images("cat"), shop) == ALL[1:4]
        assert below(list_images("../shop/./cat/*.jpg"), shop) == ALL[1:2]
        monkeypatch.setenv("HOME", shop)
        assert below(list_images("~/dog"), shop) == ALL[4:]

    def test_not_recursive(self, shop: str) -> None:
        assert below(list_images(shop, recursive=False), shop) == ["cat-x.png"]

    @pytest.mark.parametrize("given", ["png", ".PNG", ["png"], ("*.png",), {".png"}])
    def test_extensions(self, shop: str, given) -> None:
        found = below(list_images(shop, file_extensions=given), shop)
        assert found == [name for name in ALL if name.endswith(".png")]

    def test_every_extension(self, shop: str) -> None:
        found = below(list_images(shop, file_extensions="*"), shop)
        assert found == sorted([*ALL, "cat/notes.txt", "raw.dat"])

    def test_a_double_extension(self, tmp_path: Path) -> None:
        root = tree(tmp_path, "a.tar.gz", "b.gz", "c.tar")
        assert below(list_images(root, file_extensions=["tar.gz", "tar"]), root) == [
            "a.tar.gz",
            "c.tar",
        ]

    @pytest.mark.parametrize(
        "pattern, wanted",
        [
            ("*", ["cat-x.png"]),
            ("cat/*", ["cat/1.jpg", "cat/2.JPEG"]),
            ("*/?.*", ["cat/1.jpg", "cat/2.JPEG", "dog/1.webp"]),
            ("*/[!1].*", ["cat/2.JPEG"]),
            ("**", ALL),
            ("**/*.png", ["cat-x.png", "cat/old/3.png", "dog/b c%é.png"]),
            ("c*/**/*.png", ["cat/old/3.png"]),
            ("**/old/*", ["cat/old/3.png"]),
            ("do*", ["dog/1.webp", "dog/b c%é.png"]),
            ("*.dat", ["raw.dat"]),
            ("_daskimg/*", ["_daskimg/7.png"]),
            (".h*/*", [".hidden/5.png"]),
        ],
    )
    def test_globs_on_disk_and_in_memory(self, shop: str, pattern: str, wanted: list[str]) -> None:
        listing = list_images(f"{shop}/{pattern}")
        assert below(listing, shop) == wanted
        literal = pattern.partition("/")[0] if pattern.startswith(("cat/", "_")) else ""
        before_wildcard = f"{shop}/{literal}".rstrip("/")
        assert set(listing.roots.tolist()) == {len(before_wildcard)}
        memory = fsspec.filesystem("memory")
        name = f"/glob-{uuid.uuid4().hex}"
        memory.put(shop, name, recursive=True)
        assert below(list_images(f"memory:/{name}/{pattern}"), f"memory:/{name}") == wanted

    def test_the_extensions_asked_for_hold_for_globs(self, shop: str) -> None:
        with pytest.raises(FileNotFoundError, match=r"\*\.dat"):
            list_images(f"{shop}/*.dat", file_extensions="jpg")

    def test_names_with_glob_characters(self, tmp_path: Path) -> None:
        root = tree(tmp_path, "a[1].jpg", "a1.jpg", "s[1]/x.jpg", "s1/y.jpg", "q?.jpg", "*.jpg")
        assert below(list_images(f"{root}/a[1].jpg"), root) == ["a[1].jpg"]
        assert below(list_images(f"{root}/s[1]"), root) == ["s[1]/x.jpg"]
        assert below(list_images(f"{root}/s[1]/*"), root) == ["s[1]/x.jpg"]
        assert below(list_images(f"{root}/s[1]/**"), root) == ["s[1]/x.jpg"]
        assert below(list_images(f"{root}/*.jpg"), root) == ["*.jpg"]
        assert below(list_images(f"{root}/a[1]*.jpg"), root) == ["a1.jpg"]

    def test_a_file_named_is_taken(self, shop: str) -> None:
        listing = list_images([f"{shop}/raw.dat", f"{shop}/cat/1.jpg"])
        assert below(listing, shop) == ["raw.dat", "cat/1.jpg"]
        assert listing.roots.tolist() == [len(shop) + 1, len(shop) + 5]

    def test_a_list_gives_each_file_once_with_its_first_root(self, shop: str) -> None:
        listing = list_images([shop, f"{shop}/cat", f"{shop}/cat/1.jpg"])
        assert below(listing, shop) == ALL
        assert set(listing.roots.tolist()) == {len(shop)}
        again = list_images(path for path in [f"{shop}/cat", shop])
        assert Counter(again.roots.tolist()) == {len(shop) + 4: 3, len(shop): 3}

    def test_links(self, shop: str, tmp_path: Path) -> None:
        far = tree(tmp_path / "far", "x/9.png")
        os.symlink(far, f"{shop}/linked")
        os.symlink(shop, f"{shop}/cat/up")
        os.symlink(f"{shop}/dog", f"{far}/dog")
        os.symlink(far, f"{shop}/dog/far")
        os.symlink("self", f"{shop}/self")
        os.symlink("nowhere.jpg", f"{shop}/dangling.jpg")
        os.symlink(f"{shop}/cat/1.jpg", f"{shop}/link.jpg")
        found = below(list_images(shop), shop)
        assert set(ALL) < set(found)
        assert "link.jpg" in found
        assert "linked/x/9.png" in found
        assert "dog/far/x/9.png" in found
        assert not any(name.startswith("cat/up") for name in found)
        assert below(list_images(f"{shop}/**"), shop) == found
        assert below(list_images(f"{shop}/ca*/**"), shop) == ALL[1:4]

    def test_sorted_as_strings_are(self, tmp_path: Path) -> None:
        names = ["a/b.png", "a.png", "a-b.png", "é.png", "z.png", "Z.png", "😀.png", "a b/c.png"]
        root = tree(tmp_path, *names)
        assert below(list_images(root), root) == sorted(names)

    def test_many_chunks(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr("daskimg.io.listing.find.CHUNK", 7)
        monkeypatch.setattr("daskimg.io.listing.partitions.CHUNK", 5)
        names = [f"{i % 3}/{i}.png" for i in range(50)]
        root = tree(tmp_path, *names)
        listing = list_images(root)
        assert below(listing, root) == sorted(names)
        columns = parse_partitions(listing, "{folder:d}/{name:d}.png")
        assert (columns["name"] % 3 == columns["folder"]).all()

    def test_a_name_that_is_no_text(self, tmp_path: Path) -> None:
        try:
            (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))).write_bytes(b"")
        except OSError:
            pytest.skip("this file system holds UTF-8 names only")
        with pytest.raises(ValueError, match=r"udcff.*rename"):
            list_images(tmp_path)


class TestNothingFound:
    def test_a_folder_that_goes_meanwhile(self, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
        scandir = os.scandir

        def late(path: str) -> object:
            if path == f"{shop}/dog":
                shutil.rmtree(path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", late)
        for ignore in (False, True):
            listing = list_images([shop], ignore_missing_paths=ignore)
            assert below(listing, shop) == [name for name in ALL if not name.startswith("dog/")]
            Path(shop, "dog").mkdir()

    def test_missing(self, shop: str) -> None:
        for path in (f"{shop}/no.jpg", f"{shop}/cat/1.jpg/x", f"{shop}/no/"):
            with pytest.raises(FileNotFoundError, match=path.rstrip("/")):
                list_images(path)

    def test_says_what_was_looked_for_and_what_is_there(self, tmp_path: Path) -> None:
        root = tree(tmp_path, "a.txt", "b.txt", "c", "sub/d.csv")
        with pytest.raises(FileNotFoundError) as caught:
            list_images(root, file_extensions=["JPG", "png"])
        text = str(caught.value)
        assert root in text
        assert "looked for .jpg, .png" in text
        assert "saw 4 files with other extensions: .txt (2)" in text
        assert "none (1)" in text
        assert "file_extensions=" in text
        with pytest.raises(FileNotFoundError, match="recursive=False"):
            list_images(root, recursive=False)
        with pytest.raises(FileNotFoundError, match=r"no file.*\*\.gif"):
            list_images(f"{root}/*.gif")

    def test_missing_entries_of_a_list(self, shop: str, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        paths = [f"{shop}/no.jpg", f"{shop}/dog", f"{shop}/*.gif", str(tmp_path / "empty")]
        with pytest.raises(FileNotFoundError, match=r"no\.jpg"):
            list_images(paths)
        assert below(list_images(paths, ignore_missing_paths=True), shop) == ALL[4:]
        with pytest.raises(FileNotFoundError, match=r"no\.jpg"):
            list_images([paths[0], paths[2]], ignore_missing_paths=True)
        with pytest.raises(FileNotFoundError, match=r"no\.jpg"):
            list_images(paths[0], ignore_missing_paths=True)

    def test_wrong_arguments(self, shop: str) -> None:
        with pytest.raises(TypeError, match="got int"):
            list_images([1])  # type: ignore[list-item]
        with pytest.raises(ValueError, match="empty"):
            list_images([])
        with pytest.raises(ValueError, match="empty"):
            list_images("")
        for wrong in ([], "", [None], "."):
            with pytest.raises(ValueError, match="file_extensions"):
                list_images(shop, file_extensions=wrong)  # type: ignore[arg-type]


class TestRemote:
    def test_memory(self) -> None:
        name = uuid.uuid4().hex
        fsspec.filesystem("memory").pipe(
            {f"/{name}/k=1/a.jpg": b"1", f"/{name}/k=2/b.PNG": b"22", f"/{name}/n.txt": b""}
        )
        listing = list_images(f"memory://{name}")
        assert below(listing, f"memory://{name}") == ["k=1/a.jpg", "k=2/b.PNG"]
        assert listing.sizes is not None
        assert listing.sizes.tolist() == [1, 2]
        assert parse_partitions(listing, "hive")["k"].tolist() == [1, 2]
        assert [fetch.read_bytes(path) for path in listing.paths.to_pylist()] == [b"1", b"22"]
        with pytest.raises(FileNotFoundError, match=f"memory://{name}/no"):
            list_images(f"memory://{name}/no")

    @pytest.mark.parametrize("inner", ["*/*.jpg", "**/*.jpg", "cat", "", "cat/1.jpg"])
    def test_inside_an_archive(self, tmp_path: Path, inner: str) -> None:
        with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
            archive.writestr("cat/1.jpg", b"one")
            archive.writestr("readme.txt", b"")
        listing = list_images(f"zip://{inner}::{tmp_path}/pets.zip")
        assert listing.paths.to_pylist() == [f"zip://cat/1.jpg::{tmp_path}/pets.zip"]
        assert fetch.read_bytes(listing.paths[0].as_py()) == b"one"
        root = {"*/*.jpg": "zip://", "**/*.jpg": "zip://", "cat": "zip://cat", "": "zip://"}
        assert listing.roots.tolist() == [len(root.get(inner, "zip://cat/"))]

    def test_through_a_cache(self, tmp_path: Path) -> None:
        name = uuid.uuid4().hex
        fsspec.filesystem("memory").pipe({f"/{name}/a.jpg": b"1"})
        for inner in (f"{name}/*", name, f"{name}/a.jpg"):
            listing = list_images(f"simplecache::memory://{inner}")
            assert listing.paths.to_pylist() == [f"simplecache::memory://{name}/a.jpg"]
            assert fetch.read_bytes(listing.paths[0].as_py()) == b"1"

    def test_web_addresses(self, web_server: WebServer) -> None:  # noqa: F811
        web_server.files.update({"/a/1.jpg": b"1", "/a/2": b"22"})
        one, two = f"{web_server.url}/a/1.jpg?w=9&token=abc", f"{web_server.url}/a/2"
        listing = list_images([two, one])
        assert listing.paths.to_pylist() == [two, one]
        assert listing.roots.tolist() == [len(f"{web_server.url}/a/")] * 2
        with pytest.raises(FileNotFoundError, match=r"no\.jpg\?token=\*\*\*") as caught:
            list_images([one, f"{web_server.url}/no.jpg?token=s3cr3t"])
        assert "s3cr3t" not in str(caught.value)


class TestS3:
    @pytest.fixture
    def bucket(self, s3_server: S3Server) -> str:  # noqa: F811
        bucket = f"listing-{uuid.uuid4().hex[:8]}"
        fs = fsspec.filesystem("s3", **s3_server.storage_options)
        fs.mkdir(bucket)
        fs.pipe(
            {
                f"{bucket}/shop/cat/1.jpg": b"1",
                f"{bucket}/shop/cat/a[1].png": b"22",
                f"{bucket}/shop/dog/2.JPG": b"333",
                f"{bucket}/shop/n.txt": b"",
            }
        )
        return bucket

    @pytest.mark.parametrize(
        "path, wanted",
        [
            ("", ["shop/cat/1.jpg", "shop/cat/a[1].png", "shop/dog/2.JPG"]),
            ("/shop/", ["shop/cat/1.jpg", "shop/cat/a[1].png", "shop/dog/2.JPG"]),
            ("/shop/*/*.JPG", ["shop/dog/2.JPG"]),
            ("/shop/**/[12].*", ["shop/cat/1.jpg", "shop/dog/2.JPG"]),
            ("/shop/c*", ["shop/cat/1.jpg", "shop/cat/a[1].png"]),
            ("/shop/cat/a[1].png", ["shop/cat/a[1].png"]),
        ],
    )
    def test_lists(
        self,
        s3_server: S3Server,  # noqa: F811
        bucket: str,
        path: str,
        wanted: list[str],
    ) -> None:
        options = s3_server.storage_options
        listing = list_images(f"s3://{bucket}{path}", storage_options=options)
        assert below(listing, f"s3://{bucket}") == wanted
        sizes = {"shop/cat/1.jpg": 1, "shop/cat/a[1].png": 2, "shop/dog/2.JPG": 3}
        assert listing.sizes is not None
        assert listing.sizes.tolist() == [sizes[name] for name in wanted]

    def test_missing(self, s3_server: S3Server, bucket: str) -> None:  # noqa: F811
        paths = [f"s3://{bucket}/shop/cat/1.jpg", f"s3://{bucket}/shop/no.jpg"]
        options = s3_server.storage_options
        with pytest.raises(FileNotFoundError, match=paths[1]):
            list_images(paths, storage_options=options)
        found = list_images(paths, storage_options=options, ignore_missing_paths=True)
        assert found.paths.to_pylist() == paths[:1]
        with pytest.raises(FileNotFoundError, match=r"looked for .*saw 1 files.*\.txt"):
            list_images(f"s3://{bucket}/shop/n*", storage_options=options)
        with pytest.raises(FileNotFoundError, match="no-such-bucket"):
            list_images("s3://no-such-bucket-at-all/x", storage_options=options)

    def test_what_was_listed_before_is_not_believed(
        self,
        s3_server: S3Server,  # noqa: F811
        bucket: str,
    ) -> None:
        options = s3_server.storage_options
        assert len(list_images(f"s3://{bucket}/shop/*/*", storage_options=options)) == 3
        other = fsspec.filesystem("s3", **options, skip_instance_cache=True)
        other.pipe_file(f"{bucket}/shop/cat/9.jpg", b"9")
        assert len(list_images(f"s3://{bucket}/shop/*/*", storage_options=options)) == 4
        assert len(list_images(f"s3://{bucket}/shop", storage_options=options)) == 4

    def test_asks_the_store_once_per_folder_not_per_file(
        self,
        s3_server: S3Server,  # noqa: F811
        bucket: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        options = s3_server.storage_options
        fs = fsspec.filesystem("s3", **options)
        fs.pipe({f"{bucket}/many/{i:03d}.jpg": b"x" for i in range(120)})

        def requests() -> int:
            return sum(f"/{bucket}" in record.getMessage() for record in caplog.records)

        with caplog.at_level("INFO", logger="werkzeug"):
            caplog.clear()
            listing = list_images(f"s3://{bucket}/many", storage_options=options)
            assert len(listing) == 120
            assert 0 < requests() < 6
            caplog.clear()
            again = list_images(listing.paths.to_pylist(), storage_options=options)
            assert again.paths.equals(listing.paths)
            assert 0 < requests() < 6


def listed(*paths: str, root: str = "/d") -> Listing:
    import pyarrow as pa

    return Listing(pa.array(paths, pa.large_string()), None, np.full(len(paths), len(root)))


class TestPartitions:
    def test_none(self) -> None:
        assert parse_partitions(listed("/d/a.jpg"), None) == {}

    def test_hive_types(self) -> None:
        columns = parse_partitions(
            listed(
                "/d/i=1/f=1/s=x%20y/n=3/m=__HIVE_DEFAULT_PARTITION__/z=1_0/a.jpg",
                "/d/i=-2/f=2.5e1/s=7/n=__HIVE_DEFAULT_PARTITION__/m=b/z=2/plain/b.jpg",
            ),
            "hive",
        )
        assert list(columns) == ["i", "f", "s", "n", "m", "z"]
        frame = pd.DataFrame(columns)
        assert frame.dtypes.astype(str).tolist() == [
            "int64",
            "float64",
            STR,
            "Int64",
            STR,
            STR,
        ]
        assert frame["i"].tolist() == [1, -2]
        assert frame["f"].tolist() == [1.0, 25.0]
        assert frame["s"].tolist() == ["x y", "7"]
        assert frame["n"].isna().tolist() == [False, True]
        assert frame["m"].isna().tolist() == [True, False]

    def test_hive_gaps_and_large_numbers(self) -> None:
        columns = parse_partitions(
            listed("/d/a=1/x.jpg", f"/d/b={2**63}/x.jpg", "/d/x.jpg"), "hive"
        )
        assert pd.isna(columns["a"]).tolist() == [False, True, True]
        assert columns["b"].dtype == "float64"
        assert parse_partitions(listed("/d/x.jpg"), "hive") == {}

    def test_hive_of_files_and_of_a_partition_named(self, tmp_path: Path) -> None:
        root = tree(tmp_path, "y=1/m=2/a.jpg", "y=3/m=4/b.jpg")
        for given in (
            root,
            [f"{root}/y=1", f"{root}/y=3"],
            [f"{root}/y=1/m=2/a.jpg", f"{root}/y=3/m=4/b.jpg"],
            f"{root}/y=*/m=*/*.jpg",
        ):
            columns = parse_partitions(list_images(given), "hive")
            assert list(columns) == ["y", "m"]
            assert columns["y"].tolist() == [1, 3]
            assert columns["m"].tolist() == [2, 4]

    def test_hive_key_twice(self) -> None:
        with pytest.raises(ValueError, match=r"/d/a=1/a=2/x\.jpg.*'a' occurs twice"):
            parse_partitions(listed("/d/a=1/a=2/x.jpg"), "hive")

    def test_levels(self) -> None:
        columns = parse_partitions(
            listed("/d/01/a/x.jpg", "/d/02/b/deeper/y.jpg", "/d/01/c/z.jpg"), ["label", "sub"]
        )
        assert {name: list(column) for name, column in columns.items()} == {
            "label": ["01", "02", "01"],
            "sub": ["a", "b", "c"],
        }
        assert columns["label"].dtype == STR

    def test_too_few_levels(self) -> None:
        with pytest.raises(ValueError, match=r"/d/cat/x\.jpg: has 1 folder levels"):
            parse_partitions(listed("/d/a/b/x.jpg", "/d/cat/x.jpg"), ["a", "b"])

    @pytest.mark.parametrize("first", [2**63 + 1, 2**64 - 1, 10**30, -(2**63) - 1])
    def test_numbers_that_no_float_holds_stay_apart(self, first: int) -> None:
        columns = parse_partitions(listed(f"/d/h={first}/x.jpg", f"/d/h={first + 1}/x.jpg"), "hive")
        assert list(columns["h"]) == [str(first), str(first + 1)]

    def test_template(self) -> None:
        columns = parse_partitions(
            listed("/d/cat/007_a_b.jpg", "/d/dog (2)/-12_c.JPG"), "{category}/{id:d}_{n}.jpg"
        )
        frame = pd.DataFrame(columns)
        assert frame.dtypes.astype(str).to_dict() == {"category": STR, "id": "int64", "n": STR}
        assert frame.values.tolist() == [["cat", 7, "a_b"], ["dog (2)", -12, "c"]]

    @pytest.mark.parametrize(
        "template, path, wanted",
        [
            ("{x:f}.png", "/d/1.5e-1.png", {"x": 0.15}),
            ("{a}/{a}_{n:d}.{ext}", "/d/cat/cat_3.PNG", {"a": "cat", "n": 3, "ext": "PNG"}),
            ("v1.0 (+)/{n:d}.tif", "/d/v1.0 (+)/3.TIF", {"n": 3}),
            ("{{{n}}}.jpg", "/d/{x}.jpg", {"n": "x"}),
            ("/{product id}.jpg", "/d/k 3.jpg", {"product id": "k 3"}),
        ],
    )
    def test_templates(self, template: str, path: str, wanted: dict[str, object]) -> None:
        columns = parse_partitions(listed(path), template)
        assert {name: column[0] for name, column in columns.items()} == wanted

    @pytest.mark.parametrize(
        "path",
        ["/d/cat/x_1.jpg", "/d/7_1.jpg", "/d/a/b/7_1.jpg", "/d/cat/7_1.png", "/d/cat/7_.jpg"],
    )
    def test_a_path_that_does_not_fit(self, path: str) -> None:
        with pytest.raises(ValueError, match=r"does not fit the template.*\{id:d\}") as caught:
            parse_partitions(listed("/d/cat/1_1.jpg", path), "{category}/{id:d}_{n}.jpg")
        assert str(caught.value).startswith(path)

    @pytest.mark.parametrize("template", ["{id}/{id:d}.jpg", "{id:d}/{id}.jpg"])
    def test_a_field_that_occurs_twice_is_of_one_kind(self, template: str) -> None:
        assert parse_partitions(listed("/d/7/7.jpg"), template)["id"].tolist() == [7]
        with pytest.raises(ValueError, match="does not fit the template"):
            parse_partitions(listed("/d/abc/abc.jpg"), template)

    @pytest.mark.parametrize("template", ["label", "{}/{n}.jpg", "{n:x}.jpg", "{n!r}.jpg"])
    def test_what_is_no_template(self, template: str) -> None:
        with pytest.raises(ValueError, match=r"partitioning=.*expected"):
            parse_partitions(listed("/d/a.jpg"), template)

    def test_numbers_too_large(self) -> None:
        with pytest.raises(ValueError, match="beyond 64 bits"):
            parse_partitions(listed(f"/d/{2**64}.jpg"), "{id:d}.jpg")

    @pytest.mark.parametrize("partitioning", [["image"], "{path}/{x}.jpg", "hive"])
    def test_reserved_names(self, partitioning) -> None:
        with pytest.raises(ValueError, match="another name"):
            parse_partitions(listed("/d/path=1/a.jpg"), partitioning)

    @pytest.mark.parametrize("names", [[], ["a", "a"], [""], [1]])
    def test_wrong_names(self, names) -> None:
        with pytest.raises(ValueError, match="partitioning"):
            parse_partitions(listed("/d/x/y/a.jpg"), names)

    def test_inside_archives_and_addresses(self) -> None:
        zipped = listed("zip://cat/1.jpg::s3://bucket/deep/pets.zip", root="zip://")
        assert list(parse_partitions(zipped, ["label"])["label"]) == ["cat"]
        assert parse_partitions(zipped, "{label}/{n:d}.jpg")["n"].tolist() == [1]
        web = listed("https://host/pets/cat/1.jpg?size=a/b", root="https://host/pets/")
        assert parse_partitions(web, "{label}/{n:d}.jpg")["n"].tolist() == [1]


class TestSplit:
    @pytest.mark.parametrize(
        "n, most", [(1, 16), (16, 16), (2047, 16), (2560, 20), (10_000, 78), (10**6, 256)]
    )
    def test_default_is_files_per_partition(self, n: int, most: int) -> None:
        bounds = split_rows(n, None)
        assert bounds[0] == 0
        assert bounds[-1] == n
        assert bounds.dtype == np.int64
        assert len(bounds) - 1 == -(-n // most)
        assert np.diff(bounds).max() == min(n, most)

    def test_at_most_32_mib_unless_one_file_is_larger(self) -> None:
        rng = np.random.default_rng(0)
        sizes = rng.integers(0, 12 * 2**20, 3000)
        sizes[[5, 700]] = 50 * 2**20
        bounds = split_rows(3000, sizes)
        held = np.add.reduceat(sizes, bounds[:-1])
        counts = np.diff(bounds)
        assert (counts >= 1).all()
        assert (counts <= 23).all()
        assert ((held <= 32 * 2**20) | (counts == 1)).all()
        full = counts == 23
        following = np.append(sizes[bounds[1:-1]], 2**40)
        assert ((held + following > 32 * 2**20) | full).all()

    def test_blocksize(self) -> None:
        sizes = np.full(64, 1024)
        assert np.diff(split_rows(64, sizes, blocksize="4 KiB")).tolist() == [4] * 16
        assert np.diff(split_rows(64, sizes, 10, blocksize=8192)).tolist() == [8] * 8
        assert np.diff(split_rows(64, sizes, 10, blocksize="1GiB")).max() == 10
        assert np.diff(split_rows(64, None, blocksize=1)).max() == 16

    def test_files_per_partition_is_meant(self) -> None:
        sizes = np.full(100, 2**30)
        assert split_rows(100, sizes, 40).tolist() == [0, 40, 80, 100]
        assert split_rows(3, None, 40).tolist() == [0, 3]
        assert split_rows(0, None).tolist() == [0, 0]

    def test_wrong_numbers(self) -> None:
        for wrong in (0, -1, 2.5, "4", True):
            with pytest.raises(ValueError, match=f"1 or more; got {wrong!r}"):
                split_rows(10, None, wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="blocksize"):
            split_rows(10, None, blocksize=0)

    def test_shuffle_is_a_permutation_that_a_seed_fixes(self) -> None:
        order = shuffle_order(1000, 7)
        assert sorted(order.tolist()) == list(range(1000))
        assert (order == shuffle_order(1000, 7)).all()
        assert (order != shuffle_order(1000, 8)).any()
        assert (order != np.arange(1000)).any()


def test_partitions_are_cut_from_the_listing_when_asked_for():
    listing = Rows(pa.table({"path": [f"/pictures/{i:03}.jpg" for i in range(10)]}))
    parts = Partitions(listing, np.array([0, 4, 8, 10]))
    assert [len(part.table) for part in parts] == [4, 4, 2]
    assert [part.start for part in parts] == [0, 4, 8]
    assert parts[-1].table["path"].to_pylist() == ["/pictures/008.jpg", "/pictures/009.jpg"]
    assert [part.start for part in parts[1:]] == [4, 8]
    with pytest.raises(IndexError):
        parts[3]
    again = pickle.loads(pickle.dumps(parts))
    assert [part.table for part in again] == [part.table for part in parts]
    assert tokenize(again) == tokenize(parts)
    assert tokenize(parts) != tokenize(Partitions(listing, np.array([0, 5, 10])))
    one = pickle.dumps(parts[0])
    assert len(one) < len(pickle.dumps(parts))
    assert len(pickle.loads(one).table) == 4


@pytest.mark.parametrize("begin", ["file:", "FILE:", "file://", "FILE://", "File://LocalHost"])
def test_urls_of_files(begin, tmp_path, one_thread):
    di.testing.make_images(tmp_path, 1, size=(4, 6))
    found = di.read_images(f"{begin}{tmp_path}").image.img.height.compute()
    assert found.tolist() == [4]


@pytest.mark.parametrize("given", [None, 5, b"folder", [None], [b"a.png"]])
def test_no_paths(given):
    with pytest.raises(TypeError, match="urlpath: expected a path"):
        di.read_images(given)


@pytest.mark.parametrize("size", [(4.0, 5.0), (np.float32(4), np.int64(5)), np.array([4, 5])])
def test_whole_sizes(size, tmp_path, one_thread):
    di.testing.make_images(tmp_path, 1, size=(8, 9))
    assert di.read_images(tmp_path, size=size).image.compute()[0].to_numpy().shape[:2] == (4, 5)


@pytest.mark.parametrize("size", [(4.5, 5), (True, 5), (float("nan"), 5), (float("inf"), 5), "45"])
def test_sizes_that_are_none(size, tmp_path):
    di.testing.make_images(tmp_path, 1, size=(8, 9))
    with pytest.raises(ValueError, match=r"\(height, width\)"):
        di.read_images(tmp_path, size=size)


RESIDENT = """
import sys
from pathlib import Path
import daskimg as di

def resident():
    told = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in told.splitlines() if line.startswith("VmRSS"))

di.read_images(sys.argv[1])  # what is loaded once
before = resident()
df = di.read_images(sys.argv[2])
print(resident() - before)
"""


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is told by Linux")
@pytest.mark.skipif(int(pa.__version__.split(".")[0]) < 20, reason="Arrow 19 keeps what it freed")
def test_the_memory_of_sorting_is_given_back(tmp_path):
    for number in range(40_000):
        folder = tmp_path / ("few" if number < 10 else "many")
        folder.mkdir(exist_ok=True)
        (folder / f"{number:08d}.jpg").touch()
    command = [sys.executable, "-c", RESIDENT, tmp_path / "few", tmp_path / "many"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300 * 40  # KB for 40,000 paths; it was 600 bytes each


@pytest.mark.parametrize(
    ("wrong", "kind", "told"),
    [
        (3, TypeError, "or a template; got 3"),
        ("{a/{b}", ValueError, "partitioning='{a/{b}': expected fields like {name}"),
    ],
)
def test_what_is_no_partitioning_is_told(tmp_path, wrong, kind, told):
    (tmp_path / "a.png").write_bytes(b"1")
    with pytest.raises(kind) as caught:
        di.read_images(tmp_path, partitioning=wrong)
    assert told in str(caught.value)
