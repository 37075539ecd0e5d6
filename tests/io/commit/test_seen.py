"""Failures that a run saw count in what its writer says, also where it copies the pictures."""

from __future__ import annotations

from pathlib import Path

import dask.dataframe as dd
import pandas as pd
import pytest

import daskimg as di
from daskimg import metrics
from daskimg.testing import make_images

WRITERS = ["parquet", "images", "tfrecords", "webdataset", "csv", "numpy"]


@pytest.fixture
def shop(tmp_path):
    """Eight photographs, the first three of which are cut off."""
    for path in make_images(tmp_path / "shop", 8, size=(16, 24), formats=["jpeg"])[:3]:
        whole = Path(path).read_bytes()
        Path(path).write_bytes(whole[: len(whole) // 2])
    return di.read_images(tmp_path / "shop", on_error="null", files_per_partition=3)


def written(frame, writer, out):
    """What a writer, stats and the failed rows say of one run, and its decodes."""
    metrics.reset()
    with di.stats() as stats:
        result = getattr(frame.img, f"write_{writer}")(out / "rows", errors=out / "errors")
    failed = len(di.read_parquet(out / "errors"))
    return result, stats.failed, failed, metrics.snapshot()["decode"]


@pytest.mark.parametrize("writer", WRITERS)
def test_copied_pictures(tmp_path, shop, one_thread, writer):
    frame = shop.assign(light=shop.image.img.brightness() / 2, wide=shop.image.img.width)
    if writer == "csv":
        frame = frame.drop(columns="image")
    if writer == "numpy":
        frame = frame.assign(image=frame.image.img.decode("RGB").img.resize(4, 4))
    result, seen, kept, decodes = written(frame, writer, tmp_path)
    assert (result.rows, result.failed, seen, kept) == (8, 3, 3, 3)
    assert sum(result.reasons.values()) == 3
    assert decodes == 8  # one pass
    if writer == "images":
        names = sorted(Path(file).name for file in result.files)
        assert names == [f"{n:05}.jpg" for n in range(3, 8)]
    if writer == "parquet":
        again = di.read_parquet(tmp_path / "rows", on_error="null")
        assert list(again.columns) == ["path", "image", "light", "wide"]
        assert again.image.img.failed.compute().tolist() == [True] * 3 + [False] * 5


@pytest.mark.parametrize("change", ["filter", "merge", "bytes"])
def test_above_other_steps(tmp_path, shop, one_thread, change):
    if change == "filter":
        frame = shop.assign(light=shop.image.img.mean())
        frame = frame[frame.path.str.contains("jpg")]
    elif change == "merge":
        table = pd.DataFrame({"path": shop.path.compute(), "price": 1.0})
        frame = shop.merge(table, on="path")
        frame = frame.assign(light=frame.image.img.mean())
    else:
        frame = shop.assign(image=shop.image.img.read())
        frame = frame.assign(light=frame.image.img.mean())
    result, seen, kept, _ = written(frame, "parquet", tmp_path)
    assert (result.rows, result.failed, seen, kept) == (8, 3, 3, 3)


def refuse_bright(pixels):
    if pixels.mean() > 0:
        raise RuntimeError("too bright")
    return 1.0


def test_a_function_that_fails_leaves_the_picture(tmp_path, one_thread):
    make_images(tmp_path / "shop", 4, size=(8, 8), formats=["png"])
    df = di.read_images(tmp_path / "shop", on_error="null")
    frame = df.assign(value=df.image.img.apply(refuse_bright, dtype="float64"))
    result, seen, kept, _ = written(frame, "parquet", tmp_path)
    assert (result.failed, seen, kept) == (4, 4, 4)
    again = di.read_parquet(tmp_path / "rows").compute()
    assert again.image.notna().all()
    assert again.value.isna().all()
    told = di.read_parquet(tmp_path / "errors").compute()
    assert set(told.error) == {"apply: RuntimeError: too bright"}


def test_nothing_decoded_is_a_plain_copy(tmp_path, shop, one_thread):
    metrics.reset()
    result = shop.assign(wide=shop.image.img.width).img.write_images(tmp_path / "copy")
    assert (result.rows, result.failed) == (8, 0)
    assert metrics.snapshot().get("decode", 0) == 0


def test_a_picture_that_fails_in_writing_stands_among_the_failed(tmp_path, one_thread):
    """Names of a function tell the format, so that pictures are encoded where they are written."""
    for path in make_images(tmp_path / "shop", 4, size=(8, 8), formats=["png"])[:1]:
        Path(path).write_bytes(b"nothing")
    df = di.read_images(tmp_path / "shop", on_error="null")
    third = df.image.img.mean().compute()[2]

    def refuse_third(pixels):
        if pixels.mean() == third:
            raise RuntimeError("not this one")
        return 1.0

    frame = df.assign(value=df.image.img.apply(refuse_third, dtype="float64"))
    with di.stats() as stats:
        result = frame.img.write_images(
            tmp_path / "rows", filename=lambda row: row["path"][-9:-4], errors=tmp_path / "errors"
        )
    told = di.read_parquet(tmp_path / "errors").compute()
    assert (result.failed, stats.failed, len(told)) == (2, 2, 2)
    assert [error.split(":")[0] for error in told.error] == ["decode", "apply"]


def test_two_image_columns_each_blame_their_own(tmp_path, shop, one_thread):
    make_images(tmp_path / "other", 8, size=(8, 8), formats=["jpeg"])
    other = di.read_images(tmp_path / "other", on_error="null").compute()
    table = pd.DataFrame({"path": shop.path.compute(), "second": other.image})
    frame = shop.merge(table, on="path")
    frame = frame.assign(a=frame.image.img.mean(), b=frame.second.img.mean())
    result = frame.img.write_parquet(tmp_path / "rows")
    assert result.failed == 3
    again = di.read_parquet(tmp_path / "rows", on_error="null").compute()
    assert again.second.notna().all()
    assert again.image.isna().sum() == 3


def test_a_pandas_frame(tmp_path, shop):
    frame = shop.compute()
    frame["light"] = frame.image.img.mean()
    # its failures were seen before, by another run
    assert frame.img.write_parquet(tmp_path / "rows").failed == 0


def test_rows_chosen_by_a_number_are_written(tmp_path, shop, one_thread):
    number = shop.path.str.len()
    frame = shop.assign(light=shop.image.img.mean(), n=number)[number >= number.mean()]
    wanted = frame.path.compute().tolist()
    frame[["path", "light"]].img.write_parquet(str(tmp_path / "out"))
    assert di.read_parquet(str(tmp_path / "out")).path.compute().tolist() == wanted


def light_of(batch, calls):
    with open(calls, "a") as file:
        file.write("x" * len(batch["pic"]))
    if (batch["number"] == 5).any():
        raise ValueError("five")
    return {"light": batch["pic"].mean((1, 2, 3))}


@pytest.mark.sampled(one_in=6)
@pytest.mark.parametrize("writer", ["parquet", "csv"])
@pytest.mark.parametrize("concurrency", [None, 1])
@pytest.mark.parametrize("above", ["all", "table", "filter", "column", "fillna", "stage"])
def test_rows_that_a_function_was_not_given(tmp_path, shop, one_thread, writer, concurrency, above):
    small = shop.image.img.decode("RGB").img.resize(4, 4)
    number = shop.path.str.extract(r"(\d+)\.", expand=False).astype("int64")
    frame = shop.assign(pic=small, number=number)
    if writer == "csv":
        frame = frame.drop(columns="image")
    done = frame.img.map_batches(
        light_of,
        columns=["pic", "number"],
        fn_kwargs={"calls": str(tmp_path / "calls")},
        meta={"light": float},
        batch_size=1,
        on_error="null",
        concurrency=concurrency,
    )
    if above == "table":
        done = done[["light"]]
    elif above == "filter":
        done = done[done.path.str.len() > 0]
    elif above == "column":
        done = frame[["path"]].assign(light=done.light)
    elif above == "fillna":
        done = done[["light"]].fillna(0.0)
    elif above == "stage":
        done = done[["path", "light"]].img.map_batches(
            lambda batch: {"twice": batch["light"] * 2}, columns="light", meta={"twice": float}
        )
    result, seen, kept, decodes = written(done, writer, tmp_path)
    assert (result.rows, result.failed, seen, kept) == (8, 4, 4, 4)
    assert sorted(result.reasons.values()) == [1, 3]
    assert decodes == 8  # one pass
    assert len(Path(tmp_path / "calls").read_text()) == 5


def test_bytes_beside_a_measure_are_written_as_computed(tmp_path):
    """What a measure tells of a picture is about its column, not about what was read of it."""
    folder = tmp_path / "in"
    make_images(folder, 2, size=(8, 8))
    (folder / "zz.png").write_bytes(b"no picture")
    frame = di.read_images(folder, on_error="null")
    frame = frame.assign(bytes=frame.image.img.read(), mean=frame.image.img.mean())
    result = frame.img.write_parquet(tmp_path / "out")
    assert (result.rows, result.failed) == (3, 1)
    back = di.read_parquet(tmp_path / "out").compute()
    assert back.image.iloc[2].error.startswith("decode: UnidentifiedImageError")
    assert back.image.iloc[2].path.endswith("zz.png")
    assert back.bytes.iloc[2].to_bytes() == b"no picture"
    assert back.bytes.iloc[2].error is None


def test_a_path_that_no_system_takes_costs_its_row_only(tmp_path):
    make_images(tmp_path / "pics", 1, formats=["png"])
    good = str(tmp_path / "pics" / "00000.png")
    table = pd.DataFrame({"path": [good, "a\0b.png", good]})
    table["image"] = di.images(table.path, on_error="null")
    frame = dd.from_pandas(table, npartitions=1)
    frame = frame.assign(light=frame.image.img.mean())
    result = frame.img.write_parquet(tmp_path / "out", embed=False)
    assert (result.rows, result.failed) == (3, 1)
    back = di.read_parquet(tmp_path / "out").compute()
    assert back.image.img.failed.tolist() == [False, True, False]
