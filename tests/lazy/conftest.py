"""Pictures of the lazy tests."""

from __future__ import annotations

import pytest

from daskimg.testing import make_images
from tests.lazy.frames import ROWS

__all__ = ["mixed", "paths"]


@pytest.fixture(scope="session")
def paths(tmp_path_factory) -> list[str]:
    """Twenty good pictures of 8 to 10 rows."""
    folder = tmp_path_factory.mktemp("good")
    return make_images(folder, ROWS, size=((8, 8), (10, 10)))


@pytest.fixture(scope="session")
def mixed(tmp_path_factory) -> list[str | None]:
    """Good pictures, broken ones of each kind, a file that is not there, and missing cells."""
    folder = tmp_path_factory.mktemp("mixed")
    found = make_images(folder, 12, size=((8, 8), (10, 10)), broken=4)
    good, broken = found[:12], found[12:]
    gone = str(folder / "gone.png")
    return [
        *good[:3],
        broken[0],
        None,
        *good[3:7],
        broken[1],
        gone,
        *good[7:],
        broken[2],
        None,
        broken[3],
    ]
