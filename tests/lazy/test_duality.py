"""Every op of the accessor is one thing on pandas and on Dask: values, dtypes, signature, doc."""

from __future__ import annotations

import inspect

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg.accessor import ImageAccessor
from daskimg.lazy.accessor import LazyImageAccessor
from daskimg.testing import assert_images_equal
from tests.lazy.frames import counted, eager, lazy, plain

pytestmark = pytest.mark.usefixtures("one_thread")
PUBLIC = sorted(name for name in dir(ImageAccessor) if not name.startswith("_"))
MEMORY = {"hist", "to_numpy", "show", "to_dask_array"}  # what is not a column of the same rows


def corner(pixels):
    """A user's function that returns pixels."""
    return pixels[:2, :2]


def total(pixels):
    """A user's function that returns a number."""
    return int(pixels.sum())


BOXES = [[0, 0, 3, 3]]
OPS = {
    "height": lambda img: img.height,
    "width": lambda img: img.width,
    "channels": lambda img: img.channels,
    "mode": lambda img: img.mode,
    "format": lambda img: img.format,
    "nbytes": lambda img: img.nbytes,
    "path": lambda img: img.path,
    "error": lambda img: img.error,
    "failed": lambda img: img.failed,
    "check": lambda img: img.check(),
    "on_error": lambda img: img.on_error("null"),
    "to_device": lambda img: img.to_device("cpu"),
    "read": lambda img: img.read(),
    "to_bytes": lambda img: img.to_bytes(),
    "decode": lambda img: img.decode(),
    "decode RGB": lambda img: img.decode("RGB"),
    "decode I;16": lambda img: img.decode("I;16"),
    "decode partial": lambda img: img.decode(truncated="partial"),
    "encode": lambda img: img.encode("png"),
    "resize": lambda img: img.resize(6, 7),
    "resize width": lambda img: img.resize(12),
    "resize contain": lambda img: img.resize(6, 7, fit="contain", resample="nearest"),
    "resize cover": lambda img: img.resize(6, 7, fit="cover"),
    "crop": lambda img: img.crop(1, 0, 3, 4),
    "center_crop": lambda img: img.center_crop(4, 4),
    "pad": lambda img: img.pad(1, 2, 0, 1),
    "flip": lambda img: img.flip("vertical"),
    "rotate": lambda img: img.rotate(90),
    "rotate expand": lambda img: img.rotate(30, expand=True),
    "convert": lambda img: img.convert("L"),
    "convert RGBA": lambda img: img.convert("RGBA"),
    "astype": lambda img: img.astype("float32"),
    "normalize": lambda img: img.normalize(0.5, 0.5),
    "adjust_brightness": lambda img: img.adjust_brightness(1.2),
    "adjust_contrast": lambda img: img.adjust_contrast(1.2),
    "adjust_saturation": lambda img: img.adjust_saturation(0.5),
    "adjust_hue": lambda img: img.adjust_hue(0.1),
    "equalize": lambda img: img.equalize(),
    "blur": lambda img: img.blur(1.0),
    "sharpen": lambda img: img.sharpen(0.5),
    "edges": lambda img: img.edges(50, 100),
    "apply": lambda img: img.apply(corner),
    "apply number": lambda img: img.apply(total, dtype="Int64"),
    "apply string": lambda img: img.apply(lambda pixels: str(pixels.dtype), dtype="string"),
    "draw_boxes": lambda img: img.draw_boxes(BOXES),
    "draw_mask": lambda img: img.draw_mask(img.convert("L"), "blue", 0.3),
    "random_flip": lambda img: img.random_flip(0.5, seed=1),
    "random_rotation": lambda img: img.random_rotation(20, seed=1),
    "random_crop": lambda img: img.random_crop(4, 4, seed=1),
    "random_resized_crop": lambda img: img.random_resized_crop(6, 6, seed=1),
    "color_jitter": lambda img: img.color_jitter(0.2, 0.2, 0.2, 0.1, seed=1),
    "augment": lambda img: img.augment(["random_flip", ("resize", {"height": 6, "width": 6})]),
    "mean": lambda img: img.mean(),
    "std": lambda img: img.std(),
    "min": lambda img: img.min(),
    "max": lambda img: img.max(),
    "brightness": lambda img: img.brightness(),
    "contrast": lambda img: img.contrast(),
    "sharpness": lambda img: img.sharpness(),
    "entropy": lambda img: img.entropy(),
    "colorfulness": lambda img: img.colorfulness(),
    "hash": lambda img: img.hash(),
    "hash dhash": lambda img: img.hash("dhash"),
    "blurriness": lambda img: img.blurriness(),
    "percentile": lambda img: img.percentile(5),
    "transparency": lambda img: img.transparency(),
    "digest": lambda img: img.digest(),
    "digest pixels": lambda img: img.digest("pixels"),
    "exif": lambda img: img.exif(["Orientation", "DateTimeOriginal"]),
    "measures": lambda img: img.measures(["mean", "height"]),
}
KINDS = {
    "file": lambda s: s,
    "encoded": lambda s: s.img.read(),
    "pixels": lambda s: s.img.decode(),
    "uint8": lambda s: s.img.decode("RGB"),
    "float32": lambda s: s.img.decode("RGB").img.astype("float32"),
    "one shape": lambda s: s.img.decode("RGB").img.resize(7, 8),
    "grey, one shape": lambda s: s.img.convert("L").img.resize(7, 8),
}


