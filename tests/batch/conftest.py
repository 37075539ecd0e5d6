"""Pictures of the batch tests."""

from __future__ import annotations

import pytest

import daskimg as di
from daskimg.testing import make_images


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> str:
    """Ten pictures of several sizes."""
    place = tmp_path_factory.mktemp("good")
    make_images(place, 10, size=((8, 8), (12, 12)))
    return str(place)


@pytest.fixture(scope="session")
def mixed(tmp_path_factory) -> str:
    """Ten pictures and four broken ones after them."""
    place = tmp_path_factory.mktemp("mixed")
    make_images(place, 10, size=((8, 8), (12, 12)), broken=4)
    return str(place)


@pytest.fixture
def df(folder):
    """A Dask frame of four partitions: path, image."""
    return di.read_images(folder, files_per_partition=3)


@pytest.fixture
def small(df):
    """The same with a column of pictures of one shape."""
    return df.assign(small=df.image.img.decode("RGB").img.resize(8, 8))


@pytest.fixture
def null(mixed):
    """A Dask frame whose last four pictures fail, under the policy "null"."""
    return di.read_images(mixed, files_per_partition=3, on_error="null")
