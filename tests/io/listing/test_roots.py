"""Names of pictures below the folder that was listed: nothing is computed for them."""

from __future__ import annotations

from pathlib import Path

import dask.dataframe as dd
import pandas as pd
import pytest

import daskimg as di
from daskimg.testing import make_images

TREE = {"cats": "cats", "dogs/big": "dogs/big"}
WANTED = ["cats/00000.png", "cats/00001.png", "dogs/big/00000.png", "dogs/big/00001.png"]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    for below in ("cats", "dogs/big"):
        make_images(folder / below, 2, size=(4, 5), formats=["png"])
    return folder


def names(result) -> list[str]:
    root = result.manifest.removesuffix("_daskimg/manifest.json")
    return sorted(file.removeprefix(root) for file in result.files)


def read(shop, **options):
    return di.read_images(shop, files_per_partition=2, **options)


def small(shop):
    return read(shop, size=(4, 4), mode="RGB")


def invert(batch):
    return {"image": 255 - batch["image"]}


def rest(df):
    return dd.from_pandas(
        pd.DataFrame({"path": df.path.compute(), "n": range(4)}), npartitions=2, sort=False
    )


FRAMES = {
    "a folder": lambda shop: read(shop),
    "a list of folders": lambda shop: di.read_images([shop / "dogs", shop / "cats"]),
    "a glob": lambda shop: di.read_images(f"{shop}/*"),
    "a deep glob": lambda shop: di.read_images(f"{shop}/**/*.png"),
    "a list of files": lambda shop: di.read_images(sorted(shop.rglob("*.png"))),
    "shuffled": lambda shop: read(shop, shuffle=True, seed=1),
    "filtered by pixels": lambda shop: (df := small(shop))[df.image.img.mean() >= 0],
    "merged": lambda shop: small(shop).merge(rest(read(shop)), on="path"),
    "map_batches": lambda shop: small(shop).img.map_batches(invert, meta={"image": "image"}),
    "map_batches, tried": lambda shop: small(shop).img.map_batches(invert, columns=["image"]),
    "map": lambda shop: small(shop).img.map(
        lambda row: {"image": row["image"]}, meta={"image": "image"}
    ),
    "map_batches, persisted": lambda shop: (
        small(shop).img.map_batches(invert, meta={"image": "image"}).persist()
    ),
    "map_partitions": lambda shop: (df := small(shop)).map_partitions(
        lambda part: part, meta=df._meta
    ),
    "map_partitions with a meta of its own": lambda shop: read(shop)[["image"]].map_partitions(
        lambda part: part.assign(image=part.image.img.convert("L")), meta={"image": "image[uint8]"}
    ),
    "persisted": lambda shop: small(shop).persist(),
    "computed": lambda shop: small(shop).compute(),
    "from pandas": lambda shop: dd.from_pandas(read(shop).compute(), npartitions=3),
    "concatenated": lambda shop: dd.concat(
        [di.read_images(shop / "cats"), di.read_images(shop / "dogs")]
    ),
    "concatenated in pandas": lambda shop: pd.concat(
        [di.read_images(shop / "cats").compute(), di.read_images(shop / "dogs").compute()]
    ),
    "paths in pandas": lambda shop: pd.DataFrame({"image": di.images(paths(shop))}),
    "paths in pandas, astype": lambda shop: pd.DataFrame(
        {"image": paths(shop).astype("image[file]")}
    ),
    "paths from pandas, in Dask": lambda shop: dd.from_pandas(
        pd.DataFrame({"image": paths(shop).astype("image[file]")}), npartitions=2
    ),
    "paths, made pictures in Dask": lambda shop: made(
        dd.from_pandas(pd.DataFrame({"p": paths(shop)}), npartitions=2)
    ),
    "a listing's own paths": lambda shop: (df := read(shop)).assign(image=di.images(df.path)),
    "encoded": lambda shop: (df := read(shop)).assign(image=df.image.img.read()),
}


def paths(shop):
    return pd.Series([str(path) for path in sorted(shop.rglob("*.png"))])


def made(df):
    return df.assign(image=di.images(df.p))[["image"]]


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_names_are_those_below_the_folder(shop, tmp_path, frame):
    result = frame(shop).img.write_images(tmp_path / "out", "image")
    assert (result.rows, result.failed, names(result)) == (4, 0, WANTED)


