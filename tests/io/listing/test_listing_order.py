"""A list keeps its order; what is no data makes no row, and what cannot be read makes one."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg.testing import make_images

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def shop(tmp_path) -> Path:
    for name in "abcd":
        make_images(tmp_path / "shop" / name, 2, size=(4, 5), formats=["png"])
    return tmp_path / "shop"


def listed(urlpath, **options) -> list[str]:
    paths = di.read_images(urlpath, files_per_partition=3, **options).path.compute()
    return ["/".join(path.split("/")[-2:]) for path in paths]


NAMES = ["c/00001.png", "a/00000.png", "d/00001.png", "a/00001.png", "c/00000.png"]


@pytest.mark.parametrize(
    "kind", [list, tuple, iter, pd.Series, pd.Index, np.array, lambda x: (y for y in x)]
)
def test_a_list_of_files_keeps_its_order(shop, kind):
    given = kind([str(shop / name) for name in NAMES])
    df = di.read_images(given, files_per_partition=2)
    assert df.path.compute().tolist() == [str(shop / name) for name in NAMES]
    assert df.compute().index.tolist() == list(range(5))


def test_labels_beside_a_list_stay_beside(shop):
    paths = [str(shop / name) for name in NAMES]
    df = di.read_images(paths).compute().assign(label=[name[0] for name in NAMES])
    assert [path.split("/")[-2] for path in df.path] == df.label.tolist()


def test_a_file_that_is_named_twice_is_two_rows(shop):
    given = [*NAMES, NAMES[1], NAMES[1]]
    assert listed([shop / name for name in given]) == given


def test_a_set_is_sorted_for_it_has_no_order(shop):
    assert listed({str(shop / name) for name in NAMES}) == sorted(NAMES)


def test_what_a_folder_or_a_glob_holds_is_sorted_within(shop):
    b, d = ["b/00000.png", "b/00001.png"], ["d/00000.png", "d/00001.png"]
    assert listed([shop / "d", shop / "b"]) == d + b
    assert listed([f"{shop}/d/*.png", shop / NAMES[0], shop / "b"]) == [*d, NAMES[0], *b]
    assert listed(shop) == sorted(listed(shop))
    assert listed(f"{shop}/*/*1.png") == [f"{name}/00001.png" for name in "abcd"]


def test_with_a_folder_among_them_a_file_is_taken_once_where_it_came_first(shop):
    d = ["d/00000.png", "d/00001.png"]
    assert listed([shop / d[1], shop / "d", f"{shop}/d/*"]) == d[::-1]
    assert listed([shop / "d", shop / d[1]]) == d


def test_missing_ones_leave_the_others_in_order(shop):
    given = [shop / NAMES[0], shop / "no.png", shop / NAMES[1]]
    with pytest.raises(FileNotFoundError, match=r"no\.png"):
        listed(given)
    assert listed(given, ignore_missing_paths=True) == NAMES[:2]


def test_shuffled_as_asked(shop):
    given = [shop / name for name in NAMES]
    one, same = (listed(given, shuffle=True, seed=3) for _ in range(2))
    assert one == same
    assert one != NAMES
    assert sorted(one) == sorted(NAMES)


def test_partition_columns_and_sizes_follow_the_order(shop):
    df = di.read_images([shop / name for name in NAMES], partitioning="{name}", blocksize=1)
    assert df.npartitions == 5
    assert df.name.compute().tolist() == [name[2:] for name in NAMES]


def test_a_list_on_a_store_keeps_its_order():
    store = fsspec.filesystem("memory")
    store.pipe({f"/order/{name}": b"x" for name in ("b.png", "a.png", "c/d.png")})
    given = [f"memory://order/{name}" for name in ("c/d.png", "b.png", "a.png")]
    assert di.read_images(given).path.compute().tolist() == given


# -- what is no data ------------------------------------------------------------------------------
JUNK = ["._1.png", ".DS_Store", "__MACOSX/shop/._1.png", "__MACOSX/shop/1.png", "Thumbs.db"]
JUNK += ["desktop.ini", "@eaDir/1.png/THUMB_M.jpg", "$RECYCLE.BIN/1.png", ".git/1.png"]


@pytest.mark.parametrize("extensions", [None, "*"])
def test_what_systems_leave_in_folders_makes_no_row(shop, extensions):
    for name in JUNK:
        (shop / name).parent.mkdir(parents=True, exist_ok=True)
        (shop / name).write_bytes(b"junk")
    wanted = [f"{name}/0000{k}.png" for name in "abcd" for k in (0, 1)]
    assert listed(shop, file_extensions=extensions) == wanted
    assert listed(f"{shop}/*/*.png") == wanted
    assert listed(f"{shop}/**/*.png") == wanted
    df = di.read_images([shop / JUNK[0]], on_error="null")  # but who names one means it
    assert df.path.compute().tolist() == [str(shop / JUNK[0])]


def test_on_a_store_too():
    store = fsspec.filesystem("memory")
    store.pipe({f"/junk/{name}": b"junk" for name in [*JUNK, "1.png"]})
    for urlpath in ("memory://junk", "memory://junk/**/*.png"):
        assert di.read_images(urlpath).path.compute().tolist() == ["memory://junk/1.png"]


def test_a_link_that_leads_nowhere_is_a_row_that_failed(shop):
    os.symlink("nowhere.png", shop / "a" / "gone.png")
    os.symlink("circle.png", shop / "a" / "circle.png")
    os.symlink("nowhere", shop / "a" / "no-picture")
    for urlpath in (shop / "a", f"{shop}/a/*.png", f"{shop}/**/*.png"):
        df = di.read_images(urlpath, on_error="null").compute()
        width = df.image.img.width
        lost = df[df.image.img.check().notna()]
        assert [Path(path).name for path in lost.path] == ["circle.png", "gone.png"]
        assert width.isna().sum() == 2
    failed = di.read_images(shop / "a").img.errors().compute()
    assert failed.error.str.startswith("read: ").all()
    with pytest.raises(di.ImageError, match=r"circle\.png|gone\.png"):
        di.read_images(shop / "a").image.img.width.compute()
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        di.read_images(shop / "a" / "gone.png")


# -- words of a path, sizes, levels from the end --------------------------------------------------
def test_file_urls_as_java_writes_them(shop):
    for prefix in ("file:", "file://", "local://"):
        df = di.read_images(f"{prefix}{shop}/a")
        assert df.image.img.width.compute().tolist() == [5, 5]
        assert df.path.compute().tolist() == di.read_images(shop / "a").path.compute().tolist()
        one = di.images(pd.Series([f"{prefix}{shop}/a/00000.png"]))
        assert one.img.width.tolist() == [5]


def test_sizes_are_whole_or_keep_the_aspect(shop):
    for size in ((None, 4), (4.0, 4.5), ("4", 4), (4, 4, 3), 4, "44", (None, None)):
        with pytest.raises(ValueError, match=r"size is \(height, width\)"):
            di.read_images(shop, size=size)
    for size in ((0, 4), (4, -1)):
        with pytest.raises(ValueError, match=r"above zero|positive|got"):
            di.read_images(shop, size=size)
    df = di.read_images(shop / "a", size=(8, None))
    assert [cell.to_numpy().shape for cell in df.image.compute()] == [(8, 10, 3)] * 2
    assert di.read_images(shop / "a", size=(4, 4.0)).image.img.height.compute().tolist() == [4, 4]
    assert di.read_images(shop / "a", size=(np.int64(3), 2)).image.dtype.shape is None


def test_levels_from_the_end(tmp_path):
    for below in ("cats/1.png", "x/dogs/2.png", "x/y/z/birds/3.png"):
        (tmp_path / below).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / below).write_bytes(b"")
    df = di.read_images(tmp_path, partitioning="{**}/{label}/{n:d}.png").compute()
    assert dict(zip(df.label, df.n, strict=True)) == {"cats": 1, "dogs": 2, "birds": 3}
    df = di.read_images(tmp_path, partitioning="{**}/{label}/{name}").compute()
    assert sorted(df.name) == ["1.png", "2.png", "3.png"]
    assert list(df.columns) == ["path", "image", "label", "name"]
    df = di.read_images(tmp_path / "x", partitioning="{**}/{label}/{n:d}.png").compute()
    assert sorted(df.label) == ["birds", "dogs"]
    df = di.read_images(tmp_path, partitioning="{first}/{**}/{n:d}.png").compute()
    assert df["first"].tolist() == ["cats", "x", "x"]
    df = di.read_images(tmp_path, partitioning="{first}/{**}").compute()
    assert df["first"].tolist() == ["cats", "x", "x"]
    (tmp_path / "top.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"top\.png.*does not fit the template"):
        di.read_images(tmp_path, partitioning="{**}/{label}/{name}")
