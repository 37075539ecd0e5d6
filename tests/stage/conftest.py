"""One cluster for the tests of stages."""

from __future__ import annotations

import pytest
from distributed import Client

from tests.stage import work


@pytest.fixture(scope="session")
def stage_cluster():
    """Two CPU workers and one that offers a GPU."""
    with work.spec() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(stage_cluster):
    """A client of the cluster, the default scheduler while the tests of a module run."""
    with Client(stage_cluster) as client:
        yield client
