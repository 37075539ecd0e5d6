"""Frames of the streaming tests: forty pictures, the answer computed by Dask."""

from __future__ import annotations

import numpy as np
import pytest

import daskimg as di
from daskimg.testing import make_images

ROWS = 40


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Forty pictures of many sizes."""
    place = tmp_path_factory.mktemp("streamed")
    make_images(place, ROWS, size=((8, 10), (20, 24)))
    return str(place)


def uniform(folder, per_partition=7, without=None):
    """Pictures of one shape beside their number; not those `without` in their name."""
    df = di.read_images(folder, files_per_partition=per_partition)
    if without is not None:
        df = df[~df.path.str.contains(without)]
    number = df.path.str.extract(r"(\d+)\.\w+$", expand=False).astype("int64")
    return df.assign(image=df.image.img.decode("RGB").img.resize(6, 5), n=number)


@pytest.fixture(scope="session")
def answer(folder):
    """The pixels of `uniform`, as one array."""
    return uniform(folder).image.compute(scheduler="sync").img.to_numpy()


@pytest.fixture
def frame(folder):
    return uniform(folder)


def gathered(batches, name="image"):
    """One array of all batches."""
    return np.concatenate([batch[name] for batch in batches])
