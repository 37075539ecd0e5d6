"""What the accessor makes of real and of made files is what Pillow makes of them."""

from __future__ import annotations

import io

import dask
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps
from skimage import data

import daskimg as di
from tests.kernels.pictures import SHARED

PHOTOS = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]


def upright(path) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(path))


def save(picture, folder, name, **options):
    Image.fromarray(picture).save(folder / name, **options)
    return str(folder / name)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.bmp"])
def test_resize_is_pillows_bilinear(tmp_path, name):
    paths = [save(photo, tmp_path, f"{n}{name}") for n, photo in enumerate(PHOTOS)]
    got = di.images(pd.Series(paths)).img.decode("RGB").img.resize(224, 224)
    assert str(got.dtype) == "image[uint8, 224x224x3]"
    for path, cell in zip(paths, got, strict=True):
        wanted = Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
        assert np.abs(cell.to_numpy().astype(float) - np.asarray(wanted)).mean() < 1.0


def test_mean_and_std_are_numpys(tmp_path):
    paths = [save(photo, tmp_path, f"{n}.png") for n, photo in enumerate(PHOTOS)]
    cells = di.images(pd.Series(paths)).img
    pixels = [np.asarray(Image.open(path)) for path in paths]
    np.testing.assert_allclose(cells.mean(), [p.mean() for p in pixels], rtol=1e-6)
    np.testing.assert_allclose(cells.std(), [p.std() for p in pixels], rtol=1e-6)
    assert cells.min().tolist() == [p.min() for p in pixels]
    assert cells.max().tolist() == [p.max() for p in pixels]


@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation_made(tmp_path, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    path = tmp_path / "turned.jpg"
    Image.fromarray(data.rocket()).save(path, exif=exif)
    cells = di.images(pd.Series([str(path)])).img
    wanted = np.asarray(upright(path))
    np.testing.assert_array_equal(cells.decode().iloc[0].to_numpy(), wanted)
    assert (cells.height[0], cells.width[0]) == wanted.shape[:2]
    with dask.config.set({"daskimg.apply-orientation": False}):
        stored = np.asarray(Image.open(path))
        np.testing.assert_array_equal(cells.decode().iloc[0].to_numpy(), stored)
        assert (cells.height[0], cells.width[0]) == stored.shape[:2]


@pytest.mark.long
@pytest.mark.skipif(not (SHARED / "orientation").exists(), reason="needs the shared data")
def test_orientation_real():
    df = di.read_images(SHARED / "orientation")
    df = df.assign(h=df.image.img.height, w=df.image.img.width, p=df.image.img.decode()).compute()
    assert len(df) == 18
    for row in df.itertuples():
        wanted = np.asarray(upright(row.path))
        assert (row.h, row.w) == wanted.shape[:2]
        np.testing.assert_array_equal(row.p.to_numpy(), wanted)


@pytest.mark.skipif(not (SHARED / "pngsuite").exists(), reason="needs the shared data")
@pytest.mark.parametrize("folder", ["pngsuite", "damaged"])
def test_every_kind_of_file_against_pillow(folder):
    df = di.read_images(SHARED / folder, on_error="null")
    pixels = df.image.img.decode()
    df = df.assign(pixels=pixels, error=pixels.img.error, mode=df.image.img.mode).compute()
    for row in df.itertuples():
        try:
            with Image.open(row.path) as picture:
                picture.load()
        except (OSError, SyntaxError):
            assert pd.notna(row.error), row.path
            assert row.pixels.failed
            continue
        assert pd.isna(row.error), row.path
        got = row.pixels.to_numpy()
        if picture.mode == "P":
            clear = "transparency" in picture.info
            picture = picture.convert("RGBA" if clear else "RGB")
        elif picture.mode == "1":
            picture = picture.convert("L")
        elif picture.mode == "I":
            picture = picture.convert("I;16")
        np.testing.assert_array_equal(got, np.asarray(picture), err_msg=row.path)


def test_sixteen_bits_stay_and_are_divided(tmp_path):
    grey = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    cells = di.images(pd.Series([save(grey, tmp_path, "grey.png")])).img
    assert cells.mode[0] == "I;16"
    np.testing.assert_array_equal(cells.decode().iloc[0].to_numpy(), grey)
    eight = cells.decode("L").iloc[0].to_numpy()
    assert eight.dtype == np.uint8
    np.testing.assert_array_equal(eight, np.rint(grey / 257).astype(np.uint8))


def test_palette_and_cmyk(tmp_path):
    photo = Image.fromarray(data.chelsea())
    photo.quantize(64).save(tmp_path / "palette.png")
    photo.convert("CMYK").save(tmp_path / "ink.jpg")
    df = di.read_images(tmp_path)
    df = df.assign(p=df.image.img.decode(), m=df.image.img.mode, c=df.image.img.channels).compute()
    assert df.m.tolist() == ["CMYK", "P"]
    assert df.c.tolist() == [3, 3]
    for row in df.itertuples():
        wanted = np.asarray(Image.open(row.path).convert("RGB"))
        np.testing.assert_array_equal(row.p.to_numpy(), wanted)


def test_first_frame_of_many(tmp_path):
    frames = [Image.fromarray(p).resize((40, 30)) for p in PHOTOS]
    for name in ("moving.gif", "pages.tif", "moving.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    got = di.read_images(tmp_path).image.img.decode("RGB").compute()
    for path, cell in zip(sorted(tmp_path.iterdir()), got, strict=True):
        np.testing.assert_array_equal(cell.to_numpy(), np.asarray(Image.open(path).convert("RGB")))


def test_too_many_pixels_fail_by_the_setting(tmp_path):
    path = save(PHOTOS[0], tmp_path, "large.png")
    with dask.config.set({"daskimg.max-image-pixels": 1000}):
        column = di.images(pd.Series([path]), on_error="null").img.decode()
    assert column.img.error[0].startswith("decode: TooManyPixelsError: the header announces 512 x")


def test_encode_is_read_back_by_pillow():
    cells = pd.Series(PHOTOS, dtype="image").img
    for file_format in ("png", "webp", "tiff", "bmp"):
        for photo, cell in zip(PHOTOS, cells.encode(file_format, quality=100), strict=True):
            read = np.asarray(Image.open(io.BytesIO(cell.to_bytes())).convert("RGB"))
            assert np.abs(read.astype(float) - photo).mean() < (
                2.5 if file_format == "webp" else 1e-9
            )
