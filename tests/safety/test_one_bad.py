"""One bad file among a thousand costs its row: the others are equal to a clean run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
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


@pytest.mark.sampled(one_in=4)
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


def test_of_a_thousand_arrays(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, 1, 6, 5, 3), np.uint8)
    for number in range(ROWS):
        np.save(tmp_path / f"{number:04d}.npy", pixels[number])
    bad = tmp_path / f"{BAD:04d}.npy"
    bad.write_bytes(bad.read_bytes()[:-20])
    found = di.read_numpy(tmp_path, on_error="null")
    found = found.assign(mean=found.image.img.mean(), why=found.image.img.error).compute()
    kept = np.arange(ROWS) != BAD
    assert len(found) == ROWS
    assert (found.why.isna() == kept).all()
    assert found.why.iloc[BAD].startswith("read: EOFError")
    assert (found.image[kept].img.to_numpy() == pixels[kept, 0]).all()
    np.testing.assert_allclose(found["mean"][kept], pixels[kept].mean((1, 2, 3, 4)))
    assert found["mean"].isna().sum() == 1
    with pytest.raises(di.ImageError, match=f"{BAD:04d}.npy"):
        di.read_numpy(tmp_path).compute()


@pytest.mark.long
def test_of_a_thousand_rows_of_a_database(folders, tmp_path):
    sqlalchemy = pytest.importorskip("sqlalchemy")
    found = []
    for which, folder in zip(("clean", "damaged"), folders, strict=True):
        url = f"sqlite:///{tmp_path}/{which}.db"
        pictures = [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]
        table = pd.DataFrame({"id": range(len(pictures)), "picture": pictures})
        engine = sqlalchemy.create_engine(url)
        table.to_sql("pictures", engine, index=False)
        engine.dispose()
        rows = di.read_sql("pictures", url, index_col="id", npartitions=8)
        cells = rows.picture.astype(di.ImageDtype("encoded", on_error="null"))
        found.append(measured(rows.assign(image=cells)))
    clean, damaged = found
    assert len(clean) == len(damaged) == ROWS
    assert damaged.why.notna().to_numpy().nonzero()[0].tolist() == [BAD]
    kept = damaged.why.isna()
    for name in ("mean", "hash", "height"):
        pd.testing.assert_series_equal(damaged[name][kept], clean[name][kept])
