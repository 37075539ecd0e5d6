"""Any batch size, partitioning and scheduler give the same rows in the same order."""

from __future__ import annotations

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import daskimg as di
from daskimg.testing import assert_images_equal, make_images
from tests.amount import amount


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Pictures of several sizes, broken and missing ones among them, and a column beside."""
    folder = tmp_path_factory.mktemp("rows")
    paths = make_images(folder, 7, size=((4, 4), (7, 9)), broken=3)
    order = np.random.default_rng(0).permutation(10)
    paths = pd.Series([*np.array(paths)[order], None, paths[0]], dtype="string")
    image = di.images(paths, on_error="null")
    return pd.DataFrame({"id": np.arange(12) * 3, "image": image}, index=np.arange(12)[::-1])


def function(batch):
    if (batch["id"] == 3 * 6).any():
        raise ValueError("never this one")
    pictures = batch["image"]
    return {
        "image": pictures,
        "mean": [float(p.mean()) for p in pictures],
        "half": [p[: p.shape[0] // 2] for p in pictures],
        "tags": [["big"] if p.shape[0] > 5 else [] for p in pictures],
        "next": batch["id"] + 1,
    }


META = {"image": "image[file]", "mean": float, "half": "image", "tags": list, "next": int}


@pytest.mark.sampled
@settings(
    max_examples=amount("DASKIMG_FUZZ_BATCHES", 8, 40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    batch_size=st.one_of(st.none(), st.just("auto"), st.integers(1, 15)),
    npartitions=st.integers(1, 12),
    fill=st.booleans(),
    scheduler=st.sampled_from(["sync", "threads"]),
    infer=st.booleans(),
)
def test_batches_do_not_matter(rows, batch_size, npartitions, fill, scheduler, infer):
    wanted = rows.img.map_batches(function, batch_size=1, on_error="null", meta=META)
    frame = dd.from_pandas(rows.reset_index(), npartitions=npartitions, sort=False)
    found = frame.img.map_batches(
        function,
        columns=["id", "image"],
        batch_size=batch_size,
        fill_batches=fill,
        on_error="null",
        meta=None if infer else META,
    )
    got = found.compute(scheduler=scheduler)
    assert got.dtypes.to_dict() == found.dtypes.to_dict()
    assert got["index"].tolist() == rows.index.tolist()
    for name in ("mean", "tags", "next"):
        pd.testing.assert_series_equal(got[name], wanted[name].reset_index(drop=True))
    for name in ("image", "half"):
        assert_images_equal(got[name], wanted[name])
