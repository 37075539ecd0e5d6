"""What is computed is the caller's: setting a value of one column or result changes no other."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg.testing import make_images

pytestmark = pytest.mark.usefixtures("one_thread")

# Two columns of one work each.
PAIRS = {
    "mean": lambda d: (d.image.img.mean(), d.image.img.mean()),
    "height": lambda d: (d.image.img.height, d.image.img.height),
    "text": lambda d: (d.image.img.format, d.image.img.format),
    "reason": lambda d: (d.image.img.check(), d.image.img.check()),
    "pixels": lambda d: (d.image.img.decode("RGB"), d.image.img.decode("RGB")),
    "arithmetic": lambda d: (d.image.img.mean() * 1, d.image.img.mean()),
}


@pytest.fixture(scope="module", params=[2, 8], ids=["partitions", "a partition"])
def df(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    make_images(folder, 6, size=(20, 24))
    return di.read_images(folder, files_per_partition=request.param)


def told(values) -> list[str]:
    return [x.to_numpy().tolist() if isinstance(x, di.Image) else str(x) for x in values]


def emptied(values: pd.Series) -> None:
    values.iloc[0] = None


@pytest.mark.parametrize("case", PAIRS)
def test_columns_of_one_frame(df, case):
    first, second = PAIRS[case](df)
    found = df.assign(a=first, b=second).compute()
    before = told(found.a)
    found.loc[found.index[0], "b"] = None
    assert told(found.a) == before
    assert pd.isna(found.b.iloc[0]) or found.b.iloc[0].failed
    again = df.assign(a=first, b=second).compute()
    assert told(again.a) == told(again.b) == before


@pytest.mark.parametrize("case", PAIRS)
def test_results_of_one_computation(df, case):
    first, second = PAIRS[case](df)
    series, frame, whole = dask.compute(first, df.assign(b=second), df.assign(a=first, b=second))
    before = told(frame.b)
    emptied(series)
    assert told(frame.b) == told(whole.a) == before
    whole.loc[whole.index[0], "a"] = None
    assert told(frame.b) == told(whole.b) == before


def test_what_is_held_is_not_changed(df):
    kept = df.assign(a=df.image.img.mean(), b=df.image.img.mean()).persist()
    found = kept[["a", "b"]].compute()
    before = told(found.b)
    found.loc[found.index[0], "a"] = -1.0
    assert told(found.b) == told(kept.b.compute()) == told(kept.a.compute()) == before


@pytest.mark.parametrize("fmt", ["numpy", "pandas"])
def test_batches(df, fmt):
    d = df.assign(a=df.image.img.mean(), b=df.image.img.mean())
    for batch in d.img.iter_batches(6, batch_format=fmt, columns=["a", "b"]):
        before = told(batch["b"])
        if fmt == "pandas":
            batch.loc[batch.index[0], "a"] = -1.0
        elif batch["a"].flags.writeable:
            batch["a"][0] = -1.0
        assert told(batch["b"]) == before


def test_pixels_as_one_array_are_not_those_of_another_column(df):
    small = df.image.img.decode("RGB").img.resize(4, 4)
    found = df.assign(a=small, b=small).compute()
    before = found.b.img.to_numpy().copy()
    pixels = found.a.img.to_numpy()
    if pixels.flags.writeable:
        pixels[:] = 0
    np.testing.assert_array_equal(found.b.img.to_numpy(), before)
