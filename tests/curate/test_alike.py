"""Look-alikes of frames: pairs, groups and what is kept, of hashes and of pictures."""

from __future__ import annotations

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

import daskimg as di
from daskimg.curate import search
from tests.curate.hashes import all_pairs, clustered, groups_of, random

TEXT = pd.StringDtype("pyarrow")


def frame_of(hashes, **columns):
    names = pd.array([f"r{n}" for n in range(len(hashes))], dtype=TEXT)
    frame = pd.DataFrame({"h": pd.array(hashes, "UInt64"), "k": names, **columns})
    return frame.set_index(np.arange(len(frame)) % 7)  # an index that tells no row


def numbers(pairs):
    found = [pairs[end].str[1:].astype(int).tolist() for end in ("left", "right")]
    return sorted(zip(*found, strict=True))


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("made", [random, clustered])
@pytest.mark.parametrize("bits", [0, 5])
@pytest.mark.parametrize("confirm", [None, "c"])
def test_pairs_and_groups_are_those_of_comparing_each_with_each(made, bits, confirm, one_thread):
    hashes, second = made(600), clustered(600, 5, flips=3)
    frame = frame_of(hashes, c=second)
    frame.iloc[9, 0] = pd.NA
    want = all_pairs(hashes, bits, second if confirm else None)
    want = want[(want != 9).all(1)]
    groups = groups_of(600, want)
    for one in (frame, dd.from_pandas(frame, 2, sort=False)):
        how = {"hash": "h", "bits": bits, "confirm": confirm}
        pairs, told, kept = dask.compute(
            one.img.near_duplicates(key="k", **how),
            one.img.duplicate_groups(**how),
            one.img.drop_near_duplicates(**how),
        )
        assert numbers(pairs) == [tuple(pair) for pair in want.tolist()]
        assert (pairs.dtypes[["left", "distance"]] == [TEXT, "int64"]).all()
        assert told.group.fillna(-1).tolist() == groups
        assert told.dtypes[["group", "best"]].tolist() == [pd.Int64Dtype(), bool]
        pd.testing.assert_frame_equal(told.drop(columns=["group", "best"]), frame)
        pd.testing.assert_frame_equal(kept, frame[told.best.to_numpy()])
        firsts = {group: n for n, group in reversed([*enumerate(groups)]) if group >= 0}
        assert told.best.tolist() == [g < 0 or firsts[g] == n for n, g in enumerate(groups)]


def test_an_index_of_several_levels_tells_rows():
    frame = frame_of([7, 0, 7]).set_index("k", append=True)
    pairs = frame.img.near_duplicates(hash="h", bits=0, confirm=None)
    assert pairs.values.tolist() == [[(0, "r0"), (2, "r2"), 0]]


def test_distance_and_order():
    frame = frame_of([7, 0, 1, 7])
    pairs = frame.img.near_duplicates(hash="h", bits=2, confirm=None, key="k")
    assert pairs.values.tolist() == [
        ["r0", "r3", 0],
        ["r1", "r2", 1],
        ["r0", "r2", 2],
        ["r2", "r3", 2],
    ]


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("partitions", [1, 2, 9])
@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_groups_do_not_depend_on_partitions(partitions, scheduler):
    frame = frame_of(clustered(300))
    how = {"hash": "h", "bits": 6, "confirm": None}
    want = frame.img.duplicate_groups(**how)
    with dask.config.set(scheduler=scheduler):
        lazy = dd.from_pandas(frame, partitions, sort=False).img.duplicate_groups(**how)
        pd.testing.assert_frame_equal(lazy.compute(), want)


@pytest.mark.long
def test_groups_on_processes():
    frame = frame_of(clustered(300))
    how = {"hash": "h", "bits": 6, "confirm": None}
    with dask.config.set(scheduler="processes", num_workers=2):
        lazy = dd.from_pandas(frame, 3, sort=False).img.duplicate_groups(**how)
        pd.testing.assert_frame_equal(lazy.compute(), frame.img.duplicate_groups(**how))


@pytest.mark.long
def test_the_same_on_a_cluster(client):
    frame = frame_of(clustered(400))
    lazy = dd.from_pandas(frame, 5, sort=False)
    how = {"hash": "h", "bits": 6, "confirm": None}
    found, pairs = dask.compute(
        lazy.img.duplicate_groups(**how), lazy.img.near_duplicates(key="k", **how)
    )
    pd.testing.assert_frame_equal(found, frame.img.duplicate_groups(**how))
    assert numbers(pairs) == numbers(frame.img.near_duplicates(key="k", **how))