def test_a_folder_that_was_named_is_the_root_whatever_is_in_it(shop, tmp_path):
    only = read(shop, file_extensions="png")
    cats = only[only.path.str.contains("cats")]
    assert names(cats.img.write_images(tmp_path / "cats")) == WANTED[:2]
    alone = di.read_images(shop / "dogs")
    assert names(alone.img.write_images(tmp_path / "dogs")) == ["big/00000.png", "big/00001.png"]


def test_a_file_keeps_the_root_of_its_pictures(shop, tmp_path):
    read(shop).img.write_parquet(tmp_path / "encoded")
    read(shop).img.write_parquet(tmp_path / "files", embed=False)
    small(shop).img.write_parquet(tmp_path / "pixels")
    for kind in ("encoded", "files", "pixels"):
        again = di.read_parquet(tmp_path / kind)
        assert names(again.img.write_images(tmp_path / f"{kind}-out", "image")) == WANTED


def test_no_root_is_known_and_no_name_is_lost(shop, tmp_path):
    pd.DataFrame({"p": paths(shop)}).to_parquet(tmp_path / "paths.parquet")
    df = dd.read_parquet(tmp_path / "paths.parquet")
    result = made(df).img.write_images(tmp_path / "out")
    assert names(result) == [path.lstrip("/") for path in paths(shop)]


def test_shards_are_written_below_their_folder(shop, tmp_path):
    df = small(shop)
    df[["image"]].img.write_tfrecords(tmp_path / "records")
    found = di.read_tfrecords(tmp_path / "records").img.write_images(tmp_path / "out")
    assert found.rows == 4
    assert not any(name.startswith(str(tmp_path).lstrip("/")) for name in names(found))
    keyed = df.assign(key=df.path.str.extract(r"(\w+)/\d+\.png$", expand=False))
    keyed[["image"]].img.write_webdataset(tmp_path / "tars")
    found = di.read_webdataset(tmp_path / "tars").img.write_images(tmp_path / "samples")
    assert found.rows == 4
    assert all("/" not in name for name in names(found))


def test_roots_of_other_stores(tmp_path):
    import fsspec

    png = Path(make_images(tmp_path, 1, size=(4, 4), formats=["png"])[0]).read_bytes()
    fsspec.filesystem("memory").pipe({f"/roots/{k}/{k}.png": png for k in "ab"})
    df = di.read_images(["memory://roots/b", "memory://roots/a"])
    assert names(df.img.write_images(tmp_path / "one")) == ["a/a.png", "b/b.png"]
    both = dd.concat([df, di.read_images(tmp_path / "00000.png")])
    found = names(both.img.write_images(tmp_path / "two"))
    assert found == sorted(["roots/a/a.png", "roots/b/b.png", f"{tmp_path}/00000.png"[1:]])


def test_a_function_sees_its_rows_once(shop, tmp_path):
    seen = []

    def look(batch):
        seen.append((batch["image"].dtype.str, len(batch["image"])))
        return {"mask": 255 - batch["image"]}

    def pick(part):
        seen.append((str(part.image.dtype), len(part)))
        return part

    masks = small(shop).img.map_batches(look, columns=["image"], meta={"mask": "image"})
    masks.img.write_images(tmp_path / "masks", "mask")
    assert seen == [("|u1", 2), ("|u1", 2)]
    seen.clear()
    df = small(shop)
    di.metrics.reset()
    df.map_partitions(pick, meta=df._meta).img.write_images(tmp_path / "parts")
    assert seen == [("image[uint8, 4x4x3]", 2)] * 2
    assert di.metrics.snapshot()["decode"] == 4


def test_a_root_travels_with_the_dtype(shop):
    df = read(shop)
    root = f"{shop}/"
    assert df.image.dtype.root == root
    assert df.image.img.resize(2, 2).compute().dtype.root == root
    assert di.ImageDtype("file", root=root) == "image[file]"
    assert di.ImageDtype.from_json(di.ImageDtype("file", root=root).to_json()).root == root
    cats, dogs = (di.read_images(shop / one).image.compute() for one in ("cats", "dogs"))
    assert pd.concat([cats, dogs]).dtype.root == root
    assert pd.concat([cats, cats.astype("string").astype("image[file]")]).dtype.root is None