def test_every_public_op_is_tested():
    assert {name.split()[0] for name in OPS} | MEMORY >= set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_one_signature_and_one_doc(name):
    mine, theirs = (inspect.getattr_static(c, name) for c in (ImageAccessor, LazyImageAccessor))
    assert isinstance(mine, property) == isinstance(theirs, property)
    assert inspect.getdoc(mine) == inspect.getdoc(theirs)
    assert inspect.getdoc(mine)
    if not isinstance(mine, property):
        assert inspect.signature(mine) == inspect.signature(theirs)


def partitions(lazily):
    """Each partition, computed."""
    return list(dask.compute(*lazily.to_delayed()))


def attempt(call):
    """Its value, or the refusal that both sides must agree on."""
    try:
        return call(), None
    except (TypeError, ValueError) as error:
        if isinstance(error, di.ImageError):
            raise
        return None, (type(error), str(error))


@pytest.mark.sampled(one_in=20)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OPS)
def test_eager_is_lazy(name, kind, mixed):
    """Equal values; the declared dtype is that of each partition, empty and all-null ones too."""
    op, make = OPS[name], KINDS[kind]
    source = eager(mixed, on_error="null")
    wanted, refused = attempt(lambda: op(make(source.image).img))
    frame = lazy(mixed, parts=2, on_error="null")
    with counted() as counts:
        found, also = attempt(lambda: op(make(frame.image).img))
    assert counts == {"fetch": 0, "header": 0, "decode": 0}, "an op ran while it was built"
    assert also == refused
    if refused is not None:
        return
    parts = partitions(found)
    assert plain(pd.concat(parts)) == plain(wanted)
    nothing, nulls = frame[frame.price > 100], frame[frame.path.isna()]
    for rows in (nothing, nulls):
        parts += partitions(op(make(rows.image).img))
    for part in parts:
        check_dtypes(part, found)
    for rows in (source[source.price > 100], source[source.path.isna()]):
        check_dtypes(op(make(rows.image).img), found)


def check_dtypes(part, declared):
    """Equal dtypes, hidden fields included."""
    if isinstance(part, pd.DataFrame):
        assert part.dtypes.to_dict() == declared.dtypes.to_dict()
        return
    assert part.dtype == declared.dtype
    assert part.name == declared.name
    if isinstance(part.dtype, di.ImageDtype):
        mine, theirs = part.dtype, declared.dtype
        assert (mine.on_error, mine.mode) == (theirs.on_error, theirs.mode)


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("name", OPS)
def test_building_a_frame_reads_no_file(name):
    frame = lazy([f"/nowhere/{k}.png" for k in range(8)])
    with counted() as counts:
        result = OPS[name](frame.image.img)
        assert result.npartitions == frame.npartitions
        assert repr(result)
        result.optimize()
    assert counts == {"fetch": 0, "header": 0, "decode": 0}


def test_nothing_lazy_needs_memory(paths):
    column = lazy(paths).image
    with pytest.raises(TypeError, match="compute"):
        column.img.to_numpy()


def test_lazy_names_and_index_are_those_of_pandas(paths):
    source, frame = eager(paths), lazy(paths)
    for name in ("mean", "height", "resize"):
        wanted, found = OPS[name](source.image.img), OPS[name](frame.image.img).compute()
        assert found.name == wanted.name == "image"
        pd.testing.assert_index_equal(found.index, wanted.index)


def test_a_dask_series_of_pictures_in_memory(mixed):
    pictures = eager(mixed, on_error="null").image.img.decode("RGB")
    column = dd.from_pandas(pictures, npartitions=3)
    assert column.dtype == pictures.dtype
    assert_images_equal(column.img.flip().compute(), pictures.img.flip())
    np.testing.assert_allclose(column.img.mean().compute(), pictures.img.mean(), equal_nan=True)
