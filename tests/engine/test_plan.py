"""How much of a picture a pass opens, and that the picture stays the same."""

from __future__ import annotations

import io

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage import data

import daskimg as di
from daskimg import metrics
from daskimg.engine import onepass
from daskimg.engine.ops import build
from daskimg.engine.plan import Plan
from daskimg.engine.program import Row
from daskimg.kernels import codec
from daskimg.testing import assert_images_equal, make_images

FILE = di.ImageDtype("file")


@pytest.fixture(scope="module")
def photo():
    """A 12-megapixel JPEG: a real photograph, enlarged, with detail of its own."""
    large = Image.fromarray(data.astronaut()).resize((4000, 3000), Image.Resampling.LANCZOS)
    noise = np.random.default_rng(0).normal(0, 4, (3000, 4000, 1))
    pixels = np.clip(np.asarray(large) + noise, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "jpeg", quality=90)
    return out.getvalue()


def column(*ops, source=FILE):
    """The program of `ops`, each (name, *parameters), one after the other."""
    name, *params = ops[0]
    program = build(source, name, *params)
    for name, *params in ops[1:]:
        program = program.then(build(program.dtype, name, *params))
    return program


DECODE = ("decode", "RGB", False)
SMALL = ("resize", 224, 224, "stretch", "bilinear")
SIZE = (224, 224, "stretch")
TINY = ("resize", 32, 48, "cover", "bilinear")
CASES = {
    "one resize": ([[DECODE, SMALL]], (SIZE,)),
    "cover": ([[TINY]], ((32, 48, "cover"),)),
    "two resizes": ([[DECODE, SMALL], [TINY]], (SIZE, (32, 48, "cover"))),
    "with steps after": (
        [[DECODE, SMALL, ("mean",)], [SMALL, ("flip", "horizontal")]],
        (SIZE,) * 2,
    ),
    "with a header and check": ([[DECODE, SMALL], [("height",)], [("check",)]], (SIZE,)),
    "a measure of the whole": ([[DECODE, SMALL], [("mean",)]], None),
    "the whole kept": ([[DECODE, SMALL], [DECODE]], None),
    "a crop first": ([[DECODE, ("crop", 0, 0, 10, 10), SMALL]], None),
    "a filter that jumps": ([[("resize", 224, 224, "stretch", "box")]], None),
    "nearest beside it": ([[SMALL], [("resize", 9, 9, "stretch", "nearest")]], None),
    "a size that follows from the picture": (
        [[("resize", 224, None, "stretch", "bilinear")]],
        ((224, None, "stretch"),),
    ),
    "inside a size": ([[("resize", 224, 224, "pad", "lanczos")]], ((224, 224, "pad"),)),
    "a size for each row": ([[("resize", Row(0), 224, "stretch", "bilinear")]], None),
    "a reason of the picture alone": ([[("check",)]], None),
    "only the whole": ([[("std",)]], None),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_resized_only_is_read_for_that(case):
    programs, wanted = CASES[case]
    root = Plan([column(*ops) for ops in programs]).root
    decodes = [node for node in root.walk() if node.step.name == "decode"]
    assert [node.options.get("sizes") for node in decodes] == [wanted]


def test_a_header_of_a_fetched_file_is_read_from_its_bytes():
    root = Plan([column(("height",)), column(("nbytes",)), column(("mean",))]).root
    (fetch,) = root.children
    assert [node.step.name for node in fetch.children] == ["decode", "header", "size"]
    alone = Plan([column(("height",)), column(("nbytes",))]).root
    assert [node.step.name for node in alone.children] == ["header", "size"]


def read_headers(frame):
    metrics.reset()
    found = frame.compute() if hasattr(frame, "dask") else frame
    return found, metrics.snapshot().get("header", 0)


def test_a_picture_decoded_in_full_tells_its_size(tmp_path):
    paths = make_images(tmp_path, 6, size=(20, 30), broken=2)
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(turned, exif=exif)
    df = di.read_images([*paths, str(turned)], on_error="null")
    image = df.image.img
    sizes = {"height": image.height, "width": image.width}
    with_mean, headers = read_headers(df.assign(**sizes, mean=image.mean()))
    alone, all_headers = read_headers(df.assign(**sizes))
    pd.testing.assert_frame_equal(with_mean[["height", "width"]], alone[["height", "width"]])
    assert with_mean["height"].iloc[-1] == 30, "as the EXIF orientation turns it"
    assert headers == with_mean["mean"].isna().sum(), "those that cannot be decoded"
    assert all_headers == len(df)
    # what a header alone tells is asked of it
    _, headers = read_headers(df.assign(**sizes, mode=image.mode, mean=image.mean()))
    assert headers == len(df)


@pytest.mark.sampled(one_in=2)
@pytest.mark.parametrize(
    ("target", "stored"), [(224, (750, 1000)), (500, (1500, 2000)), (1600, (3000, 4000))]
)
def test_the_scale_of_a_large_jpeg(photo, target, stored, monkeypatch):
    seen = []
    real = codec.draft
    monkeypatch.setattr(codec, "draft", lambda *a, **k: seen.append(real(*a, **k)) or seen[-1])
    cells = pd.Series([photo], dtype="image").img.decode("RGB").img.resize(target, target)
    assert seen == [], "decode() asked for all of it"
    lazy = dd.from_pandas(pd.Series([photo], dtype="image").to_frame("image"), 1).image
    small = lazy.img.decode("RGB").img.resize(target, target).compute()
    assert [draft.pixels.shape[:2] for draft in seen] == [stored]
    whole = Image.open(io.BytesIO(photo))
    wanted = np.asarray(whole.resize((target, target), Image.Resampling.BILINEAR), float)
    for got in (cells, small):
        assert np.abs(got.iloc[0].to_numpy() - wanted).mean() < 1.0


def test_a_uniform_result_is_written_in_place():
    plan = Plan([column(DECODE, SMALL)])
    (resize,) = [node for node in plan.nodes if node.step.name == "resize"]
    assert [resize.target] == plan.sinks
    photos = pd.Series([data.coffee(), data.chelsea(), None], dtype="image")
    got = photos.img.convert("RGB").img.resize(8, 8)
    assert got.img.to_numpy(na_value=0).shape == (3, 8, 8, 3)
    for cell, picture in zip(got[:2], [data.coffee(), data.chelsea()], strict=True):
        wanted = Image.fromarray(picture).resize((8, 8), Image.Resampling.BILINEAR)
        assert np.abs(cell.to_numpy().astype(float) - np.asarray(wanted)).mean() < 1.0


def test_a_part_of_a_truncated_picture_is_a_warning():
    out = io.BytesIO()
    Image.fromarray(data.coffee()).save(out, "jpeg")
    cut = out.getvalue()[: len(out.getvalue()) // 2]
    cells = pd.Series([out.getvalue(), cut], dtype="image").img.on_error("null")
    part = cells.img.decode(truncated="partial")
    assert part.img.error.isna().tolist() == [True, False]
    assert part.img.error[1].startswith("decode: partial: ")
    assert part.notna().all()
    assert not part.img.failed.any()
    lazy = dd.from_pandas(cells.to_frame("image"), 1).image.img.decode(truncated="partial")
    for warned in (part, lazy.compute(), part.img.resize(4, 4), lazy.img.resize(4, 4).compute()):
        assert warned.img.error.fillna("").tolist() == part.img.error.fillna("").tolist()
    assert cells.img.decode().img.failed.tolist() == [False, True]


def test_torch_keeps_its_threads():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen = []

        def look(pixels):
            seen.append(torch.get_num_threads())
            return pixels

        photos = pd.Series([data.coffee()], dtype="image")
        dd.from_pandas(photos.to_frame("image"), 1).image.img.resize(9, 9).img.apply(look).compute(
            scheduler="sync"
        )
        assert seen == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_plan_serves_one_partition_after_the_other(tmp_path):
    files = make_images(tmp_path, 4, size=(20, 30))
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    null = di.ImageDtype("file", on_error="null")
    measure = build(null, "mean")
    small = column(("resize", 4, 4, "stretch", "bilinear"), source=null)
    programs = (measure, small, build(null, "check"))
    first = onepass.run(di.images(pd.Series([files[0], str(bad), None])), programs)
    plan = onepass._plans()[-1]
    then = onepass.run(di.images(pd.Series(files[1:])), programs)
    assert onepass._plans()[-1] is plan
    assert [len(values) for values in first + then] == [3] * 6
    assert first[0].isna().tolist() == first[1].isna().tolist() == [False, True, True]
    assert first[2].isna().tolist() == [True, False, True]
    assert all(values.notna().all() for values in then[:2])
    assert then[2].isna().all()
    fresh = onepass.run(di.images(pd.Series(files[1:])), list(programs))
    assert onepass._plans()[-1] is not plan
    assert_images_equal(then[1], fresh[1])
    pd.testing.assert_series_equal(then[0], fresh[0])


def test_a_plan_that_failed_is_not_used_again(tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    programs = (column(("mean",)),)
    with pytest.raises(di.ImageError):
        onepass.run(di.images(pd.Series([str(bad)])), programs)
    assert all(plan.programs is not programs for plan in onepass._plans())


def test_little_memory_is_kept_between_partitions(photo):
    cells = pd.Series([photo], dtype="image")
    programs = (column(("mean",), source=cells.dtype),)
    onepass.run(cells, programs)
    (scratch,) = onepass._plans()[-1].scratches
    assert scratch._memory.nbytes == 0
