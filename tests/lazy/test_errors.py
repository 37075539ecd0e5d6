"""Errors are data: what a broken picture does to a lazy frame, under both policies."""

from __future__ import annotations

import os
import pickle

import dask
import numpy as np
import pandas as pd
import PIL.Image
import pytest

import daskimg as di
from tests.lazy.cases import measured, merged
from tests.lazy.frames import counted, eager, lazy, plain

POLICIES = ("raise", "null")
KEPT, FAILED, MISSING = 12, 5, 2  # of the nineteen cells of `mixed`
pytestmark = pytest.mark.usefixtures("one_thread")


def good(frame):
    """The rows whose picture decodes, and those that have none."""
    return frame[frame.image.img.check().isna()]


# -- "raise" -------------------------------------------------------------------------------------
def test_a_failure_names_file_and_stage(mixed):
    with pytest.raises(di.ImageError, match=r"broken_0\d_\w+\.(jpg|png)") as caught:
        lazy(mixed).image.img.mean().compute()
    assert caught.value.stage == "decode"
    assert os.path.exists(caught.value.path)
    assert isinstance(caught.value, ValueError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.path, again.reason) == (caught.value.path, caught.value.reason)


def test_a_file_that_is_not_there_fails_to_be_read(mixed):
    gone = next(path for path in mixed if path and not os.path.exists(path))
    with pytest.raises(di.ImageError, match=r"gone\.png") as caught:
        lazy([gone], parts=1).image.img.mean().compute()
    assert caught.value.stage == "read"
    assert "FileNotFoundError" in caught.value.reason


def test_a_kernel_that_fails_is_the_stage(paths):
    with pytest.raises(di.ImageError) as caught:
        lazy(paths).image.img.crop(0, 0, 100, 100).compute()
    assert caught.value.stage == "crop"


def test_an_unused_column_never_raises(mixed):
    frame = measured(lazy(mixed), "m", "t")
    assert len(frame) == len(mixed)
    assert frame[["id", "path"]].compute().path.isna().sum() == MISSING


# -- good = df[check().isna()] goes on under both -------------------------------------------------
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("index", [None, "label"])
def test_survivors_of_check_are_computed(mixed, policy, index):
    frame = good(lazy(mixed, on_error=policy, index=index))
    img = frame.image.img
    frame = frame.assign(m=img.mean(), t=img.resize(6, 6), h=img.height)
    with counted() as counts:
        found = frame.compute()
    # check, mean and resize in one pass; the header comes from the bytes
    assert counts["decode"] == KEPT + FAILED - 1
    assert counts["fetch"] == KEPT + FAILED
    wanted = good(eager(mixed, on_error=policy, index=index))
    wanted = wanted.assign(
        m=wanted.image.img.mean(), t=wanted.image.img.resize(6, 6), h=wanted.image.img.height
    )
    assert plain(found) == plain(wanted)
    assert len(found) == KEPT + MISSING
    assert found.m.isna().sum() == MISSING


@pytest.mark.parametrize("policy", POLICIES)
def test_survivors_of_check_after_other_filters_and_a_join(mixed, policy):
    def pipeline(frame):
        frame = good(merged(frame[frame.price < 6], "left"))
        frame = frame[frame.image.img.height > 0]
        return measured(frame, "m", "t")

    found = pipeline(lazy(mixed, on_error=policy)).compute()
    assert plain(found) == plain(pipeline(eager(mixed, on_error=policy)))


def test_a_failing_survivor_of_another_filter_still_raises(mixed):
    """The crop fails for every picture that the filter keeps, and only those are looked at."""
    frame = good(lazy(mixed))
    frame = frame[frame.image.img.mean() > 0]
    with pytest.raises(di.ImageError, match=r"000\d\d\.(jpg|png)") as caught:
        frame.image.img.crop(0, 0, 100, 100).img.mean().compute()
    assert caught.value.stage == "crop"
    assert "100" in caught.value.reason


