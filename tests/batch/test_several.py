"""Several pictures a row: what functions return as lists, exploded and written."""

from __future__ import annotations

import io

import dask
import numpy as np
import pandas as pd
import PIL.Image
import pyarrow.parquet as pq
import pytest

import daskimg as di

SIZES = [(2, 5), (3, 4)]


def png(pixels):
    out = io.BytesIO()
    PIL.Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


MAKERS = {
    "arrays": (np.array, "pixels"),
    "uint16": (lambda p: p.astype("uint16") * 257, "pixels"),
    "grey": (lambda p: p[:, :, 0], "pixels"),
    "PIL": (PIL.Image.fromarray, "pixels"),
    "cells": (di.Image, "pixels"),
    "bytes": (png, "encoded"),
}


def cut(make):
    """Row n has n % 3 crops, of unequal shapes."""

    def crops(batch):
        return {
            "n": batch["n"],
            "crop": [
                [make(p[:h, :w]) for h, w in SIZES[: n % 3]]
                for n, p in zip(batch["n"], batch["image"], strict=True)
            ],
        }

    return crops


@pytest.fixture
def frame(tmp_path):
    for i in range(6):
        PIL.Image.new("RGB", (6, 6), (i, 7, 9)).save(tmp_path / f"{i}.png")
    df = di.read_images(tmp_path, mode="RGB", files_per_partition=2)
    return df.assign(n=df.path.str.slice(-5, -4).astype("int64"))


@pytest.mark.sampled(one_in=6)
@pytest.mark.parametrize("meta", [None, "object", "list"])
@pytest.mark.parametrize("kind", MAKERS)
def test_crops_explode_to_pictures(frame, kind, meta, tmp_path):
    make, cells = MAKERS[kind]
    declared = {"object": "object", "list": f"list[image[{cells}]]"}.get(meta)
    told = None if meta is None else {"n": "int64", "crop": declared}
    with dask.config.set(scheduler="sync"):
        rows = frame.img.map_batches(cut(make), meta=told)
        flat = rows.explode("crop")
        pictures = flat.crop.astype(f"image[{cells}]")
        found = pictures.compute()
        decoded = found.img.decode()
        shapes = [x if x is pd.NA else x.to_numpy().shape[:2] for x in decoded]
        assert shapes == [pd.NA, (2, 5), *SIZES] * 2
        dtypes = {x.to_numpy().dtype.name for x in decoded.dropna()}
        assert dtypes == {"uint16" if kind == "uint16" else "uint8"}
        assert pictures.img.width.sum().compute() == 2 * (5 + 5 + 4)
        if meta != "object":
            assert flat.crop.dtype == f"image[{cells}]"
            assert flat.crop.compute().img.path.notna().sum() == 6
            rows.img.write_parquet(tmp_path / "out")
            back = di.read_parquet(tmp_path / "out")
            assert back.crop.dtype == rows.crop.dtype
            assert back.compute().crop.tolist() == rows.compute().crop.tolist()
            plain = pq.read_table(next((tmp_path / "out").glob("*.parquet")))
            assert str(plain.schema.field("crop").type).startswith("list<element: struct<")


def test_map_of_a_row_too(frame):
    rows = frame.img.map(lambda row: {"crop": [row["image"][:2], row["image"][:, :3]]})
    assert rows.crop.dtype == "list[image[pixels]]"
    assert rows.explode("crop").crop.img.height.compute().tolist() == [2, 6] * 6


def test_what_stands_in_dicts_keeps_its_kind(frame):
    def found(row):
        return {"found": [{"crop": row["image"][:2], "score": 0.5, "raw": b"x"}]}

    rows = frame.img.map(found).explode("found").found.compute()
    assert rows.dtype == "json"
    assert rows.iloc[0]["raw"] == b"x"
    assert rows.iloc[0]["crop"].to_numpy().shape == (2, 6, 3)
    crops = rows.map(lambda cell: cell["crop"]).astype("image")
    assert crops.img.height.tolist() == [2] * 6


def test_a_row_that_failed_keeps_its_reason(tmp_path):
    (tmp_path / "a.png").write_bytes(b"broken")
    PIL.Image.new("RGB", (6, 6)).save(tmp_path / "b.png")
    df = di.read_images(tmp_path, on_error="null")
    rows = df.img.map_batches(lambda b: {"crop": [[p[:2], p[3:]] for p in b["image"]]})
    assert rows.compute().crop.isna().tolist() == [True, False]
    flat = rows.explode("crop")
    assert len(flat) == 3
    for some in (flat, _written(rows, tmp_path).explode("crop")):
        errors = some.img.errors().compute()
        assert errors.stage.tolist() == ["decode"]
        assert errors.path.tolist() == [str(tmp_path / "a.png")]
        assert some.crop.img.height.compute().tolist() == [pd.NA, 2, 3]


def _written(rows, folder):
    rows.img.write_parquet(folder / "out")
    return di.read_parquet(folder / "out")


def test_lists_of_polygons_stay_lists(frame):
    rows = frame.img.map_batches(
        lambda b: {"polygons": [[np.ones((3, 2), "float32")] for _ in b["image"]]}
    )
    assert rows.polygons.dtype == "json"
    assert rows.compute().polygons.iloc[0] == [[[1.0, 1.0]] * 3]


def test_messages_say_what_works(frame):
    def one(batch):
        return {"crop": [[png(p), png(p)] for p in batch["image"]]}

    with pytest.raises(di.BatchError, match=r'a list of pictures; give meta= "list\[image\]"'):
        frame.img.map_batches(one, meta={"crop": "image"}).compute()
    rows = frame.img.map_batches(one, meta={"crop": "list[image[encoded]]"})
    assert rows.explode("crop").crop.img.width.compute().tolist() == [6] * 12

    def several(batch):
        return {"crop": [[png(batch["image"][0]), "a"] for _ in batch["image"]]}

    rows = frame.img.map_batches(several).crop
    assert rows.dtype == "json"
    assert rows.compute().iloc[0][1] == "a"
