"""What errors and reasons say: what a person needs, never a whole cell."""

from __future__ import annotations

import base64

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import daskimg as di

DATA = np.random.default_rng(0).bytes(300_000)
TEXT = base64.b64encode(DATA).decode()
PICTURES = pd.Series([np.zeros((4, 4, 3), "uint8")] * 2, dtype="image")
FRAME = pd.DataFrame({"image": PICTURES, "text": [TEXT, f"{TEXT}2"], "data": [DATA] * 2})
FILES = pd.Series([f"/x/{'a' * 300_000}"], dtype="image[file]")


def objects(value) -> pd.Series:
    return pd.Series([value], dtype=object)


def spill(batch):
    raise ValueError(f"bad {batch} {TEXT}")


def each(value):
    """Batches of a function that returns `value` for each row."""
    return lambda batch: {"x": [value] * 2}


CASES = {
    "text for bytes": lambda _: objects({"bytes": "?" * 300_000}).astype("image").img.decode(),
    "a list for bytes": lambda _: objects({"bytes": [DATA]}).astype("image"),
    "another dict": lambda _: objects({"bytes": DATA, "more": 1}).astype("image"),
    "a set": lambda _: objects({TEXT}).astype("image"),
    "a list": lambda _: objects([DATA, TEXT]).astype("image"),
    "a path as pixels": lambda _: objects(TEXT).astype("image[uint8]"),
    "a path as a picture": lambda _: di.Image(TEXT),
    "a long path": lambda _: FILES.img.decode(),
    "two that differ": lambda _: di.testing.assert_images_equal(FILES, di.images(["/x"])),
    "bytes of no picture": lambda _: objects(DATA).astype("image").img.decode(),
    "a name": lambda to: FRAME.img.write_images(to, filename="text"),
    "a part of a name": lambda to: FRAME.img.write_images(to, filename="{text}.png"),
    "a name of bytes": lambda to: FRAME.img.write_images(to, filename=lambda row: row["data"]),
    "a folder": lambda to: FRAME.img.write_images(to, partition_cols=["text"]),
    "a key": lambda to: FRAME.rename(columns={"text": "__key__"}).img.write_webdataset(to),
    "a function": lambda _: FRAME.set_index("text", drop=False).img.map_batches(spill),
    "an op": lambda _: PICTURES.img.apply(spill),
    "results": lambda _: FRAME.img.map_batches(each(TEXT), meta={"x": "image[uint8]"}),
    "mixed results": lambda _: FRAME.img.map_batches(lambda batch: {"x": [TEXT, DATA]}),
    "no function": lambda _: FRAME.img.map(TEXT),
    "meta": lambda _: FRAME.img.map_batches(spill, meta=[TEXT]),
    "no column": lambda _: FRAME.img.map_batches(spill, columns=[TEXT]),
    "no column to train on": lambda _: FRAME.img.to_torch("image", TEXT),
    "no label": lambda _: FRAME.img.show(label=TEXT),
    "no size": lambda _: PICTURES.img.resize(TEXT, 4),
    "no folder": lambda _: di.read_images(TEXT),
    "no files": lambda _: di.read_tfrecords([f"{TEXT}.tfrecord"]),
    "no database": lambda _: di.read_sql("select 1", TEXT),
    "no picture column": lambda _: FRAME.rename(columns={"text": TEXT})[TEXT].img,
}


@pytest.mark.parametrize("case", CASES)
def test_an_error_holds_no_whole_cell(case, tmp_path):
    with pytest.raises(Exception) as caught:  # noqa: PT011  (of every type)
        CASES[case](tmp_path / "out")
    assert 10 < len(str(caught.value)) < 2500


@pytest.mark.parametrize(
    "cells",
    [
        di.images(pd.Series([TEXT]), on_error="null"),
        FILES.img.on_error("null"),
        objects(DATA).astype("image").img.on_error("null"),
        PICTURES.img.on_error("null").img.apply(spill),
    ],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_a_reason_holds_none(cells, lazy, one_thread):
    cells = dd.from_pandas(cells, npartitions=1) if lazy else cells
    frame = cells.to_frame("image").img.errors()
    found = frame.compute() if lazy else frame
    assert len(found)
    assert found.error.str.len().max() < 1200


def test_what_a_function_of_batches_spills(one_thread):
    frame = dd.from_pandas(FRAME[["image"]], npartitions=1)
    made = frame.img.map_batches(spill, meta={"x": "image"}, on_error="null").compute()
    assert made.x.img.error.str.len().max() < 1200