def test_a_failure_that_the_filter_drops_does_not_raise(paths):
    """Only pictures of nine rows can be cropped to nine."""
    frame = lazy(paths)
    img = frame.image.img
    frame = frame[(img.height >= 9) & (img.mean() >= 0)]
    found = frame.image.img.crop(0, 0, 9, 8).img.height.compute()
    assert found.tolist() == [9] * len(found)
    assert 0 < len(found) < len(paths)


def test_the_filter_itself_raises(mixed):
    frame = lazy(mixed)
    with pytest.raises(di.ImageError, match="broken"):
        frame[frame.image.img.mean() > 0].compute()


def test_a_filter_on_the_table_spares_the_broken(mixed):
    broken = [k for k, path in enumerate(mixed) if path and not path[-6:-4].isdigit()]
    frame = lazy(mixed)
    frame = measured(frame, "m")[~frame.id.isin(broken)]
    assert frame.m.compute().notna().sum() == KEPT


# -- "null" --------------------------------------------------------------------------------------
def test_measures_of_a_failed_picture_are_null(mixed):
    frame = lazy(mixed, on_error="null")
    img = frame.image.img
    frame = frame.assign(c=img.check(), m=img.mean(), h=img.height, p=img.hash(), f=img.format)
    with counted() as counts:
        found = frame.compute()
    # the file that is not there is fetched in vain; its header is not tried again
    assert counts["fetch"] == KEPT + FAILED
    assert counts["decode"] == KEPT + FAILED - 1
    well = found.c.isna() & found.path.notna()
    assert well.sum() == KEPT
    assert found.m.dtype == np.dtype("float64")
    assert found.m[~well].isna().all()
    assert found.p[~well].isna().all()
    assert found.m[well].notna().all()
    assert found.h[well].notna().all()
    assert (found.h.dtype, found.p.dtype) == (pd.Int64Dtype(), pd.UInt64Dtype())
    assert plain(found) == plain(
        eager(mixed, on_error="null").pipe(
            lambda d: d.assign(
                c=d.image.img.check(),
                m=d.image.img.mean(),
                h=d.image.img.height,
                p=d.image.img.hash(),
                f=d.image.img.format,
            )
        )
    )


def test_kept_failed_and_missing_are_all_rows(mixed):
    frame = lazy(mixed, on_error="null")
    pixels = frame.assign(pixels=frame.image.img.decode("RGB"))
    column = pixels.pixels
    found = pixels.assign(
        failed=column.img.failed, error=column.img.error, kept=~column.isna()
    ).compute()
    missing = ~found.kept & ~found.failed
    assert (found.kept.sum(), found.failed.sum(), missing.sum()) == (KEPT, FAILED, MISSING)
    assert found.error.notna().tolist() == found.failed.tolist()
    assert found.error[found.failed].str.match(r"(read|decode): \w+").all()
    assert not found.error.str.contains("0x", na=False).any(), "no address in a reason"


def test_error_and_failed_read_nothing(mixed):
    frame = lazy(mixed, on_error="null")
    stored = frame.assign(t=frame.image.img.resize(6, 6)).persist()
    with counted() as counts:
        img = stored.t.img
        found = stored.assign(e=img.error, f=img.failed, p=img.path).compute()
        file = frame.assign(e=frame.image.img.error, f=frame.image.img.failed).compute()
    assert counts == {"fetch": 0, "header": 0, "decode": 0}
    assert found.f.sum() == FAILED
    assert not file.f.any()
    assert file.e.isna().all()
    assert plain(found.p) == plain(frame.path.compute())


def test_a_left_join_leaves_missing_not_failed(mixed):
    table = pd.DataFrame({"id": [0, 3, 500, 501]})
    frame = lazy(mixed, on_error="null")
    found = table.merge(eager(mixed), on="id", how="left")
    lazily = dask.dataframe.from_pandas(table, 2).merge(frame, on="id", how="left")
    lazily = lazily.assign(
        c=lazily.image.img.check(), f=lazily.image.img.failed, m=lazily.image.img.mean()
    )
    found = lazily.compute().sort_values("id")
    assert found.c.notna().tolist() == [False, True, False, False]
    assert found.f.tolist() == [False] * 4  # nobody has looked yet: check says, failed records
    assert found.m.notna().tolist() == [True, False, False, False]
    decoded = lazily.image.img.decode().img.failed.compute()
    assert decoded.sum() == 1


