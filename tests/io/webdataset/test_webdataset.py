"""Tar shards: as the webdataset package writes and reads them, and damaged ones."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import dask
import dask.dataframe as dd
import fsspec
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg import metrics
from daskimg.io.webdataset.archive import Archive
from daskimg.testing import assert_images_equal, make_images


def png(i=0, size=(8, 9)) -> bytes:
    pixels = np.full((*size, 3), i, np.uint8)
    return di.Image(pixels).to_bytes()


def tar_bytes(members, **options) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", **options) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def members_of(rows) -> list:
    made = []
    for i in rows:
        made += [
            (f"train/{i:04d}.png", png(i)),
            (f"train/{i:04d}.cls", str(i).encode()),
            (f"train/{i:04d}.json", b'{"tags": ["a", %d]}' % i),
            (f"train/{i:04d}.txt", f"é{i}".encode()),
        ]
    return made


@pytest.fixture
def shard(tmp_path) -> str:
    path = tmp_path / "shard.tar"
    path.write_bytes(tar_bytes(members_of(range(5))))
    return str(path)


# -- reading ------------------------------------------------------------------------------------
def test_columns_by_extension(shard):
    frame = di.read_webdataset(shard)
    assert frame.dtypes.astype(str).to_dict() == {
        "__key__": "string",
        "png": "image[encoded]",
        "cls": "Int64",
        "json": "json",
        "txt": "string",
    }
    made = frame.compute()
    assert made.dtypes.equals(frame.dtypes)
    assert made["__key__"].tolist() == [f"train/{i:04d}" for i in range(5)]
    assert made.cls.tolist() == [*range(5)]
    assert made.json[3] == {"tags": ["a", 3]}
    assert made.txt[2] == "é2"
    assert made.png[4].to_bytes() == png(4)
    assert frame.png.img.width.compute().tolist() == [9] * 5


def test_paths_open_the_member_itself(shard):
    paths = di.read_webdataset(shard).png.img.path.compute()
    assert paths[1] == f"tar://train/0001.png::{shard}"
    assert "PermissionError" in di.images(paths, on_error="null").img.check()[1]  # a chain
    with dask.config.set({"daskimg.allow-paths": [f"tar://::{shard}"]}):
        assert di.images(paths).img.mean().tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("per", [None, 2])
@pytest.mark.parametrize("protocol", ["", "memory://"])
def test_gzipped_cut_and_remote(tmp_path, shard, packed, per, protocol):
    data = Path(shard).read_bytes()
    path = f"{tmp_path}/s.tar.gz" if packed else f"{tmp_path}/s.tar"
    where = fsspec.filesystem("memory" if protocol else "file")
    where.pipe(path, gzip.compress(data) if packed else data)
    frame = di.read_webdataset(f"{protocol}{path}", rows_per_partition=per)
    assert frame.npartitions == (1 if per is None else 3)
    made = frame.compute()
    assert made.index.tolist() == [*range(5)]
    assert made.cls.tolist() == [*range(5)]
    assert [cell.to_bytes() for cell in made.png] == [png(i) for i in range(5)]


def test_shards_are_found_and_numbered(tmp_path):
    for n in range(3):
        (tmp_path / f"t-{n:03d}.tar").write_bytes(tar_bytes(members_of(range(2 * n, 2 * n + 2))))
    (tmp_path / "README").write_text("")
    frame = di.read_webdataset(tmp_path)
    assert frame.compute().index.tolist() == [n * 10**9 + i for n in range(3) for i in range(2)]
    part = di.read_webdataset(f"{tmp_path}/t-{{001..002}}.tar")
    assert part.cls.compute().tolist() == [2, 3, 4, 5]
    assert len(di.read_webdataset(f"{tmp_path}/t-*.tar", rows_per_partition=4)) == 6
    for tar in tmp_path.glob("*.tar"):
        tar.unlink()
    with pytest.raises(FileNotFoundError, match="README"):
        di.read_webdataset(tmp_path)


def test_names_are_grouped_as_webdataset_does(tmp_path):
    names = ["a/b.c/1.seg.png", "a/b.c/1.JPG", "__meta__/x.txt", "nodot", "2.npy", "1.bin"]
    array = io.BytesIO()
    np.save(array, np.arange(6).reshape(2, 3))
    contents = [png(1), png(2), b"m", b"n", array.getvalue(), b"\x00\x01"]
    path = tmp_path / "x.tar"
    path.write_bytes(tar_bytes(zip(names, contents, strict=True)))
    frame = di.read_webdataset(path)
    assert frame.dtypes.astype(str).to_dict() == {
        "__key__": "string",
        "seg.png": "image[encoded]",
        "jpg": "image[encoded]",
        "npy": "tensor[pixels]",
        "bin": "large_binary[pyarrow]",
    }
    made = frame.compute()
    assert made["__key__"].tolist() == ["a/b.c/1", "2", "1"]
    assert made.isna().sum().tolist() == [0, 2, 2, 2, 2]
    assert made.npy[1].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_long_names_and_links(tmp_path):
    name = "d" * 90 + "/" + "é" * 90
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        data = tar_bytes([(f"{name}.txt", b"x"), ("b.txt", b"y")], format=kind)
        (tmp_path / "x.tar").write_bytes(data)
        for per in (None, 1):
            frame = di.read_webdataset(tmp_path / "x.tar", rows_per_partition=per)
            assert frame.compute()["__key__"].tolist() == [name, "b"]


def test_extensions_are_chosen(shard):
    frame = di.read_webdataset(shard, extensions=[".CLS", "png", "webp"])
    assert list(frame.columns) == ["__key__", "cls", "png", "webp"]
    assert frame.compute().webp.isna().all()
    with pytest.raises(TypeError, match="list"):
        di.read_webdataset(shard, extensions="png")


def test_building_reads_headers_and_a_pass_only_what_is_used(shard, monkeypatch):
    read = []
    real = Archive.content

    def counting(self, member):
        read.append(member.name.rpartition(".")[2])
        return real(self, member)

    monkeypatch.setattr(Archive, "content", counting)
    frame = di.read_webdataset(shard)
    assert read == []
    with dask.config.set(scheduler="sync"):
        assert frame[frame.cls > 2].txt.compute().tolist() == ["é3", "é4"]
    assert {*read} == {"cls", "txt"}


# -- damage -------------------------------------------------------------------------------------
def third(data: bytes, text: bytes) -> int:
    """Where the header of a member of the third sample begins."""
    return data.index(b"train/0002." + text)


def bad_header(data):
    at = third(data, b"png")
    return data[: at + 3] + b"XXXX" + data[at + 7 :]


def cut_in_data(data):
    return data[: third(data, b"png") + 512 + 20]


def cut_in_header(data):
    return data[: third(data, b"cls") + 100]


def bad_number(data):
    at = third(data, b"cls") + 512
    return data[:at] + b"x" + data[at + 1 :]


def bad_json(data):
    at = third(data, b"json") + 512
    return data[:at] + b"]" + data[at + 1 :]


DAMAGES = {
    "header": (bad_header, "is damaged.*what follows is lost", "traXXXX002"),
    "data": (cut_in_data, r"ends in train/0002\.png", "train/0002"),
    "cut": (cut_in_header, "is damaged", "train/0002"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("per", [None, 2])
@pytest.mark.parametrize("packed", [False, True])
def test_damage_is_one_row(tmp_path, shard, damage, per, packed):
    break_it, reason, key = DAMAGES[damage]
    data = break_it(Path(shard).read_bytes())
    path = tmp_path / ("bad.tar.gz" if packed else "bad.tar")
    path.write_bytes(gzip.compress(data) if packed else data)
    options = {"extensions": ["png", "cls", "json"], "rows_per_partition": per}
    with pytest.raises(di.ImageError, match=r"bad\.tar"):
        di.read_webdataset(path, **options).compute()
    frame = di.read_webdataset(path, on_error="null", **options)
    made = frame.compute()
    assert made["__key__"].tolist() == ["train/0000", "train/0001", key]
    assert made.png.img.failed.tolist() == [False, False, True]
    assert made.cls.tolist() == [0, 1, pd.NA]
    assert made.png.img.error.str.contains(reason).tolist()[2]
    assert len(frame) == len(frame.cls.compute()) == 3


def test_a_gzipped_shard_that_ends_early(tmp_path):
    rng = np.random.default_rng(0)
    noise = [(f"{i}.bin", rng.bytes(5000)) for i in range(20)]
    pictures = [(f"{i}.png", png(i)) for i in range(20)]
    both = [member for pair in zip(pictures, noise, strict=True) for member in pair]
    packed = gzip.compress(tar_bytes(both))
    (tmp_path / "x.tgz").write_bytes(packed[: len(packed) // 2])
    made = di.read_webdataset(tmp_path / "x.tgz", on_error="null").compute()
    assert 5 < len(made) < 15
    assert made.png.img.failed.tolist() == [False] * (len(made) - 1) + [True]
    with pytest.raises(di.ImageError, match=r"x\.tgz"):
        di.read_webdataset(tmp_path / "x.tgz").compute()


def test_no_tar_at_all(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"this is no tar file" * 100)
    with pytest.raises(di.ImageError, match=r"x\.tar"):
        di.read_webdataset(tmp_path / "x.tar")
    frame = di.read_webdataset(tmp_path / "x.tar", extensions=["png"], on_error="null")
    assert frame.compute().png.img.failed.tolist() == [True]
    (tmp_path / "x.tar").write_bytes(tar_bytes([]))
    with pytest.raises(ValueError, match=r"no sample.*extensions="):
        di.read_webdataset(tmp_path / "x.tar")


def test_a_member_nobody_expected(tmp_path):
    members = [(f"{i:03d}.txt", b"x") for i in range(120)] + [("120.cls", b"1")]
    (tmp_path / "x.tar").write_bytes(tar_bytes(members))
    with pytest.raises(di.ImageError, match=r"extension 'cls'.*extensions="):
        di.read_webdataset(tmp_path / "x.tar").compute()
    made = di.read_webdataset(tmp_path / "x.tar", extensions=["txt"]).compute()
    assert made.txt.isna().sum() == 1


def test_a_member_that_is_there_twice(tmp_path):
    (tmp_path / "x.tar").write_bytes(tar_bytes([("1.txt", b"x"), ("1.txt", b"y")]))
    with pytest.raises(di.ImageError, match="twice"):
        di.read_webdataset(tmp_path / "x.tar", extensions=["txt"]).compute()


# -- writing ------------------------------------------------------------------------------------
@pytest.fixture
def pictures(tmp_path):
    make_images(tmp_path / "pictures", 6, size=(8, 10), formats=["jpeg"], broken=1)
    return di.read_images(tmp_path / "pictures", files_per_partition=4, on_error="null")


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_round_trip(tmp_path, pictures, compression):
    frame = pictures.assign(
        mask=pictures.image.img.convert("L").img.resize(4, 4), cls=7, score=0.5, txt="é"
    )
    metrics.reset()
    result = frame.img.write_webdataset(tmp_path / "out", compression=compression)
    assert metrics.snapshot()["decode"] == 7
    assert (result.rows, result.failed) == (7, 1)
    ending = "tar" if compression is None else "tar.gz"
    assert [f.rpartition("/")[2] for f in result.files] == [
        f"part-00000.{ending}",
        f"part-00001.{ending}",
    ]
    made, kept = di.read_webdataset(tmp_path / "out").compute(), frame.compute()
    kept = kept[kept["mask"].notna()].reset_index(drop=True)
    made = made.reset_index(drop=True)
    assert made["__key__"].is_unique
    assert [cell.to_bytes() for cell in made["image.jpg"]] == [
        Path(path).read_bytes() for path in kept.path
    ]
    assert_images_equal(made["mask.png"].img.decode("L"), kept["mask"], check_path=False)
    assert made.cls.tolist() == [7] * 6
    assert made.txt.tolist() == ["é"] * 6
    assert made.json.tolist() == [{"path": path, "score": 0.5} for path in kept.path]


def test_the_same_bytes_every_time(tmp_path, pictures):
    one = pictures.img.write_webdataset(tmp_path / "one", compression="gzip")
    two = pictures.img.write_webdataset(tmp_path / "two", compression="gzip")
    for a, b in zip(one.files, two.files, strict=True):
        assert Path(a).read_bytes() == Path(b).read_bytes()
    with pytest.raises(FileExistsError):
        pictures.img.write_webdataset(tmp_path / "one")
    more = pictures.img.write_webdataset(tmp_path / "one", compression="gzip", mode="append")
    assert len(more.files) == 4
    assert di.read_webdataset(tmp_path / "one").compute()["__key__"].is_unique


def test_keys(tmp_path, pictures):
    keyed = pictures.assign(__key__="shop/" + pictures.path.str[-9:-4])
    keyed.img.write_webdataset(tmp_path / "out")
    keys = di.read_webdataset(tmp_path / "out").compute()["__key__"]
    assert keys.tolist()[:2] == ["shop/00000", "shop/00001"]
    for key, text in (("a.b", "without a dot"), ("../x", "leaves"), ("same", "same")):
        with pytest.raises(ValueError, match=text):
            pictures.assign(__key__=key).img.write_webdataset(tmp_path / "bad")
        assert not (tmp_path / "bad").exists() or not any((tmp_path / "bad").glob("*.tar"))


def test_values_of_members(tmp_path):
    frame = pd.DataFrame(
        {
            "png": pd.Series([png(), None], dtype="image[encoded]"),
            "t": pd.Series([np.arange(3), None], dtype="tensor"),
            "x.bin": pd.array([b"\x00", None], "large_binary[pyarrow]"),
            "cls": pd.array([3, None], "Int64"),
            "json": pd.Series([{"a": [1, None]}, None], dtype="json"),
            "when": pd.to_datetime(["2024-01-05", None]),
        }
    )
    result = frame.img.write_webdataset(tmp_path / "out")
    assert (result.rows, result.missing) == (2, 1)
    made = di.read_webdataset(tmp_path / "out").compute()
    assert made.json.tolist() == [{"a": [1, None], "when": "2024-01-05 00:00:00"}, {"when": None}]
    assert made["t.npy"][0].tolist() == [0, 1, 2]
    assert made["x.bin"][0] == b"\x00"
    assert made.drop(columns=["json", "__key__"]).iloc[1].isna().all()
    with pytest.raises(ValueError, match="already has something else"):
        frame.rename(columns={"when": "a"}).img.write_webdataset(tmp_path / "clash")
    with pytest.raises(ValueError, match="rename 'a/b'"):
        frame.rename(columns={"when": "a/b"}).img.write_webdataset(tmp_path / "clash")


# -- the webdataset package ---------------------------------------------------------------------
def test_webdataset_reads_ours(tmp_path, pictures):
    wds = pytest.importorskip("webdataset")
    frame = pictures.assign(cls=7, small=pictures.image.img.resize(4, 5, fit="stretch"))
    result = frame.img.write_webdataset(tmp_path / "out")
    rows = [
        row
        for file in result.files
        for row in wds.WebDataset(file, shardshuffle=False).decode("rgb8")
    ]
    assert len(rows) == 6
    expected = frame.compute().dropna(subset="small").small
    for row, cell in zip(rows, expected, strict=True):
        assert np.array_equal(row["small.png"], cell.to_numpy())
        assert row["image.jpg"].shape == (8, 10, 3)
        assert (row["cls"], list(row["json"])) == (7, ["path"])


def test_we_read_webdatasets(tmp_path):
    wds = pytest.importorskip("webdataset")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (4, 8, 9, 3), dtype=np.uint8)
    with wds.TarWriter(str(tmp_path / "theirs.tar.gz")) as writer:
        for i in range(4):
            writer.write(
                {
                    "__key__": f"a/s{i:03d}",
                    "png": pixels[i],
                    "cls": i,
                    "json": {"a": [i]},
                    "txt": "é",
                    "emb.npy": np.arange(i, i + 3),
                }
            )
    made = di.read_webdataset(tmp_path / "theirs.tar.gz").compute()
    assert np.array_equal(np.stack([cell.to_numpy() for cell in made.png]), pixels)
    assert made.cls.tolist() == [0, 1, 2, 3]
    assert made.json.tolist() == [{"a": [i]} for i in range(4)]
    assert [value.tolist() for value in made["emb.npy"]] == [[i, i + 1, i + 2] for i in range(4)]


def test_lists_of_pictures_are_refused_by_name(tmp_path):
    lists = pd.Series([[di.Image(png())], None]).astype("list[image[encoded]]")
    frame = pd.DataFrame({"row": [1, 2], "views": lists})
    for write in (frame.img.write_webdataset, frame.img.write_tfrecords):
        with pytest.raises(ValueError, match=r"'views' is .*explode it first"):
            write(tmp_path / "out")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("extra", ["png", "PNG"])
def test_two_columns_of_one_member_lose_neither(tmp_path, extra):
    frame = pd.DataFrame({"image": pd.Series([png()], dtype="image[encoded]"), extra: [b"other"]})
    with pytest.raises(ValueError, match="would be the member 'png'"):
        frame.img.write_webdataset(tmp_path / "out")


def test_names_that_occur_twice_are_refused(tmp_path):
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    for write in (frame.img.write_webdataset, frame.img.write_tfrecords):
        with pytest.raises(ValueError, match="several columns are named 'a'"):
            write(tmp_path / "out")


@pytest.mark.parametrize("key", ["a/.b/c", "__MACOSX/c", "__meta__/c", ".hidden", ""])
def test_keys_that_no_reader_would_take_are_not_written(tmp_path, key):
    frame = pd.DataFrame({"__key__": ["ok", key], "txt": ["a", "b"]})
    with pytest.raises(ValueError, match="readers of tar shards skip"):
        frame.img.write_webdataset(tmp_path / "out")


@pytest.mark.parametrize("kind", ["binary[pyarrow]", "large_binary[pyarrow]"])
def test_bytes_that_a_whole_shard_lacks_make_no_other_member(tmp_path, kind):
    more = pd.array([b"1", b"2", None, None], kind)
    frame = pd.DataFrame({"png": pd.Series([png()] * 4, dtype="image[encoded]"), "more": more})
    dd.from_pandas(frame, npartitions=2).img.write_webdataset(tmp_path / "out")
    made = di.read_webdataset(tmp_path / "out").compute()
    assert list(made.columns) == ["__key__", "more", "png"]
    assert made.more.isna().tolist() == [False, False, True, True]


@pytest.mark.parametrize("dtype", [object, "json"])
def test_text_that_only_begins_like_json_is_text(tmp_path, dtype):
    words = ["[draft] a", "{b", "c", '[1, {"d": 2}]']
    frame = pd.DataFrame({"json": pd.Series(words, dtype=dtype)})
    frame.img.write_webdataset(tmp_path / "out")
    made = di.read_webdataset(tmp_path / "out").compute().json.tolist()
    assert made[:3] == words[:3]
    assert made[3] == ([1, {"d": 2}] if dtype is object else words[3])


@pytest.mark.parametrize("number", [np.inf, -np.inf])
def test_what_json_cannot_hold_is_named(tmp_path, number):
    frame = pd.DataFrame({"score": [1.0, number]})
    with pytest.raises(ValueError, match=r"holds no infinity, and .*score.*: replace it"):
        frame.img.write_webdataset(tmp_path / "out")


@pytest.mark.parametrize("kind", ["picture", "Pillow", "bytes", "object"])
def test_what_json_cannot_hold_is_not_written_as_its_repr(tmp_path, kind):
    picture = di.Image(png())
    value, what = {
        "picture": ([picture], "Image"),
        "Pillow": ({"a": [picture.to_pil()]}, "Image"),
        "bytes": ([b"bytes"], "bytes"),
        "object": (object(), "object"),
    }[kind]
    frame = pd.DataFrame({"txt": ["a", "b"], "more": [value] * 2})
    with pytest.raises(TypeError, match=f"the member json holds no {what}, such as"):
        frame.img.write_webdataset(tmp_path / "bad")


def test_what_json_holds_as_text(tmp_path):
    value = {"day": pd.Timestamp("2020-01-02"), "n": np.int8(3), "x": float("nan"), "p": Path("a")}
    frame = pd.DataFrame({"txt": ["a"], "more": [value]})
    frame.img.write_webdataset(tmp_path / "good")
    told = di.read_webdataset(tmp_path / "good").compute().json[0]
    assert told == {"more": {"day": "2020-01-02 00:00:00", "n": 3, "x": None, "p": "a"}}
