"""Damaged files: one row for each, and a reason exactly where pixels are missing.

``DASKIMG_FUZZ=200000 pytest tests/safety/test_fuzz_files.py`` runs longer, on other damage.
"""

from __future__ import annotations

import resource
import sys

import dask
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

import daskimg as di
from tests.amount import amount
from tests.safety.damage import corpus, mutated, seeds

CASES = amount("DASKIMG_FUZZ", 900, 5_400)
CHUNK = 450
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")
MOST_PIXELS, MOST_MEMORY = 1_000_000, 400 * 2**20


def resident() -> int:
    """The most memory this process has held, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def column(files: list[bytes]) -> pd.Series:
    return pd.Series(files, dtype="image[encoded]", name="image").img.on_error("null")


def holds(files: list[bytes]) -> pd.Series:
    """What has to be true of any files; their decoded column."""
    with dask.config.set({"daskimg.max-image-pixels": MOST_PIXELS}):
        cells = column(files)
        assert len(cells) == len(files)
        decoded, why, mean = cells.img.decode(), cells.img.check(), cells.img.mean()
        small, height = cells.img.resize(5, 4), cells.img.height
        partial = cells.img.decode(truncated="partial")
    failed = decoded.isna()
    assert (failed == decoded.img.error.notna()).all()
    assert (failed == why.notna()).all()
    odd = [not bad and np.isnan(c.to_numpy()).any() for c, bad in zip(decoded, failed, strict=True)]
    assert (
        (failed | np.array(odd, bool)) == mean.isna()
    ).all()  # (the mean of pixels that are no numbers is none)
    assert (failed == small.isna()).all()
    assert failed.equals(decoded.img.failed.rename("image"))
    assert why[failed].str.startswith("decode: ").all()
    assert not why[failed].str.contains(" at 0x").any()
    assert (partial.isna() <= failed).all()  # pixels in part, where there were none
    assert partial.img.error[failed].notna().all()
    assert height[~failed].notna().all()
    return decoded


def test_seeds_are_good():
    decoded = holds([data for _, data in seeds()])
    assert decoded.notna().all()


@pytest.mark.sampled
@pytest.mark.parametrize("chunk", range(-(-CASES // CHUNK)))
def test_damaged_files(chunk):
    before = resident()
    files = [data for _, data in corpus(CHUNK, seed=chunk)]
    decoded = holds(files)
    assert 0 < decoded.isna().sum() < len(files)  # the damage is neither too much nor too little
    assert resident() - before < MOST_MEMORY


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(range(len(seeds()))),
    st.sampled_from(range(len(seeds()))),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=40),
    st.integers(0, 400),
)
def test_damage_that_hypothesis_thinks_of(which, other, seed, junk, at):
    data = mutated(seeds()[which][1], seeds()[other][1], np.random.default_rng(seed))
    holds([data, data[:at] + junk + data[at + len(junk) :], junk])


def test_files_with_swapped_extensions_on_threads(tmp_path):
    """Content tells the format; every file is a row, in the order of paths."""
    files = corpus(400, seed=99)
    for number, (extension, data) in enumerate(files):
        (tmp_path / f"{number:04d}.{extension}").write_bytes(data)
    with dask.config.set({"daskimg.max-image-pixels": MOST_PIXELS}):
        frame = di.read_images(tmp_path, on_error="null", files_per_partition=64)
        frame = frame.assign(pixels=frame.image.img.decode(), why=frame.image.img.check())
        found = frame.compute(scheduler="threads")
        wanted = column([data for _, data in files]).img.decode()
    assert found.path.str.extract(r"(\d{4})\.\w+$")[0].astype(int).tolist() == list(range(400))
    assert (found.pixels.isna() == found.why.notna()).all()
    assert found.pixels.img.error.fillna("").tolist() == wanted.img.error.fillna("").tolist()
    kept = wanted.notna()
    for mine, its in zip(found.pixels[kept], wanted[kept], strict=True):
        np.testing.assert_array_equal(mine.to_numpy(), its.to_numpy())


def test_pillow_is_left_as_it_is():
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    holds([data for _, data in corpus(60, seed=5)])
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