@pytest.mark.parametrize("first", POLICIES)
def test_on_error_switches_the_policy(mixed, first):
    frame = lazy(mixed, on_error=first)
    tolerant = frame.image.img.on_error("null").img.mean()
    assert tolerant.compute().notna().sum() == KEPT
    with pytest.raises(di.ImageError):
        frame.image.img.on_error("raise").img.mean().compute()


def test_both_policies_in_one_pass(mixed):
    frame = lazy(mixed)
    img = frame.image.img
    frame = frame.assign(a=img.on_error("null").img.mean(), b=img.check())
    with counted() as counts:
        found = frame.compute()
    assert counts["fetch"] == KEPT + FAILED
    assert found.a.notna().sum() == KEPT
    with pytest.raises(di.ImageError):
        frame.assign(c=img.std()).compute()


def test_null_wins_in_concat(mixed):
    one, other = lazy(mixed, on_error="raise"), lazy(mixed, on_error="null")
    both = dask.dataframe.concat([one, other])
    assert both.image.dtype.on_error == "null"
    assert both.image.img.mean().compute().notna().sum() == 2 * KEPT


def test_the_policy_survives_what_moves_rows(mixed):
    frame = lazy(mixed, on_error="null")
    moved = merged(frame, "left").repartition(npartitions=2).persist()
    assert moved.image.dtype.on_error == "null"
    assert moved.image.img.mean().compute().notna().sum() == KEPT


# -- settings are captured when the column is made ------------------------------------------------
def rotated(folder) -> str:
    """A picture of 4 x 8 that EXIF turns upright."""
    path = str(folder / "turned.jpg")
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("RGB", (8, 4)).save(path, exif=exif)
    return path


def test_settings_travel_with_the_column(tmp_path):
    path = rotated(tmp_path)
    upright = lazy([path], parts=1).image.img
    with dask.config.set({"daskimg.apply-orientation": False}):
        img = lazy([path], parts=1).image.img
        raw, pixels = img.height, img.decode()
    assert raw.compute().tolist() == [4]
    assert pixels.img.height.compute().tolist() == [4]
    assert upright.height.compute().tolist() == [8]
    with dask.config.set({"daskimg.max-image-pixels": 10}):
        small = lazy([path], parts=1).image.img
        capped = small.mean()
    with pytest.raises(di.ImageError, match="pixels") as caught:
        capped.compute()
    assert "TooManyPixelsError" in caught.value.reason
    assert upright.mean().compute().tolist() == [0.0]


def test_the_default_policy_is_captured(mixed):
    with dask.config.set({"daskimg.on-error": "null"}):
        means = lazy(mixed).image.img.mean()
    assert means.compute().notna().sum() == KEPT
    with pytest.raises(di.ImageError):
        lazy(mixed).image.img.mean().compute()


def test_settings_hold_on_workers(client, tmp_path, mixed):
    path = rotated(tmp_path)
    with dask.config.set({"daskimg.apply-orientation": False, "daskimg.on-error": "null"}):
        height = lazy([path], parts=1).image.img.height
        means = lazy(mixed).image.img.mean()
    assert client.compute(height).result().tolist() == [4]
    assert client.compute(means).result().notna().sum() == KEPT


def test_errors_reach_the_client_whole(client, mixed):
    with pytest.raises(di.ImageError, match=r"broken|gone") as caught:
        client.compute(lazy(mixed).image.img.mean()).result()
    assert caught.value.path in mixed


# -- bad input, at the call ------------------------------------------------------------------------
@pytest.fixture(params=["pandas", "dask"])
def frame(request):
    """A frame of files that are not there: no error may come from looking at them."""
    paths = [f"/nowhere/{k}.png" for k in range(8)]
    return eager(paths) if request.param == "pandas" else lazy(paths)


