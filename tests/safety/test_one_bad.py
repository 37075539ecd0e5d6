"""One bad file among a thousand costs its row: the others are equal to a clean run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

import daskimg as di
from daskimg.testing import make_images

ROWS, BAD = 1000, 437


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """A thousand pictures, and the same with one of them cut in half."""
    clean, damaged = (tmp_path_factory.mktemp(name) / "in" for name in ("clean", "damaged"))
    paths = make_images(clean, ROWS, size=(8, 10), formats=["png"])
    shutil.copytree(clean, damaged)
    bad = damaged / Path(paths[BAD]).name
    bad.write_bytes(bad.read_bytes()[: bad.stat().st_size // 2])
    return clean, damaged


def measured(frame) -> pd.DataFrame:
    """What is computed of every picture, in one pass."""
    img = frame.image.img
    frame = frame.assign(mean=img.mean(), hash=img.hash(), height=img.height, why=img.check())
    return frame.assign(small=img.resize(4, 5), pixels=img.decode()).compute()


def through(reader: str, folder: Path):
    """The pictures of `folder` by way of a reader's format."""
    frame = di.read_images(folder, on_error="null", files_per_partition=128)
    if reader == "images":
        return frame
    target = folder.parent / reader
    getattr(frame.img, f"write_{reader}")(target)
    read = getattr(di, f"read_{reader}")(target, on_error="null")
    return read.rename(columns={"png": "image"})  # a tar's columns are its extensions


@pytest.mark.parametrize("reader", ["images", "parquet", "webdataset", "tfrecords"])
def test_the_other_rows_are_equal(folders, reader):
    clean, damaged = (measured(through(reader, folder)) for folder in folders)
    assert len(clean) == len(damaged) == ROWS
    assert clean.why.isna().all()
    assert damaged.why.notna().to_numpy().nonzero()[0].tolist() == [BAD]
    assert damaged[["mean", "hash", "small", "pixels"]].isna().iloc[BAD].all()
    assert damaged.pixels.img.error.iloc[BAD] == damaged.why.iloc[BAD]
    kept = [row for row in range(ROWS) if row != BAD]
    for name in ("mean", "hash", "height"):
        pd.testing.assert_series_equal(damaged[name].iloc[kept], clean[name].iloc[kept])
    for name in ("small", "pixels"):
        for mine, its in zip(damaged[name].iloc[kept], clean[name].iloc[kept], strict=True):
            assert (mine.to_numpy() == its.to_numpy()).all()
