"""Each picture is opened and decoded once, each row given once to a user's function."""

from __future__ import annotations

import os
import sys

import dask.dataframe as dd
import pandas as pd
import pytest

import daskimg as di
from daskimg.testing import make_images

ROWS = 6
CALLS: list[int] = []  # one list: equal functions are one to Dask, with what they hold
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("once")
    make_images(place, ROWS, size=(8, 9), formats=["png"])
    return place


def small(folder):
    df = di.read_images(folder, files_per_partition=3)
    df = df.assign(y=df.path.str[-6:-4].astype("int64"))
    return df.assign(image=df.image.img.decode("RGB").img.resize(4, 4))


def merged(folder):
    other = pd.DataFrame({"y": range(ROWS), "z": 1.0})
    return small(folder).merge(dd.from_pandas(other, npartitions=1), on="y")


def looked_at(pixels):
    CALLS.append(1)
    return float(pixels.mean())


def inverted(batch):
    CALLS.append(len(batch["image"]))
    return {"image": 255 - batch["image"]}


def row(row):
    CALLS.append(1)
    return {"y": row["y"], "image": 255 - row["image"]}


def applied(folder):
    df = small(folder)
    return df.assign(f=df.image.img.apply(looked_at, dtype="float64"))


def staged(df):
    return df.img.map_batches(inverted, columns=["image"], meta={"image": df.dtypes["image"]})


def mapped(folder):
    df = small(folder)
    return df[["y", "image"]].img.map(row, meta={"y": "int64", "image": df.dtypes["image"]})


FRAMES = {
    "plain": small,
    "filtered by a path": lambda folder: (df := small(folder))[df.path.str.len() > 0],
    "filtered by pixels": lambda folder: (df := small(folder))[df.image.img.mean() >= 0],
    "merged": merged,
    "apply": applied,
    "apply, filtered by it": lambda folder: (df := applied(folder))[df.f >= 0],
    "a stage, filtered": lambda folder: (df := staged(small(folder)))[df.y >= 0],
    "a stage on a merge": lambda folder: staged(merged(folder)),
    "map": mapped,
}
CALLING = {name for name in FRAMES if name.startswith(("apply", "a stage", "map"))}
# Columns that a stage only hands on are read from above it: the stage runs for them (issue 13).
KNOWN = {"a stage, filtered"}
TAKES = {
    "write_images": lambda df, out: df.img.write_images(out),
    "write_parquet": lambda df, out: df.img.write_parquet(out),
    "write_numpy": lambda df, out: df.img.write_numpy(out),
    "write_tfrecords": lambda df, out: df[["image", "y"]].img.write_tfrecords(out),
    "write_webdataset": lambda df, out: df[["image"]].img.write_webdataset(out),
    "write_csv": lambda df, out: (
        df.assign(m=df.image.img.mean()).drop(columns="image").img.write_csv(out)
    ),
    "iter_batches": lambda df, out: list(df.img.iter_batches(4)),
    "iter_rows": lambda df, out: list(df.img.iter_rows()),
    "compute": lambda df, out: df.compute(),
    "head": lambda df, out: df.head(ROWS, npartitions=-1, compute=True),
    "persist": lambda df, out: df.persist(),
    "take_batch": lambda df, out: df.img.take_batch(ROWS),
    "iter_torch_batches": lambda df, out: list(df.img.iter_torch_batches(4, device="cpu")),
    "to_torch": lambda df, out: list(df.img.to_torch("image", "y")),
    "show": lambda df, out: df.image.img.show(ROWS),
    "errors": lambda df, out: df.img.errors().compute(),
}


OPENED: list[str] = []
WATCHED: list[str] = []  # the folder whose files are


def seen(event, args):
    if event == "open" and WATCHED and str(args[0]).startswith(WATCHED[0]):
        OPENED.append(str(args[0]))


sys.addaudithook(seen)  # (there is no way to take it off again)


@pytest.fixture
def watched(folder):
    CALLS.clear()
    OPENED.clear()
    WATCHED[:] = [f"{folder}{os.sep}"]
    di.metrics.reset()
    yield
    WATCHED.clear()


@pytest.mark.sampled(one_in=12)
@pytest.mark.parametrize("take", TAKES.values(), ids=TAKES)
@pytest.mark.parametrize("frame", FRAMES)
def test_each_row_once(folder, tmp_path, watched, frame, take):
    df = FRAMES[frame](folder)
    if "filtered by" not in frame:  # (the meta of a filter may be made of a try on no rows)
        assert not CALLS
    take(df, tmp_path / "out")
    assert di.metrics.snapshot()["decode"] == ROWS
    assert len(OPENED) == len({*OPENED}) == ROWS
    called = sum(CALLS)
    assert called == (ROWS if frame in CALLING else 0) or (frame == "apply" and not called)
    if frame == "apply" and take in (TAKES["compute"], TAKES["iter_rows"], TAKES["write_parquet"]):
        assert called == ROWS  # the others leave that column out


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("frame", FRAMES)
def test_a_length_needs_what_decides_the_rows(folder, watched, frame):
    assert len(FRAMES[frame](folder)) == ROWS
    opened = frame in ("filtered by pixels", "apply, filtered by it", *KNOWN)
    assert len(OPENED) == di.metrics.snapshot().get("decode", 0) == (ROWS if opened else 0)
    assert sum(CALLS) == (ROWS if frame in ("apply, filtered by it", *KNOWN) else 0)


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("frame", FRAMES)
def test_the_head_is_of_the_first_partition(folder, watched, frame):
    assert len(FRAMES[frame](folder).head(2)) == 2
    assert len(OPENED) == len({*OPENED}) <= (ROWS if "merge" in frame else 3)
    assert sum(CALLS) <= len(OPENED)
