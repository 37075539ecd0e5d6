"""`daskimg.reduced-scale`: near the full decode under auto, the very bits of it under off."""

from __future__ import annotations

from pathlib import Path

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps
from skimage import data

import daskimg as di
from daskimg.engine import opening
from daskimg.kernels import codec, resizing

PHOTOS = [data.astronaut(), data.coffee(), data.rocket(), data.chelsea()]
RESIZES = {
    "stretch": lambda s: s.img.resize(24, 32),
    "of a mode": lambda s: s.img.decode("L").img.resize(24, 32),
    "of alpha": lambda s: s.img.convert("RGBA").img.resize(24, 32),
    "of 16 bits": lambda s: s.img.convert("I;16").img.resize(24, 32),
    "cover": lambda s: s.img.resize(32, 32, fit="cover"),
    "inside": lambda s: s.img.resize(32, 32, fit="contain"),
    "pad": lambda s: s.img.resize(32, 32, fit="pad", resample="lanczos"),
    "by one side": lambda s: s.img.resize(32, resample="bicubic"),
    "box": lambda s: s.img.resize(24, 32, resample="box"),
    "nearest": lambda s: s.img.resize(24, 32, resample="nearest"),
    "then more": lambda s: s.img.resize(32, 40).img.crop(2, 3, 20, 30).img.flip("vertical"),
    "a crop before": lambda s: s.img.crop(10, 20, 180, 150).img.resize(24, 32),
    "twice": lambda s: s.img.resize(64, 60).img.resize(9, 9),
}
SIBLINGS = {
    "the mean": lambda s: s.img.mean(),
    "a hash": lambda s: s.img.hash(),
    "the whole": lambda s: s.img.decode(),
    "another size": lambda s: s.img.resize(200, 200),
    "a random part": lambda s: s.img.random_resized_crop(9, 9, (0.1, 1.0), (1.0, 1.0)),
    "PNG": lambda s: s.img.encode("png"),
    "a filter that jumps": lambda s: s.img.resize(5, 5, resample="nearest"),
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Photographs of odd sizes, each turned another way, one grey, one of ink."""
    folder = tmp_path_factory.mktemp("photos")
    found = []
    for n, photo in enumerate(PHOTOS * 2):
        exif = Image.Exif()
        exif[0x0112] = n + 1
        image = Image.fromarray(photo).resize((401 + 7 * n, 373 + 22 * n), Image.Resampling.LANCZOS)
        image = image.convert({5: "L", 6: "CMYK"}.get(n, "RGB"))
        found.append(str(folder / f"{n}.jpg"))
        image.save(found[-1], exif=exif, progressive=n == 3, subsampling=n % 3)
    return found


def cells(paths):
    return di.images(pd.Series(paths))


def lazy(paths):
    return dd.from_pandas(cells(paths).to_frame("image"), 2)


def arrays(column):
    return [cell.to_numpy() for cell in column]


def same(a, b):
    for one, other in zip(arrays(a), arrays(b), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.sampled(one_in=6)
@pytest.mark.parametrize("how", RESIZES)
def test_off_gives_the_same_bits_whatever_is_beside_it(paths, how):
    with dask.config.set({"daskimg.reduced-scale": "off"}):
        whole = RESIZES[how](cells(paths).img.decode())
        same(RESIZES[how](cells(paths)), whole)
        df = lazy(paths)
        same(RESIZES[how](df.image).compute(), whole)
        for beside in SIBLINGS.values():
            both = df.assign(small=RESIZES[how](df.image), other=beside(df.image)).compute()
            same(both.small, whole)


@pytest.mark.sampled(one_in=6)
@pytest.mark.parametrize("how", RESIZES)
def test_auto_is_near_whatever_is_beside_it(paths, how):
    with dask.config.set({"daskimg.reduced-scale": "off"}):
        whole = arrays(RESIZES[how](cells(paths).img.decode()))
    df = lazy(paths)
    found = [RESIZES[how](cells(paths)), RESIZES[how](df.image).compute()]
    for beside in SIBLINGS.values():
        found.append(df.assign(a=RESIZES[how](df.image), b=beside(df.image)).compute().a)
    for column in found:
        assert column.dtype == found[0].dtype
        for got, wanted in zip(arrays(column), whole, strict=True):
            assert got.shape == wanted.shape
            level = 257 if wanted.dtype == np.uint16 else 1
            assert np.abs(got.astype(float) - wanted).mean() <= 0.8 * level


def test_near_pillow(paths):
    small = lazy(paths).image.img.decode("RGB").img.resize(24, 32).compute()
    for path, got in zip(paths, arrays(small), strict=True):
        image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        wanted = np.asarray(image.resize((32, 24), Image.Resampling.BILINEAR), float)
        assert np.abs(got - wanted).mean() <= 0.8


def scales(monkeypatch, work):
    seen = []
    real = codec.draft
    with monkeypatch.context() as patch:
        patch.setattr(codec, "draft", lambda *a, **k: seen.append(real(*a, **k)) or seen[-1])
        work()
    return [draft.scale for draft in seen]


def test_what_is_read_less(paths, monkeypatch):
    less = [2] * len(paths)
    for how in ("stretch", "of a mode", "cover", "pad", "by one side", "then more", "of alpha"):
        small = RESIZES[how](lazy(paths).image)
        assert scales(monkeypatch, lambda small=small: small.compute(scheduler="sync")) == less
    for how in ("stretch", "cover", "inside"):
        assert scales(monkeypatch, lambda how=how: RESIZES[how](cells(paths))) == less
    for how in ("box", "nearest", "a crop before"):
        assert scales(monkeypatch, lambda how=how: RESIZES[how](cells(paths))) == []


def test_the_setting_is_captured_when_a_column_is_made(paths, monkeypatch):
    with dask.config.set({"daskimg.reduced-scale": "off"}):
        small = lazy(paths).image.img.resize(24, 32)
    assert scales(monkeypatch, lambda: small.compute(scheduler="sync")) == []
    small = lazy(paths).image.img.resize(24, 32)
    with dask.config.set({"daskimg.reduced-scale": "off"}):
        assert len(scales(monkeypatch, lambda: small.compute(scheduler="sync"))) == len(paths)


@pytest.mark.parametrize("value", [False, "off"])
def test_off_as_yaml_has_it(paths, value, monkeypatch):
    with dask.config.set({"daskimg.reduced-scale": value}):
        assert scales(monkeypatch, lambda: cells(paths).img.resize(24, 32)) == []


@pytest.mark.parametrize("value", ["on", True, None, 2])
def test_no_other_value(paths, value):
    with (
        dask.config.set({"daskimg.reduced-scale": value}),
        pytest.raises(ValueError, match="auto or off; got"),
    ):
        cells(paths).img.resize(24, 32)


def test_in_a_child_process(paths):
    here = cells(paths).img.resize(24, 32)
    with dask.config.set({"daskimg.decode-processes": True}):
        same(cells(paths).img.resize(24, 32), here)


def test_iterators_too(paths):
    df = lazy(paths)
    df = df.assign(image=df.image.img.decode("RGB").img.resize(24, 32))
    batches = [batch["image"] for batch in df.img.iter_batches(batch_size=3)]
    same(df.image.compute(), [di.Image(pixels) for pixels in np.concatenate(batches)])


def test_a_draft_counts_what_was_read(paths):
    with di.stats() as found:
        lazy(paths).image.img.decode("RGB").img.resize(24, 32).compute(scheduler="sync")
    told = found.to_frame(by="stage").bytes["decode"]
    drafts = [
        opening.decode(Path(path).read_bytes(), False, True, True, None, None, sizes=[SIZE])
        for path in paths
    ]
    assert all(isinstance(draft, resizing.Draft) for draft in drafts)
    assert told == sum(draft.pixels.nbytes for draft in drafts)


SIZE = (24, 32, "stretch")