def test_some_partitions_and_columns_of_groups(one_thread):
    frame = frame_of(clustered(300))
    want = frame.img.duplicate_groups(hash="h", bits=6, confirm=None)
    lazy = dd.from_pandas(frame, 3, sort=False).img.duplicate_groups(hash="h", bits=6, confirm=None)
    assert lazy.partitions[2].compute().group.tolist() == want.group.tolist()[200:]
    assert lazy[["group"]].tail(3).group.tolist() == want.group.tolist()[-3:]
    assert lazy[lazy.group.isna()].k.compute().tolist() == want[want.group.isna()].k.tolist()
    assert len(lazy) == 300


def test_parquet_whose_partitions_dask_puts_together(tmp_path, one_thread):
    frame = frame_of(clustered(200), **{f"x{n}": 1.0 for n in range(20)}).reset_index(drop=True)
    for n in range(10):
        frame.iloc[20 * n : 20 * n + 20].to_parquet(tmp_path / f"{n}.parquet")
    lazy = dd.read_parquet(tmp_path).img.duplicate_groups(hash="h", bits=6, confirm=None)
    want = frame.img.duplicate_groups(hash="h", bits=6, confirm=None)
    assert lazy.compute().group.tolist() == want.group.tolist()
    assert lazy[["k", "group"]].compute().group.tolist() == want.group.tolist()


