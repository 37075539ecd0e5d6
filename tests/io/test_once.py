"""Each picture is opened and decoded once, each row given once to a user's function."""

from __future__ import annotations

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


def staged(folder):
    def same(batch):
        CALLS.append(len(batch["image"]))
        return {"image": 255 - batch["image"]}

    df = small(folder)
    return df.img.map_batches(same, columns=["image"], meta={"image": df.dtypes["image"]})


FRAMES = {
    "plain": lambda folder: small(folder),
    "filtered by a path": lambda folder: (df := small(folder))[df.path.str.len() > 0],
    "filtered by pixels": lambda folder: (df := small(folder))[df.image.img.mean() >= 0],
    "merged": lambda folder: merged(folder),
    "a stage": staged,
}
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
    "take_batch": lambda df, out: df.img.take_batch(ROWS),
    "iter_torch_batches": lambda df, out: list(df.img.iter_torch_batches(4, device="cpu")),
    "to_torch": lambda df, out: list(df.img.to_torch("image", "y")),
    "show": lambda df, out: df.image.img.show(ROWS),
    "errors": lambda df, out: df.img.errors().compute(),
}


@pytest.mark.parametrize("take", TAKES.values(), ids=TAKES)
@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_each_row_once(folder, tmp_path, frame, take):
    CALLS.clear()
    df = frame(folder)
    di.metrics.reset()
    take(df, tmp_path / "out")
    assert di.metrics.snapshot()["decode"] == ROWS
    assert sum(CALLS) == (ROWS if frame is staged else 0)


@pytest.mark.parametrize("frame", ["plain", "merged", "a stage"])
def test_a_length_decodes_nothing_and_calls_nobody(folder, frame):
    CALLS.clear()
    di.metrics.reset()
    assert len(FRAMES[frame](folder)) == ROWS
    assert not di.metrics.snapshot().get("decode")
    assert not CALLS
