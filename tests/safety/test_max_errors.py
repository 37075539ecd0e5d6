"""``daskimg.max-errors``: a run that loses more pictures ends, counted over all partitions."""

from __future__ import annotations

import pickle

import dask
import pandas as pd
import pytest

import daskimg as di
from daskimg.errors import TooManyErrors
from daskimg.testing import make_images
from tests.lazy.frames import eager, lazy

FAILED = 5


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> list[str]:
    """Good pictures, and five that are broken or not there, in all of five partitions."""
    folder = tmp_path_factory.mktemp("mixed")
    found = make_images(folder, 15, size=((8, 8), (10, 10)), broken=4)
    broken = [*found[15:], str(folder / "gone.png")]
    return [path for n in range(5) for path in (*found[3 * n : 3 * n + 3], broken[n])]


def limited(limit, mixed, make=lazy, parts=5):
    """A frame with measures made under a limit."""
    kwargs = {"parts": parts} if make is lazy else {}
    with dask.config.set({"daskimg.max-errors": limit}):
        frame = make(mixed, on_error="null", **kwargs)
        return frame.assign(mean=frame.image.img.mean(), small=frame.image.img.resize(4, 4))


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
@pytest.mark.parametrize("limit", [None, FAILED, FAILED - 1, 0])
def test_counted_over_all_partitions(mixed, scheduler, limit):
    frame = limited(limit, mixed)
    with dask.config.set(scheduler=scheduler):
        for _ in range(2):  # the second run counts anew
            if limit is None or limit >= FAILED:
                assert frame.compute()["mean"].isna().sum() == FAILED
                continue
            with pytest.raises(di.ImageError, match=r"daskimg\.max-errors") as caught:
                frame.compute()
            assert isinstance(caught.value, TooManyErrors)
            assert limit < sum(caught.value.counts.values()) <= FAILED


def test_the_error_lists_counts_by_reason_and_travels(mixed):
    with pytest.raises(TooManyErrors) as caught:
        limited(4, mixed, eager)
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.counts == caught.value.counts
    assert sum(error.counts.values()) == FAILED
    assert "1 not found" in str(error)
    assert error.stage == "max-errors"
    assert str(error) == str(caught.value)


def test_the_default_policy_raises_for_the_first(mixed):
    with dask.config.set({"daskimg.max-errors": 3}):
        frame = lazy(mixed, parts=5)
        mean = frame.image.img.mean()
    with pytest.raises(di.ImageError) as caught:
        mean.compute()
    assert not isinstance(caught.value, TooManyErrors)


def test_the_limit_is_that_of_when_the_column_was_made(mixed):
    frame = lazy(mixed, on_error="null", parts=5)
    mean = frame.image.img.mean()
    with dask.config.set({"daskimg.max-errors": 0}):
        assert mean.compute().isna().sum() == FAILED


def test_looking_for_errors_is_no_failure(mixed):
    with dask.config.set({"daskimg.max-errors": 0}):
        frame = lazy(mixed, on_error="null", parts=5)
        assert frame.image.img.check().compute().notna().sum() == FAILED
        assert len(frame.img.errors().compute()) == FAILED


@pytest.mark.parametrize("limit", [0, None])
def test_rows_that_a_filter_drops_do_not_count(mixed, limit):
    with dask.config.set({"daskimg.max-errors": limit}):
        frame = lazy(mixed, on_error="null", parts=5)
        good = frame[frame.image.img.check().isna()]
        good = good.assign(mean=good.image.img.mean())
        both = frame[frame.image.img.check().isna() & (frame.image.img.mean() >= 0)]
        assert good.compute()["mean"].notna().sum() == len(mixed) - FAILED
        assert len(both.compute()) == len(mixed) - FAILED


def test_rows_that_pass_a_filter_do(mixed):
    with dask.config.set({"daskimg.max-errors": 14}):
        frame = lazy(mixed, on_error="null", parts=5)
        good = frame[frame.image.img.check().isna()]
        cut = good.image.img.crop(0, 0, 100, 100).img.mean()
    with pytest.raises(TooManyErrors, match="15 crop failed"):
        cut.compute()


def test_the_same_query_has_the_same_name(mixed):
    assert limited(3, mixed)._name == limited(3, mixed)._name
    assert limited(3, mixed)._name != limited(4, mixed)._name


def test_a_limit_is_a_number():
    with dask.config.set({"daskimg.max-errors": -1}), pytest.raises(ValueError, match="0 or more"):
        di.images(pd.Series(["a.png"])).img.mean()


def test_over_the_workers_of_a_cluster(client, mixed):
    assert limited(FAILED, mixed).compute()["mean"].isna().sum() == FAILED
    for _ in range(2):
        with pytest.raises(TooManyErrors) as caught:
            limited(FAILED - 1, mixed).compute()
        assert sum(caught.value.counts.values()) == FAILED


def test_writers(mixed, tmp_path):
    frame = limited(None, mixed)
    with dask.config.set({"daskimg.max-errors": FAILED}):
        assert frame.img.write_parquet(tmp_path / "a").failed == FAILED
    with dask.config.set({"daskimg.max-errors": FAILED - 1}):
        for name in ("parquet", "tfrecords", "webdataset"):
            with pytest.raises(TooManyErrors):
                getattr(frame.img, f"write_{name}")(tmp_path / name)
            assert not (tmp_path / name / "_daskimg" / "_SUCCESS").exists()
