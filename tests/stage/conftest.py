"""One cluster for the tests of a module."""

from __future__ import annotations

import pytest
from distributed import Client

from tests.stage import work


@pytest.fixture(scope="module")
def client():
    """Two CPU workers and one that offers a GPU."""
    with work.spec() as cluster, Client(cluster) as client:
        yield client