def test_an_image_op_on_another_column_says_what_to_do(frame):
    for column in (frame.price, frame.label, frame.path):
        with pytest.raises(AttributeError, match=r"image column.*di\.images"):
            _ = column.img
        assert not hasattr(column, "img")


BAD = {
    "height of zero": (lambda img: img.resize(0, 5), ValueError, "0"),
    "width below zero": (lambda img: img.resize(5, -2), ValueError, "-2"),
    "unknown fit": (lambda img: img.resize(5, 5, fit="squeeze"), ValueError, "squeeze"),
    "unknown resample": (lambda img: img.resize(5, 5, resample="cubic"), ValueError, "cubic"),
    "unknown mode": (lambda img: img.convert("HSV2"), ValueError, "HSV2.*|RGB"),
    "unknown mode to decode": (lambda img: img.decode("XYZ"), ValueError, "XYZ"),
    "unknown truncated": (lambda img: img.decode(truncated="maybe"), ValueError, "maybe"),
    "unknown direction": (lambda img: img.flip("diagonal"), ValueError, "diagonal"),
    "unknown hash": (lambda img: img.hash("md5"), ValueError, "md5"),
    "unknown policy": (lambda img: img.on_error("ignore"), ValueError, "ignore"),
    "unknown measure": (lambda img: img.measures(["mean", "beauty"]), ValueError, "beauty"),
    "crop of zero": (lambda img: img.crop(0, 0, 0, 5), ValueError, "0"),
    "crop above the picture": (lambda img: img.crop(-1, 0, 2, 2), ValueError, "-1"),
    "centre of zero": (lambda img: img.center_crop(0, 5), ValueError, "0"),
    "random crop of zero": (lambda img: img.random_crop(0, 5), ValueError, "0"),
    "random resized crop of zero": (lambda img: img.random_resized_crop(5, 0), ValueError, "0"),
    "unknown format": (lambda img: img.encode("docx"), ValueError, "docx"),
    "no function": (lambda img: img.apply("mean"), TypeError, "mean"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_parameters_raise_at_the_call(frame, name):
    call, error, text = BAD[name]
    with pytest.raises(error, match=text) as caught:
        call(frame.image.img)
    assert not isinstance(caught.value, di.ImageError), "the call is wrong, not a picture"


def test_arguments_of_other_rows_are_refused_at_the_call(frame):
    other = frame[frame.price > 2]
    paths = [f"/elsewhere/{k}.png" for k in range(8)]
    strangers = [other.price, (eager if isinstance(frame, pd.DataFrame) else lazy)(paths[:3]).price]
    for argument in strangers:
        with pytest.raises(ValueError, match="row-wise argument"):
            frame.image.img.crop(argument, 0, 2, 2)
    with pytest.raises(ValueError, match="row-wise argument"):
        other.image.img.crop(frame.price, 0, 2, 2)
    frame.image.img.decode().img.crop(frame.price // 2, 0, 2, 2) if hasattr(frame, "dask") else None


def test_arguments_of_the_other_kind_are_refused(frame):
    if isinstance(frame, pd.DataFrame):
        argument = lazy([f"/nowhere/{k}.png" for k in range(8)]).price
    else:
        argument = pd.Series(range(8))
    with pytest.raises(ValueError, match="row-wise argument"):
        frame.image.img.crop(argument, 0, 2, 2)


def test_same_rows_are_accepted_however_they_are_written(paths):
    frame = lazy(paths)
    keep = frame.price > 2
    wanted = eager(paths)
    wanted = wanted[wanted.price > 2]
    wanted = plain(wanted.image.img.crop(wanted.price // 4, 0, 2, 2))
    kept = frame[keep]
    for argument in (kept.price // 4, frame.price[keep] // 4, (kept.price - 0 * kept.id) // 4):
        assert plain(kept.image.img.crop(argument, 0, 2, 2).compute()) == wanted
