"""`exif`: typed columns of what the header says, and reasons where it is broken."""

from __future__ import annotations

import datetime
import math
import struct

import dask
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import daskimg as di
from daskimg.kernels import exif_tags


@pytest.fixture
def folder(tmp_path):
    exif = Image.Exif()
    exif[0x0110] = "Camera 7"
    exif[0x0112] = 6
    inner = exif.get_ifd(0x8769)
    inner[0x9003] = "2024:05:06 07:08:09"
    inner[0x829D] = 2.8
    inner[0x8827] = 400
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "S", (33.0, 30.0, 36.0), "E", (151.0, 15.0, 0.0)
    gps[5], gps[6] = b"\x01", 12.5
    picture = Image.new("RGB", (8, 6))
    for name in ("a.jpg", "b.png", "c.webp", "d.tif"):
        picture.save(tmp_path / name, exif=exif)
    picture.save(tmp_path / "none.jpg")
    block = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff" + b"\x01" * 20
    data = (tmp_path / "none.jpg").read_bytes()
    size = (len(block) + 2).to_bytes(2, "big")
    (tmp_path / "x_broken.jpg").write_bytes(data[:2] + b"\xff\xe1" + size + block + data[2:])
    (tmp_path / "y_text.jpg").write_bytes(b"just a text")
    return tmp_path


TAGS = ["Model", "Orientation", "DateTimeOriginal", "FNumber", "ISOSpeedRatings", "GPS"]


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("apart", [False, True])
def test_tags_are_typed(folder, read, apart):
    cells = di.read_images(folder, files_per_partition=3).image
    cells = cells.img.read() if read else cells
    with dask.config.set({"daskimg.decode-processes": apart}):
        lazy = cells.img.exif(TAGS)
    with di.stats() as seen:
        found = lazy.compute(scheduler="sync")
    assert "decode" not in seen.to_frame(by="stage").index
    assert found.dtypes.tolist() == lazy.dtypes.tolist()
    assert found.Model.tolist()[:4] == ["Camera 7"] * 4  # Pillow writes no more of a TIFF's
    assert found.Orientation.tolist()[:4] == [6] * 4
    for row in found.iloc[:3].itertuples():
        assert (row.Model, row.Orientation, row.ISOSpeedRatings) == ("Camera 7", 6, 400)
        assert row.DateTimeOriginal == datetime.datetime(2024, 5, 6, 7, 8, 9)
        assert row.FNumber == pytest.approx(2.8)
        assert (row.GPSLatitude, row.GPSLongitude) == pytest.approx((-33.51, 151.25))
        assert row.GPSAltitude == -12.5
        assert row.exif_error is pd.NA
    assert found.iloc[4:].drop(columns="exif_error").isna().all(axis=None)
    assert found.exif_error.isna().tolist() == [True] * 5 + [False] * 2
    assert found.exif_error.iloc[5].startswith("exif: ValueError: the EXIF block is broken")
    assert "no picture" in found.exif_error.iloc[6]


def test_pandas_pixels_and_nulls():
    pictures = pd.Series([np.zeros((2, 2), np.uint8), None], dtype="image")
    found = pictures.img.exif()
    assert found.isna().all(axis=None)
    assert found.dtypes["DateTimeOriginal"] == "datetime64[us]"
    assert found.columns.tolist()[-2:] == ["GPSAltitude", "exif_error"]


def test_beside_what_decodes_a_file_is_fetched_once(folder):
    df = di.read_images(folder, on_error="null")
    frame = df.assign(model=df.image.img.exif(["Model"]).Model, mean=df.image.img.mean())
    with di.stats() as seen:
        assert frame.compute(scheduler="sync").model.notna().sum() == 4
    assert seen.to_frame(by="stage").images["fetch"] == 7


def test_an_unknown_tag():
    with pytest.raises(ValueError, match="FNumber"):
        pd.Series([None], dtype="image").img.exif(["Fnumber"])


def test_damaged_blocks_tell_or_are_null(folder):
    data = (folder / "a.jpg").read_bytes()
    rng = np.random.default_rng(0)
    cells = []
    for _ in range(300):
        changed = bytearray(data)
        for place in rng.integers(20, 400, 6):
            changed[place] = rng.integers(0, 256)
        cells.append(bytes(changed[: rng.integers(30, len(data))]))
    found = pd.Series(cells, dtype="image").img.exif(TAGS)
    assert len(found) == 300
    assert found.exif_error.notna().any()
    assert found.GPSLatitude.dropna().abs().le(180).all()


def test_formats_that_may_not_be_opened_are_not(folder):
    with dask.config.set({"daskimg.formats": ["jpeg"]}):
        for cells in (di.read_images(folder).image, di.read_images(folder).image.img.read()):
            found = cells.img.exif(["Model"]).compute(scheduler="sync")
            assert found.Model.tolist()[:2] == ["Camera 7", pd.NA]
            assert found.exif_error.iloc[0] is pd.NA
            assert all("got" in why and "jpeg" in why for why in found.exif_error.iloc[1:4])


def test_tags_that_share_their_bytes_are_held_once(folder):
    # a thousand tags of a megabyte each, in a file of one megabyte
    size = 2**20
    entries = b"".join(
        struct.pack("<HHLL", 0xC000 + n, 1, size - 20_000, 19_000) for n in range(1, 999)
    )
    model = struct.pack("<HHL4s", 0x0110, 2, 4, b"Cam\0")
    block = b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", 999) + model + entries
    tags = exif_tags.read_exif(block.ljust(size, b"\x07"))
    assert exif_tags.value_of(tags, "Model") == "Cam"
    assert sum(len(value) for value in tags.values() if isinstance(value, tuple)) <= size


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_count_that_is_no_number(value):
    assert exif_tags.value_of({("Exif", 0x0112): value}, "Orientation") is None
