"""One story: whoever is asked about the same data tells of the same rows, failures and nulls.

``DASKIMG_FUZZ_STORY=500 pytest tests/safety/test_one_story.py`` tries more data sets.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import daskimg as di
from daskimg.io.tfrecord import example as tf
from daskimg.testing import make_images
from tests.amount import amount
from tests.io.tfrecord.test_tfrecord import example
from tests.io.webdataset.test_webdataset import tar_bytes
from tests.safety.damage import mutated

CASES = amount("DASKIMG_FUZZ_STORY", 1, 4)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def seeds(cases: int) -> list[Any]:
    """The first is for `make test` to sample, which knows no others."""
    return [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, cases))]


class Data(NamedTuple):
    """What a data set is made of: pictures (None: none is there), other values, what chooses."""

    folder: Path
    pictures: list[bytes | None]
    words: list[bytes]
    rng: np.random.Generator

    def files(self) -> list[str]:
        """A file for each picture; of those that are not there only the name."""
        paths = [self.folder / f"{i:03d}.png" for i in range(len(self.pictures))]
        for path, data in zip(paths, self.pictures, strict=True):
            if data is not None:
                path.write_bytes(data)
        return list(map(str, paths))

    def halves(self) -> list[range]:
        """The rows of two shards."""
        cut = int(self.rng.integers(1, len(self.pictures)))
        return [range(cut), range(cut, len(self.pictures))]

    def broken(self, data: bytes) -> bytes:
        """A whole shard, damaged in one case of three."""
        return mutated(data, b"another file " * 99, self.rng) if self.rng.random() < 0.3 else data


def folder(data: Data) -> dd.DataFrame:
    data.files()
    return di.read_images(data.folder, on_error="null", files_per_partition=3)


def listed(data: Data) -> dd.DataFrame:
    table = pd.DataFrame({"path": pd.array(data.files(), "string[pyarrow]")})
    table.loc[data.rng.random(len(table)) < 0.1, "path"] = None
    frame = dd.from_pandas(table, npartitions=3)
    return frame.assign(image=di.images(frame.path, on_error="null"))


def parquet_of_bytes(data: Data) -> dd.DataFrame:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [None if p is None else {"bytes": p, "path": None} for p in data.pictures]
    for number, rows in enumerate(data.halves()):
        table = {"image": pa.array([cells[i] for i in rows], kind), "n": pa.array(rows)}
        pq.write_table(pa.table(table), data.folder / f"{number}.parquet")
    return di.read_parquet(data.folder, image_columns=["image"], on_error="null")


def parquet_of_paths(data: Data) -> dd.DataFrame:
    paths = [path if data.rng.random() < 0.9 else None for path in data.files()]
    pq.write_table(pa.table({"image": pa.array(paths, pa.string())}), data.folder / "t.parquet")
    return di.read_parquet(data.folder / "t.parquet", image_columns=["image"], on_error="null")


def tar(data: Data) -> dd.DataFrame:
    for number, rows in enumerate(data.halves()):
        members = []
        for i in rows:
            picture, word = data.pictures[i], data.words[i]
            members += [(f"{i:03d}.png", picture)] if picture is not None else []
            members += [(f"{i:03d}.json", word)]
        (data.folder / f"{number}.tar").write_bytes(data.broken(tar_bytes(members)))
    return di.read_webdataset(
        data.folder,
        extensions=["png", "json"],
        on_error="null",
        rows_per_partition=data.rng.choice([None, 1, 3]),
    ).rename(columns={"png": "image"})


def tfrecords(data: Data) -> dd.DataFrame:
    for number, rows in enumerate(data.halves()):
        records = []
        for i in rows:
            picture = {} if data.pictures[i] is None else {"image": [data.pictures[i]]}
            records.append(tf.frame_bytes(example(n=[i], word=[data.words[i]], **picture)))
        (data.folder / f"{number}.tfrecord").write_bytes(data.broken(b"".join(records)))
    return di.read_tfrecords(
        data.folder,
        features={"image": "image", "n": "int64", "word": "string"},
        on_error="null",
        records_per_partition=data.rng.choice([None, 1, 3]),
        verify_crc=bool(data.rng.integers(0, 2)),
    )


def arrays(data: Data) -> dd.DataFrame:
    for number, rows in enumerate(data.halves()):
        np.save(data.folder / f"{number}.npy", np.full((len(rows), 6, 5, 3), number, np.uint8))
    path = data.folder / "1.npy"
    path.write_bytes(path.read_bytes()[: int(data.rng.integers(150, 700))])
    return di.read_numpy(data.folder, on_error="null")


READERS: list[Callable[[Data], dd.DataFrame]] = [
    *(folder, listed, parquet_of_bytes, parquet_of_paths, tar, tfrecords, arrays)
]


def made(folder: Path, seed: int) -> Data:
    """Some pictures: good, damaged, empty, not there."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 9))
    paths = make_images(folder / "good", n, size=(9, 11), formats=["png", "jpeg"], seed=seed)
    pictures: list[bytes | None] = [Path(path).read_bytes() for path in paths]
    for i in range(1, n):
        match rng.integers(0, 8):
            case 0:
                pictures[i] = mutated(pictures[i], b"nothing " * 99, rng)
            case 1:
                pictures[i] = pictures[i][: len(pictures[i]) // 2]
            case 2:
                pictures[i] = [b"", b"no picture"][rng.integers(0, 2)]
            case 3:
                pictures[i] = None
    words = [[b"{}", b"[1]", b"3", b"{broken", b"\xff"][rng.integers(0, 5)] for _ in range(n)]
    (folder / "data").mkdir()
    return Data(folder / "data", pictures, words, rng)


class Story(NamedTuple):
    """How many rows there are, and what became of them."""

    rows: int
    kept: int
    failed: int
    missing: int

    @classmethod
    def of(cls, cells: pd.Series) -> Story:
        null, failed = cells.isna(), cells.img.failed
        assert not (failed & ~null).any()
        return cls(len(cells), int((~null).sum()), int(failed.sum()), int((null & ~failed).sum()))

    @classmethod
    def told(cls, result: di.io.commit.result.WriteResult) -> Story:
        return cls(result.rows, result.written, result.failed, result.missing)


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("seed", seeds(CASES))
@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_all_tell_the_same(read, seed, tmp_path):
    data = made(tmp_path, 1000 * READERS.index(read) + seed)
    with dask.config.set(scheduler="sync"):
        tell_the_same(read(data), tmp_path)


def tell_the_same(df: dd.DataFrame, out: Path) -> None:
    small = df.image.img.convert("RGB").img.resize(4, 4)
    with di.stats() as stats:
        cells = small.compute()
    story = Story.of(cells)
    assert len(df) == len(df.compute()) == story.rows
    assert (stats.kept, stats.failed) == (story.kept, story.failed)
    # with other columns, and alone
    both = df.assign(small=small, mean=df.image.img.mean())
    table = both.compute()
    assert Story.of(table.small) == story
    assert table.small.img.error.equals(cells.img.error.rename("small"))
    assert table["mean"].isna().sum() == story.rows - story.kept
    for name in df.columns:
        assert df[name].compute().isna().equals(table[name].isna())
    # failures by name
    check = df.image.img.check().compute()
    assert check.notna().tolist() == cells.img.failed.tolist()
    errors = df[["image"]].img.errors().compute()
    assert sorted(errors.error) == sorted(check.dropna())
    pixels = both[["small"]].img.errors().compute()
    assert sorted(pixels.error) == sorted(cells.img.error.dropna())
    # iterators
    batches = both[["small"]].img.iter_batches(batch_size=3, on_null="drop")
    assert sum(len(batch["small"]) for batch in batches) == story.kept
    filled = both[["small"]].img.iter_batches(batch_size=3, on_null="fill")
    assert sum(len(batch["small"]) for batch in filled) == story.rows
    # writers
    frame = both[["small"]]
    with di.stats() as stats:
        assert Story.told(frame.img.write_parquet(out / "p", errors=out / "e")) == story
    assert (stats.kept, stats.failed) == (story.kept, story.failed)
    assert Story.of(di.read_parquet(out / "p").small.compute()) == story
    assert len(di.read_parquet(out / "e")) == story.failed
    assert Story.told(frame.img.write_numpy(out / "n")) == story
    assert Story.told(frame.img.write_tfrecords(out / "t")) == story
    assert Story.told(frame.img.write_webdataset(out / "w")) == story
    count = itertools.count()
    images = frame.img.write_images(out / "i", filename=lambda row: f"{next(count)}.png")
    assert Story.told(images) == story
    assert len(images.files) == story.kept


def parquet(df, out, **how):
    return df.img.write_parquet(out, **how), lambda: di.read_parquet(out)


def references(df, out, **how):
    return df.img.write_parquet(out, embed=False, **how), lambda: di.read_parquet(out)


def records(df, out, **how):
    return df.img.write_tfrecords(out, **how), lambda: di.read_tfrecords(out)


def samples(df, out, **how):
    return df.img.write_webdataset(out, **how), lambda: di.read_webdataset(
        out, extensions=["png", "jpg"]
    )


def images(df, out, **how):
    count = itertools.count()
    name = {"filename": lambda row: f"{next(count):03d}.png"}
    return df.img.write_images(out, **name, **how), lambda: di.read_images(out)


WITHOUT = {  # rows that what was written has not, by what the result tells
    parquet: lambda told: 0,
    references: lambda told: 0,
    records: lambda told: told.failed,
    samples: lambda told: told.failed + told.missing,
    images: lambda told: told.failed + told.missing,
}


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("seed", seeds(-(-CASES // 2)))
@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_copies_tell_what_the_run_saw(read, seed, tmp_path):
    data = made(tmp_path, 1000 * READERS.index(read) + seed + 500)
    with dask.config.set(scheduler="sync"):
        df = read(data)[["image"]]
        story = Story.of(df.image.img.convert("RGB").compute())
        reasons = df.image.img.check().compute().dropna()
        for write in WITHOUT:
            copied_alone(df, story, write, tmp_path / write.__name__)
            copied_with_a_measure(df, story, reasons, write, tmp_path / f"{write.__name__} m")


def copied_alone(df, story, write, out):
    """Nothing is decoded: what fails later, of a copy, is all that had not failed before."""
    with di.stats() as stats:
        result, read = write(df, out / "rows", errors=out / "errors")
    told = Story.told(result)
    assert (told.rows, told.missing) == (story.rows, story.missing)
    assert (stats.kept, stats.failed) == (told.kept, told.failed)
    failed = di.read_parquet(out / "errors", on_error="null").compute()
    assert len(failed) == told.failed <= story.failed
    if not told.kept:
        return
    with dask.config.set({"daskimg.on-error": "null"}):
        back = read()
        names = [name for name, dtype in back.dtypes.items() if isinstance(dtype, di.ImageDtype)]
        cells = [Story.of(back[name].img.convert("RGB").compute()) for name in names]
    assert sum(one.kept for one in cells) == story.kept  # (of samples a column for each format)
    assert {one.rows for one in cells} == {story.rows - WITHOUT[write](told)}


def copied_with_a_measure(df, story, reasons, write, out):
    """What the measure saw counts."""
    frame = df.assign(mean=df.image.img.mean() / 2)
    with di.stats() as stats:
        told = Story.told(write(frame, out / "rows", errors=out / "errors")[0])
    assert told == story
    assert (stats.kept, stats.failed) == (story.kept, story.failed)
    failed = di.read_parquet(out / "errors", on_error="null").compute()
    assert sorted(failed.error) == sorted(reasons)