# -- many that are alike --------------------------------------------------------------------------
@pytest.mark.parametrize("lazy", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_million_equal_hashes_are_one_group(lazy, one_thread):
    hashes = np.zeros(1_000_000, np.uint64)
    hashes[-100_000:] = np.uint64(1) << np.random.default_rng(0).integers(0, 64, 100_000, np.uint64)
    frame = pd.DataFrame({"h": hashes})
    one = dd.from_pandas(frame, 4, sort=False) if lazy else frame
    (told,) = dask.compute(one.img.duplicate_groups(hash="h", confirm=None))
    assert told.group.eq(0).all()
    assert told.best.sum() == 1
    assert told.best.iloc[0]
    with pytest.raises(ValueError, match=r"too many to list. duplicate_groups\(\)"):
        dask.compute(one.img.near_duplicates(hash="h", confirm=None))


def test_pairs_of_many_equal_rows_are_all_there(monkeypatch):
    frame = frame_of([5] * 300 + [4] * 200)
    pairs = frame.img.near_duplicates(hash="h", bits=1, confirm=None, key="k")
    assert len(pairs) == 500 * 499 // 2
    assert pairs.distance.value_counts().to_dict() == {
        0: 300 * 299 // 2 + 200 * 199 // 2,
        1: 60_000,
    }
    monkeypatch.setattr(search, "MOST_PAIRS", 100_000)
    with pytest.raises(ValueError, match="300 rows have one hash"):
        frame.img.near_duplicates(hash="h", bits=1, confirm=None, key="k")


# -- across two frames ----------------------------------------------------------------------------
def test_pairs_across_two_frames(one_thread):
    here, there = clustered(300), np.concatenate([clustered(300)[:150], random(50)])
    near = np.bitwise_count(here[:, None] ^ there) <= 5
    want = sorted(zip(*(side.tolist() for side in np.nonzero(near)), strict=True))
    one, two = frame_of(here), frame_of(there)
    how = {"hash": "h", "bits": 5, "confirm": None, "key": "k"}
    assert numbers(one.img.near_duplicates(other=two, **how)) == want
    lazy = [dd.from_pandas(frame, n, sort=False) for frame, n in ((one, 3), (two, 2))]
    assert numbers(lazy[0].img.near_duplicates(other=lazy[1], **how).compute()) == want
    with pytest.raises(TypeError, match="same kind"):
        one.img.near_duplicates(other=lazy[1], **how)


# -- pictures -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Two photographs with their copies, blank pictures, a broken file."""
    folder = tmp_path_factory.mktemp("shop")
    rng = np.random.default_rng(3)
    for name in "ab":
        coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8))
        photo = coarse.resize((180, 140), Image.Resampling.BICUBIC)
        photo.save(folder / f"{name}.jpg", quality=95)
        photo.save(folder / f"{name}_again.jpg", quality=40)
        photo.resize((90, 70)).save(folder / f"{name}_half.png")
        photo.resize((360, 280)).save(folder / f"{name}_large.jpg", quality=90)
        photo.rotate(90, expand=True).save(folder / f"{name}_turned.png")
        ImageOps.mirror(photo).save(folder / f"{name}_mirrored.jpg", quality=90)
    for n, tone in enumerate([250, 250, 250, 20, 20]):
        Image.new("RGB", (30 + n, 40), (tone,) * 3).save(folder / f"blank{tone}_{n}.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def named(values):
    return [str(value).rsplit("/", 1)[1].split(".")[0] for value in values]


@pytest.mark.parametrize("lazy", [True, False])
def test_groups_of_pictures_and_the_best_of_each(shop, lazy, one_thread):
    df = di.read_images(shop, on_error="null", files_per_partition=5)
    one = df if lazy else df.compute()
    (told,) = dask.compute(one.img.duplicate_groups())
    told = told.assign(name=named(told.path)).set_index("name")
    groups = told.dropna(subset="group").groupby("group").groups
    assert sorted(sorted(names) for names in groups.values()) == [
        ["a", "a_again", "a_half", "a_large"],
        ["b", "b_again", "b_half", "b_large"],
        ["blank20_3", "blank20_4"],
        ["blank250_0", "blank250_1", "blank250_2"],
    ]
    best = told[told.group.notna() & told.best].index.tolist()
    assert best == ["a_large", "b_large", "blank20_4", "blank250_2"]
    assert told.group["broken"] is pd.NA
    (kept,) = dask.compute(one.img.drop_near_duplicates())
    assert "broken" in named(kept.path)
    assert len(kept) == 4 + 5
    (first,) = dask.compute(one.img.drop_near_duplicates(keep="first"))
    assert {*named(first.path)} >= {"a", "b", "blank20_3", "blank250_0"}


@pytest.mark.parametrize("lazy", [True, False])
def test_turned_and_mirrored_pictures(shop, lazy, one_thread):
    df = di.read_images(shop, on_error="null", files_per_partition=7)
    df = df[df.path.str.contains(r"/[ab](?:_turned|_mirrored)?\.")]
    one = df if lazy else df.compute()
    (plain, pairs) = dask.compute(one.img.near_duplicates(), one.img.near_duplicates(turned=True))
    assert len(plain) == 0
    found = sorted(zip(named(pairs.left), named(pairs.right), strict=True))
    want = [
        (f"{n}{x}", f"{n}{y}")
        for n in "ab"
        for x, y in (("", "_mirrored"), ("", "_turned"), ("_mirrored", "_turned"))
    ]
    assert found == want
    (told,) = dask.compute(one.img.duplicate_groups(turned=True))
    assert told.group.tolist() == [0] * 3 + [1] * 3


def test_pictures_are_opened_once(shop, one_thread):
    df = di.read_images(shop, on_error="null", files_per_partition=5)
    df = df.assign(entropy=df.image.img.entropy())
    for one in (df, df.drop(columns="entropy").compute()):
        with di.stats() as seen:
            dask.compute(one.img.duplicate_groups())
        table = seen.to_frame(by="stage")
        assert table.images["fetch"] == table.images["decode"] == len(df)


def test_bytes_are_not_held_but_come_with_their_groups(shop, one_thread):
    df = di.read_images(shop, on_error="null", files_per_partition=5)
    df = df.assign(image=df.image.img.read())[["image", "path"]]
    told = df.img.duplicate_groups()
    assert told.dtypes["image"] == "image[encoded]"
    found = told.compute()
    assert found.columns.tolist() == ["image", "path", "group", "best"]
    assert found.image.img.path.tolist() == found.path.tolist()
    assert found.group.tolist() == df.compute().img.duplicate_groups().group.tolist()
    kept = df.img.drop_near_duplicates().compute()
    assert kept.path.tolist() == found.path[found.best].tolist()


def test_a_broken_picture_raises_where_that_is_asked_for(shop):
    df = di.read_images(shop)
    with pytest.raises(di.ImageError, match="broken"):
        df.img.near_duplicates().compute(scheduler="sync")


def test_other_hashes(shop, one_thread):
    df = di.read_images(shop, on_error="null")
    pairs = df.img.near_duplicates(hash="ahash", confirm=None, bits=2).compute()
    assert {("a", "a_again"), ("b", "b_half")} <= {
        *zip(named(pairs.left), named(pairs.right), strict=True)
    }


def test_pictures_without_paths(one_thread):
    pixels = [np.full((8, 8), 9, np.uint8)] * 2
    cells = pd.array(pixels, dtype="image")
    frame = pd.DataFrame({"image": cells, "name": ["x", "y"]}, index=[4, 2])
    assert frame.img.near_duplicates().values.tolist() == [[4, 2, 0]]
    assert frame.img.near_duplicates(key="name").values.tolist() == [["x", "y", 0]]
    lazy = dd.from_pandas(frame, 1, sort=False)
    with pytest.raises(ValueError, match="give key="):
        lazy.img.near_duplicates().compute()
    assert lazy.img.near_duplicates(key="name").compute().values.tolist() == [["x", "y", 0]]


# -- nothing to find, and wrong words -------------------------------------------------------------
@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("hashes", [[], [1], [None, None], [1, 2**63]])
@pytest.mark.parametrize("lazy", [True, False])
def test_nothing_alike(hashes, lazy, one_thread):
    frame = frame_of(hashes)
    one = dd.from_pandas(frame, 1, sort=False) if lazy else frame
    how = {"hash": "h", "bits": 0, "confirm": None}
    pairs, told, kept = dask.compute(
        one.img.near_duplicates(**how),
        one.img.duplicate_groups(**how),
        one.img.drop_near_duplicates(**how),
    )
    assert len(pairs) == 0
    assert pairs.columns.tolist() == ["left", "right", "distance"]
    assert told.group.isna().all()
    assert told.best.all()
    assert len(kept) == len(hashes)


def test_no_picture_that_can_be_read(tmp_path, one_thread):
    for n in range(3):
        (tmp_path / f"{n}.jpg").write_bytes(b"none")
    df = di.read_images(tmp_path, on_error="null")
    assert len(df.img.near_duplicates().compute()) == 0
    assert df.img.duplicate_groups().compute().group.isna().all()
    assert len(df.img.drop_near_duplicates().compute()) == 3


@pytest.mark.parametrize("dtype", ["uint64", "int64", "UInt64", "Int64", "uint64[pyarrow]"])
def test_dtypes_of_hashes(dtype):
    frame = pd.DataFrame({"h": pd.Series([5, 4, 2**40], dtype=dtype)})
    assert frame.img.near_duplicates(hash="h", bits=1, confirm=None).values.tolist() == [[0, 1, 1]]


def test_wrong_words():
    frame = frame_of([1, 2], text="x", small=pd.array([1, 2], "Int8"), float=[1.0, np.nan])
    for words, error, told in [
        ({"hash": "h", "bits": 13}, ValueError, "0 to 12"),
        ({"hash": "h", "bits": -1}, ValueError, "0 to 12"),
        ({"hash": "h", "bits": 2.5}, TypeError, "whole number"),
        ({"hash": "h", "bits": True}, TypeError, "whole number"),
        ({"hash": "nohash"}, ValueError, "a column of 64-bit hashes or one of phash, dhash, ahash"),
        ({"hash": "text"}, TypeError, "64-bit whole numbers"),
        ({"hash": "float"}, TypeError, "64-bit whole numbers"),
        ({"hash": "h", "confirm": "float"}, TypeError, "64-bit whole numbers"),
        ({"hash": "small"}, TypeError, "64-bit whole numbers"),
        ({"hash": None}, TypeError, "name of a column"),
        ({"hash": "h", "turned": True}, ValueError, "turned"),
        ({"hash": "h", "key": "none"}, KeyError, "no column 'none'"),
        ({"hash": "phash"}, ValueError, "image columns of this frame: none"),
    ]:
        with pytest.raises(error, match=told):
            frame.img.near_duplicates(**words)
    with pytest.raises(ValueError, match='"best" or "first"'):
        frame.img.drop_near_duplicates(hash="h", keep="last")
    with pytest.raises(ValueError, match="rename it first"):
        frame.assign(group=1).img.duplicate_groups(hash="h")
